//! Builds the engine's input from the inventory and the arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::args::{ConnectionArgs, SourceArgs};
use super::console::Console;
use super::error::CliError;
use crate::desired::{self, Desired, Draw, Recorded};
use crate::engine::{Cancel, HostInfo, RegistryLogin, RunContext, RunOptions, RunTimeouts};
use crate::env::{FileAccess, StandardStream, Terminal};
use crate::event::EventSink;
use crate::host::{Dial, HostConnector, HostSession};
use crate::inventory::{self, Inventory, PasswordSource};
use crate::plan::Limits;
use crate::playbook::{Playbook, SecretKind};
use crate::report::Pauser;
use crate::spec::{HostName, Role, Secret};
use crate::transport::{Ask, AskNobody, HostSettings, PrivilegeMode, SshOptions, TransportError};

/// An inventory and a playbook that match.
pub(super) struct Loaded {
    pub inventory: Inventory,
    pub text: String,
    pub playbook: Playbook,
    pub offline: Desired,
}

/// Reads inventory and playbook.
pub(super) fn load(console: &Console, source: &SourceArgs) -> Result<Loaded, CliError> {
    let (inventory, text) = inventory::load(
        console.files(),
        console.home().as_deref(),
        &source.inventory,
    )?;
    fit(console, inventory, text, source)
}

/// Builds the desired state without records. That also proves that playbook and inventory match.
pub(super) fn fit(
    console: &Console,
    inventory: Inventory,
    text: String,
    source: &SourceArgs,
) -> Result<Loaded, CliError> {
    let playbook = source.playbooks.as_deref();
    let playbook = Playbook::load(playbook.map(|folder| (console.files(), folder)))?;
    for (what, path) in inventory.files() {
        if let Err(error) = console.files().read(path) {
            return Err(CliError::ReadReferenced {
                inventory: source.inventory.clone(),
                what,
                path: path.to_owned(),
                source: error,
            });
        }
    }
    let masked = Masked(Arc::clone(&console.machine().files));
    let offline = desired::build(&inventory, &playbook, &Recorded::default(), &masked)?;
    desired::check_local_files(&inventory, &playbook, console.files())?;
    Ok(Loaded {
        inventory,
        text,
        playbook,
        offline,
    })
}

/// Warns about ports that are open to everyone on hosts that listen on every address.
pub(super) fn warn_open(console: &Console, loaded: &Loaded) {
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
        console.message(&format!(
            "warning: {} listens on every address (listen_ip = \"0.0.0.0\"); \
             open to everyone who can reach it: {}",
            host.name,
            open.join(", ")
        ));
    }
}

/// Placeholder for ids and secrets where nothing is drawn.
struct Masked(Arc<dyn FileAccess>);

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

    fn file(&self, path: &Path) -> Option<Vec<u8>> {
        self.0.read(path).ok()
    }

    fn private_key(&self, _path: &Path) -> Secret {
        Secret::new(Secret::MASK)
    }
}

/// Draws random values once per run: two builds of the desired state must be equal.
struct Random {
    id: String,
    bytes: [u8; 32],
    registry: Option<Secret>,
    files: Arc<dyn FileAccess>,
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

    fn file(&self, path: &Path) -> Option<Vec<u8>> {
        self.files.read(path).ok()
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
pub(super) fn run_context(
    console: &Console,
    loaded: Loaded,
    wanted: RunRequest<'_>,
) -> Result<RunContext, CliError> {
    let Loaded {
        inventory,
        text,
        playbook,
        offline,
    } = loaded;
    let registry = registry(console, &inventory)?;
    let dial = Arc::new(Dialer::new(
        console,
        &inventory,
        wanted.connection,
        wanted.pauser,
    ));
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
        id: console.machine().random.hex64(),
        bytes: console.machine().random.bytes(),
        registry: registry.as_ref().map(|login| login.password.clone()),
        files: Arc::clone(&console.machine().files),
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
        clock: console.machine().clock.clone(),
        random: console.machine().random.clone(),
        files: Arc::clone(&console.machine().files),
        events: wanted.events,
        limits,
        timeouts,
        mode,
        registry,
        owner: owner(console),
        run_id: wanted.run_id,
        cancel: wanted.cancel,
        domain,
        vip,
        settings,
    })
}

fn owner(console: &Console) -> String {
    let machine = console.machine();
    let user = machine.variables.text("USER");
    let user = user.unwrap_or_else(|| "someone".into());
    let host = &machine.host_name;
    format!("{user}@{host}")
        .chars()
        .filter(|c| c.is_ascii_graphic())
        .collect()
}

/// The registry's credentials; the password comes from the source that the inventory names.
pub(super) fn registry(
    console: &Console,
    inventory: &Inventory,
) -> Result<Option<RegistryLogin>, CliError> {
    let Some(registry) = &inventory.registry else {
        return Ok(None);
    };
    let (Some(username), Some(source)) = (&registry.username, &registry.password) else {
        return Ok(None);
    };
    let password = match source {
        PasswordSource::File(path) => read_text(console.files(), path)?,
        PasswordSource::Env(name) => {
            let value = console.machine().variables.text(name);
            value.ok_or_else(|| CliError::RegistryVariable(name.clone()))?
        }
    };
    let password = Secret::new(password.lines().next().unwrap_or_default());
    Ok(Some(RegistryLogin {
        server: registry.server.clone(),
        username: username.clone(),
        password,
    }))
}

/// Prompts on the terminal, while the live view, if there is one, is paused: the next frame would
/// erase the question.
struct AskOperator {
    terminal: Arc<dyn Terminal>,
    pauser: Option<Pauser>,
}

#[async_trait]
impl Ask for AskOperator {
    async fn secret(&self, question: &str) -> Option<Secret> {
        let _pause = match &self.pauser {
            Some(pauser) => Some(pauser.paused().await),
            None => None,
        };
        self.terminal.ask_secret(question).await
    }
}

/// A whole file.
pub(super) fn read_text(files: &dyn FileAccess, path: &Path) -> Result<String, CliError> {
    files.read_text(path).map_err(|source| CliError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Connects to the inventory's hosts.
pub(super) struct Dialer {
    connector: Arc<dyn HostConnector>,
    hosts: BTreeMap<HostName, HostSettings>,
}

impl Dialer {
    /// `pauser` belongs to the run's live view, when there is one.
    pub(super) fn new(
        console: &Console,
        inventory: &Inventory,
        connection: &ConnectionArgs,
        pauser: Option<Pauser>,
    ) -> Self {
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
        let ask: Arc<dyn Ask> = match console.is_terminal(StandardStream::Input) {
            true => Arc::new(AskOperator {
                terminal: Arc::clone(&console.machine().terminal),
                pauser,
            }),
            false => Arc::new(AskNobody),
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
            connector: console.env.dialler.connector(settings, ask),
            hosts,
        }
    }

    /// The connector, for questions that need no session.
    pub(super) fn connector(&self) -> &dyn HostConnector {
        &*self.connector
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
        self.connector.connect(settings).await
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
