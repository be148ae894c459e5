//! Shows a host's keys and records them after consent.

use std::path::{Path, PathBuf};

use russh::keys::PublicKey;

use super::TransportError;
use super::known_hosts::{self, Learned, Question};

/// A key that a host presented. It is not verified: a person compares the fingerprint.
#[derive(Debug, Clone)]
pub struct ShownKey {
    key: PublicKey,
    name: String,
    file: Option<PathBuf>,
    hash: bool,
    /// The same key is already recorded.
    pub recorded: bool,
}

impl ShownKey {
    pub(super) fn new(key: PublicKey, question: &Question, recorded: bool) -> Self {
        Self {
            key,
            name: question.name(),
            file: question.user_files.first().cloned(),
            hash: question.hash_names,
            recorded,
        }
    }

    /// Type and SHA256 fingerprint, as OpenSSH prints them.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        known_hosts::fingerprint(&self.key)
    }

    /// The name under which it is recorded.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file in which it is recorded.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Appends the key to known_hosts. Returns true when the file changed.
    ///
    /// # Errors
    /// When there is no file, it cannot be written, or another key is recorded for this name: that
    /// one must be removed by hand first.
    pub fn record(&self) -> Result<bool, TransportError> {
        let Some(file) = &self.file else {
            return Err(TransportError::Settings(
                "no known_hosts file is configured".to_owned(),
            ));
        };
        match known_hosts::append(file, &self.name, &self.key, self.hash)? {
            Learned::Added => Ok(true),
            Learned::Known => Ok(false),
            Learned::Other(place) => Err(TransportError::Untrusted {
                host: self.name.clone(),
                why: format!(
                    "{place} has another key; the host sent {}",
                    self.fingerprint()
                ),
                hints: vec![
                    format!(
                        "if the new key is right: ssh-keygen -R {}",
                        crate::spec::quote(&self.name)
                    )
                    .into(),
                ],
            }),
        }
    }
}
