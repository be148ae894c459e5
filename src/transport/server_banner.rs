//! The banner of a host, and the permit for the work that follows it.
//!
//! The number of concurrent key exchanges is limited (see `turns`), but a silent host must not block
//! others: the permit is taken when the banner has arrived, and the wait for it does not count.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::budget::Budget;
use super::handler::shown;
use super::turns::{RouteTurns, Turn};

/// Lines before the banner are allowed; more bytes than this are not a banner.
const MAX_BANNER_BYTES: usize = 8 * 1024;
/// Characters shown of a text that is not a banner.
const MAX_SHOWN_CHARS: usize = 60;

#[derive(Debug, Default)]
struct BannerData {
    first: Vec<u8>,
    permit: Option<Turn>,
    abandoned: bool,
    reader: Option<Waker>,
}

/// What is known of the start of a connection. Dropping the last clone returns the permit.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerBanner(Arc<Mutex<BannerData>>);

impl ServerBanner {
    /// The host's text instead of a banner, escaped.
    pub(super) fn strange(&self) -> Option<String> {
        self.with(|s| {
            (!s.first.is_empty() && !s.first.starts_with(b"SSH-"))
                .then(|| shown(&String::from_utf8_lossy(&s.first)))
        })
    }

    /// Returns the permit.
    pub(super) fn done(&self) {
        self.with(|s| s.permit = None);
    }

    /// Returns the permit and closes the stream. An abandoned key exchange would otherwise live on
    /// in the protocol library's task, which does not notice that nobody waits for it.
    pub(super) fn abandon(&self) {
        let reader = self.with(|s| {
            s.permit = None;
            s.abandoned = true;
            s.reader.take()
        });
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut BannerData) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum BannerState {
    /// Collecting the banner.
    Greeting,
    Waiting(BoxFuture<'static, Option<Turn>>),
    Open,
}

/// A stream that withholds the banner until this connection has its permit.
pub(super) struct BannerStream<S> {
    stream: S,
    state: BannerState,
    held: Vec<u8>,
    beginning: ServerBanner,
    turns: RouteTurns,
    budget: Budget,
}

impl<S> BannerStream<S> {
    pub(super) fn new(
        stream: S,
        beginning: ServerBanner,
        turns: RouteTurns,
        budget: Budget,
    ) -> Self {
        Self {
            stream,
            state: BannerState::Greeting,
            held: Vec::new(),
            beginning,
            turns,
            budget,
        }
    }

    fn turn(&self) -> BannerState {
        let (turns, budget) = (self.turns.clone(), self.budget.clone());
        BannerState::Waiting(Box::pin(async move { budget.pause(turns.take()).await }))
    }
}

/// Whether the line that starts an SSH connection is complete.
fn greeted(bytes: &[u8]) -> bool {
    bytes
        .split_inclusive(|b| *b == b'\n')
        .any(|line| line.starts_with(b"SSH-") && line.ends_with(b"\n"))
}

impl<S: AsyncRead + Unpin> AsyncRead for BannerStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let abandoned = this.beginning.with(|s| {
            s.reader = Some(cx.waker().clone());
            s.abandoned
        });
        if abandoned {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        loop {
            match &mut this.state {
                BannerState::Greeting => {
                    let mut space = [0; 512];
                    let mut piece = ReadBuf::new(&mut space);
                    ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
                    this.held.extend_from_slice(piece.filled());
                    let first: Vec<u8> = this.held.iter().take(MAX_SHOWN_CHARS).copied().collect();
                    this.beginning.with(|s| s.first = first);
                    if greeted(&this.held) {
                        this.state = this.turn();
                    } else if piece.filled().is_empty() || this.held.len() > MAX_BANNER_BYTES {
                        this.state = BannerState::Open;
                    }
                }
                BannerState::Waiting(turn) => {
                    let permit = ready!(turn.as_mut().poll(cx));
                    this.beginning.with(|s| s.permit = permit);
                    this.state = BannerState::Open;
                }
                BannerState::Open if this.held.is_empty() => {
                    return Pin::new(&mut this.stream).poll_read(cx, buf);
                }
                BannerState::Open => {
                    let n = this.held.len().min(buf.remaining());
                    buf.put_slice(this.held.get(..n).unwrap_or_default());
                    this.held.drain(..n);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BannerStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::turns::Turns;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_takes_no_turn_and_waiting_costs_no_time() {
        let turns = Turns::new(1).route("a");
        let budget = Budget::new(Duration::from_secs(5));
        let beginning = ServerBanner::default();
        let (near, mut far) = tokio::io::duplex(64);
        let mut greeted = BannerStream::new(near, beginning.clone(), turns.clone(), budget.clone());
        far.write_all(b"hello\r\nSSH-2.0").await.unwrap();
        let mut buffer = [0; 64];
        assert!(
            tokio::time::timeout(Duration::from_secs(1), greeted.read(&mut buffer))
                .await
                .is_err()
        );
        assert_eq!(turns.free(), 1);
        let other = turns.clone().take().await.unwrap();
        far.write_all(b"-x\r\n").await.unwrap();
        assert!(
            tokio::time::timeout(Duration::from_secs(60), greeted.read(&mut buffer))
                .await
                .is_err()
        );
        assert!(
            budget.left().unwrap() >= Duration::from_secs(3),
            "{:?}",
            budget.left()
        );
        drop(other);
        let n = greeted.read(&mut buffer).await.unwrap();
        assert_eq!(buffer.get(..n).unwrap(), b"hello\r\nSSH-2.0-x\r\n");
        assert_eq!(turns.free(), 0);
        beginning.done();
        assert_eq!(turns.free(), 1);
    }

    #[tokio::test]
    async fn an_abandoned_stream_ends() {
        let (beginning, turns) = (ServerBanner::default(), Turns::new(1).route("a"));
        let (near, mut far) = tokio::io::duplex(64);
        let mut greeted = BannerStream::new(
            near,
            beginning.clone(),
            turns.clone(),
            Budget::new(Duration::from_secs(5)),
        );
        far.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let mut buffer = [0; 64];
        assert!(greeted.read(&mut buffer).await.unwrap() > 0);
        let reading = tokio::spawn(async move { greeted.read(&mut [0; 8]).await });
        tokio::task::yield_now().await;
        beginning.abandon();
        assert_eq!(
            reading.await.unwrap().unwrap_err().kind(),
            io::ErrorKind::ConnectionAborted
        );
        assert_eq!(turns.free(), 1);
    }

    #[tokio::test]
    async fn what_is_no_greeting_is_remembered() {
        let beginning = ServerBanner::default();
        let (near, mut far) = tokio::io::duplex(64);
        let mut greeted = BannerStream::new(
            near,
            beginning.clone(),
            Turns::new(1).route("a"),
            Budget::new(Duration::from_secs(5)),
        );
        far.write_all(b"HTTP/1.1 400 Bad\x1b[2J").await.unwrap();
        drop(far);
        let mut text = Vec::new();
        greeted.read_to_end(&mut text).await.unwrap();
        assert_eq!(beginning.strange().unwrap(), "HTTP/1.1 400 Bad\\x1b[2J");
    }
}
