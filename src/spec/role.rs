//! The three roles of a host.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The role of a host; a host may have several.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the quorum services.
    Master,
    /// Runs the applications.
    Slave,
    /// Accepts requests from outside.
    Edge,
}

impl Role {
    /// All roles, masters first.
    pub const ALL: [Self; 3] = [Self::Master, Self::Slave, Self::Edge];

    /// The word for one host of the role.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Slave => "slave",
            Self::Edge => "edge",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
