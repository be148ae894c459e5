//! Carries a plan out: connects, observes, applies phases with their gates, and says everything as events.
//!
//! Owns: [`up`], [`status`] and the failure policy. May import: `plan`, `probe`, `guard`, `event` and the rooms below them.
//! It does not know that terminals exist. To add a kind of change: a variant of `plan::Step` and its arm in `apply.rs`.

mod apply;
mod components;
mod compose;
mod connect;
mod context;
mod failure;
mod gates;
mod images;
mod ledger;
mod line;
mod place;
mod planned;
mod prepare;
mod status;
mod summary;
mod up;
mod work;

pub use context::{Cancel, Confirm, Context, HostInfo, Mode, RegistryLogin, Timeouts};
pub use planned::Planned;
pub use status::{ComponentState, StatusView, status};
pub use up::{observe_and_plan, up};
