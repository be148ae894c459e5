//! Fetches one blob into its place. A broken connection is resumed where it broke; every byte is
//! hashed on its way.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::create::{ByteProgress, on_thread};
use super::error::CreateError;
use super::local::LocalBlob;
use super::manifest::BlobDescriptor;
use super::name::ImageName;
use super::part::{BlobWriter, PartFile};
use super::registry::{AttemptError, Registries, RegistryClient, RegistryError};

/// A blob to fetch.
pub(super) struct Download {
    /// The image that it is fetched for.
    pub name: ImageName,
    pub blob: BlobDescriptor,
    /// Its content, when it was read before.
    pub known: Option<Bytes>,
    /// Where it is, when no registry is asked.
    pub local: Option<LocalBlob>,
    pub part: Arc<PartFile>,
}

/// Attempts in a row that bring no byte.
const MAX_STALLED_ATTEMPTS: u32 = 5;

/// Bytes that are hashed and written at once.
const WRITE_SIZE: usize = 256 * 1024;

/// Fetches a blob, however often its connection breaks, as long as each attempt brings something.
pub(super) async fn fetch_blob(
    registries: &Registries,
    download: &Download,
    progress: &Arc<ByteProgress>,
) -> Result<(), CreateError> {
    let Some(writer) = download.part.writer(&download.blob.digest) else {
        return Ok(());
    };
    if let Some(local) = download.local.clone() {
        let progress = Arc::clone(progress);
        let blob = download.blob.clone();
        let got = on_thread(move || local.copy_to(writer, blob.size, |n| progress.add(n))).await?;
        return match got == download.blob.digest {
            true => Ok(()),
            false => Err(CreateError::Local {
                image: download.name.to_string(),
                why: "it changed meanwhile".into(),
            }),
        };
    }
    let mut transfer = Transfer {
        client: registries.client(&download.name)?,
        download,
        progress,
        writer: Some(writer),
    };
    if let Some(content) = &download.known {
        transfer.append(content.clone()).await?;
        return transfer.finish();
    }
    let (mut stalled, mut furthest) = (0, 0);
    while !transfer.is_full() {
        match transfer.attempt().await {
            Ok(()) => {}
            Err(TransferError::Create(error)) => return Err(error),
            Err(TransferError::Attempt(error)) => {
                if transfer.bytes() > furthest {
                    (stalled, furthest) = (0, transfer.bytes());
                }
                stalled += 1;
                let error = transfer.interrupted(error);
                let client = &transfer.client;
                client.pause(error, stalled, MAX_STALLED_ATTEMPTS).await?;
            }
        }
    }
    transfer.finish()
}

/// Why an attempt ended.
enum TransferError {
    Attempt(AttemptError),
    Create(CreateError),
}

impl<E> From<E> for TransferError
where
    CreateError: From<E>,
{
    fn from(error: E) -> Self {
        Self::Create(error.into())
    }
}

struct Transfer<'a> {
    client: Arc<RegistryClient>,
    download: &'a Download,
    progress: &'a Arc<ByteProgress>,
    /// Away only while it writes.
    writer: Option<BlobWriter>,
}

impl Transfer<'_> {
    fn bytes(&self) -> u64 {
        self.writer.as_ref().map_or(0, BlobWriter::bytes)
    }

    fn is_full(&self) -> bool {
        self.writer.as_ref().is_some_and(BlobWriter::is_full)
    }

    /// Reads until the blob is complete or the connection ends.
    async fn attempt(&mut self) -> Result<(), TransferError> {
        let (name, blob) = (&self.download.name, &self.download.blob);
        let body = self.client.blob(name, blob, self.bytes()).await;
        let mut body = body.map_err(TransferError::Attempt)?;
        if body.offset != self.bytes() {
            self.restart();
        }
        let mut buffer = BytesMut::new();
        loop {
            let piece = match body.chunk().await {
                Ok(piece) => piece,
                Err(error) => {
                    // What arrived before the connection broke is not fetched again.
                    self.append(buffer.freeze()).await?;
                    return Err(TransferError::Attempt(error));
                }
            };
            let is_last = piece.is_none();
            if let Some(piece) = piece {
                buffer.extend_from_slice(&piece);
            }
            if buffer.len() >= WRITE_SIZE || is_last {
                self.append(buffer.split().freeze()).await?;
            }
            if is_last {
                return match self.is_full() {
                    true => Ok(()),
                    false => Err(TransferError::Attempt(self.ended_early())),
                };
            }
        }
    }

    fn restart(&mut self) {
        self.progress.take_back(self.bytes());
        if let Some(writer) = &mut self.writer {
            writer.restart();
        }
    }

    async fn append(&mut self, piece: Bytes) -> Result<(), CreateError> {
        if piece.is_empty() {
            return Ok(());
        }
        let Some(mut writer) = self.writer.take() else {
            return Ok(());
        };
        if !writer.has_room(piece.len()) {
            let blob = &self.download.blob;
            let what = format!("size of blob {}", blob.digest);
            let expected = format!("{} bytes", blob.size);
            let got = format!("at least {}", writer.bytes() + piece.len() as u64);
            return Err(self.wrong_content(what, expected, got).into());
        }
        let bytes = piece.len() as u64;
        let writer = on_thread(move || {
            writer.append(&piece)?;
            Ok::<_, CreateError>(writer)
        });
        self.writer = Some(writer.await?);
        self.progress.add(bytes);
        Ok(())
    }

    fn ended_early(&self) -> AttemptError {
        let error = RegistryError::Unreachable {
            registry: self.client.registry().to_owned(),
            why: "the answer ended early".into(),
        };
        AttemptError::Transient(error, None)
    }

    /// A connection that broke, with how far it came.
    fn interrupted(&self, error: AttemptError) -> AttemptError {
        match error {
            AttemptError::Transient(RegistryError::Unreachable { registry, why }, pause)
                if self.bytes() > 0 =>
            {
                let broken = RegistryError::ConnectionLost {
                    image: self.download.name.to_string(),
                    registry,
                    blob: self.download.blob.digest.to_string(),
                    done: self.bytes(),
                    size: self.download.blob.size,
                    why,
                };
                AttemptError::Transient(broken, pause)
            }
            other => other,
        }
    }

    fn finish(mut self) -> Result<(), CreateError> {
        let expected = self.download.blob.digest.to_string();
        let got = self.writer.take().map(|writer| writer.finish().to_string());
        match got {
            Some(got) if got != expected => {
                let what = "digest of a blob".to_owned();
                Err(self.wrong_content(what, expected, got).into())
            }
            _ => Ok(()),
        }
    }

    fn wrong_content(&self, what: String, expected: String, got: String) -> RegistryError {
        RegistryError::Content {
            image: self.download.name.to_string(),
            registry: self.client.registry().to_owned(),
            what,
            expected,
            got,
        }
    }
}
