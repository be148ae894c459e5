//! From an inventory to what the engine needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::args::{Connection, Source};
use super::exit::Exit;
use crate::desired::{self, Desired, Draw, Recorded};
use crate::engine::{Cancel, Context, HostInfo, Mode, RegistryLogin, Timeouts};
use crate::event::EventSink;
use crate::inventory::{Inventory, PasswordSource};
use crate::plan::Limits;
use crate::playbook::{Playbook, SecretKind};
use crate::spec::{HostName, Role, Secret};
use crate::transport::{
    AskNobody, AskTerminal, Connector, Dial, HostSettings, PrivilegeMode, Session, SshSettings,
    TransportError,
};

/// An inventory and a playbook that fit each other.
pub(super) struct Loaded {
    pub inventory: Inventory,
    pub text: String,
    pub playbook: Playbook,
    pub offline: Desired,
}

/// Reads inventory and playbook; what is wrong is printed.
pub(super) fn load(source: &Source) -> Result<Loaded, Exit> {
    let (inventory, text) = crate::inventory::load(&source.inventory).map_err(|errors| {
        eprintln!("{errors}");
        Exit::USAGE
    })?;
    fit(inventory, text, source)
}

/// Builds the desired state without any record, which also proves that playbook and inventory fit.
pub(super) fn fit(inventory: Inventory, text: String, source: &Source) -> Result<Loaded, Exit> {
    let fail = |error: &dyn std::error::Error| {
        eprintln!("toots: failed to {error}");
        if let Some(cause) = error.source() {
            eprintln!("  {cause}");
        }
        Exit::USAGE
    };
    let playbook = Playbook::load(source.playbooks.as_deref()).map_err(|error| fail(&error))?;
    for (what, path) in inventory.files() {
        if let Err(error) = std::fs::read(path) {
            eprintln!(
                "{}: {what} {} cannot be read: {error}",
                source.inventory.display(),
                path.display()
            );
            return Err(Exit::USAGE);
        }
    }
    let offline = desired::build(&inventory, &playbook, &Recorded::default(), &Masked)
        .map_err(|error| fail(&error))?;
    Ok(Loaded {
        inventory,
        text,
        playbook,
        offline,
    })
}

/// Says what would be open to whoever reaches a host that listens on every address.
pub(super) fn warn_open(loaded: &Loaded) {
    for host in loaded.offline.hosts.iter().filter(|host| host.listen_all) {
        let here = host
            .components
            .iter()
            .filter_map(|component| loaded.playbook.components.get(component.name.as_str()));
        let open: Vec<String> = here
            .flat_map(|component| component.ports.iter().map(move |port| (component, port)))
            .filter(|(_, port)| !port.fixed)
            .map(|(component, port)| {
                format!(
                    "{}/{} ({} {})",
                    port.port, port.protocol, component.name, port.purpose
                )
            })
            .collect();
        eprintln!(
            "warning: {} listens on every address (listen_ip = \"0.0.0.0\"); open to whoever reaches it: {}",
            host.name,
            open.join(", ")
        );
    }
}

/// Stands for ids and secrets where nothing is drawn.
pub(super) struct Masked;

impl Draw for Masked {
    fn cluster_id(&self) -> String {
        "drawn-by-the-first-run".into()
    }

    fn secret(&self, _kind: SecretKind) -> Secret {
        Secret::new(Secret::MASK)
    }

    fn registry_password(&self) -> Option<Secret> {
        Some(Secret::new(Secret::MASK))
    }

    fn private_key(&self, _path: &std::path::Path) -> Secret {
        Secret::new(Secret::MASK)
    }
}

/// Draws from the system's random numbers, once per run: building the desired state twice must give the same.
struct Random {
    id: String,
    bytes: [u8; 32],
    registry: Option<Secret>,
}

impl Draw for Random {
    fn cluster_id(&self) -> String {
        self.id.clone()
    }

    fn secret(&self, kind: SecretKind) -> Secret {
        use base64::Engine as _;
        match kind {
            SecretKind::Base64 => {
                Secret::new(base64::engine::general_purpose::STANDARD.encode(self.bytes))
            }
            SecretKind::Password => {
                let digest = crate::spec::digest(&[&self.bytes[..], b"password"].concat());
                Secret::new(&digest[..24])
            }
        }
    }

