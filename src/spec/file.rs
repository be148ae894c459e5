//! What a managed file or directory on a host must be.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 of bytes as lower-case hex, the form in which files are compared with a host's.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// When a file is put on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Kept as specified on every run.
    #[default]
    Always,
    /// Put down only while the cluster's service has never been proven, on hosts without its data: the marker with which an ensemble
    /// is created. Never a second time, since it would let a member with lost data vote.
    Creation,
}

/// A regular file.
#[derive(Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// Absolute path on the host.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// The whole content.
    pub content: Vec<u8>,
    /// The content must never be shown; diffs of it are masked.
    pub secret: bool,
    /// When it is put down.
    pub place: Place,
}

impl std::fmt::Debug for FileSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let content = if self.secret {
            "***".into()
        } else {
            String::from_utf8_lossy(&self.content).into_owned()
        };
        f.debug_struct("FileSpec")
            .field("path", &self.path)
            .field("mode", &format_args!("{:04o}", self.mode))
            .field("owner", &format_args!("{}:{}", self.uid, self.gid))
            .field("content", &content)
            .field("place", &self.place)
            .finish()
    }
}

impl FileSpec {
    /// SHA-256 of the content.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&self.content)
    }
}

/// A directory; its contents are not touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirSpec {
    /// Absolute path on the host.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}
