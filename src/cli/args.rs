//! The clap tree.

pub mod app;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Brings a Mesos, Marathon, Chronos, ZooKeeper, Consul and HAProxy cluster up from a list of machines, over SSH.
#[derive(Debug, Parser)]
#[command(name = "toots", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
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
  5  partly done: run again                130  interrupted";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring a cluster up, see it, extend it.
    #[command(subcommand)]
    Cluster(Cluster),
    /// Check or convert inventories; no host is contacted.
    #[command(subcommand)]
    Inventory(InventoryCommand),
    /// Show every file and container that a host would get; no host is contacted.
    Render(Render),
    /// Look into and prepare connections.
    #[command(subcommand)]
    Ssh(Ssh),
    /// Deploy and look after applications, through SSH to Marathon's leader.
    #[command(subcommand)]
    App(app::App),
    /// Deploy and look after jobs, through SSH to Chronos' leader.
    #[command(subcommand)]
    Job(app::Job),
    /// Forward a local port to a service's web interface, on its leader where it has one, and open the browser.
    Open(Open),
    /// Serve a SOCKS5 proxy on this machine that leads into the cluster and knows its names.
    Tunnel(Tunnel),
    /// Write a commented inventory for these hosts.
    Init(Init),
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// `toots cluster …`
#[derive(Debug, Subcommand)]
pub enum Cluster {
    /// Bring every host to its desired state and prove the cluster.
    Up(Up),
    /// Show what `up` would do; nothing is changed.
    Plan(Plan),
    /// Show how every component on every host stands.
    Status(Status),
    /// Check a machine, bring it in as a slave and add it to the inventory.
    AddSlave(Add),
    /// Check a machine, bring it in as an edge and add it to the inventory.
    AddEdge(Add),
}

/// Where the inventory and the playbook are.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// The inventory.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "inventory.toml",
        env = "TOOTS_INVENTORY"
    )]
    pub inventory: PathBuf,
    /// A folder whose files take the place of the built-in playbook's.
    #[arg(long, value_name = "DIR", env = "TOOTS_PLAYBOOKS")]
    pub playbooks: Option<PathBuf>,
}

/// How hosts are reached.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// Record the keys of hosts that no known_hosts file mentions; a changed key is refused all the same.
    #[arg(long)]
    pub accept_new_host_keys: bool,
    /// Ask once for a password where keys are not enough.
    #[arg(long)]
    pub ask_password: bool,
    /// Ask once for the sudo password.
    #[arg(long)]
    pub ask_sudo_password: bool,
    /// Limits.
    #[command(flatten)]
    pub limits: Limits,
}

/// Limits in the place of those in the inventory's `[timeouts]`.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits (in the place of [timeouts] in the inventory)")]
pub struct Limits {
    /// TCP, greeting, key exchange and login, per hop.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub connect_timeout: Option<Duration>,
    /// Silence before a connection is asked for a sign of life.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub keepalive: Option<Duration>,
    /// One command on a host.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub exec_timeout: Option<Duration>,
    /// Installing packages on a host.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub install_timeout: Option<Duration>,
    /// One answer of a Docker Engine.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub answer_timeout: Option<Duration>,
    /// A pull without a byte.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub pull_idle_timeout: Option<Duration>,
    /// One proof of a service.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub gate_timeout: Option<Duration>,
}

/// How a run is shown.
#[derive(Debug, Clone, Args)]
pub struct Shown {
    /// How to show the run: live on a terminal and plain elsewhere, unless told.
    #[arg(long, value_enum, value_name = "FORM")]
    pub output: Option<Output>,
    /// Limit of the whole run.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// The forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line per host, redrawn.
    Live,
    /// Whole lines.
    Plain,
    /// One JSON object a line.
    Json,
}

/// `toots cluster up`
#[derive(Debug, Args)]
pub struct Up {
    /// Inventory and playbook.
    #[command(flatten)]
    pub source: Source,
    /// Connections.
    #[command(flatten)]
    pub connection: Connection,
    /// Output and limits.
    #[command(flatten)]
    pub shown: Shown,
    /// Change only these: a host, a role, or a glob over host names; may be repeated. The masters are asked all the same.
    #[arg(long, value_name = "HOST|ROLE|GLOB")]
    pub limit: Vec<String>,
    /// Do exactly what this file of `plan --out` holds, or refuse.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Prove by writing even when nothing changed.
    #[arg(long)]
    pub prove: bool,
    /// Do not ask before containers that run are replaced or removed.
    #[arg(short, long)]
    pub yes: bool,
}

/// `toots cluster plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// Inventory and playbook.
    #[command(flatten)]
    pub source: Source,
    /// Connections.
    #[command(flatten)]
    pub connection: Connection,
    /// Output and limits.
    #[command(flatten)]
    pub shown: Shown,
    /// Plan only for these.
    #[arg(long, value_name = "HOST|ROLE|GLOB")]
    pub limit: Vec<String>,
    /// End with code 10 when there are changes.
    #[arg(long)]
    pub exit_code: bool,
    /// Keep the plan for `up --plan`.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `toots cluster status`
