//! The clap tree: every command, its options and their help texts.
//!
//! Owns: names, defaults and help of the command line. Knows nothing of what a command does. To add
//! a command: a variant with its arguments here, and a file beside `args` that runs it.

pub mod app;
pub mod bundle;
mod examples;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Bring up a Mesos, Marathon, Chronos, ZooKeeper, Consul and HAProxy cluster from a list of
/// machines, over SSH.
#[derive(Debug, Parser)]
#[command(name = "toots", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done                                    6  a gate failed, or the cluster is unhealthy
  1  internal error                          7  another run holds the lock
  2  usage or inventory, nothing contacted   8  the deadline passed
  3  a host not reached, trusted or logged in to
  4  refused before any change              10  plan --exit-code found changes
  5  partly done: run again                129, 130, 143  terminal closed, interrupted, terminated";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring up a cluster, show its status, extend it.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Check or convert inventories. Contacts no host.
    #[command(subcommand)]
    Inventory(InventoryCommand),
    /// Print every file and container of every host. Contacts no host.
    #[command(after_help = examples::RENDER)]
    Render(RenderArgs),
    /// Explain SSH settings and record host keys.
    #[command(subcommand)]
    Ssh(SshCommand),
    /// Deploy and manage applications on Marathon's leader, over SSH.
    #[command(subcommand)]
    App(app::AppCommand),
    /// Deploy and manage jobs on Chronos' leader, over SSH.
    #[command(subcommand)]
    Job(app::JobCommand),
    /// Put the images of an inventory into one file, for hosts without access to a registry.
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// Forward a local port to the web interface of a service and open the browser. Uses the leader
    /// where the service has one.
    #[command(after_help = examples::OPEN)]
    Open(OpenArgs),
    /// Run a SOCKS5 proxy on this machine that reaches the cluster and resolves its names.
    #[command(after_help = examples::TUNNEL)]
    Tunnel(TunnelArgs),
    /// Write a commented inventory, and name the commands that come next.
    #[command(after_help = examples::INIT)]
    Init(InitArgs),
    /// Print the completion script for a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// Shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// The inventory options, of a command that has them.
    pub(super) fn source_mut(&mut self) -> Option<&mut SourceArgs> {
        use app::{AppCommand, JobCommand};
        match self {
            Self::Cluster(ClusterCommand::Up(args)) => Some(&mut args.source),
            Self::Cluster(ClusterCommand::Check(args)) => Some(&mut args.source),
            Self::Cluster(ClusterCommand::Plan(args)) => Some(&mut args.source),
            Self::Cluster(ClusterCommand::Status(args)) => Some(&mut args.source),
            Self::Cluster(ClusterCommand::Repair(args)) => Some(&mut args.source),
            Self::Cluster(ClusterCommand::AddSlave(args) | ClusterCommand::AddEdge(args)) => {
                Some(&mut args.source)
            }
            Self::Inventory(InventoryCommand::Check(source)) => Some(source),
            Self::Inventory(InventoryCommand::Import { .. }) => None,
            Self::Render(args) => Some(&mut args.source),
            Self::Ssh(SshCommand::Explain { source, .. } | SshCommand::Trust { source, .. }) => {
                Some(source)
            }
            Self::App(
                AppCommand::Deploy { reach, .. }
                | AppCommand::List { reach, .. }
                | AppCommand::Show { reach, .. }
                | AppCommand::Scale { reach, .. }
                | AppCommand::Restart { reach, .. }
                | AppCommand::Rollback { reach, .. }
                | AppCommand::Weight { reach, .. }
                | AppCommand::Delete { reach, .. },
            )
            | Self::Job(
                JobCommand::Deploy { reach, .. }
                | JobCommand::List { reach, .. }
                | JobCommand::Show { reach, .. }
                | JobCommand::Run { reach, .. }
                | JobCommand::Delete { reach, .. },
            ) => Some(&mut reach.source),
            Self::Bundle(bundle::BundleCommand::Create(args)) => Some(&mut args.source),
            Self::Bundle(bundle::BundleCommand::Inspect(_)) => None,
            Self::Open(args) => Some(&mut args.source),
            Self::Tunnel(args) => Some(&mut args.source),
            Self::Init(_) | Self::Completions { .. } => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Bring every host to its desired state and prove the cluster.
    #[command(after_help = examples::UP)]
    Up(UpArgs),
    /// Check every host as `up` does before its first change. Changes nothing.
    ///
    /// Report all findings of all hosts. The exit code is 4 when one of them would stop `up`, 3 when
    /// a host is not reached, trusted or logged in to.
    #[command(after_help = examples::CLUSTER_CHECK)]
    Check(CheckArgs),
    /// Show what `up` would do. Changes nothing.
    #[command(after_help = examples::PLAN)]
    Plan(PlanArgs),
    /// Show the status of every component on every host.
    #[command(after_help = examples::STATUS)]
    Status(StatusArgs),
    /// Move the data of one member aside and take those of the others.
    #[command(after_help = examples::REPAIR)]
    Repair(RepairArgs),
    /// Check a machine, add it as a slave, and add it to the inventory.
    #[command(after_help = examples::ADD_SLAVE)]
    AddSlave(AddArgs),
    /// Check a machine, add it as an edge, and add it to the inventory.
    #[command(after_help = examples::ADD_EDGE)]
    AddEdge(AddArgs),
}

/// The file that is read and written unless another one is named.
pub const DEFAULT_INVENTORY: &str = "inventory.toml";

#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// Inventory file.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = DEFAULT_INVENTORY,
        env = "TOOTS_INVENTORY"
    )]
    pub inventory: PathBuf,
    /// Folder whose files override the built-in playbook [default: built-in files only].
    #[arg(long, value_name = "DIR", env = "TOOTS_PLAYBOOKS")]
    pub playbooks: Option<PathBuf>,
}

