//! Cuts: how a run is cut off, and where.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::controller::ControllerFault;
use crate::host::faults::{Fault, Point};
use crate::random::Random;

/// How a run is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cut {
    Killed,
    /// The host learns of it at once.
    Lost,
    /// The host believes in the connection.
    LostUnnoticed,
    Interrupted,
    Deadline,
}

pub const CUTS: [Cut; 5] = [
    Cut::Killed,
    Cut::Lost,
    Cut::LostUnnoticed,
    Cut::Interrupted,
    Cut::Deadline,
];

impl Cut {
    /// The fault at its point; a deadline has none, it is an argument.
    pub fn fault(self) -> Option<Fault> {
        let lost = |host_notices| Fault::ConnectionLost {
            noticed_after: Duration::ZERO,
            host_notices,
        };
        match self {
            Self::Killed => Some(Fault::Controller(ControllerFault::Killed)),
            Self::Lost => Some(lost(true)),
            Self::LostUnnoticed => Some(lost(false)),
            Self::Interrupted => Some(Fault::Controller(ControllerFault::Interrupted)),
            Self::Deadline => None,
        }
    }

    /// Between two halves of a request only what ends the connection cuts them apart.
    pub fn applies_to(self, point: &Point) -> bool {
        self.fault()
            .is_none_or(|fault| fault.applies_to(point.kind))
    }
}

/// A point of a run, and how long after its beginning it is passed.
#[derive(Debug, Clone)]
pub struct PassedPoint {
    pub point: Point,
    pub after: Duration,
}

/// Where a run is cut off, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlacedCut {
    pub cut: Cut,
    pub number: usize,
    pub after: Duration,
    /// The point as it is shown.
    point: String,
}

impl PlacedCut {
    pub fn new(cut: Cut, PassedPoint { point, after }: &PassedPoint) -> Self {
        Self {
            cut,
            number: point.number,
            after: *after,
            point: point.to_string(),
        }
    }

    /// One of the cuts at these points.
    pub fn draw(random: &mut Random, points: &[PassedPoint]) -> Option<Self> {
        if points.is_empty() {
            return None;
        }
        loop {
            let (cut, at) = (*random.choose(&CUTS), random.choose(points));
            if cut.applies_to(&at.point) {
                return Some(Self::new(cut, at));
            }
        }
    }
}

impl fmt::Display for PlacedCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.cut, self.point)
    }
}

/// A cut that is lived in a copy of this process.
#[derive(Debug, Clone)]
pub struct PlannedCut {
    /// By which its results are found.
    pub id: usize,
    pub cut: PlacedCut,
    /// The seed by which a second cut of the run after it is drawn.
    pub second: Option<u64>,
}