    fn registry_password(&self) -> Option<Secret> {
        self.registry.clone()
    }
}

/// What the command line adds.
pub(super) struct Wanted<'a> {
    pub command: &'a str,
    pub connection: &'a Connection,
    pub events: Arc<dyn EventSink>,
    pub scope: BTreeSet<HostName>,
    pub mode: Mode,
    pub timeout: Option<std::time::Duration>,
    pub run_id: String,
    pub cancel: Cancel,
}

/// Builds the engine's context. `Err` is printed.
pub(super) fn context(loaded: Loaded, wanted: Wanted<'_>) -> Result<Context, Exit> {
    let Loaded {
        inventory,
        text,
        playbook,
        offline,
    } = loaded;
    let registry = registry(&inventory)?;
    let dial = Arc::new(Dialer::new(&inventory, wanted.connection));
    let contacted = |host: &&crate::inventory::Host| {
        wanted.scope.contains(&host.name) || host.roles.contains(&Role::Master)
    };
    let hosts: Vec<HostInfo> = inventory
        .hosts
        .iter()
        .filter(contacted)
        .map(|host| HostInfo {
            name: host.name.clone(),
            address: host.address,
            roles: host.roles.clone(),
        })
        .collect();
    let limits = Limits {
        nics: inventory
            .hosts
            .iter()
            .map(|host| (host.name.clone(), host.nic.clone()))
            .collect(),
        install_docker: inventory.docker.install,
        ..Limits::default()
    };
    let times = &inventory.timeouts;
    let limits_given = &wanted.connection.limits;
    let timeouts = Timeouts {
        exec: limits_given.exec_timeout.unwrap_or(times.exec),
        install: limits_given.install_timeout.unwrap_or(times.install),
        answer: limits_given.answer_timeout.unwrap_or(times.answer),
        pull_idle: limits_given.pull_idle_timeout.unwrap_or(times.pull_idle),
        gate: limits_given.gate_timeout.unwrap_or(times.gate),
        run: wanted.timeout,
    };
    let random = Random {
        id: format!("{:016x}", rand::random::<u64>()),
        bytes: rand::random(),
        registry: registry.as_ref().map(|login| login.password.clone()),
    };
    let settings = desired::settings(&playbook);
    let cluster = inventory.cluster.clone();
    let masters = inventory.with_role(Role::Master).count();
    let (domain, vip) = (inventory.network.in_domain.clone(), inventory.network.vip);
    let build = move |recorded: &Recorded| {
        desired::build(&inventory, &playbook, recorded, &random).map_err(|error| error.to_string())
    };
    let mode = Mode {
        inventory_text: text,
        ..wanted.mode
    };
    Ok(Context {
        command: wanted.command.to_owned(),
        cluster,
        hosts,
        scope: wanted.scope,
        masters,
        offline,
        build: Box::new(build),
        dial,
        events: wanted.events,
        limits,
        timeouts,
        mode,
        registry,
        owner: owner(),
        run_id: wanted.run_id,
        cancel: wanted.cancel,
        domain,
        vip,
        settings,
    })
}

fn owner() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "someone".into());
    let host = nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    format!("{user}@{host}")
        .chars()
        .filter(|c| c.is_ascii_graphic())
        .collect()
}

/// The registry's login; its password is read from where the inventory says.
fn registry(inventory: &Inventory) -> Result<Option<RegistryLogin>, Exit> {
    let Some(registry) = &inventory.registry else {
        return Ok(None);
    };
    let (Some(username), Some(source)) = (&registry.username, &registry.password) else {
        return Ok(None);
    };
    let password = match source {
        PasswordSource::File(path) => std::fs::read_to_string(path).map_err(|error| {
            eprintln!(
                "toots: failed to read the registry's password from {}: {error}",
                path.display()
            );
            Exit::USAGE
        })?,
        PasswordSource::Env(name) => std::env::var(name).map_err(|_| {
            eprintln!(
                "toots: failed to read the registry's password: the variable {name} is not set"
            );
            Exit::USAGE
        })?,
    };
    let password = Secret::new(password.lines().next().unwrap_or_default());
    Ok(Some(RegistryLogin {
        server: registry.server.clone(),
        username: username.clone(),
        password,
    }))
}

