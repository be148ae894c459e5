//! Questions about health: one file for each service that has a leader or a quorum, and the ordinary kinds.
//!
//! Owns: the questions and their pure judgement. May import: `transport`, `docker`, `spec`.
//! To add a service: a file with `read` (asks every member) and `judge` (pure), and one line in `ask`.

mod types;

pub use types::{Member, Proof, Verdict};
