//! Environment variables, read once: a run meets the same ones from its start to its end.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The environment variables of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// Those of this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the real process's variables")]
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// A variable's value; `None` when it is not set or no text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.raw(name)?.to_str().map(str::to_owned)
    }

    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).map(PathBuf::from)
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let owned = |(name, value): (K, V)| (name.into(), value.into());
        Self(pairs.into_iter().map(owned).collect())
    }
}
