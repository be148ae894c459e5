//! Which keys a host may show.
//!
//! The library's own helper is not used: it knows no wildcards, revoked keys or authorities, takes an unreadable file for an empty one and a
//! key of another algorithm for a new host. Owns: reading, matching, judging and appending. To add a marker: [`parse`], then [`judge`].

mod judge;
mod learn;
mod matching;
mod parse;

pub(super) use judge::{HostTrust, Question, fingerprint};
pub(super) use learn::{Learned, append};
pub(super) use matching::{list, list_cased, wildcard};
pub use parse::parse_for_fuzzing;
