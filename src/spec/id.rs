//! Names as newtypes, so that a host name cannot be passed as a component name.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: {why}")]
pub struct IdError {
    /// The kind of name.
    pub what: &'static str,
    /// The rejected text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Letters, digits, `.`, `-`, `_` (and `:` of an IPv6 address); no leading `-`, which a command
/// could take for an option.
fn check(what: &'static str, text: &str, extra: &str) -> Result<(), IdError> {
    let fail = |why| {
        Err(IdError {
            what,
            text: text.to_owned(),
            why,
        })
    };
    if text.is_empty() {
        return fail("must not be empty");
    }
    if text.len() > 253 {
        return fail("must be at most 253 characters");
    }
    if text.starts_with('-') {
        return fail("must not start with '-'");
    }
    if text.contains("..") {
        return fail("must not contain '..'");
    }
    if !text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c) || extra.contains(c))
    {
        return fail("must consist of ASCII letters, digits, '.', '-' and '_'");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $type(String);

        impl $type {
            /// Validates a name.
            ///
            /// # Errors
            /// When the text is empty, too long, starts with `-` or contains a character outside
            /// the allowed set.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check($what, &text, $extra)?;
                Ok(Self(text))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A host name as in the inventory: a name, or an address.
    HostName,
    "host name",
    ":"
);
name!(
    /// The cluster's name, also Consul's datacenter.
    ClusterName,
    "cluster name",
    ""
);
name!(
    /// A component, the name of its folder under `playbooks/`.
    ComponentName,
    "component name",
    ""
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_a_shell_or_a_path_could_misread() {
        for bad in ["", "-x", "a b", "a/b", "a..b", "ä", "a\nb", "$x"] {
            assert!(HostName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["m1", "10.0.0.1", "fe80::1", "a-b_c.d"] {
            assert!(HostName::new(good).is_ok(), "{good:?}");
        }
        assert!(ClusterName::new("a:b").is_err());
    }

    #[test]
    fn messages() {
        let error = HostName::new("-x").unwrap_err();
        crate::testing::snapshot_messages!("spec_id_error", IdError, hints: |_| Vec::new(), {
            IdError { .. } => error,
        });
    }
}
