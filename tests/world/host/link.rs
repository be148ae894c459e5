//! A connection between a controller and a machine, with an end at each of them. Each end learns of a
//! loss by itself, and maybe never.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use tokio::io::DuplexStream;

use super::controller::Controller;
use super::faults::{Fault, PointKind};
use super::machine::Machine;
use super::power::Power;
use crate::changes::Bell;

/// A controller gives a silent connection up after this long.
pub const KEEPALIVE_LIMIT: Duration = Duration::from_secs(45);
/// A kernel that hears nothing of a connection asks after two hours.
const KERNEL_KEEPALIVE: Duration = Duration::from_secs(2 * 60 * 60);

/// The controller's end of a stream's pipe, as long as the host believes in the stream.
pub type PipeEnd = Arc<Mutex<Option<DuplexStream>>>;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Carries,
    /// The machine hangs: it arrives when that goes on.
    Waits,
    /// It never arrives, and the controller does not know.
    Lost,
    Closed,
}

#[derive(Default)]
struct State {
    is_lost: bool,
    is_ended_at_host: bool,
    pipes: Vec<PipeEnd>,
    wakers: Vec<Waker>,
    /// Sessions and streams on it.
    users: usize,
    /// The pipe of the process that holds the lock.
    companion: Option<PipeEnd>,
}

pub struct Link {
    pub controller: Controller,
    pub machine: Arc<Machine>,
    /// Why the connection is closed, once the controller knows.
    closed: Mutex<Option<String>>,
    closed_bell: Bell,
    state: Mutex<State>,
}

fn close_pipe(pipe: &PipeEnd) {
    pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
}

impl Link {
    pub fn new(controller: &Controller, machine: &Arc<Machine>) -> Arc<Self> {
        let link = Arc::new(Self {
            controller: controller.clone(),
            machine: Arc::clone(machine),
            closed: Mutex::default(),
            closed_bell: Bell::default(),
            state: Mutex::default(),
        });
        controller.add_link(&link);
        machine.add_link(&link);
        link
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of what is sent. A network that is cut shows when it is used.
    pub fn condition(self: &Arc<Self>) -> Condition {
        if !self.is_open() {
            return Condition::Closed;
        }
        if self.state().is_lost {
            return Condition::Lost;
        }
        let network = &self.machine.network;
        match self.machine.power() {
            Power::Hangs => Condition::Waits,
            Power::On if network.reaches(self.controller.address(), self.machine.address) => {
                Condition::Carries
            }
            _ => {
                self.lose(KEEPALIVE_LIMIT, false);
                Condition::Lost
            }
        }
    }

    /// Whether what is sent arrives, now or when the machine goes on.
    pub fn carries(self: &Arc<Self>) -> bool {
        matches!(self.condition(), Condition::Carries | Condition::Waits)
    }

    /// Whether the controller believes in it.
    pub fn is_open(&self) -> bool {
        self.why_closed().is_none()
    }

    pub fn is_ended_at_host(&self) -> bool {
        self.state().is_ended_at_host
    }

    pub fn why_closed(&self) -> Option<String> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.clone()
    }

    /// Returns why, once the controller knows that it is closed.
    pub async fn closed(&self) -> String {
        self.closed_bell.wait_for(|| self.why_closed()).await
    }

