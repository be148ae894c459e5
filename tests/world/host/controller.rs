//! A machine from which toots runs, and how it opens sessions.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use toots::host::{Dial, Dialler, HostConnector, HostSession, TransportError};
use toots::spec::HostName;
use toots::transport::{Ask, HostSettings, SshOptions};

use super::faults::{Fault, PointKind};
use super::link::Link;
use super::machine::Machine;
use super::session::SimulatedSession;
use crate::record::Record;

/// How long a connection is tried.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Handshake and login.
const LOGIN: Duration = Duration::from_millis(80);

/// What befalls the process of a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControllerFault {
    Killed,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// Its terminal closed.
    HungUp,
    /// Stopped for so long, and continued.
    Held(Duration),
}

type OnFault = Box<dyn Fn(ControllerFault) + Send + Sync>;

struct Inner {
    name: String,
    address: Ipv4Addr,
    record: Record,
    is_killed: AtomicBool,
    links: Mutex<Vec<Weak<Link>>>,
    on_fault: Mutex<Option<OnFault>>,
}

#[derive(Clone)]
pub struct Controller(Arc<Inner>);

impl Controller {
    pub fn new(name: &str, address: Ipv4Addr, record: Record) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            address,
            record,
            is_killed: AtomicBool::default(),
            links: Mutex::default(),
            on_fault: Mutex::default(),
        }))
    }

    pub fn address(&self) -> Ipv4Addr {
        self.0.address
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn add_link(&self, link: &Arc<Link>) {
        let mut links = self.0.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(link));
    }

    pub fn is_killed(&self) -> bool {
        self.0.is_killed.load(Ordering::SeqCst)
    }

    /// Kills its process. Its kernel closes the connections; hosts that it does not reach do not
    /// learn of that. Nothing that waits for a session returns.
    pub fn kill(&self) {
        if self.0.is_killed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.0.record.note("", &self.0.name, "killed");
        let links = self.0.links.lock().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<_> = links.iter().filter_map(Weak::upgrade).collect();
        drop(links);
        for link in open {
            link.close("the controller was killed");
        }
    }

    /// What its process does about a fault, besides that nothing returns to one that was killed.
    pub fn on_fault(&self, act: impl Fn(ControllerFault) + Send + Sync + 'static) {
        let mut on_fault = self
            .0
            .on_fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *on_fault = Some(Box::new(act));
    }

    pub fn suffer(&self, fault: ControllerFault) {
        if fault == ControllerFault::Killed {
            self.kill();
        } else {
            self.0.record.note("", &self.0.name, format!("{fault:?}"));
        }
        let on_fault = self
            .0
            .on_fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(act) = on_fault.as_ref() {
            act(fault);
        }
    }

    /// Waits for ever once it is killed.
    pub async fn alive(&self) {
        if self.is_killed() {
            std::future::pending().await
        }
    }
}

/// Opens the sessions of one controller.
#[derive(Clone)]
pub struct SimulatedDialler {
    pub controller: Controller,
    pub machines: Vec<Arc<Machine>>,
}

impl SimulatedDialler {
    async fn connect_to(&self, machine: &Arc<Machine>) -> Result<Arc<Link>, TransportError> {
        let unreachable = |why: &str| TransportError::Unreachable {
            address: format!("{}:22", machine.address),
            why: why.to_owned(),
        };
        let points = &machine.points;
        let fault = points.pass(&machine.name, PointKind::Dial, "connect");
        let mut takes = machine.network.latency() + LOGIN;
        let mut is_lost = false;
        match fault {
            Some(Fault::Controller(fault)) => self.controller.suffer(fault),
            Some(Fault::ConnectionLost { noticed_after, .. }) => {
                takes += noticed_after;
                is_lost = true;
            }
            Some(Fault::Slow(by)) => takes += by,
            Some(fault) => machine.suffer(fault),
            None => {}
        }
        self.controller.alive().await;
        let network = &machine.network;
        let is_reached = network.reaches(self.controller.address(), machine.address);
        if takes > CONNECT_LIMIT || !is_reached || !machine.is_awake() {
            tokio::time::sleep(CONNECT_LIMIT).await;
            return Err(unreachable("no answer within 10s"));
        }
        tokio::time::sleep(takes).await;
        self.controller.alive().await;
        if is_lost || !machine.is_awake() {
            return Err(unreachable("connection lost during the login"));
        }
        Ok(Link::new(&self.controller, machine))
    }
}

impl SimulatedDialler {
    /// Opens a session to the machine of this name or address.
    async fn open(
        &self,
        host: &HostName,
        target: &str,
    ) -> Result<Arc<dyn HostSession>, TransportError> {
        self.controller.alive().await;
        let mut machines = self.machines.iter();
        let found = machines
            .find(|machine| machine.name == target || machine.address.to_string() == target);
        let Some(machine) = found else {
            return Err(TransportError::Unreachable {
                address: format!("{target}:22"),
                why: "no such host is known".to_owned(),
            });
        };
        let link = self.connect_to(machine).await?;
        Ok(Arc::new(SimulatedSession::new(host.clone(), link)))
    }
}

#[async_trait]
impl Dial for SimulatedDialler {
    async fn dial(&self, host: &HostName) -> Result<Arc<dyn HostSession>, TransportError> {
        self.open(host, host.as_str()).await
    }
}

impl Dialler for SimulatedDialler {
    fn connector(&self, _: SshOptions, _: Arc<dyn Ask>) -> Arc<dyn HostConnector> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl HostConnector for SimulatedDialler {
    async fn connect(&self, host: &HostSettings) -> Result<Arc<dyn HostSession>, TransportError> {
        self.open(&host.name, &host.dial).await
    }
}
