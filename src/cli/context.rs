//! Builds the engine's input from the inventory and the arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::args::{ConnectionArgs, SourceArgs};
use super::error::CliError;
use super::output;
use crate::desired::{self, Desired, Draw, Recorded};
use crate::engine::{Cancel, HostInfo, RegistryLogin, RunContext, RunOptions, RunTimeouts};
use crate::event::EventSink;
use crate::host::{Dial, HostSession, SshHost};
use crate::inventory::{Inventory, PasswordSource};
use crate::plan::Limits;
use crate::playbook::{Playbook, SecretKind};
use crate::report::Pauser;
use crate::spec::{HostName, Role, Secret};
use crate::transport::{
    Ask, AskNobody, AskTerminal, Connector, HostSettings, PrivilegeMode, SshOptions, TransportError,
};

/// An inventory and a playbook that match.
pub(super) struct Loaded {
    pub inventory: Inventory,
    pub text: String,
    pub playbook: Playbook,
    pub offline: Desired,
}

/// Reads inventory and playbook.
pub(super) fn load(source: &SourceArgs) -> Result<Loaded, CliError> {
    let (inventory, text) = crate::inventory::load(&source.inventory)?;
    fit(inventory, text, source)
}

/// Builds the desired state without records. That also proves that playbook and inventory match.
pub(super) fn fit(
    inventory: Inventory,
    text: String,
    source: &SourceArgs,
) -> Result<Loaded, CliError> {
    let playbook = Playbook::load(source.playbooks.as_deref())?;
    for (what, path) in inventory.files() {
        if let Err(error) = std::fs::read(path) {
            return Err(CliError::ReadReferenced {
                inventory: source.inventory.clone(),
                what,
                path: path.to_owned(),
                source: error,
            });
        }
    }
    let offline = desired::build(&inventory, &playbook, &Recorded::default(), &Masked)?;
    desired::check_local_files(&inventory, &playbook)?;
    Ok(Loaded {
        inventory,
        text,
        playbook,
        offline,
    })
}

/// Warns about ports that are open to everyone on hosts that listen on every address.
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
        output::message(&format!(
            "warning: {} listens on every address (listen_ip = \"0.0.0.0\"); \
             open to everyone who can reach it: {}",
            host.name,
            open.join(", ")
        ));
    }
}

/// Placeholder for ids and secrets where nothing is drawn.
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

/// Draws random values once per run: two builds of the desired state must be equal.
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

/// What the command line adds to the inventory.
pub(super) struct RunRequest<'a> {
    pub command: &'a str,
    pub connection: &'a ConnectionArgs,
    pub events: Arc<dyn EventSink>,
    pub scope: BTreeSet<HostName>,
    pub mode: RunOptions,
    pub timeout: Option<std::time::Duration>,
    pub run_id: String,
    pub cancel: Cancel,
    /// Keeps the live view still while a question is open.
    pub pauser: Option<Pauser>,
}

/// Builds the engine's context.
pub(super) fn run_context(loaded: Loaded, wanted: RunRequest<'_>) -> Result<RunContext, CliError> {
    let Loaded {
        inventory,
        text,
        playbook,
        offline,
    } = loaded;
    let registry = registry(&inventory)?;
    let dial = Arc::new(Dialer::new(&inventory, wanted.connection, wanted.pauser));
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
            .filter(|host| host.nic_is_used)
            .map(|host| (host.name.clone(), host.nic.clone()))
            .collect(),
        install_docker: inventory.docker.install,
        ..Limits::default()
    };
    let times = &inventory.timeouts;
    let limits_given = &wanted.connection.limits;
    let timeouts = RunTimeouts {
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
    let build = move |recorded: &Recorded| desired::build(&inventory, &playbook, recorded, &random);
    let mode = RunOptions {
        inventory_text: text,
        ..wanted.mode
    };
    Ok(RunContext {
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

/// The registry's credentials; the password comes from the source that the inventory names.
pub(super) fn registry(inventory: &Inventory) -> Result<Option<RegistryLogin>, CliError> {
    let Some(registry) = &inventory.registry else {
        return Ok(None);
    };
    let (Some(username), Some(source)) = (&registry.username, &registry.password) else {
        return Ok(None);
    };
    let password = match source {
        PasswordSource::File(path) => {
            std::fs::read_to_string(path).map_err(|source| CliError::Read {
                path: path.clone(),
                source,
            })?
        }
        PasswordSource::Env(name) => {
            std::env::var(name).map_err(|_| CliError::RegistryVariable(name.clone()))?
        }
    };
    let password = Secret::new(password.lines().next().unwrap_or_default());
    Ok(Some(RegistryLogin {
        server: registry.server.clone(),
        username: username.clone(),
        password,
    }))
}

/// Prompts on the terminal while the live view is paused: the next frame would erase the question.
struct PausingAsk(Pauser);

#[async_trait]
impl Ask for PausingAsk {
    async fn secret(&self, question: &str) -> Option<Secret> {
        let _pause = self.0.paused().await;
        AskTerminal.secret(question).await
    }
}

/// Connects to the inventory's hosts.
pub(super) struct Dialer {
    connector: Connector,
    hosts: BTreeMap<HostName, HostSettings>,
}

impl Dialer {
    /// `pauser` belongs to the run's live view, when there is one.
    pub(super) fn new(
        inventory: &Inventory,
        connection: &ConnectionArgs,
        pauser: Option<Pauser>,
    ) -> Self {
        use std::io::IsTerminal as _;
        let settings = SshOptions {
            config_files: inventory.ssh.config_file.clone().map(|file| vec![file]),
            connect_timeout: connection.limits.connect_timeout,
            timeouts: crate::transport::SshTimeouts {
                connect: inventory.timeouts.connect,
                keepalive: connection
                    .limits
                    .keepalive
                    .unwrap_or(inventory.timeouts.keepalive),
                ..crate::transport::SshTimeouts::default()
            },
            ..SshOptions::default()
        };
        let ask: Arc<dyn Ask> = match pauser {
            _ if !std::io::stdin().is_terminal() => Arc::new(AskNobody),
            Some(pauser) => Arc::new(PausingAsk(pauser)),
            None => Arc::new(AskTerminal),
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

    /// The connector, for questions that need no session.
    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }
}

/// The connection settings of one host.
pub(super) fn host_settings(
    inventory: &Inventory,
    host: &crate::inventory::Host,
    connection: &ConnectionArgs,
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
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn HostSession>, TransportError> {
        let settings = self
            .hosts
            .get(host)
            .ok_or_else(|| TransportError::Settings(format!("{host} is not in the inventory")))?;
        let session = self.connector.connect(settings).await?;
        Ok(Arc::new(SshHost::over(session)))
    }
}

/// The host names for a hint.
pub(super) fn host_names(inventory: &Inventory) -> Vec<String> {
    inventory
        .hosts
        .iter()
        .map(|host| host.name.to_string())
        .collect()
}

/// Resolves `--limit`: a host, a role, or a glob over host names.
pub(super) fn scope(
    inventory: &Inventory,
    limit: &[String],
) -> Result<BTreeSet<HostName>, CliError> {
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
            .map_err(|error| CliError::LimitPattern {
                pattern: text.clone(),
                why: error.kind().to_string(),
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
            return Err(CliError::LimitMatchesNone {
                pattern: text.clone(),
                known: host_names(inventory),
            });
        }
    }
    Ok(out)
}
