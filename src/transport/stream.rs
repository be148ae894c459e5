//! A byte stream on one channel, owned by a task of its own.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig, client::Msg};
use tokio::{
    io::{
        AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf,
        WriteHalf,
    },
    sync::oneshot,
    time::timeout,
};

use super::{exec::Ending, handler::shown};

/// Between the task and the reader.
const PIPE: usize = 64 * 1024;
/// Received but not yet read; the library grants the host a new window before we read, so this bound is ours to keep.
const BACKLOG: usize = 4 << 20;
/// So long may a full backlog hold up the whole connection before the stream is given up.
const STALL: Duration = Duration::from_secs(5);
/// Standard error that is kept for the error text.
const TAIL: usize = 4096;

type Fate = Arc<Mutex<Option<String>>>;

/// The reader's end. Dropping it closes the channel.
pub(super) struct ChannelStream {
    pipe: DuplexStream,
    /// Why the stream ended, when it did not end well; told instead of a plain end of file.
    fate: Fate,
    _alive: oneshot::Sender<()>,
}

/// What a stream leads to decides what counts as its end.
pub(super) enum Kind {
    /// A socket: end of file is the end.
    Socket,
    /// A command: its exit status must be 0. Holds what is sent before all else.
    Command(Bytes),
}

/// The far end of a stream, for the task that owns the channel.
pub(super) struct Pump {
    pipe: DuplexStream,
    fate: Fate,
    gone: oneshot::Receiver<()>,
}

/// Makes both ends.
pub(super) fn pair() -> (ChannelStream, Pump) {
    let (near, far) = tokio::io::duplex(PIPE);
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
    /// Moves bytes until the channel is closed or nobody reads any more.
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
                // the host keeps a place for a command until it ends: by end of file, by the signal where that is allowed
                let _ = write.eof().await;
                let _ = write.signal(Sig::TERM).await;
                None
            }
        };
        // said before the reader's end of file, which comes when the pipe is dropped
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
    let (preface, command) = match kind {
        Kind::Socket => (Bytes::new(), false),
        Kind::Command(preface) => (preface, true),
    };
    let up = up(write, from, preface);
    let down = down(read, to, command);
    tokio::pin!(up, down);
    let mut sent = false;
    let down = loop {
        tokio::select! {
            () = &mut up, if !sent => sent = true,
            down = &mut down => break down,
        }
    };
    match down {
        Err(fault) => Some(fault),
        Ok((ending, tail)) if command => match ending.status(lost) {
            Ok(0) => None,
            Ok(status) => Some(format!(
                "the command ended with status {status}: {}",
                shown(&String::from_utf8_lossy(&tail))
            )),
            Err(e) => Some(format!("{e}: {}", shown(&String::from_utf8_lossy(&tail)))),
        },
        Ok((ending, _)) if ending.over() => None,
        Ok(_) => Some(format!("lost the connection: {}", lost())),
    }
}

async fn up(write: &ChannelWriteHalf<Msg>, from: &mut ReadHalf<DuplexStream>, preface: Bytes) {
    if !preface.is_empty() && write.data_bytes(preface).await.is_err() {
        return;
    }
    let mut buffer = BytesMut::with_capacity(PIPE);
    loop {
        buffer.reserve(PIPE / 2);
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

async fn down(
    mut read: ChannelReadHalf,
    to: &mut WriteHalf<DuplexStream>,
    command: bool,
) -> Result<(Ending, Vec<u8>), String> {
    let mut backlog: VecDeque<Bytes> = VecDeque::new();
    let mut held = 0;
    let mut tail = Vec::new();
    let mut ending = Ending::default();
    let (mut writable, mut open, mut complete) = (true, true, false);
    while open || (writable && !backlog.is_empty()) {
        if held > BACKLOG {
            // others on this connection wait while we do not read, so this wait is short
            writable = timeout(STALL, write_some(to, &mut backlog, &mut held))
                .await
                .map_err(|_| "its data is not read".to_owned())?;
            if !writable {
                held = 0;
            }
            continue;
        }
        if complete && backlog.is_empty() && writable {
            // the far side has said all; it may still listen. A command's end waits for its status.
            let _ = to.shutdown().await;
            writable = false;
        }
        tokio::select! {
            message = read.wait(), if open => match message {
                Some(ChannelMsg::Data { data }) => if writable {
                    held += data.len();
                    backlog.push_back(data);
                },
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                    tail.extend_from_slice(&data);
                    let cut = tail.len().saturating_sub(TAIL);
                    tail.drain(..cut);
                }
                Some(ChannelMsg::Eof) => complete = !command,
                Some(other) => {
                    ending.note(&other);
                    open = !ending.over();
                }
                None => open = false,
            },
            ok = write_some(to, &mut backlog, &mut held), if writable && !backlog.is_empty() => writable = ok,
        }
    }
    Ok((ending, tail))
}

/// Writes the first piece of the backlog as far as it goes. Cancel-safe: what was written is taken off in the same poll.
async fn write_some(
    to: &mut WriteHalf<DuplexStream>,
    backlog: &mut VecDeque<Bytes>,
    held: &mut usize,
) -> bool {
    let Some(first) = backlog.front_mut() else {
        return true;
    };
    match to.write(first).await {
        Ok(n) => {
            first.advance(n);
            *held -= n;
            if first.is_empty() {
                backlog.pop_front();
            }
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
