//! ssh_config, read as OpenSSH reads it: the first value wins, `Host` and `Match` blocks, `Include`, tokens, a second pass for `final`.
//!
//! A parser of our own: the published crates leave out `Match`, tokens or `Include` in blocks, and `ssh -G` needs a client on the
//! operator's machine and says nothing of where a value came from. A test compares this reader with `ssh -G` over generated files.
//! To add a keyword: [`values::KEYWORDS`], then its use in `endpoint`.

mod algorithms;
mod criteria;
mod lex;
mod read;
mod tokens;
mod values;

pub(super) use algorithms::AlgorithmList;
pub(super) use read::{Files, read};
pub(super) use tokens::Tokens;
pub(super) use values::{Values, time};

/// Splits any text as the reader would; for fuzzing.
#[doc(hidden)]
#[must_use]
pub fn fuzz_ssh_config(text: &str, name: &str) -> usize {
    read::fuzz(text, name)
}