/// Options of the connections to hosts.
#[derive(Debug, Clone, Args)]
pub struct ConnectionArgs {
    /// Record keys of hosts that no known_hosts file lists. A changed key is still refused
    /// [default: refuse unknown keys].
    #[arg(long)]
    pub accept_new_host_keys: bool,
    /// Ask once for a login password when no key is accepted [default: keys only].
    #[arg(long)]
    pub ask_password: bool,
    /// Ask once for the sudo password [default: sudo without a password].
    #[arg(long)]
    pub ask_sudo_password: bool,
    #[command(flatten)]
    pub limits: TimeoutArgs,
}

/// Timeouts that override `[timeouts]` of the inventory.
#[derive(Debug, Clone, Default, Args)]
#[command(
    next_help_heading = "Timeouts (override [timeouts] of the inventory, which overrides the default)"
)]
pub struct TimeoutArgs {
    /// Abort a connection attempt (TCP, banner, key exchange, login) after this long, per hop
    /// [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub connect_timeout: Option<Duration>,
    /// Keepalive interval: probe a silent connection after this long [default: 15s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub keepalive: Option<Duration>,
    /// Abort a command on a host after this long [default: 1m].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub exec_timeout: Option<Duration>,
    /// Abort the installation of packages on a host after this long [default: 10m].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub install_timeout: Option<Duration>,
    /// Abort a Docker Engine request that gets no answer for this long [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub answer_timeout: Option<Duration>,
    /// Abort an image pull that receives no data for this long [default: 2m].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub pull_idle_timeout: Option<Duration>,
    /// Give up the proof of a service after this long [default: 3m].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub gate_timeout: Option<Duration>,
}

#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// Output format [default: live on a terminal, else plain].
    #[arg(long, value_enum, value_name = "FORM")]
    pub output: Option<Output>,
    /// Abort the whole run after this long [default: no limit].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line per host, redrawn in place.
    Live,
    /// One line per event.
    Plain,
    /// One JSON object per line.
    Json,
}

/// Options of commands that change hosts.
#[derive(Debug, Clone, Args)]
pub struct LockArgs {
    /// Wait this long for the lock when another run holds it [default: 3s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub lock_wait: Option<Duration>,
}