    pub fn wake(&self) {
        let wakers = std::mem::take(&mut self.state().wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub fn wake_later(&self, waker: &Waker) {
        let wakers = &mut self.state().wakers;
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    pub fn close_at_controller(&self, why: &str) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.get_or_insert_with(|| why.to_owned());
        drop(closed);
        self.closed_bell.ring();
        self.wake();
    }

    /// The host's end closes: what it runs goes on, but its input has ended.
    pub fn end_at_host(&self) {
        let mut state = self.state();
        state.is_ended_at_host = true;
        let pipes = std::mem::take(&mut state.pipes);
        drop(state);
        pipes.iter().for_each(close_pipe);
        self.wake();
    }

    pub fn add_pipe(&self, near: DuplexStream) -> PipeEnd {
        let pipe = Arc::new(Mutex::new(Some(near)));
        let mut state = self.state();
        if state.is_ended_at_host {
            close_pipe(&pipe);
        } else {
            let is_open = |pipe: &PipeEnd| {
                let pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
                pipe.is_some()
            };
            state.pipes.retain(is_open);
            state.pipes.push(Arc::clone(&pipe));
        }
        pipe
    }

    pub fn add_user(&self) {
        self.state().users += 1;
    }

    /// The last one to leave closes it.
    pub fn remove_user(self: &Arc<Self>) {
        let mut state = self.state();
        state.users -= 1;
        let is_unused = state.users == 0;
        drop(state);
        if is_unused {
            self.close("closed by toots");
        }
    }

    /// A connection has room for one companion: starting another one ends the former.
    pub fn set_companion(&self, pipe: &PipeEnd) {
        let former = self.state().companion.replace(Arc::clone(pipe));
        if let Some(former) = former {
            close_pipe(&former);
        }
    }

    /// Both ends close in order.
    pub fn close(self: &Arc<Self>, why: &str) {
        match self.condition() {
            Condition::Carries => self.end_at_host(),
            Condition::Waits => self.end_when_awake(),
            Condition::Lost | Condition::Closed => {}
        }
        self.close_at_controller(why);
    }

    /// A machine that hangs finds the end when it goes on.
    fn end_when_awake(self: &Arc<Self>) {
        let link = Arc::clone(self);
        tokio::spawn(async move {
            link.machine.awake().await;
            link.end_at_host();
        });
    }

    /// The host closes it.
    pub fn close_by_host(self: &Arc<Self>) {
        let is_seen = self.condition() == Condition::Carries;
        self.end_at_host();
        if is_seen {
            self.close_at_controller("closed by the host");
        } else {
            self.lose(KEEPALIVE_LIMIT, false);
        }
    }

    /// Nothing crosses it any more.
    pub fn lose(self: &Arc<Self>, noticed_after: Duration, host_notices: bool) {
        if std::mem::replace(&mut self.state().is_lost, true) {
            return;
        }
        let at_controller = Arc::downgrade(self);
        after(at_controller, noticed_after, |link| {
            link.close_at_controller("keepalive timed out");
        });
        let noticed = if host_notices {
            noticed_after
        } else {
            KERNEL_KEEPALIVE
        };
        // The host's end lives on without anybody at the controller.
        let link = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(noticed).await;
            link.end_at_host();
        });
    }

    /// The machine is without power: it neither sends nor keeps anything.
    pub fn vanish(self: &Arc<Self>) {
        self.lose(KEEPALIVE_LIMIT, true);
        self.end_at_host();
    }

    /// The machine has started anew, and knows nothing of the connection.
    pub fn reset(&self) {
        if self.is_ended_at_host() {
            self.close_at_controller("connection reset by the host");
        }
    }

    /// The machine hangs: a controller that waits too long gives up.
    pub fn hang(self: &Arc<Self>) {
        after(Arc::downgrade(self), KEEPALIVE_LIMIT, |link| {
            if !link.machine.is_awake() && link.is_open() {
                link.state().is_lost = true;
                link.end_when_awake();
                link.close_at_controller("keepalive timed out");
            }
        });
    }

    /// Lets a fault happen; what takes time only is returned.
    pub fn suffer(self: &Arc<Self>, fault: Fault) -> Duration {
        match fault {
            Fault::Controller(fault) => self.controller.suffer(fault),
            Fault::ConnectionLost {
                noticed_after,
                host_notices,
            } => self.lose(noticed_after, host_notices),
            Fault::Slow(by) => return by,
            fault => self.machine.suffer(fault),
        }
        Duration::ZERO
    }

    /// Passes a point of this connection.
    pub fn pass(self: &Arc<Self>, kind: PointKind, name: impl Into<String>) -> Option<Fault> {
        self.machine.points.pass(&self.machine.name, kind, name)
    }
}

fn after(link: Weak<Link>, pause: Duration, act: impl FnOnce(Arc<Link>) + Send + 'static) {
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        if let Some(link) = link.upgrade() {
            act(link);
        }
    });
}
