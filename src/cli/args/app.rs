//! `toots app …` and `toots job …`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Connection, Output, Source, duration};

/// Where the cluster is and how it is reached.
#[derive(Debug, Clone, Args)]
pub struct Reach {
    /// Inventory and playbook.
    #[command(flatten)]
    pub source: Source,
    /// Connections.
    #[command(flatten)]
    pub connection: Connection,
}

/// How a change is made and followed.
#[derive(Debug, Clone, Args)]
pub struct Follow {
    /// Follow the deployment until the instances run and are healthy; fail with the reason and the last task's log.
    #[arg(short, long)]
    pub wait: bool,
    /// Limit of the wait.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m")]
    pub timeout: Duration,
    /// Take the place of a deployment that is under way.
    #[arg(long)]
    pub force: bool,
}

/// `toots app …`
#[derive(Debug, Subcommand)]
pub enum App {
    /// Deploy applications from JSON or YAML files; %%NAME%% is the variable NAME of the environment.
    Deploy {
        /// The definitions; - is standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Show what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Following.
        #[command(flatten)]
        follow: Follow,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
    /// List the applications.
    List {
        /// How to show them.
        #[arg(long, value_enum, value_name = "FORM")]
        output: Option<Output>,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
    /// Show an application: its instances and where they run, its versions, its last failure.
    Show {
        /// Its id.
        name: String,
        /// How to show it.
        #[arg(long, value_enum, value_name = "FORM")]
        output: Option<Output>,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
    /// Run another number of instances.
    Scale {
        /// Its id.
        name: String,
        /// How many.
        instances: u32,
        /// Following.
        #[command(flatten)]
        follow: Follow,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
    /// Replace all its instances, as its upgrade strategy says.
    Restart {
        /// Its id.
        name: String,
        /// Following.
        #[command(flatten)]
        follow: Follow,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
    /// Go back to the version before the present one, or to the one named.
    Rollback {
        /// Its id.
        name: String,
        /// The version, as `app show` lists them.
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        /// Following.
        #[command(flatten)]
        follow: Follow,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
    /// Remove applications and end their instances.
    Delete {
        /// Their ids.
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
        /// Following.
        #[command(flatten)]
        follow: Follow,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
    /// Give an application another weight among those with the same service name: 0 takes it out of the balancer, 100 is the default. Its
    /// instances are replaced, since a tag is part of a container.
    Weight {
        /// Its id.
        name: String,
        /// 0 to 256.
        #[arg(value_parser = clap::value_parser!(u16).range(0..=256))]
        weight: u16,
        /// Following.
        #[command(flatten)]
        follow: Follow,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
}

/// `toots job …`
#[derive(Debug, Subcommand)]
pub enum Job {
    /// Make or replace jobs from JSON or YAML files; %%NAME%% is the variable NAME of the environment.
    Deploy {
        /// The definitions; - is standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Show what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
    /// List the jobs.
    List {
        /// How to show them.
        #[arg(long, value_enum, value_name = "FORM")]
        output: Option<Output>,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
    /// Show a job as Chronos has it.
    Show {
        /// Its name.
        name: String,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
    /// Run a job now, beside its schedule.
    Run {
        /// Its name.
        name: String,
        /// Wait until it has ended, and fail when it failed.
        #[arg(short, long)]
        wait: bool,
        /// Limit of the wait.
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m")]
        timeout: Duration,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
    /// Remove jobs.
    Delete {
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
        /// The cluster.
        #[command(flatten)]
        reach: Reach,
    },
}