/// Dials the inventory's hosts.
pub(super) struct Dialer {
    connector: Connector,
    hosts: BTreeMap<HostName, HostSettings>,
}

impl Dialer {
    pub(super) fn new(inventory: &Inventory, connection: &Connection) -> Self {
        use std::io::IsTerminal as _;
        let settings = SshSettings {
            config_files: inventory.ssh.config_file.clone().map(|file| vec![file]),
            connect_timeout: connection.limits.connect_timeout,
            timeouts: crate::transport::Timeouts {
                connect: inventory.timeouts.connect,
                keepalive: connection
                    .limits
                    .keepalive
                    .unwrap_or(inventory.timeouts.keepalive),
                ..crate::transport::Timeouts::default()
            },
            ..SshSettings::default()
        };
        let ask: Arc<dyn crate::transport::Ask> = if std::io::stdin().is_terminal() {
            Arc::new(AskTerminal)
        } else {
            Arc::new(AskNobody)
        };
        let hosts = inventory
            .hosts
            .iter()
            .map(|host| {
                (
                    host.name.clone(),
                    host_settings(inventory, host, connection),
                )
            })
            .collect();
        Self {
            connector: Connector::new(settings, ask),
            hosts,
        }
    }

    /// The connector itself, for questions that need no session.
    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }
}

/// How one host is reached.
pub(super) fn host_settings(
    inventory: &Inventory,
    host: &crate::inventory::Host,
    connection: &Connection,
) -> HostSettings {
    let ssh = &inventory.ssh;
    let known: Vec<PathBuf> = ssh.known_hosts_files.clone();
    let privilege = match ssh.privilege.as_deref() {
        Some("root") => PrivilegeMode::Root,
        Some("doas") => PrivilegeMode::Doas,
        _ if connection.ask_sudo_password => PrivilegeMode::SudoPassword,
        Some("sudo") => PrivilegeMode::Sudo,
        _ => PrivilegeMode::Auto,
    };
    HostSettings {
        dial: host.ssh.clone().unwrap_or_else(|| host.address.to_string()),
        port: host.port.or(ssh.port),
        user: host.user.clone().or_else(|| ssh.user.clone()),
        identity_files: ssh.identity_files.clone(),
        known_hosts_files: (!known.is_empty()).then_some(known),
        proxy_jump: ssh.proxy_jump.clone(),
        privilege,
        accept_new_host_keys: connection.accept_new_host_keys,
        password: connection.ask_password,
        keyboard_interactive: connection.ask_password,
        ..HostSettings::new(host.name.clone())
    }
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn Session>, TransportError> {
        let settings = self
            .hosts
            .get(host)
            .ok_or_else(|| TransportError::Settings(format!("{host} is not in the inventory")))?;
        self.connector.connect(settings).await
    }
}

/// The hosts that `--limit` names: a host, a role, or a glob over host names.
pub(super) fn scope(inventory: &Inventory, limit: &[String]) -> Result<BTreeSet<HostName>, Exit> {
    if limit.is_empty() {
        return Ok(inventory
            .hosts
            .iter()
            .map(|host| host.name.clone())
            .collect());
    }
    let mut out = BTreeSet::new();
    for text in limit {
        let role = Role::ALL
            .into_iter()
            .find(|role| [role.as_str().to_owned(), format!("{role}s")].contains(text));
        let glob = globset::Glob::new(text)
            .map(|glob| glob.compile_matcher())
            .map_err(|error| {
                eprintln!("toots: --limit {text:?} is no glob: {}", error.kind());
                Exit::USAGE
            })?;
        let fits = |host: &&crate::inventory::Host| match role {
            Some(role) => host.roles.contains(&role),
            None => host.name.as_str() == text || glob.is_match(host.name.as_str()),
        };
        let before = out.len();
        out.extend(
            inventory
                .hosts
                .iter()
                .filter(fits)
                .map(|host| host.name.clone()),
        );
        if out.len() == before && !inventory.hosts.iter().any(|host| fits(&host)) {
            let names: Vec<&str> = inventory
                .hosts
                .iter()
                .map(|host| host.name.as_str())
                .collect();
            eprintln!(
                "toots: --limit {text:?} fits no host\n  hint: the inventory has {}",
                names.join(", ")
            );
            return Err(Exit::USAGE);
        }
    }
    Ok(out)
}
