//! What a run says while it goes on: the only way out of the engine.
//!
//! Owns: [`Event`], [`Outcome`], [`EventSink`]. May import: `spec`.
//! To add one: a variant of [`Event`]; every reporter must then say how it shows it.

mod types;

pub use crate::spec::shown as escape;
pub use types::{
    Event, EventSink, Failure, HostResult, Outcome, RunResult, ServiceRow, Totals, WebAddress,
};
