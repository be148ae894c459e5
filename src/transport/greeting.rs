//! The first line of a host, and the turn for the work that follows it.
//!
//! Only so many key exchanges go on at once, but a host that is silent must not keep others from their turn: the turn is taken when the
//! greeting is there, and the time of waiting for it does not count.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{budget::Budget, handler::shown};

/// Lines before the greeting are allowed; more than this is no greeting at all.
const MAX: usize = 8 * 1024;
/// So much is shown of what is no greeting.
const SHOWN: usize = 60;

#[derive(Debug, Default)]
struct Said {
    first: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
    abandoned: bool,
    reader: Option<Waker>,
}

/// What is known of a connection's beginning. Dropping the last one gives the turn back.
#[derive(Debug, Clone, Default)]
pub(super) struct Beginning(Arc<Mutex<Said>>);

impl Beginning {
    /// What the host said instead of a greeting, made harmless.
    pub(super) fn strange(&self) -> Option<String> {
        self.with(|s| {
            (!s.first.is_empty() && !s.first.starts_with(b"SSH-"))
                .then(|| shown(&String::from_utf8_lossy(&s.first)))
        })
    }

    /// Ends the turn.
    pub(super) fn done(&self) {
        self.with(|s| s.permit = None);
    }

    /// Ends the turn and the stream. A key exchange that was given up would otherwise live on in the protocol library's task, which does not
    /// notice that nobody waits for it.
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

    fn with<T>(&self, f: impl FnOnce(&mut Said) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum State {
    /// Collecting the greeting.
    Greeting,
    Waiting(BoxFuture<'static, Option<OwnedSemaphorePermit>>),
    Open,
}

/// A stream that holds the greeting back until it is this connection's turn.
pub(super) struct Greeted<S> {
    stream: S,
    state: State,
    held: Vec<u8>,
    beginning: Beginning,
    turns: Arc<Semaphore>,
    budget: Budget,
}

impl<S> Greeted<S> {
    pub(super) fn new(
        stream: S,
        beginning: Beginning,
        turns: Arc<Semaphore>,
        budget: Budget,
    ) -> Self {
        Self {
            stream,
            state: State::Greeting,
            held: Vec::new(),
            beginning,
            turns,
            budget,
        }
    }

    fn turn(&self) -> State {
        let (turns, budget) = (self.turns.clone(), self.budget.clone());
        State::Waiting(Box::pin(async move {
            budget.pause(turns.acquire_owned()).await.ok()
        }))
    }
}

/// Whether a line that begins an SSH connection is complete.
fn greeted(bytes: &[u8]) -> bool {
    bytes
        .split_inclusive(|b| *b == b'\n')
        .any(|line| line.starts_with(b"SSH-") && line.ends_with(b"\n"))
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
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
                State::Greeting => {
                    let mut space = [0; 512];
                    let mut piece = ReadBuf::new(&mut space);
                    ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
                    this.held.extend_from_slice(piece.filled());
                    let first: Vec<u8> = this.held.iter().take(SHOWN).copied().collect();
                    this.beginning.with(|s| s.first = first);
                    if greeted(&this.held) {
                        this.state = this.turn();
                    } else if piece.filled().is_empty() || this.held.len() > MAX {
                        this.state = State::Open;
                    }
                }
                State::Waiting(turn) => {
                    let permit = ready!(turn.as_mut().poll(cx));
                    this.beginning.with(|s| s.permit = permit);
                    this.state = State::Open;
                }
                State::Open if this.held.is_empty() => {
                    return Pin::new(&mut this.stream).poll_read(cx, buf);
                }
                State::Open => {
                    let n = this.held.len().min(buf.remaining());
                    buf.put_slice(this.held.get(..n).unwrap_or_default());
                    this.held.drain(..n);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
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

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_takes_no_turn_and_waiting_costs_no_time() {
        let turns = Arc::new(Semaphore::new(1));
        let budget = Budget::new(Duration::from_secs(5));
        let beginning = Beginning::default();
        let (near, mut far) = tokio::io::duplex(64);
        let mut greeted = Greeted::new(near, beginning.clone(), turns.clone(), budget.clone());
        far.write_all(b"hello\r\nSSH-2.0").await.unwrap();
        let mut buffer = [0; 64];
        assert!(
            tokio::time::timeout(Duration::from_secs(1), greeted.read(&mut buffer))
                .await
                .is_err()
        );
        assert_eq!(turns.available_permits(), 1);
        let other = turns.clone().acquire_owned().await.unwrap();
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
        assert_eq!(turns.available_permits(), 0);
        beginning.done();
        assert_eq!(turns.available_permits(), 1);
    }

    #[tokio::test]
    async fn an_abandoned_stream_ends() {
        let (beginning, turns) = (Beginning::default(), Arc::new(Semaphore::new(1)));
        let (near, mut far) = tokio::io::duplex(64);
        let mut greeted = Greeted::new(
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
        assert_eq!(turns.available_permits(), 1);
    }

    #[tokio::test]
    async fn what_is_no_greeting_is_remembered() {
        let beginning = Beginning::default();
        let (near, mut far) = tokio::io::duplex(64);
        let mut greeted = Greeted::new(
            near,
            beginning.clone(),
            Arc::new(Semaphore::new(1)),
            Budget::new(Duration::from_secs(5)),
        );
        far.write_all(b"HTTP/1.1 400 Bad\x1b[2J").await.unwrap();
        drop(far);
        let mut text = Vec::new();
        greeted.read_to_end(&mut text).await.unwrap();
        assert_eq!(beginning.strange().unwrap(), "HTTP/1.1 400 Bad\\x1b[2J");
    }
}
