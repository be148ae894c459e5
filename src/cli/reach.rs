//! Access to a running cluster for commands that change nothing on its hosts.

use std::net::IpAddr;
use std::sync::Arc;

use super::args::app::Reach;
use super::console::Console;
use super::context::{self, Dialer};
use super::error::{AppFailure, CliError};
use super::log;
use crate::app::AppError;
use crate::host::HostSession;
use crate::inventory::Inventory;
use crate::spec::{HostName, Role};
use crate::tunnel::Gateway;

/// A session to one host, and what the inventory knows about the others.
pub(super) struct Reached {
    pub session: Arc<dyn HostSession>,
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

/// Masters first: they reach everything and exist as long as the cluster.
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

/// Connects to the first host that accepts the login.
pub(super) async fn reach(console: &Console, to: &Reach) -> Result<Reached, CliError> {
    let loaded = context::load(console, &to.source)?;
    log::to_terminal(console);
    let inventory = &loaded.inventory;
    let dial = Arc::new(Dialer::new(console, inventory, &to.connection, None));
    let way = Gateway::new(Arc::clone(&dial) as _, order(inventory));
    let session = way.session().await.map_err(CliError::NoHost)?;
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

/// Builds the error of an operation on an application or a job: "cannot ACTION: …".
pub(super) fn failed(action: impl Into<String>) -> impl FnOnce(AppError) -> CliError {
    let action = action.into();
    |source| {
        CliError::App(Box::new(AppFailure {
            action,
            source,
            started: Vec::new(),
            rollback: None,
        }))
    }
}
