//! The specification of a managed file or directory.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 as lower-case hex, as observed on hosts.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The same of everything that a reader has, a piece at a time.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of_reader(mut reader: impl std::io::Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; 256 << 10];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(read) => hash.update(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// When a file is written to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Kept as specified by every run.
    #[default]
    Always,
    /// Written only while the cluster's service has never been proven, on hosts without its data:
    /// the marker with which an ensemble is created. Never written again, because it would let a
    /// member with lost data vote.
    Creation,
    /// A record of toots itself. Those of a new host are written with its preparation. On a host
    /// with an identity, one that differs or is missing is written by the next run that changes
    /// something, never by a run of its own.
    #[serde(skip)]
    Record,
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
    pub content: Vec<u8>,
    /// The content is secret: diffs mask it.
    pub secret: bool,
    pub place: Placement,
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

/// A directory; its contents are not managed.
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