#[derive(Debug, Args)]
pub struct Status {
    /// Inventory and playbook.
    #[command(flatten)]
    pub source: Source,
    /// Connections.
    #[command(flatten)]
    pub connection: Connection,
    /// How to show it.
    #[arg(long, value_enum, value_name = "FORM")]
    pub output: Option<Output>,
    /// Show it again every two seconds until interrupted.
    #[arg(long)]
    pub watch: bool,
}

/// `toots cluster add-slave`, `add-edge`
#[derive(Debug, Args)]
pub struct Add {
    /// The machine's address inside the cluster.
    pub address: std::net::IpAddr,
    /// Inventory and playbook.
    #[command(flatten)]
    pub source: Source,
    /// Connections.
    #[command(flatten)]
    pub connection: Connection,
    /// Output and limits.
    #[command(flatten)]
    pub shown: Shown,
    /// Login name, when it is not the inventory's.
    #[arg(long)]
    pub user: Option<String>,
    /// SSH port, when it is not the inventory's.
    #[arg(long)]
    pub port: Option<u16>,
    /// Its name in the inventory; the address itself when absent.
    #[arg(long)]
    pub name: Option<String>,
}

/// `toots inventory …`
#[derive(Debug, Subcommand)]
pub enum InventoryCommand {
    /// Check the inventory and the playbook.
    Check(Source),
    /// Convert a Toots.conf and print the inventory.
    Import {
        /// The old configuration.
        file: PathBuf,
    },
}

/// `toots render`
#[derive(Debug, Args)]
pub struct Render {
    /// Inventory and playbook.
    #[command(flatten)]
    pub source: Source,
    /// Only this host.
    #[arg(long)]
    pub host: Option<String>,
    /// Write below this folder, one folder per host, instead of printing.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `toots ssh …`
#[derive(Debug, Subcommand)]
pub enum Ssh {
    /// Print every effective connection value of a host and where it comes from; the host is not contacted.
    Explain {
        /// The host.
        host: String,
        /// Inventory and playbook.
        #[command(flatten)]
        source: Source,
    },
    /// Show hosts' key fingerprints and record them when you agree.
    Trust {
        /// The hosts; all of the inventory when none is named.
        hosts: Vec<String>,
        /// Inventory and playbook.
        #[command(flatten)]
        source: Source,
        /// Agree to all without being asked.
        #[arg(short, long)]
        yes: bool,
    },
}

/// `toots open`
#[derive(Debug, Args)]
pub struct Open {
    /// The service: marathon, mesos, chronos, consul, haproxy, supervisord.
    pub service: String,
    /// Inventory and playbook.
    #[command(flatten)]
    pub source: Source,
    /// Connections.
    #[command(flatten)]
    pub connection: Connection,
    /// Local port; the service's own when it is free.
    #[arg(long)]
    pub port: Option<u16>,
    /// Print the address only.
    #[arg(long)]
    pub no_browser: bool,
}

/// `toots tunnel`
#[derive(Debug, Args)]
pub struct Tunnel {
    /// Inventory and playbook.
    #[command(flatten)]
    pub source: Source,
    /// Connections.
    #[command(flatten)]
    pub connection: Connection,
    /// Where the proxy listens, on loopback.
    #[arg(long, default_value = "127.0.0.1:1080", value_name = "ADDRESS:PORT")]
    pub listen: std::net::SocketAddr,
}

/// `toots init`
#[derive(Debug, Args)]
pub struct Init {
    /// The masters' addresses; three, five or seven. Without them everything is asked on the terminal.
    #[arg(long, value_delimiter = ',', value_name = "IP,IP,IP")]
    pub masters: Vec<std::net::IpAddr>,
    /// The slaves' addresses.
    #[arg(long, value_delimiter = ',', value_name = "IP,…")]
    pub slaves: Vec<std::net::IpAddr>,
    /// The edges' addresses.
    #[arg(long, value_delimiter = ',', value_name = "IP,…")]
    pub edges: Vec<std::net::IpAddr>,
    /// The network interface that holds the addresses.
    #[arg(long)]
    pub nic: Option<String>,
    /// The cluster's name, also Consul's datacenter.
    #[arg(long)]
    pub cluster: Option<String>,
    /// Domain of Consul's DNS.
    #[arg(long, value_name = "DOMAIN")]
    pub in_domain: Option<String>,
    /// Additional domain of the balancer.
    #[arg(long, value_name = "DOMAIN")]
    pub ex_domain: Option<String>,
    /// Address that one edge holds.
    #[arg(long, value_name = "IP")]
    pub vip: Option<std::net::IpAddr>,
    /// NFS export of slaves with persistent storage.
    #[arg(long, value_name = "HOST:/PATH")]
    pub nfs: Option<String>,
    /// Private registry.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub registry: Option<String>,
    /// CA certificate of the registry.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<String>,
    /// Switches of optional components to turn on (see inventory.toml.example); may be repeated.
    #[arg(long, value_name = "SWITCH")]
    pub with: Vec<String>,
    /// Write here instead of printing; an existing file is not replaced.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A duration as people write it: `90s`, `5m`, `1h 30m`.
///
/// # Errors
/// When the text is no positive duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| format!("{text:?} is not a duration: write 90s, 5m or 1h30m"))?;
    match Duration::try_from(span) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(format!("{text:?} is not a positive duration")),
    }
}
