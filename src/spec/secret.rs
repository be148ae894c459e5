//! Text that must never be shown.

use std::fmt;

use serde::{Serialize, Serializer};

/// A password, key or passphrase. Its debug and serialised forms are masked, so that no log, event
/// or plan can contain it by accident.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Stands for a text that is not shown, or not drawn yet.
    pub const MASK: &'static str = "***";

    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it: a channel's standard input or a 0600 file.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Self::MASK)
    }
}
