//! The network between simulated machines: who listens where, and who does not reach whom.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::changes::{Changes, Subscription};

/// How long a connection takes that nobody answers.
const CONNECT_LIMIT: Duration = Duration::from_secs(130);

/// A connection with the address that it came from.
pub type Incoming = (DuplexStream, Ipv4Addr);

/// A process that listens, as its machine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    /// Id of its container.
    pub container: String,
}

struct Bound {
    sender: mpsc::Sender<Incoming>,
    holder: Option<Holder>,
}

#[derive(Default)]
struct Wires {
    listeners: BTreeMap<(Ipv4Addr, u16), Bound>,
    /// Pairs that do not reach each other, the lower address first.
    cut: BTreeSet<(Ipv4Addr, Ipv4Addr)>,
    /// Machines without power, or cut off from everybody.
    silent: BTreeSet<Ipv4Addr>,
    latency: Duration,
    /// Addresses that machines hold besides their own.
    held: BTreeSet<(Ipv4Addr, Ipv4Addr)>,
    /// Of who reaches whom.
    changes: Changes,
}

/// Cloned handles see one network.
#[derive(Clone, Default)]
pub struct Network {
    wires: Arc<Mutex<Wires>>,
    /// Who listens through this handle.
    holder: Option<Holder>,
}

/// A port that a program listens at; dropped, it is free.
pub struct Listener {
    network: Network,
    at: (Ipv4Addr, u16),
    incoming: mpsc::Receiver<Incoming>,
}

impl Listener {
    pub async fn accept(&mut self) -> Incoming {
        match self.incoming.recv().await {
            Some(incoming) => incoming,
            None => std::future::pending().await,
        }
    }

    /// Closes every connection: what members say to each other there is not on the wire.
    pub async fn accept_in_vain(mut self) {
        loop {
            drop(self.accept().await);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.network.lock().listeners.remove(&self.at);
    }
}

impl Network {
    fn lock(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// # Errors
    /// When another program listens there.
    pub fn listen(&self, address: Ipv4Addr, port: u16) -> io::Result<Listener> {
        let at = (address, port);
        let (sender, incoming) = mpsc::channel(64);
        let mut wires = self.lock();
        if wires.listeners.contains_key(&at) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let holder = self.holder.clone();
        wires.listeners.insert(at, Bound { sender, holder });
        Ok(Listener {
            network: self.clone(),
            at,
            incoming,
        })
    }

    pub fn listens(&self, address: Ipv4Addr, port: u16) -> bool {
        self.lock().listeners.contains_key(&(address, port))
    }

    /// The network as a process sees it, which then holds the ports at which it listens.
    pub fn of_process(&self, holder: Holder) -> Self {
        Self {
            wires: Arc::clone(&self.wires),
            holder: Some(holder),
        }
    }

    /// The ports at which somebody listens there, in order, and who.
    pub fn ports(&self, address: Ipv4Addr) -> Vec<(u16, Option<Holder>)> {
        let wires = self.lock();
        let bound = wires.listeners.iter().filter(|(at, _)| at.0 == address);
        bound
            .map(|(at, bound)| (at.1, bound.holder.clone()))
            .collect()
    }

    pub fn latency(&self) -> Duration {
        self.lock().latency
    }

    pub fn reaches(&self, from: Ipv4Addr, to: Ipv4Addr) -> bool {
        let wires = self.lock();
        let pair = (from.min(to), from.max(to));
        from == to
            || !(wires.cut.contains(&pair)
                || wires.silent.contains(&from)
                || wires.silent.contains(&to))
    }

    /// Changes of who reaches whom, so that programs need not look at times.
    pub fn changes(&self) -> Subscription {
        self.lock().changes.subscribe()
    }

    /// Cuts the wire between two machines, or mends it. Connections that are open go on until their
    /// ends notice.
    pub fn cut(&self, a: Ipv4Addr, b: Ipv4Addr, is_cut: bool) {
        let pair = (a.min(b), a.max(b));
        let mut wires = self.lock();
        if is_cut {
            wires.cut.insert(pair)
        } else {
            wires.cut.remove(&pair)
        };
        wires.changes.add();
    }

    /// Cuts a machine off from everybody, or mends it.
    pub fn silence(&self, address: Ipv4Addr, is_silent: bool) {
        let mut wires = self.lock();
        if is_silent {
            wires.silent.insert(address)
        } else {
            wires.silent.remove(&address)
        };
        wires.changes.add();
    }

    /// A machine takes another address, or gives it up.
    pub fn hold(&self, machine: Ipv4Addr, address: Ipv4Addr, is_held: bool) {
        let mut wires = self.lock();
        if is_held {
            wires.held.insert((machine, address))
        } else {
            wires.held.remove(&(machine, address))
        };
    }

    /// What a machine took is gone with its power.
    pub fn release(&self, machine: Ipv4Addr) {
        self.lock().held.retain(|(at, _)| *at != machine);
    }

    pub fn held(&self, machine: Ipv4Addr) -> Vec<Ipv4Addr> {
        let wires = self.lock();
        let held = wires.held.iter().filter(|(at, _)| *at == machine);
        held.map(|(_, address)| *address).collect()
    }

    /// # Errors
    /// Refused when nobody listens there; timed out when the machine is not reached.
    pub async fn connect(
        &self,
        from: Ipv4Addr,
        to: Ipv4Addr,
        port: u16,
    ) -> io::Result<DuplexStream> {
        let latency = self.lock().latency;
        tokio::time::sleep(latency).await;
        if !self.reaches(from, to) {
            tokio::time::sleep(CONNECT_LIMIT).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        let listener = self
            .lock()
            .listeners
            .get(&(to, port))
            .map(|bound| bound.sender.clone());
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = listener.ok_or_else(refused)?;
        let (near, far) = tokio::io::duplex(64 * 1024);
        listener.send((far, from)).await.map_err(|_| refused())?;
        Ok(near)
    }
}
