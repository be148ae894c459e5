//! A tar that is sent to an Engine: parts of a file, and bytes between them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;

use crate::env::{self, ReadAt};

/// Bytes of a file that are sent at once.
pub(super) const CHUNK_BYTES: u64 = 256 << 10;

/// A piece of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchivePart {
    Bytes(Bytes),
    /// This range of the file.
    File(Range<u64>),
}

impl ArchivePart {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(range) => range.end - range.start,
        }
    }

    /// The part in pieces of bounded size.
    fn split(self) -> Vec<Self> {
        match self {
            Self::Bytes(_) => vec![self],
            Self::File(range) => {
                let step = usize::try_from(CHUNK_BYTES).unwrap_or(1);
                let starts = (range.start..range.end).step_by(step);
                starts
                    .map(|start| Self::File(start..(start + CHUNK_BYTES).min(range.end)))
                    .collect()
            }
        }
    }
}

/// An archive of one image. Several hosts read the file at once.
#[derive(Debug, Clone)]
pub struct ImageArchive {
    file: Arc<dyn ReadAt>,
    parts: Vec<ArchivePart>,
}

impl ImageArchive {
    #[must_use]
    pub fn new(file: Arc<dyn ReadAt>, parts: Vec<ArchivePart>) -> Self {
        Self { file, parts }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.parts.iter().map(ArchivePart::length).sum()
    }

    /// Reads it from its start.
    pub(super) fn chunks(
        self,
    ) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
        let file = self.file;
        let parts: Vec<ArchivePart> = self
            .parts
            .into_iter()
            .flat_map(ArchivePart::split)
            .collect();
        futures::stream::iter(parts).then(move |part| read(Arc::clone(&file), part))
    }
}

async fn read(file: Arc<dyn ReadAt>, part: ArchivePart) -> std::io::Result<Bytes> {
    let range = match part {
        ArchivePart::Bytes(bytes) => return Ok(bytes),
        ArchivePart::File(range) => range,
    };
    let read = move || {
        let length = usize::try_from(range.end - range.start).unwrap_or_default();
        let mut bytes = vec![0; length];
        file.fill_from(&mut bytes, range.start)?;
        Ok(Bytes::from(bytes))
    };
    let stopped = || Err(std::io::Error::other("the file was not read to its end"));
    env::run_blocking(read).await.unwrap_or_else(stopped)
}

#[cfg(test)]
mod tests {
    use tempfile::tempfile;

    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[tokio::test]
    async fn parts_are_sent_in_order() {
        let file = tempfile().unwrap();
        let length = CHUNK_BYTES + 10;
        file.set_len(length).unwrap();
        file.write_all_at(b"first", 0).unwrap();
        file.write_all_at(b"last", length - 4).unwrap();
        let parts = vec![
            ArchivePart::Bytes(Bytes::from_static(b"header")),
            ArchivePart::File(0..length),
            ArchivePart::File(5..5),
            ArchivePart::Bytes(Bytes::from_static(b"end")),
        ];
        let archive = ImageArchive::new(Arc::new(file), parts);
        assert_eq!(archive.length(), length + 9);
        let chunks: Vec<Bytes> = archive.chunks().map(Result::unwrap).collect().await;
        assert_eq!(chunks.len(), 4, "header, two pieces of the file, end");
        let bytes = chunks.concat();
        assert_eq!(bytes.len() as u64, length + 9);
        assert!(bytes.starts_with(b"headerfirst\0") && bytes.ends_with(b"\0lastend"));
    }
}
