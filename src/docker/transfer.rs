//! Images between hosts: saved by one Engine to a file here, loaded by others. What a host has is
//! not sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};

use super::answer_lines::{self, refused};
use super::archive::ImageArchive;
use super::connection::Boxed;
use super::engine::Engine;
use super::error::DockerError;
use super::saved::SavedImage;
use crate::env::{self, FileAccess, TemporaryFile};

/// Bytes that are written to a temporary file at once: a frame of an answer is much smaller, and each
/// write costs a change of threads.
const SPOOL_BYTES: usize = 1 << 20;

async fn append(spool: &Arc<dyn TemporaryFile>, bytes: Vec<u8>) -> std::io::Result<()> {
    let spool = Arc::clone(spool);
    let stopped = || Err(std::io::Error::other("the file was not written to its end"));
    let written = env::run_blocking(move || spool.append(&bytes)).await;
    written.unwrap_or_else(stopped)
}

impl Engine {
    /// Saves an image to a temporary file of this machine. `progress` receives the bytes so far.
    ///
    /// # Errors
    /// When the Engine refuses, no data arrives for `idle`, or the file cannot be written.
    pub async fn save(
        &self,
        image: &str,
        files: &dyn FileAccess,
        idle: Duration,
        progress: impl Fn(u64),
    ) -> Result<SavedImage, DockerError> {
        let what = format!("save {image}");
        let deadline = || DockerError::Deadline {
            what: what.clone(),
            limit: idle,
        };
        let local = |error: std::io::Error| {
            DockerError::temporary_file(&what, files.temporary_folder(), &error)
        };
        let query = serde_urlencoded::to_string([("names", image)]).unwrap_or_default();
        let request = Request::get(format!("/images/get?{query}"))
            .body(Empty::new().map_err(|never| match never {}).boxed_unsync())
            .map_err(|error| refused(&what, 0, error.to_string()))?;
        let response = tokio::time::timeout(idle, self.send(&what, request, Some(usize::MAX)))
            .await
            .map_err(|_| deadline())??;
        if !response.status().is_success() {
            return match answer_lines::read(&what, response, idle, || false, drop).await {
                Ok(()) => Err(refused(&what, 0, "no reason given".into())),
                Err(error) => Err(error),
            };
        }
        let spool = files.temporary().map_err(local)?;
        let mut piece = Vec::new();
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = tokio::time::timeout(idle, body.frame())
            .await
            .map_err(|_| deadline())?
        {
            let frame = frame.map_err(|error| DockerError::Disconnected {
                what: what.clone(),
                source: Box::new(error),
            })?;
            if let Ok(data) = frame.into_data() {
                piece.extend_from_slice(&data);
                if piece.len() >= SPOOL_BYTES {
                    let full = std::mem::take(&mut piece);
                    append(&spool, full).await.map_err(local)?;
                }
                bytes += data.len() as u64;
                progress(bytes);
            }
        }
        append(&spool, piece).await.map_err(local)?;
        env::run_blocking(move || SavedImage::read(spool))
            .await
            .ok_or_else(|| refused(&what, 0, "the archive was not read to its end".into()))?
            .map_err(|error| refused(&what, 200, error.to_string()))
    }

    /// Loads an archive of one image. `progress` receives the bytes so far and the total. Returns the
    /// id of an image without a name.
    ///
    /// # Errors
    /// When the Engine refuses, or nothing moves for `idle`. A success proves nothing: some Engines
    /// report what they could not unpack as text, so look at the image afterwards.
    pub async fn load(
        &self,
        archive: ImageArchive,
        idle: Duration,
        progress: impl Fn(u64, Option<u64>) + Send + 'static,
    ) -> Result<Option<String>, DockerError> {
        let what = "load an image".to_owned();
        let total = archive.length();
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let body = StreamBody::new(archive.chunks().map(move |chunk| {
            let chunk: Bytes = chunk?;
            let sent = counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            progress(sent + chunk.len() as u64, Some(total));
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Frame::data(chunk))
        }));
        let request = Request::post("/images/load?quiet=0")
            .header("content-type", "application/x-tar")
            .body(body.boxed_unsync())
            .map_err(|error| refused(&what, 0, error.to_string()))?;
        let mut moved = progress_of(sent);
        // The graph store answers only after the last byte.
        let response = self.send_large(&what, request, idle, &mut moved).await?;
        let mut complaint = None;
        let mut id = None;
        answer_lines::read(&what, response, idle, moved, |line| {
            let text = line.stream.unwrap_or_default();
            if let Some(loaded) = text.trim().strip_prefix("Loaded image ID: ") {
                id = Some(loaded.to_owned());
            }
            if text.contains("Error") {
                complaint = Some(text.trim().to_owned());
            }
        })
        .await?;
        match complaint {
            Some(text) => Err(refused(&what, 200, text)),
            None => Ok(id),
        }
    }
}

impl Engine {
    /// Sends a request with a large body. It has no limit as long as something moves: `moved` says
    /// whether bytes were sent since it was last asked.
    pub(super) async fn send_large(
        &self,
        what: &str,
        request: Request<UnsyncBoxBody<Bytes, Boxed>>,
        idle: Duration,
        mut moved: impl FnMut() -> bool,
    ) -> Result<Response<Incoming>, DockerError> {
        let mut answering = std::pin::pin!(self.send(what, request, None));
        loop {
            match tokio::time::timeout(idle, &mut answering).await {
                Ok(response) => return response,
                Err(_) if moved() => {}
                Err(_) => {
                    let what = what.to_owned();
                    return Err(DockerError::Deadline { what, limit: idle });
                }
            }
        }
    }
}

/// Whether a count of bytes has changed since the last call.
pub(super) fn progress_of(sent: Arc<AtomicU64>) -> impl FnMut() -> bool {
    let mut last = 0;
    move || {
        let now = sent.load(Ordering::Relaxed);
        std::mem::replace(&mut last, now) != now
    }
}
