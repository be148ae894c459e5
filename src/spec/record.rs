//! What the records of toots on a host have in common: their format number.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Why a record on a host cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The file is not a record of toots.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// Path on the host.
        path: &'static str,
        why: String,
    },
    /// A newer toots wrote it.
    #[error("{path} has format {found}, written by a newer toots (this one knows up to {known})")]
    Newer {
        /// Path on the host.
        path: &'static str,
        /// Format of the record.
        found: u32,
        /// The newest format that this toots reads.
        known: u32,
    },
}

/// Parses a record whose newest readable format is `known`.
pub(super) fn parse_record<T: DeserializeOwned>(
    path: &'static str,
    known: u32,
    content: &[u8],
) -> Result<T, RecordError> {
    // The format first: a later one may have changed every other field.
    #[derive(Deserialize)]
    struct Head {
        #[serde(default = "first_format")]
        format: u32,
    }
    let unreadable = |error: serde_json::Error| RecordError::Unreadable {
        path,
        why: error.to_string(),
    };
    let head: Head = serde_json::from_slice(content).map_err(unreadable)?;
    if head.format > known {
        return Err(RecordError::Newer {
            path,
            found: head.format,
            known,
        });
    }
    serde_json::from_slice(content).map_err(unreadable)
}

/// The format of records without one.
pub(super) fn first_format() -> u32 {
    1
}
