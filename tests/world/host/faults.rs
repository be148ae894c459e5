//! Points at which a life can be cut off, and what can go wrong there.
//!
//! Every call of a session, every step that a host takes for it, every stream and every read and write
//! on it is a point. A life without faults lists its points ([`Points::passed`]); another life with the
//! same seed comes to the same ones, so that a fault can be set at each of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::controller::ControllerFault;
use tokio::time::Instant;

use crate::random::Random;
use crate::record::Record;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PointKind {
    /// A connection is about to be made.
    Dial,
    /// A request is about to be sent: a fault leaves no effect.
    Send,
    /// Half of a request was sent.
    SendHalf,
    /// The host is in the middle of it.
    Step,
    /// The host has done it, and the answer is under way.
    Answer,
    Open,
    Write,
    WriteHalf,
    Written,
    Read,
    ReadHalf,
}

/// A point that was passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub number: usize,
    pub at: Instant,
    pub host: String,
    pub kind: PointKind,
    pub name: String,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number, host, name, ..
        } = self;
        write!(f, "{number}: {host}: {name} ({:?})", self.kind)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// When the controller's process is killed, its machine closes its connections.
    Controller(ControllerFault),
    /// Nothing crosses the connection any more.
    ConnectionLost {
        /// When the controller notices.
        noticed_after: Duration,
        /// Whether the host notices then too. Else it believes in the connection for hours.
        host_notices: bool,
    },
    /// The host does nothing for so long, and then goes on.
    HostHangs(Duration),
    /// The host loses its power, and starts again after so long.
    PowerCut(Duration),
    /// The host loses its power for good.
    HostDies,
    /// The host refuses the channel.
    ChannelRefused,
    /// No byte is free on the host's disk for so long.
    DiskFull(Duration),
    /// The answer takes longer; others may overtake it.
    Slow(Duration),
    /// The host's Engine ends with its containers, and starts again after so long.
    EngineRestarts(Duration),
    /// The process of a leading member ends, wherever that is, and its service elects anew.
    LeaderEnds,
}

impl Fault {
    pub const NAMES: [&'static str; 13] = [
        "controller killed",
        "connection lost",
        "connection lost unnoticed by the host",
        "host hangs",
        "power cut",
        "host dies",
        "channel refused",
        "disk full",
        "slow",
        "interrupted",
        "controller held",
        "Engine restarts",
        "service elects anew",
    ];

