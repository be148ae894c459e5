//! What a run reports: the only way out of the engine.
//!
//! Owns: [`Event`], [`Outcome`], [`EventSink`], [`StatusReport`]. Must not know how an event is shown.
//! May import: `spec`. To add one: a variant of [`Event`]; every reporter must then show it.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod status;
mod types;

pub use crate::spec::shown as escape;
pub use status::{ComponentView, HostStatusView, ServiceView, StatusReport};
pub use types::{
    Event, EventSink, Failure, HostResult, Outcome, RunResult, ServiceRow, Totals, VERSION,
    WebAddress,
};
