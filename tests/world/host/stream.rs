//! The controller's end of a stream: bytes cross as long as the connection carries them. Each read and
//! write is a point.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::Sleep;

use super::faults::PointKind;
use super::link::{Condition, Link, PipeEnd};

const CHUNK_BYTES: usize = 16 * 1024;

/// Why a command failed at the far end; set before its output ends.
pub type Fate = Arc<Mutex<Option<String>>>;

pub struct ClientStream {
    link: Arc<Link>,
    name: String,
    /// The HTTP request that was written last.
    request: String,
    pipe: PipeEnd,
    fate: Fate,
    /// The loss of the connection is the end of the stream, not an error.
    is_companion: bool,
    /// What arrived and was not read yet.
    received: Vec<u8>,
    pause: Option<Pin<Box<Sleep>>>,
    /// The bytes of a write that were passed as points, but found no room yet.
    is_write_begun: bool,
}

impl ClientStream {
    pub fn new(link: &Arc<Link>, name: impl Into<String>, near: DuplexStream, fate: Fate) -> Self {
        link.add_user();
        Self {
            link: Arc::clone(link),
            name: name.into(),
            request: String::new(),
            pipe: link.add_pipe(near),
            fate,
            is_companion: false,
            received: Vec::new(),
            pause: None,
            is_write_begun: false,
        }
    }

    /// The stream of the process that holds the lock.
    pub fn companion(link: &Arc<Link>, near: DuplexStream) -> Self {
        let mut stream = Self::new(link, "lock", near, Fate::default());
        link.set_companion(&stream.pipe);
        stream.is_companion = true;
        stream
    }

    fn lost(&self) -> io::Result<()> {
        match self.link.why_closed() {
            Some(why) if !self.is_companion => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                format!("connection lost: {why}"),
            )),
            _ => Ok(()),
        }
    }

    fn failure(&self) -> io::Result<()> {
        let mut fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
        match fate.take() {
            Some(why) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)),
            None => Ok(()),
        }
    }

    /// Pending as long as nothing crosses; whether the connection is open.
    fn poll_carries(&self, cx: &Context<'_>) -> Poll<bool> {
        if self.link.controller.is_killed() {
            return Poll::Pending;
        }
        if !self.link.is_open() {
            return Poll::Ready(false);
        }
        if self.link.condition() == Condition::Carries {
            return Poll::Ready(true);
        }
        self.link.wake_later(cx.waker());
        Poll::Pending
    }

    /// Takes bytes out of the pipe; none at its end.
    fn poll_pipe(&self, cx: &mut Context<'_>, limit: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(near) = pipe.as_mut() else {
            return Poll::Ready(Ok(Vec::new()));
        };
        let mut bytes = vec![0; limit.min(CHUNK_BYTES)];
        let mut buffer = ReadBuf::new(&mut bytes);
        let polled = Pin::new(near).poll_read(cx, &mut buffer);
        if polled.is_pending() {
            drop(pipe);
            // The link may take the pipe away.
            self.link.wake_later(cx.waker());
            return Poll::Pending;
        }
        ready!(polled)?;
        let read = buffer.filled().len();
        bytes.truncate(read);
        Poll::Ready(Ok(bytes))
    }

    fn poll_into_pipe(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        match pipe.as_mut() {
            Some(near) => Pin::new(near).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// What a point is called: the operation that is cut off there is part of it.
    fn point(&self, what: &str) -> String {
        format!("{} {what}{}", self.name, self.request)
    }

    /// Passes the points of a read; how many of the bytes arrive.
    fn pass_read(&mut self, length: usize) -> usize {
        for (kind, arrived) in [(PointKind::Read, 0), (PointKind::ReadHalf, length / 2)] {
            let Some(fault) = self.link.pass(kind, self.point("read")) else {
                continue;
            };
            let pause = self.link.suffer(fault);
            if pause > Duration::ZERO {
                self.pause = Some(Box::pin(tokio::time::sleep(pause)));
            }
            // What a machine sent before it hangs arrives.
            if !self.link.carries() {
                return arrived;
            }
        }
        length
    }

    fn pass_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        if let Some(request) = request(bytes) {
            self.request = request;
        }
        for (kind, sent) in [
            (PointKind::Write, 0),
            (PointKind::WriteHalf, bytes.len() / 2),
        ] {
            let Some(fault) = self.link.pass(kind, self.point("write")) else {
                continue;
            };
            // What nothing cuts off is sent as a whole.
            if sent > 0 && fault.ends_connection() {
                drop(self.poll_into_pipe(cx, &bytes[..sent]));
            }
            self.link.suffer(fault);
            return;
        }
    }
}

/// The request with which bytes begin. A question leaves out its details, which differ from poll to
/// poll.
fn request(bytes: &[u8]) -> Option<String> {
    let line = bytes.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let line = line.strip_suffix(" HTTP/1.1")?;
    let is_question = line.starts_with("GET ") || line.starts_with("HEAD ");
    let shown = match line.split_once('?') {
        Some((path, _)) if is_question => path,
        _ => line,
    };
    Some(format!(" {shown}"))
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.received.is_empty() {
            if !ready!(self.poll_carries(cx)) {
                return Poll::Ready(self.lost());
            }
            let bytes = ready!(self.poll_pipe(cx, buf.remaining()))?;
            if bytes.is_empty() {
                return Poll::Ready(self.failure());
            }
            let arrived = self.pass_read(bytes.len());
            self.received = bytes;
            self.received.truncate(arrived);
            if self.pause.is_some() || self.received.is_empty() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let length = self.received.len().min(buf.remaining());
        let rest = self.received.split_off(length);
        buf.put_slice(&self.received);
        self.received = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.link.controller.is_killed() {
            return Poll::Pending;
        }
        self.lost()?;
        if !self.is_write_begun && self.link.condition() == Condition::Carries {
            self.pass_write(cx, bytes);
        }
        match self.link.condition() {
            Condition::Carries => {}
            Condition::Waits => {
                self.link.wake_later(cx.waker());
                self.is_write_begun = true;
                return Poll::Pending;
            }
            Condition::Lost | Condition::Closed => {
                // The kernel takes what the network will never carry.
                self.is_write_begun = false;
                return Poll::Ready(Ok(bytes.len()));
            }
        }
        self.is_write_begun = true;
        let written = ready!(self.poll_into_pipe(cx, bytes));
        self.is_write_begun = false;
        if let Some(fault) = self.link.pass(PointKind::Written, self.point("write")) {
            self.link.suffer(fault);
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.lost())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lost()?;
        if !self.link.carries() {
            return Poll::Ready(Ok(()));
        }
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        match pipe.as_mut() {
            Some(near) => Pin::new(near).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        // Over a lost connection nothing tells the host that nobody reads any more.
        if self.link.carries() {
            self.pipe
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
        }
        self.link.remove_user();
    }
}
