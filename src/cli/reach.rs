//! A way into a running cluster for commands that change nothing on its hosts.

use std::net::IpAddr;
use std::sync::Arc;

use super::args::app::Reach;
use super::context::{self, Dialer};
use super::exit::Exit;
use super::log;
use crate::app::AppError;
use crate::inventory::Inventory;
use crate::spec::{HostName, Role, shown};
use crate::transport::Session;
use crate::tunnel::Way;

/// A session to any host, and what the inventory knows.
pub(super) struct Reached {
    pub session: Arc<dyn Session>,
    pub dial: Arc<Dialer>,
    pub masters: Vec<IpAddr>,
    hosts: Vec<(IpAddr, HostName)>,
}

impl Reached {
    /// The host with this address.
    pub fn host_at(&self, address: &str) -> Option<&HostName> {
        let address: IpAddr = address.parse().ok()?;
        self.hosts
            .iter()
            .find(|(own, _)| *own == address)
            .map(|(_, name)| name)
    }
}

/// Masters first: they reach everything and are there as long as the cluster is.
pub(super) fn order(inventory: &Inventory) -> Vec<HostName> {
    let (masters, others): (Vec<_>, Vec<_>) = inventory
        .hosts
        .iter()
        .partition(|host| host.roles.contains(&Role::Master));
    masters
        .into_iter()
        .chain(others)
        .map(|host| host.name.clone())
        .collect()
}

/// Connects to the first host that lets us in. What is wrong is printed.
pub(super) async fn reach(to: &Reach) -> Result<Reached, Exit> {
    let loaded = context::load(&to.source)?;
    log::to_terminal();
    let inventory = &loaded.inventory;
    let dial = Arc::new(Dialer::new(inventory, &to.connection));
    let way = Way::new(Arc::clone(&dial) as _, order(inventory));
    let session = way.session().await.map_err(|error| {
        eprintln!(
            "toots: failed to come in through any host: {}",
            shown(&error.to_string())
        );
        for hint in error.hints() {
            eprintln!("  hint: {}", shown(hint));
        }
        Exit::UNREACHED
    })?;
    Ok(Reached {
        session,
        dial,
        masters: inventory
            .with_role(Role::Master)
            .map(|host| host.address)
            .collect(),
        hosts: inventory
            .hosts
            .iter()
            .map(|host| (host.address, host.name.clone()))
            .collect(),
    })
}

/// Prints what is wrong with what was asked for; nothing was contacted.
pub(super) fn usage(what: &str) -> Exit {
    eprintln!("{}", shown(what));
    Exit::USAGE
}

/// Prints why something was not done, and the next command.
pub(super) fn fail(what: &str, error: &AppError) -> Exit {
    eprintln!("toots: failed to {what}: {}", shown(&error.to_string()));
    let (exit, hint) = match error {
        AppError::NoLeader { .. } => (Exit::GATE, Some("toots cluster status")),
        AppError::Question(_) => (
            Exit::GATE,
            Some("what was asked for may have been done; toots cluster status"),
        ),
        AppError::Missing(_) => (Exit::REFUSED, None),
        AppError::Locked(_) => (
            Exit::REFUSED,
            Some("wait for it, or --force to take its place"),
        ),
        AppError::Refused { .. } => (Exit::REFUSED, None),
        AppError::Failed { .. } => (Exit::GATE, None),
        AppError::Deadline { .. } => (Exit::DEADLINE, None),
    };
    if let Some(hint) = hint {
        eprintln!("  hint: {hint}");
    }
    exit
}
