//! Why a step changes something.

use std::fmt;

/// Why a step changes something: what differs from what is desired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is missing.
    New,
    /// Something else is in the place of a directory.
    NotADirectory,
    /// Something else is in the place of a file.
    NotAFile,
    /// The content of a file.
    Content,
    /// Its mode or owner.
    Rights(Rights),
    /// The fields of a container's specification, in words.
    Specification(String),
    /// A unit does not run, or not after the next start.
    NotActive,
    /// The files of a unit are others.
    FilesChanged,
    /// A replacement did not come to its end.
    LeftOver,
    /// The host does not run the component any more.
    Unwanted,
}

/// What differs of a file's rights: the former and the desired value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    pub mode: Option<(u32, u32)>,
    /// User and group.
    pub owner: Option<((u32, u32), (u32, u32))>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::New => "new",
            Self::NotADirectory => "not a directory",
            Self::NotAFile => "not a regular file",
            Self::Content => "content",
            Self::Rights(rights) => return rights.fmt(f),
            Self::Specification(words) => words,
            Self::NotActive => "not enabled or not active",
            Self::FilesChanged => "its files changed",
            Self::LeftOver => "left over from a replacement",
            Self::Unwanted => "no longer wanted on this host",
        })
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((from, to)) = self.mode {
            write!(f, "mode {from:04o} → {to:04o}")?;
        }
        if self.mode.is_some() && self.owner.is_some() {
            f.write_str(", ")?;
        }
        if let Some(((user, group), (to_user, to_group))) = self.owner {
            write!(f, "owner {user}:{group} → {to_user}:{to_group}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_show_both_values() {
        let mode = Some((0o644, 0o600));
        let owner = Some(((0, 0), (1000, 1001)));
        for (rights, text) in [
            (Rights { mode, owner: None }, "mode 0644 → 0600"),
            (Rights { mode: None, owner }, "owner 0:0 → 1000:1001"),
            (
                Rights { mode, owner },
                "mode 0644 → 0600, owner 0:0 → 1000:1001",
            ),
        ] {
            assert_eq!(Reason::Rights(rights).to_string(), text);
        }
    }
}
