//! What a run says while it goes on: the only way out of the engine.
//!
//! Owns: [`Event`], [`Outcome`], [`EventSink`] and the escaping of what hosts send. May import: `spec`.
//! To add one: a variant of [`Event`]; every reporter must then say how it shows it.

mod escape;
mod types;

pub use escape::escape;
pub use types::{Event, EventSink, Failure, HostResult, Outcome, RunResult, ServiceRow, Totals, WebAddress};