    pub fn name(&self) -> &'static str {
        Self::NAMES[match self {
            Self::Controller(ControllerFault::Killed) => 0,
            Self::Controller(
                ControllerFault::Interrupted
                | ControllerFault::Terminated
                | ControllerFault::HungUp,
            ) => 9,
            Self::Controller(ControllerFault::Held(_)) => 10,
            Self::ConnectionLost { host_notices, .. } => 2 - usize::from(*host_notices),
            Self::HostHangs(_) => 3,
            Self::PowerCut(_) => 4,
            Self::HostDies => 5,
            Self::ChannelRefused => 6,
            Self::DiskFull(_) => 7,
            Self::Slow(_) => 8,
            Self::EngineRestarts(_) => 11,
            Self::LeaderEnds => 12,
        }]
    }

    /// Whether nothing more crosses the connection.
    pub fn ends_connection(&self) -> bool {
        match self {
            Self::Controller(fault) => *fault == ControllerFault::Killed,
            Self::ConnectionLost { .. } | Self::PowerCut(_) | Self::HostDies => true,
            Self::HostHangs(_)
            | Self::ChannelRefused
            | Self::DiskFull(_)
            | Self::Slow(_)
            | Self::EngineRestarts(_)
            | Self::LeaderEnds => false,
        }
    }

    /// Whether it makes a difference at such a point.
    pub fn applies_to(&self, kind: PointKind) -> bool {
        match self {
            Self::ChannelRefused => kind == PointKind::Open,
            Self::DiskFull(_) => matches!(kind, PointKind::Send | PointKind::Step),
            Self::Slow(_) => matches!(
                kind,
                PointKind::Dial | PointKind::Send | PointKind::Answer | PointKind::Read
            ),
            // Between two halves only what cuts them apart.
            Self::HostHangs(_) | Self::EngineRestarts(_) | Self::LeaderEnds => {
                !matches!(kind, PointKind::SendHalf | PointKind::WriteHalf)
            }
            Self::Controller(fault) if *fault != ControllerFault::Killed => {
                !matches!(kind, PointKind::SendHalf | PointKind::WriteHalf)
            }
            _ => true,
        }
    }

    /// A fault of any kind.
    pub fn draw(random: &mut Random) -> Self {
        let noticed_after = Duration::from_secs(*random.choose(&[0, 45]));
        let lasts = Duration::from_secs(*random.choose(&[5, 60, 300]));
        // Those that find fewer points are drawn more often.
        match random.below(19) {
            0 | 18 => Self::Controller(ControllerFault::Killed),
            1 => Self::ConnectionLost {
                noticed_after,
                host_notices: true,
            },
            2 => Self::ConnectionLost {
                noticed_after,
                host_notices: false,
            },
            3 => Self::HostHangs(lasts),
            4 => Self::PowerCut(lasts),
            5 => Self::HostDies,
            6 | 14 | 16 | 17 => Self::ChannelRefused,
            7 => Self::DiskFull(lasts),
            8 => Self::Controller(*random.choose(&[
                ControllerFault::Interrupted,
                ControllerFault::Interrupted,
                ControllerFault::Terminated,
                ControllerFault::HungUp,
            ])),
            9 | 15 => Self::Controller(ControllerFault::Held(lasts)),
            10 => Self::EngineRestarts(Duration::from_secs(*random.choose(&[1, 20]))),
            11 => Self::LeaderEnds,
            // Only some of them reorder answers.
            _ => Self::Slow(Duration::from_millis(random.below(20_000))),
        }
    }

    /// One for a point of this kind, which may not apply to it.
    fn draw_at(random: &mut Random, kind: PointKind) -> Self {
        let lasts = Duration::from_secs(*random.choose(&[5, 60, 300]));
        // Few points can be refused, or change a disk.
        if kind == PointKind::Open && random.below(2) == 0 {
            return Self::ChannelRefused;
        }
        let is_write = matches!(kind, PointKind::Send | PointKind::Step);
        if is_write && random.below(6) == 0 {
            return Self::DiskFull(lasts);
        }
        Self::draw(random)
    }
}

/// A fault that waits for a run that changes hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingFault {
    /// How many points the run passes between its first change and the fault, at least. Of those that
    /// follow it is the first to which the fault applies.
    pub after: u64,
    /// It waits until a host works on a change.
    pub meets_change: bool,
    pub fault: Fault,
}

struct WaitingFaults {
    record: Record,
    /// How many changes hosts had received before.
    received: usize,
    /// Points since the first change.
    passed: u64,
    faults: Vec<WaitingFault>,
}

impl WaitingFaults {
    fn find(&mut self, kind: PointKind) -> Option<Fault> {
        let counts = self.record.count_changes();
        if counts.received == self.received {
            return None;
        }
        self.passed += 1;
        let is_due = |waiting: &WaitingFault| {
            waiting.after < self.passed
                && waiting.fault.applies_to(kind)
                && (counts.under_way > 0 || !waiting.meets_change)
        };
        let at = self.faults.iter().position(is_due)?;
        Some(self.faults.remove(at).fault)
    }
}

/// Which faults occur in a life.
#[derive(Default)]
pub struct Faults {
    at: BTreeMap<usize, Fault>,
    drawn: Option<DrawnFaults>,
    waiting: Option<WaitingFaults>,
}

struct DrawnFaults {
    random: Random,
    /// One point of so many has a fault.
    every: u64,
    left: usize,
}

impl Faults {
    /// One fault, at the point of this number.
    pub fn at(number: usize, fault: Fault) -> Self {
        Self {
            at: [(number, fault)].into(),
            ..Self::default()
        }
    }

