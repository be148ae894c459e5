//! A stream whose answers are bounded: an Engine that never ends its answer must not fill the
//! operator's memory.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::host::BoxStream;

/// Limit of one answer in bytes, the progress of a pull included.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// The bytes that the current answer may still have.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    /// Starts a new answer. A saved image has a limit of its own.
    pub(super) fn renew(&self, limit: Option<usize>) {
        self.0
            .store(limit.unwrap_or(MAX_ANSWER_BYTES), Ordering::Relaxed);
    }
}

/// Fails when an answer exceeds its allowance.
pub(super) struct Limited {
    pub(super) stream: BoxStream,
    pub(super) allowance: Allowance,
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        let left = &self.allowance.0;
        if left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(read)
            })
            .is_err()
        {
            return Poll::Ready(Err(io::Error::other(format!(
                "answer is longer than {} MiB",
                MAX_ANSWER_BYTES >> 20
            ))));
        }
        result
    }
}

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn endless_answers_are_errors() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move { while far.write_all(&[b'x'; 1 << 16]).await.is_ok() {} });
        let allowance = Allowance::default();
        let mut stream = Limited {
            stream: Box::new(near),
            allowance: allowance.clone(),
        };
        let mut buffer = vec![0; 1 << 16];
        assert!(stream.read(&mut buffer).await.is_err(), "nothing was asked");
        allowance.renew(None);
        let mut total = 0;
        let error = loop {
            match stream.read(&mut buffer).await {
                Ok(read) => total += read,
                Err(error) => break error,
            }
        };
        assert!(total <= MAX_ANSWER_BYTES && total > MAX_ANSWER_BYTES - (1 << 17));
        assert_eq!(error.to_string(), "answer is longer than 64 MiB");
        allowance.renew(None);
        assert!(stream.read(&mut buffer).await.is_ok());
    }
}
