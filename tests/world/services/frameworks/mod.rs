//! Marathon and Chronos: one of several leads, by ZooKeeper; the others pass every request on to it.
//! Applications and jobs are left out: nothing that toots does to a cluster asks for them.
//!
//! They know Mesos by its wire, and of its module how a leader is found. To add a framework: its file
//! with a [`Member`], and a row in `services::programs`.

mod chronos;
mod driver;
mod marathon;

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use chronos::Chronos;
pub use marathon::Marathon;

use super::Surroundings;
use super::coordination::{Link, Session};
use super::tasks::TaskHandle;
use super::view::{Row, Seat, Service};
use super::web::{Answer, Client, Request};
use crate::network::Network;
use crate::process::Process;
use crate::record::Notes;

#[derive(Default)]
struct State {
    /// `host:port` of the leader, and when it became another one.
    leader: Option<String>,
    leader_changed: Option<Instant>,
    leads: bool,
    /// It leads and has read its state.
    serves: bool,
    framework_id: Option<String>,
}

/// An instance of a framework, shared by its tasks.
struct Member {
    world: Surroundings,
    /// `host:port`, by which the others know it.
    own: String,
    hostname: String,
    address: Ipv4Addr,
    network: Network,
    notes: Notes,
    /// The `zk://` URL of the Mesos masters.
    masters: String,
    session: Mutex<Arc<dyn Session>>,
    seat: Seat,
    state: Mutex<State>,
    tasks: TaskHandle,
}

impl Member {
    fn new(
        world: &Surroundings,
        process: &Process,
        service: Service,
        (hostname, port): (String, u16),
        masters: String,
        session: Arc<dyn Session>,
        tasks: TaskHandle,
    ) -> Arc<Self> {
        let member = Self {
            world: world.clone(),
            own: format!("{hostname}:{port}"),
            hostname,
            address: process.address,
            network: process.network.clone(),
            notes: process.notes(),
            masters,
            session: Mutex::new(session),
            seat: world.view.sit(service, process.address, &process.name),
            state: Mutex::default(),
            tasks,
        };
        member.notes.note("start");
        Arc::new(member)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> Arc<dyn Session> {
        Arc::clone(&self.session.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_session(&self, session: Arc<dyn Session>) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }

    fn begin_to_lead(&self, framework_id: Option<String>) {
        {
            let mut state = self.state();
            state.framework_id = framework_id;
            state.serves = true;
        }
        self.seat.set(|row| {
            row.leads = true;
            row.serves = true;
        });
        self.notes.note("leader");
    }

    fn resign(&self) {
        {
            let mut state = self.state();
            state.leads = false;
            state.serves = false;
        }
        self.seat.set(|row| *row = Row::default());
    }

    /// Asks the leader what this one was asked.
    ///
    /// # Errors
    /// When it does not answer, or names this instance itself: the place of a former process.
    async fn forward(
        &self,
        leader: &str,
        mut request: Request,
        limit: Duration,
    ) -> io::Result<Answer> {
        let parts = leader.split_once(':').filter(|_| leader != self.own);
        let to = parts.and_then(|(host, port)| Some((host.parse().ok()?, port.parse().ok()?)));
        let (address, port) = to.ok_or(io::ErrorKind::InvalidInput)?;
        request
            .headers
            .retain(|name, _| matches!(name.as_str(), "content-type" | "accept"));
        let client = Client {
            network: self.network.clone(),
            from: self.address,
            limit,
        };
        client.send(address, port, request).await
    }
}

/// Returns once a session is connected.
async fn is_connected(session: &dyn Session) {
    loop {
        let seen = session.version();
        if session.link() == Link::Connected {
            return;
        }
        session.changed(seen).await;
    }
}
