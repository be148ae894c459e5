//! The keys that a host may present.
//!
//! The library's own helper is not used: it ignores wildcards, revoked keys and authorities, treats
//! an unreadable file as empty, and a key of another algorithm as a new host. Owns: parsing,
//! matching, judging and appending. To add a marker: [`parse`], then [`judge`].

mod judge;
mod learn;
mod matching;
mod parse;
mod revoked;

pub(super) use judge::{HostTrust, Question, fingerprint, rsa_bits};
pub(super) use learn::{Learned, append};
pub(super) use matching::{list, list_cased, wildcard};
pub use parse::parse_for_fuzzing;
