//! Everything that shows events to a person or a program.
//!
//! Owns: the choice of format ([`OutputMode`]), the reporter ([`reporter`]), the live view
//! ([`ViewState`], [`render`]), plain lines, JSON lines, the ending ([`ending`]), the status table
//! ([`status_table`]), lists ([`listing`], [`bundle_table`]) and the printed plan ([`plan_text`]). Must not reach a
//! host. May import: `env`, `event`, `spec`.
//!
//! stdout is data (the ending, the JSON lines), stderr is everything else. Every text is escaped
//! once more here, and every format is a pure function of the events, so that tests can read it;
//! only `reporter`, `screen` and `writer` write.
//!
//! The live view is drawn by `screen` and not by indicatif: its bars pad each line with spaces to
//! the terminal's width, so a narrower window wraps every line and leaves ghosts, and it does not
//! say how many rows a frame takes.
//!
//! To add a format: a variant of [`OutputMode`], a file that turns events into text, a branch in
//! `reporter`, and a snapshot.

#![cfg_attr(
    not(test),
    warn(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::disallowed_macros
    )
)]

mod bundle;
mod ending;
mod json;
mod line;
mod listing;
mod live;
mod mode;
mod plain;
mod plan;
mod reporter;
mod screen;
mod state;
mod status;
mod table;
mod text;
mod transfer;
mod writer;

pub use bundle::{
    BundleImageView, BundleLayerView, BundleReport, BundleVariantView, bundle_json, bundle_table,
};
pub use ending::ending;
pub use json::{event_schema, json_line};
pub use listing::listing;
pub use live::{permanent_lines, render};
pub use mode::{Options, OutputMode, OutputModeError};
pub use plain::Plain;
pub use plan::{PlanChange, PlanHostView, plan_text};
pub use reporter::{PauseGuard, Pauser, ReporterEnd, ReporterHandle, reporter};
pub use screen::Screen;
pub use state::{GateView, HostPhase, HostView, RunningStep, Summary, ViewState};
pub use status::{status_json, status_table};
pub use transfer::{BundleSummary, TransferView};
pub use writer::Streams;
