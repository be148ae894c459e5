//! A byte stream on one channel, owned by a task.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf,
};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::TransportError;
use super::backlog::Backlog;
use super::handler::shown;
use super::shell::{self, Ending, Skip};

/// Size of the pipe between the task and the reader, in bytes.
const PIPE_BYTES: usize = 64 * 1024;
/// How long a full backlog may hold up the whole connection before the stream is abandoned.
const STALL_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of standard error kept for the error text.
const MAX_TAIL_BYTES: usize = 4096;

type Fate = Arc<Mutex<Option<String>>>;

/// The reader's end. Dropping it closes the channel.
pub(super) struct ChannelStream {
    pipe: DuplexStream,
    /// Why the stream failed; reported instead of a plain end of file.
    fate: Fate,
    _alive: oneshot::Sender<()>,
}

/// The target decides what counts as the end of the stream.
pub(super) enum Kind {
    /// A socket: end of file is the end.
    Socket,
    /// A command: its exit status must be 0.
    Command {
        /// The bytes to send first.
        preface: Bytes,
        /// The mark behind which its own output starts.
        mark: String,
    },
}

/// The task's end of a stream.
pub(super) struct Pump {
    pipe: DuplexStream,
    fate: Fate,
    gone: oneshot::Receiver<()>,
}

/// Creates both ends.
pub(super) fn pair() -> (ChannelStream, Pump) {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let fate = Fate::default();
    let (alive, gone) = oneshot::channel();
    (
        ChannelStream {
            pipe: near,
            fate: fate.clone(),
            _alive: alive,
        },
        Pump {
            pipe: far,
            fate,
            gone,
        },
    )
}

impl Pump {
    /// Moves bytes until the channel is closed or the reader is gone.
    pub(super) async fn run(
        mut self,
        channel: Channel<Msg>,
        kind: Kind,
        lost: impl FnOnce() -> String + Send,
    ) {
        let (read, write) = channel.split();
        let (mut from, mut to) = tokio::io::split(self.pipe);
        let fate = tokio::select! {
            fate = move_both(read, &write, &mut from, &mut to, kind, lost) => fate,
            _ = &mut self.gone => {
                // The host keeps a session slot until the command ends: by end of file, or by the
                // signal where that is allowed.
                let _ = write.eof().await;
                let _ = write.signal(Sig::TERM).await;
                None
            }
        };
        // Recorded before the reader sees end of file, which comes when the pipe is dropped.
        *self.fate.lock().unwrap_or_else(PoisonError::into_inner) = fate;
        drop((from, to));
        let _ = write.close().await;
    }
}

async fn move_both(
    read: ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    from: &mut ReadHalf<DuplexStream>,
    to: &mut WriteHalf<DuplexStream>,
    kind: Kind,
    lost: impl FnOnce() -> String,
) -> Option<String> {
    let (preface, skips) = match kind {
        Kind::Socket => (Bytes::new(), None),
        Kind::Command { preface, mark } => (preface, Some([Skip::new(&mark), Skip::new(&mark)])),
    };
    let command = skips.is_some();
    let up = up(write, from, preface);
    let down = down(read, to, skips);
    tokio::pin!(up, down);
    let mut sent = false;
    let down = loop {
        tokio::select! {
            () = &mut up, if !sent => sent = true,
            down = &mut down => break down,
        }
    };
    match down {
        Err(error) => Some(error.to_string()),
        Ok((ending, tail)) if command => match ending.status(lost) {
            Ok(0) => None,
            Ok(status) => Some(format!(
                "command exited with status {status}: {}",
                shown(&String::from_utf8_lossy(&tail))
            )),
            Err(e) => Some(format!("{e}: {}", shown(&String::from_utf8_lossy(&tail)))),
        },
        Ok((ending, _)) if ending.over() => None,
        Ok(_) => Some(format!("connection lost: {}", lost())),
    }
}

