//! What the programs are at this moment, for whoever checks invariants: read without waiting, and
//! without asking a program.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    MesosMaster,
    MesosAgent,
    Marathon,
    Chronos,
    Registrator,
    ConsulTemplate,
    Haproxy,
    Keepalived,
    Other,
}

/// A running program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// It leads its service: a Mesos master, Marathon, Chronos, the holder of the VIP.
    pub leads: bool,
    /// It serves: a master's replica votes, an agent is registered, a framework or a balancer answers.
    pub serves: bool,
    /// A master's `--quorum`.
    pub quorum: usize,
}

/// What an edge last said to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    pub priority: u8,
    pub password: String,
    pub at: Instant,
}

type Key = (Service, Ipv4Addr, String);

#[derive(Default)]
struct Table {
    /// With the number of the seat.
    rows: BTreeMap<Key, (u64, Row)>,
    next_seat: u64,
    /// Addresses that machines hold besides their own.
    held: BTreeSet<(Ipv4Addr, Ipv4Addr)>,
    /// By the machine that said it and the address that it is about.
    adverts: BTreeMap<(Ipv4Addr, Ipv4Addr), Advert>,
}

/// Cloned handles see one table.
#[derive(Clone, Default)]
pub struct View(Arc<Mutex<Table>>);

/// A program's place in the table; it leaves when the program ends, however it ends.
pub struct Seat {
    view: View,
    key: Key,
    number: u64,
}

impl View {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn sit(&self, service: Service, machine: Ipv4Addr, name: &str) -> Seat {
        let key = (service, machine, name.to_owned());
        let mut table = self.lock();
        let number = table.next_seat;
        table.next_seat += 1;
        table.rows.insert(key.clone(), (number, Row::default()));
        Seat {
            view: self.clone(),
            key,
            number,
        }
    }

    /// The running programs of a service by machine.
    pub fn rows(&self, service: Service) -> BTreeMap<Ipv4Addr, Row> {
        let table = self.lock();
        let rows = table.rows.iter().filter(|(key, _)| key.0 == service);
        rows.map(|(key, (_, row))| (key.1, row.clone())).collect()
    }

    /// Machines whose member of a service serves.
    pub fn serving(&self, service: Service) -> BTreeSet<Ipv4Addr> {
        let rows = self.rows(service).into_iter();
        rows.filter(|(_, row)| row.serves)
            .map(|(at, _)| at)
            .collect()
    }

    /// Machines whose member of a service leads it; more than one is a split.
    pub fn leading(&self, service: Service) -> BTreeSet<Ipv4Addr> {
        let rows = self.rows(service).into_iter();
        rows.filter(|(_, row)| row.leads)
            .map(|(at, _)| at)
            .collect()
    }

    pub fn hold(&self, machine: Ipv4Addr, address: Ipv4Addr, is_held: bool) {
        let mut table = self.lock();
        if is_held {
            table.held.insert((machine, address))
        } else {
            table.held.remove(&(machine, address))
        };
    }

    pub fn advertise(&self, machine: Ipv4Addr, about: Ipv4Addr, advert: Advert) {
        self.lock().adverts.insert((machine, about), advert);
    }

    pub fn advert(&self, machine: Ipv4Addr, about: Ipv4Addr) -> Option<Advert> {
        self.lock().adverts.get(&(machine, about)).cloned()
    }

    /// The addresses that a machine holds besides its own, as `ip addr` lists them.
    pub fn held(&self, machine: Ipv4Addr) -> BTreeSet<Ipv4Addr> {
        let table = self.lock();
        let held = table.held.iter().filter(|(at, _)| *at == machine);
        held.map(|(_, address)| *address).collect()
    }
}

impl Seat {
    pub fn set(&self, change: impl FnOnce(&mut Row)) {
        let mut table = self.view.lock();
        let row = table.rows.get_mut(&self.key);
        if let Some((_, row)) = row.filter(|(number, _)| *number == self.number) {
            change(row);
        }
    }

    pub fn row(&self) -> Row {
        let table = self.view.lock();
        let row = table
            .rows
            .get(&self.key)
            .filter(|(number, _)| *number == self.number);
        row.map(|(_, row)| row.clone()).unwrap_or_default()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.view.lock();
        // The next process of the same container may sit there already.
        if table
            .rows
            .get(&self.key)
            .is_some_and(|(number, _)| *number == self.number)
        {
            table.rows.remove(&self.key);
        }
    }
}
