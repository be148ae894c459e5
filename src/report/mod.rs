//! Everything that shows events to a person or a program.
//!
//! Owns: the choice of form ([`Mode`]), the reporter thread ([`reporter`]), the live view ([`ViewState`], [`render`]), plain lines,
//! JSON lines, the ending ([`ending`]), the status table ([`status_table`]), lists ([`listing`]) and the printed plan ([`plan_text`]).
//! May import: `event`, `spec`.
//!
//! stdout is data (the ending, the JSON lines), stderr is everything else. Every text is escaped once more here, whoever made it, and
//! every form is a pure function of what happened, so that a test can read it; only `reporter` and `screen` touch a terminal.
//!
//! The live view is drawn by `screen` and not by indicatif: its bars pad each line with spaces to the terminal's width, so that a
//! narrower window wraps every line and leaves ghosts, and it cannot be told how many rows a frame has become.
//!
//! To add a form: a variant of [`Mode`], a file that turns events into text, a branch in `reporter`, and a snapshot.

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

pub use ending::ending;
pub use json::json_line;
pub use listing::listing;
pub use live::{permanent, render};
pub use mode::{Mode, ModeError, Options};
pub use plain::Plain;
pub use plan::{PlanChange, PlanHostView, plan_text};
pub use reporter::{PauseGuard, Pauser, ReporterHandle, print, reporter, reporter_to};
pub use screen::Screen;
pub use state::{GateView, HostPhase, HostView, RunningStep, Summary, ViewState};
pub use status::{
    ComponentView, HostStatusView, ServiceView, StatusReport, status_json, status_table,
};
