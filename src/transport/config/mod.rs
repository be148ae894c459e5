//! ssh_config, parsed as OpenSSH does: the first value wins, `Host` and `Match` blocks, `Include`,
//! tokens, a second pass for `final`.
//!
//! Own parser: the published crates lack `Match`, tokens or `Include` inside blocks, and `ssh -G`
//! needs a client on the operator's machine and does not tell the origin of a value. A test
//! compares this parser with `ssh -G` over generated files. To add a keyword: [`keywords`],
//! then its use in `endpoint`.

mod algorithms;
mod criteria;
mod error;
mod keywords;
mod lex;
mod read;
mod tokens;
mod values;

pub(super) use algorithms::AlgorithmList;
pub(super) use error::ConfigError;
pub(super) use keywords::REFUSED;
pub(super) use read::{Files, read};
pub(super) use tokens::Tokens;
pub(super) use values::{Values, time};

/// Parses any text; for fuzzing.
#[doc(hidden)]
#[must_use]
pub fn fuzz_ssh_config(text: &str, name: &str) -> usize {
    read::fuzz(text, name)
}
