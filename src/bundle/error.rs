//! Why a bundle cannot be written or read.

use std::io;
use std::path::{Path, PathBuf};

use super::documents::BUNDLE_FORMAT;
use super::registry::RegistryError;

/// Why an archive cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {}: it exists and is not a bundle", .0.display())]
    NotReplaceable(PathBuf),
    #[error("cannot write {}: another toots is writing it", .0.display())]
    InUse(PathBuf),
    #[error("cannot write {}: the images are larger than a file can be", .0.display())]
    TooLarge(PathBuf),
    #[error("{} is not a bundle: {why}", path.display())]
    NotABundle { path: PathBuf, why: &'static str },
    #[error("{} has bundle format {got:?}, this toots reads {BUNDLE_FORMAT:?}", path.display())]
    Format { path: PathBuf, got: String },
    #[error("{} is truncated: {why}", path.display())]
    Truncated { path: PathBuf, why: String },
    #[error("{} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
}

impl ArchiveError {
    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}

/// Why a bundle was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Of every image that failed, each reason once.
    #[error("{}", lines(.0))]
    Registry(Vec<RegistryError>),
    /// An image that an Engine saved is not what it must be.
    #[error("cannot use {image}, as the Docker Engine saved it: {why}")]
    Local { image: String, why: String },
    #[error("cannot read the images that the Docker Engine saved")]
    SavedImage(#[source] io::Error),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl From<RegistryError> for CreateError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(vec![error])
    }
}

fn lines(errors: &[RegistryError]) -> String {
    match errors {
        [error] => error.to_string(),
        _ => {
            let lines = errors.iter().map(|error| format!("\n  {error}"));
            format!("{} errors:{}", errors.len(), lines.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::snapshot_messages;

    fn path() -> PathBuf {
        "dc1.tar".into()
    }

    fn io() -> io::Error {
        io::Error::from(io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn archive_messages() {
        snapshot_messages!("archive_error", ArchiveError, hints: |_| Vec::new(), {
            ArchiveError::Read { .. } => ArchiveError::read(&path(), io()),
            ArchiveError::Write { .. } => ArchiveError::write(&path(), io()),
            ArchiveError::NotReplaceable(_) => ArchiveError::NotReplaceable(path()),
            ArchiveError::InUse(_) => ArchiveError::InUse("dc1.tar.part".into()),
            ArchiveError::TooLarge(_) => ArchiveError::TooLarge(path()),
            ArchiveError::NotABundle { .. } => ArchiveError::NotABundle {
                path: path(),
                why: "it does not begin as one",
            },
            ArchiveError::Format { .. } => ArchiveError::Format { path: path(), got: "2".into() },
            ArchiveError::Truncated { .. } => ArchiveError::Truncated {
                path: path(),
                why: "it ends in manifest.json".into(),
            },
            ArchiveError::Damaged { .. } => {
                ArchiveError::damaged(&path(), "index.json was changed")
            },
        });
    }

    #[test]
    fn create_messages() {
        let missing = |image: &str| RegistryError::NotFound {
            image: image.into(),
            registry: "docker.io".into(),
        };
        snapshot_messages!("create_error", CreateError, hints: |_| Vec::new(), {
            CreateError::Registry(_) => CreateError::Registry(vec![missing("a:1"), missing("b:1")]),
            CreateError::Local { .. } => CreateError::Local {
                image: "toots/mesos:ab".into(),
                why: "it must be for linux/arm64, got linux/amd64".into(),
            },
            CreateError::SavedImage(_) => CreateError::SavedImage(io()),
            CreateError::Archive(_) => CreateError::Archive(ArchiveError::TooLarge(path())),
        });
    }
}
