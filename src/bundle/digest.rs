//! Digests of blobs, and the reading that computes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The sha256 digest of a blob: `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobDigest(String);

/// A text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("digest must be sha256: and 64 lower-case hexadecimal digits, got {0:?}")]
pub struct InvalidDigest(String);

impl BlobDigest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(crate::spec::digest(bytes))
    }

    /// The hexadecimal digits, which name the blob's file in an OCI layout.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl FromStr for BlobDigest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let hex = text.strip_prefix("sha256:").filter(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        hex.map(|hex| Self(hex.to_owned()))
            .ok_or_else(|| InvalidDigest(text.chars().take(100).collect()))
    }
}

impl TryFrom<String> for BlobDigest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<BlobDigest> for String {
    fn from(digest: BlobDigest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("sha256:{}", self.0))
    }
}

/// Computes a digest while the bytes pass.
#[derive(Debug, Clone, Default)]
pub(super) struct BlobHasher {
    hash: Sha256,
    bytes: u64,
}

impl BlobHasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Number of bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn finish(self) -> BlobDigest {
        let hex = self.hash.finalize().into_iter().map(|b| format!("{b:02x}"));
        BlobDigest(hex.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_sha256_digests_are_accepted() {
        let hex = "0123456789abcdef".repeat(4);
        let digest: BlobDigest = format!("sha256:{hex}").parse().unwrap();
        assert_eq!((digest.hex(), digest.to_string().len()), (&*hex, 71));
        for wrong in [
            "",
            &hex,
            "sha256:",
            &format!("sha256:{}", hex.to_uppercase()),
            &format!("sha512:{hex}"),
            &format!("sha256:{hex}0"),
            &format!("sha256:{}/", &hex[1..]),
        ] {
            assert!(wrong.parse::<BlobDigest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn hashes_in_pieces_as_at_once() {
        let mut hasher = BlobHasher::default();
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!(hasher.bytes(), 3);
        assert_eq!(hasher.finish(), BlobDigest::of_bytes(b"abc"));
    }
}