/// Where images come from.
#[derive(Debug, Clone, Args)]
pub struct ImageArgs {
    /// Load images from this file, written by `toots bundle create`, instead of pulling them. Verify
    /// all of it before contacting a host [default: no file].
    #[arg(long, value_name = "FILE")]
    pub images: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub shown: OutputArgs,
    #[command(flatten)]
    pub lock: LockArgs,
    /// Change only these hosts: a host name, a role, or a glob over host names. Repeatable.
    /// Masters are still observed [default: all hosts].
    #[arg(long, value_name = "HOST|ROLE|GLOB")]
    pub limit: Vec<String>,
    /// Execute exactly this plan, written by `plan --out`, or refuse.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub images: ImageArgs,
    /// Prove services by writing even when nothing changed.
    #[arg(long)]
    pub prove: bool,
    /// Assume yes: replace or remove running containers without asking.
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Check these machines before there is an inventory: three, five or seven as masters, any other
    /// number without roles [default: the hosts of the inventory].
    #[arg(long, value_delimiter = ',', value_name = "IP,…")]
    pub hosts: Vec<std::net::IpAddr>,
    /// Login name on these machines [default: as for ssh].
    #[arg(long, requires = "hosts")]
    pub user: Option<String>,
    /// SSH port of these machines [default: as for ssh].
    #[arg(long, requires = "hosts", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub shown: OutputArgs,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub shown: OutputArgs,
    /// Plan only these hosts: a host name, a role, or a glob over host names. Repeatable [default:
    /// all hosts].
    #[arg(long, value_name = "HOST|ROLE|GLOB")]
    pub limit: Vec<String>,
    /// Exit with code 10 when there are changes.
    #[arg(long)]
    pub exit_code: bool,
    /// Write the plan to a file for `up --plan`.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub images: ImageArgs,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Output format [default: table].
    #[arg(long, value_enum, value_name = "FORM")]
    pub output: Option<Output>,
    /// Refresh every two seconds until interrupted.
    #[arg(long)]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct RepairArgs {
    /// Host of the member.
    pub host: String,
    /// Component of the member.
    #[arg(long, value_name = "NAME")]
    pub component: String,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub shown: OutputArgs,
    #[command(flatten)]
    pub lock: LockArgs,
    /// Assume yes: stop the member without asking.
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// Address of the machine inside the cluster.
    pub address: std::net::IpAddr,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub shown: OutputArgs,
    #[command(flatten)]
    pub lock: LockArgs,
    #[command(flatten)]
    pub images: ImageArgs,
    /// Login name [default: `user` of the inventory].
    #[arg(long)]
    pub user: Option<String>,
    /// SSH port [default: `port` of the inventory].
    #[arg(long)]
    pub port: Option<u16>,
    /// Name of the machine in the inventory [default: its address].
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum InventoryCommand {
    /// Check the inventory and the playbook.
    #[command(after_help = examples::CHECK)]
    Check(SourceArgs),
    /// Convert a Toots.conf and print the inventory.
    #[command(after_help = examples::IMPORT)]
    Import {
        /// Toots.conf to convert.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct RenderArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Print only this host [default: all hosts].
    #[arg(long)]
    pub host: Option<String>,
    /// Write below this folder, one folder per host, instead of printing.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum SshCommand {
    /// Print every effective connection setting of a host and its origin. Does not contact the
    /// host.
    #[command(after_help = examples::EXPLAIN)]
    Explain {
        /// Host name.
        host: String,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Show the host key fingerprints and record them after your consent.
    #[command(after_help = examples::TRUST)]
    Trust {
        /// Host names [default: all hosts of the inventory].
        hosts: Vec<String>,
        #[command(flatten)]
        source: SourceArgs,
        /// Assume yes: record the keys without asking.
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub struct OpenArgs {
    /// Service: marathon, mesos, chronos, consul, haproxy or supervisord.
    pub service: String,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Local port [default: the port of the service, or a free one].
    #[arg(long)]
    pub port: Option<u16>,
    /// Print the address without opening the browser.
    #[arg(long)]
    pub no_browser: bool,
}

#[derive(Debug, Args)]
pub struct TunnelArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Loopback address and port of the proxy.
    #[arg(long, default_value = "127.0.0.1:1080", value_name = "ADDRESS:PORT")]
    pub listen: std::net::SocketAddr,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Addresses of the masters: three, five or seven [default: ask everything on the terminal].
    #[arg(long, value_delimiter = ',', value_name = "IP,IP,IP")]
    pub masters: Vec<std::net::IpAddr>,
    /// Addresses of the slaves [default: none].
    #[arg(long, value_delimiter = ',', value_name = "IP,…")]
    pub slaves: Vec<std::net::IpAddr>,
    /// Addresses of the edges [default: none].
    #[arg(long, value_delimiter = ',', value_name = "IP,…")]
    pub edges: Vec<std::net::IpAddr>,
    /// Login name on the hosts: root, or a user with sudo [default: as for ssh].
    #[arg(long)]
    pub user: Option<String>,
    /// Network interface that holds the addresses [default: any, and eth0 for --vip].
    #[arg(long)]
    pub nic: Option<String>,
    /// Name of the cluster, also Consul's datacenter [default: dc1].
    #[arg(long)]
    pub cluster: Option<String>,
    /// Domain of Consul's DNS [default: consul].
    #[arg(long, value_name = "DOMAIN")]
    pub in_domain: Option<String>,
    /// Additional domain of the load balancer [default: none].
    #[arg(long, value_name = "DOMAIN")]
    pub ex_domain: Option<String>,
    /// Virtual IP address held by one edge [default: none].
    #[arg(long, value_name = "IP")]
    pub vip: Option<std::net::IpAddr>,
    /// NFS export for slaves with persistent storage [default: none].
    #[arg(long, value_name = "HOST:/PATH")]
    pub nfs: Option<String>,
    /// Private registry [default: none].
    #[arg(long, value_name = "HOST[:PORT]")]
    pub registry: Option<String>,
    /// CA certificate of the registry [default: the system's CAs].
    #[arg(long, value_name = "FILE")]
    pub ca: Option<String>,
    /// Optional component to enable (see inventory.toml.example). Repeatable.
    #[arg(long, value_name = "SWITCH")]
    pub with: Vec<String>,
    /// Write to this file. Never replaces a file [default: inventory.toml on a terminal, else
    /// print].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Not of the form.
    #[error("{0:?} is not a duration: write 90s, 5m or 1h30m")]
    Format(String),
    /// Zero or negative.
    #[error("duration must be positive, got {0:?}")]
    NotPositive(String),
}

/// Parses a duration such as `90s`, `5m` or `1h30m`.
///
/// # Errors
/// The text is not a duration, or the duration is zero or negative.
pub fn duration(text: &str) -> Result<Duration, InvalidDuration> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| InvalidDuration::Format(text.to_owned()))?;
    match Duration::try_from(span) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(InvalidDuration::NotPositive(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("duration", InvalidDuration, hints: |_| Vec::new(), {
            InvalidDuration::Format(_) => InvalidDuration::Format("ten".into()),
            InvalidDuration::NotPositive(_) => InvalidDuration::NotPositive("0s".into()),
        });
    }
}
