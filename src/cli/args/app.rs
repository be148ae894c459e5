//! Arguments of `toots app` and `toots job`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{ConnectionArgs, Output, SourceArgs, duration};

#[derive(Debug, Clone, Args)]
pub struct Reach {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

#[derive(Debug, Clone, Args)]
pub struct Follow {
    /// Wait until all instances run and are healthy. On failure print the reason and the log of
    /// the last task.
    #[arg(short, long)]
    pub wait: bool,
    /// Give up waiting after this long.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m")]
    pub timeout: Duration,
    /// Replace a deployment that is in progress.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Deploy applications from JSON or YAML files. %%NAME%% is replaced by the environment
    /// variable NAME.
    #[command(after_help = super::examples::APP_DEPLOY)]
    Deploy {
        /// Definition files; - reads standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Show what would change without changing it.
        #[arg(long)]
        dry_run: bool,
        /// Send the definitions without checking their fields.
        #[arg(long)]
        no_schema: bool,
        #[command(flatten)]
        follow: Follow,
        #[command(flatten)]
        reach: Reach,
    },
    /// List applications.
    #[command(after_help = super::examples::APP_LIST)]
    List {
        /// Output format [default: table].
        #[arg(long, value_enum, value_name = "FORM")]
        output: Option<Output>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show an application: instances and their hosts, versions, last failure.
    #[command(after_help = super::examples::APP_SHOW)]
    Show {
        /// Id of the application.
        name: String,
        /// Output format [default: text].
        #[arg(long, value_enum, value_name = "FORM")]
        output: Option<Output>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Change the number of instances.
    #[command(after_help = super::examples::APP_SCALE)]
    Scale {
        /// Id of the application.
        name: String,
        /// Number of instances.
        instances: u32,
        #[command(flatten)]
        follow: Follow,
        #[command(flatten)]
        reach: Reach,
    },
    /// Replace all instances, following the upgrade strategy of the application.
    #[command(after_help = super::examples::APP_RESTART)]
    Restart {
        /// Id of the application.
        name: String,
        #[command(flatten)]
        follow: Follow,
        #[command(flatten)]
        reach: Reach,
    },
    /// Return to the previous version, or to a given one.
    #[command(after_help = super::examples::APP_ROLLBACK)]
    Rollback {
        /// Id of the application.
        name: String,
        /// Version as listed by `app show` [default: the previous one].
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        #[command(flatten)]
        follow: Follow,
        #[command(flatten)]
        reach: Reach,
    },
    /// Delete applications and stop their instances.
    #[command(after_help = super::examples::APP_DELETE)]
    Delete {
        /// Ids of the applications.
        #[arg(required = true)]
        names: Vec<String>,
        /// Assume yes: delete without asking.
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        follow: Follow,
        #[command(flatten)]
        reach: Reach,
    },
    /// Change the weight of an application among those with the same service name: 0 removes it
    /// from the load balancer, 100 is the default. Replaces its instances, because tags are part of
    /// a container.
    #[command(after_help = super::examples::APP_WEIGHT)]
    Weight {
        /// Id of the application.
        name: String,
        /// Weight, 0 to 256.
        #[arg(value_parser = clap::value_parser!(u16).range(0..=256))]
        weight: u16,
        #[command(flatten)]
        follow: Follow,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Create or update jobs from JSON or YAML files. %%NAME%% is replaced by the environment
    /// variable NAME.
    #[command(after_help = super::examples::JOB_DEPLOY)]
    Deploy {
        /// Definition files; - reads standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Show what would change without changing it.
        #[arg(long)]
        dry_run: bool,
        /// Send the definitions without checking their fields.
        #[arg(long)]
        no_schema: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// List jobs.
    #[command(after_help = super::examples::JOB_LIST)]
    List {
        /// Output format [default: table].
        #[arg(long, value_enum, value_name = "FORM")]
        output: Option<Output>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show a job as Chronos stores it.
    #[command(after_help = super::examples::JOB_SHOW)]
    Show {
        /// Name of the job.
        name: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// Run a job now, in addition to its schedule.
    #[command(after_help = super::examples::JOB_RUN)]
    Run {
        /// Name of the job.
        name: String,
        /// Wait until the run ends; fail when it failed.
        #[arg(short, long)]
        wait: bool,
        /// Give up waiting after this long.
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m")]
        timeout: Duration,
        #[command(flatten)]
        reach: Reach,
    },
    /// Delete jobs.
    #[command(after_help = super::examples::JOB_DELETE)]
    Delete {
        /// Names of the jobs.
        #[arg(required = true)]
        names: Vec<String>,
        /// Assume yes: delete without asking.
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        reach: Reach,
    },
}