async fn up(write: &ChannelWriteHalf<Msg>, from: &mut ReadHalf<DuplexStream>, preface: Bytes) {
    if !preface.is_empty() && write.data_bytes(preface).await.is_err() {
        return;
    }
    let mut buffer = BytesMut::with_capacity(PIPE_BYTES);
    loop {
        buffer.reserve(PIPE_BYTES / 2);
        match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                if write.data_bytes(buffer.split().freeze()).await.is_err() {
                    return;
                }
            }
        }
    }
    let _ = write.eof().await;
}

/// Why a stream was abandoned.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    /// The local reader took nothing for too long, while others on the connection waited.
    #[error("the reader does not read")]
    ReaderStalled,
    #[error("cannot store what was received: {0}")]
    Spill(io::Error),
    #[error(transparent)]
    Command(#[from] TransportError),
}

async fn down(
    mut read: ChannelReadHalf,
    to: &mut WriteHalf<DuplexStream>,
    mut skips: Option<[Skip; 2]>,
) -> Result<(Ending, Vec<u8>), StreamError> {
    let command = skips.is_some();
    let mut backlog = Backlog::default();
    let mut tail = Vec::new();
    let mut ending = Ending::default();
    let (mut writable, mut open, mut complete) = (true, true, false);
    while open || (writable && !backlog.is_empty()) {
        if backlog.is_full() {
            // Other channels wait while this one is not read, so this wait is short.
            writable = timeout(STALL_LIMIT, write_some(to, &mut backlog))
                .await
                .map_err(|_| StreamError::ReaderStalled)?;
            if !writable {
                backlog.clear();
            }
            continue;
        }
        if complete && backlog.is_empty() && writable {
            // The far side has sent everything; it may still read. The end of a command waits for
            // its status.
            let _ = to.shutdown().await;
            writable = false;
        }
        tokio::select! {
            message = read.wait(), if open => match message {
                Some(ChannelMsg::Data { data }) => if writable {
                    let data = match &mut skips {
                        Some([stdout, _]) => stdout.feed(&data)?.into(),
                        None => data,
                    };
                    if !data.is_empty() {
                        backlog.push(data).map_err(StreamError::Spill)?;
                    }
                },
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                    match &mut skips {
                        Some([_, stderr]) => tail.extend_from_slice(&stderr.feed(&data)?),
                        None => tail.extend_from_slice(&data),
                    }
                    let cut = tail.len().saturating_sub(MAX_TAIL_BYTES);
                    tail.drain(..cut);
                }
                Some(ChannelMsg::Eof) => complete = !command,
                Some(other) => {
                    ending.note(&other);
                    open = !ending.over();
                }
                None => open = false,
            },
            ok = write_some(to, &mut backlog), if writable && !backlog.is_empty() => writable = ok,
        }
    }
    if let Some([stdout, stderr]) = &skips
        && ending.over()
        && !stdout.found()
    {
        return Err(shell::not_started(stdout, stderr).into());
    }
    Ok((ending, tail))
}

/// Writes the first chunk of the backlog as far as possible. Cancel-safe: written bytes are removed
/// in the same poll.
async fn write_some(to: &mut WriteHalf<DuplexStream>, backlog: &mut Backlog) -> bool {
    let first = match backlog.front() {
        Ok(Some(first)) => first,
        Ok(None) => return true,
        Err(error) => {
            tracing::warn!(%error, "cannot read back what was received");
            return false;
        }
    };
    match to.write(first).await {
        Ok(n) => {
            backlog.advance(n);
            true
        }
        Err(_) => false,
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.pipe).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = polled
            && buf.filled().len() == before
            && buf.remaining() > 0
            && let Some(fault) = self
                .fate
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, fault)));
        }
        polled
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.pipe).poll_write(cx, buf);
        if let Poll::Ready(Err(_)) = &polled
            && let Some(fault) = self
                .fate
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, fault)));
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("stream_error", StreamError, hints: |_| Vec::new(), {
            StreamError::ReaderStalled => StreamError::ReaderStalled,
            StreamError::Spill(_) => StreamError::Spill(io::ErrorKind::StorageFull.into()),
            StreamError::Command(_) => StreamError::Command(shell::not_started(
                &Skip::new("toots-x"),
                &Skip::new("toots-x"),
            )),
        });
    }
}