    /// Faults of every kind, at about one of `every` points, until there were `limit`.
    pub fn drawn(seed: u64, every: u64, limit: usize) -> Self {
        let drawn = DrawnFaults {
            random: Random::new(seed),
            every,
            left: limit,
        };
        Self {
            drawn: Some(drawn),
            ..Self::default()
        }
    }

    /// Faults of the next run that changes hosts, as `record` says.
    pub fn waiting(record: &Record, faults: Vec<WaitingFault>) -> Self {
        let waiting = WaitingFaults {
            record: record.clone(),
            received: record.count_changes().received,
            passed: 0,
            faults,
        };
        Self {
            waiting: Some(waiting),
            ..Self::default()
        }
    }

    fn find(&mut self, number: usize, kind: PointKind) -> Option<Fault> {
        if let Some(fault) = self.at.remove(&number) {
            return fault.applies_to(kind).then_some(fault);
        }
        if let Some(waiting) = &mut self.waiting {
            return waiting.find(kind);
        }
        let drawn = self.drawn.as_mut().filter(|drawn| drawn.left > 0)?;
        if drawn.random.below(drawn.every) != 0 {
            return None;
        }
        let fault = Fault::draw_at(&mut drawn.random, kind);
        let applies = fault.applies_to(kind);
        drawn.left -= usize::from(applies);
        applies.then_some(fault)
    }
}

/// May say what goes wrong at a point.
type OnPass = Arc<dyn Fn(&Point) -> Option<Fault> + Send + Sync>;
/// Ends the process of a leader, chosen by a number; whether there was one.
type OnLeaderEnd = Arc<dyn Fn(u64) -> bool + Send + Sync>;

#[derive(Default)]
struct State {
    on_pass: Option<OnPass>,
    on_leader_end: Option<OnLeaderEnd>,
    passed: Vec<Point>,
    faults: Faults,
    counts: BTreeMap<&'static str, u64>,
    /// When faults occurred.
    suffered: Vec<Instant>,
}

/// The points of a world. Cloned handles count together.
#[derive(Clone, Default)]
pub struct Points(Arc<Mutex<State>>);

impl Points {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a point; returns what goes wrong there.
    pub fn pass(&self, host: &str, kind: PointKind, name: impl Into<String>) -> Option<Fault> {
        let mut state = self.state();
        let number = state.passed.len();
        let point = Point {
            number,
            at: Instant::now(),
            host: host.to_owned(),
            kind,
            name: name.into(),
        };
        state.passed.push(point.clone());
        let mut fault = None;
        if let Some(on_pass) = state.on_pass.clone() {
            drop(state);
            fault = on_pass(&point);
            state = self.state();
        }
        let fault = fault.or_else(|| state.faults.find(number, kind))?;
        *state.counts.entry(fault.name()).or_default() += 1;
        state.suffered.push(Instant::now());
        Some(fault)
    }

    /// Calls a function at each point from now on, which may say what goes wrong there.
    pub fn on_pass(&self, act: impl Fn(&Point) -> Option<Fault> + Send + Sync + 'static) {
        self.state().on_pass = Some(Arc::new(act));
    }

    /// Says how the process of a leader is ended: hosts do not know who leads.
    pub fn on_leader_end(&self, act: impl Fn(u64) -> bool + Send + Sync + 'static) {
        self.state().on_leader_end = Some(Arc::new(act));
    }

    pub fn end_leader(&self, number: u64) {
        let act = self.state().on_leader_end.clone();
        if act.is_some_and(|act| act(number)) {
            self.count("a leader's process ended");
        }
    }

    /// When faults occurred.
    pub fn suffered(&self) -> Vec<Instant> {
        self.state().suffered.clone()
    }

    pub fn count_passed(&self) -> usize {
        self.state().passed.len()
    }

    pub fn passed(&self) -> Vec<Point> {
        self.state().passed.clone()
    }

    /// Sets what goes wrong from now on; `Faults::default()` is nothing.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Counts what a fault led to.
    pub fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    /// How often each kind of fault occurred so far.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state().counts.clone()
    }
}
