//! Questions about health.
mod gate;
mod types;

pub use gate::{Groups, gate, ordinary};
pub use types::{Member, Proof, Verdict};
