//! The few packets of ZooKeeper's client protocol that a proof needs: connect, create, setData,
//! sync, getData, delete, close.
//!
//! Own code, because the client crates dial TCP themselves. A bridge from a loopback listener would
//! let every local user of the operator's machine bypass SSH, and would need a second runtime; this
//! client speaks over the session's own stream.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::host::BoxStream;
use crate::probe::answer::{Answer, ProbeError, show};

/// Error code: the node already exists.
pub(super) const NODE_EXISTS: i32 = -110;
/// Limit of a frame in bytes; larger than any answer of a proof.
const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// A request.
pub(super) enum Op<'a> {
    Create {
        path: &'a str,
        data: &'a [u8],
        ephemeral: bool,
    },
    Delete {
        path: &'a str,
    },
    Set {
        path: &'a str,
        data: &'a [u8],
    },
    Get {
        path: &'a str,
    },
    Sync {
        path: &'a str,
    },
    Close,
}

/// The answer to a request: an error code (0 for success) and the body.
pub(super) struct Reply {
    pub(super) error: i32,
    pub(super) body: Vec<u8>,
}

/// A ZooKeeper session.
pub(super) struct Client {
    stream: BoxStream,
    xid: i32,
}

fn buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 4);
    buffer(&mut out, body);
    out
}

fn encode(xid: i32, op: &Op<'_>) -> Vec<u8> {
    let (kind, xid) = match op {
        Op::Create { .. } => (1i32, xid),
        Op::Delete { .. } => (2, xid),
        Op::Get { .. } => (4, xid),
        Op::Set { .. } => (5, xid),
        Op::Sync { .. } => (9, xid),
        Op::Close => (-11, xid),
    };
    let mut out = Vec::new();
    out.extend_from_slice(&xid.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    match op {
        Op::Create {
            path,
            data,
            ephemeral,
        } => {
            buffer(&mut out, path.as_bytes());
            buffer(&mut out, data);
            // One ACL entry: everyone may do everything (read, write, create, delete, admin).
            out.extend_from_slice(&1i32.to_be_bytes());
            out.extend_from_slice(&31i32.to_be_bytes());
            buffer(&mut out, b"world");
            buffer(&mut out, b"anyone");
            out.extend_from_slice(&i32::from(*ephemeral).to_be_bytes());
        }
        Op::Delete { path } => {
            buffer(&mut out, path.as_bytes());
            out.extend_from_slice(&(-1i32).to_be_bytes());
        }
        Op::Set { path, data } => {
            buffer(&mut out, path.as_bytes());
            buffer(&mut out, data);
            // Whatever version the node has.
            out.extend_from_slice(&(-1i32).to_be_bytes());
        }
        Op::Get { path } => {
            buffer(&mut out, path.as_bytes());
            out.push(0);
        }
        Op::Sync { path } => buffer(&mut out, path.as_bytes()),
        Op::Close => {}
    }
    framed(&out)
}

impl Client {
    /// Opens a session. That is itself a write that the quorum must agree to.
    pub(super) async fn connect(stream: BoxStream, timeout: Duration) -> Answer<Self> {
        let mut body = Vec::new();
        body.extend_from_slice(&0i32.to_be_bytes());
        body.extend_from_slice(&0i64.to_be_bytes());
        body.extend_from_slice(
            &i32::try_from(timeout.as_millis())
                .unwrap_or(i32::MAX)
                .to_be_bytes(),
        );
        body.extend_from_slice(&0i64.to_be_bytes());
        buffer(&mut body, &[0; 16]);
        body.push(0);
        let mut client = Self { stream, xid: 0 };
        client.send(&framed(&body)).await?;
        let reply = client.frame().await?;
        // Protocol version, granted timeout, session id, password, and since 3.4 whether the server
        // is read-only.
        let timeout = reply
            .get(4..8)
            .and_then(|b| b.try_into().ok())
            .map(i32::from_be_bytes);
        if timeout.is_none_or(|t| t <= 0) {
            return Err(ProbeError::malformed(
                "connect",
                "no session granted",
                &reply,
            ));
        }
        if reply.get(36) == Some(&1) {
            return Err(ProbeError::malformed(
                "connect",
                "the server is read-only",
                b"",
            ));
        }
        Ok(client)
    }

    /// Sends all requests at once and reads their answers in order.
    pub(super) async fn call(&mut self, ops: &[Op<'_>]) -> Answer<Vec<Reply>> {
        let mut bytes = Vec::new();
        let first = self.xid + 1;
        for op in ops {
            self.xid += 1;
            bytes.extend_from_slice(&encode(self.xid, op));
        }
        self.send(&bytes).await?;
        let mut replies = Vec::with_capacity(ops.len());
        for xid in first..=self.xid {
            replies.push(self.reply(xid).await?);
        }
        Ok(replies)
    }

    async fn reply(&mut self, wanted: i32) -> Answer<Reply> {
        loop {
            let frame = self.frame().await?;
            let int = |at: usize| {
                frame
                    .get(at..at + 4)
                    .and_then(|b| b.try_into().ok())
                    .map(i32::from_be_bytes)
            };
            let (Some(xid), Some(error)) = (int(0), int(12)) else {
                return Err(ProbeError::malformed("reply", "too short", &frame));
            };
            // Negative numbers are watches and pings, which nobody requested.
            if xid < 0 {
                continue;
            }
            if xid != wanted {
                return Err(ProbeError::malformed(
                    "reply",
                    format!("response has number {xid}, expected {wanted}"),
                    b"",
                ));
            }
            return Ok(Reply {
                error,
                body: frame.get(16..).unwrap_or_default().to_vec(),
            });
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Answer<()> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|e| lost(&e))
    }

    async fn frame(&mut self) -> Answer<Vec<u8>> {
        let length = self.stream.read_i32().await.map_err(|e| lost(&e))?;
        let length = usize::try_from(length)
            .ok()
            .filter(|l| *l <= MAX_FRAME_BYTES);
        let Some(length) = length else {
            return Err(ProbeError::malformed("reply", "invalid length", b""));
        };
        let mut frame = vec![0; length];
        self.stream
            .read_exact(&mut frame)
            .await
            .map_err(|e| lost(&e))?;
        Ok(frame)
    }
}

impl Reply {
    /// The data of a node.
    pub(super) fn data(&self) -> Option<&[u8]> {
        let length = i32::from_be_bytes(self.body.get(..4)?.try_into().ok()?);
        self.body.get(4..4 + usize::try_from(length).ok()?)
    }
}

fn lost(error: &std::io::Error) -> ProbeError {
    ProbeError::Unreachable {
        question: "client session".into(),
        why: show(error.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_the_documented_form() {
        assert_eq!(
            encode(7, &Op::Sync { path: "/a" }),
            [0, 0, 0, 14, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 2, b'/', b'a']
        );
        assert_eq!(
            encode(1, &Op::Close),
            [0, 0, 0, 8, 0, 0, 0, 1, 255, 255, 255, 245]
        );
        let create = encode(
            2,
            &Op::Create {
                path: "/a",
                data: b"x",
                ephemeral: true,
            },
        );
        assert_eq!(create[..4], 50u32.to_be_bytes());
        assert_eq!(create.len(), 54);
        assert_eq!(create.last(), Some(&1));
    }

    #[tokio::test]
    async fn a_server_that_lies_about_lengths_costs_no_memory() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        theirs.write_all(&[0x7f, 0xff, 0xff, 0xff]).await.unwrap();
        let error = Client::connect(Box::new(ours), Duration::from_secs(1))
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains("invalid length"), "{error}");
    }

    #[tokio::test]
    async fn a_session_that_is_not_granted_is_an_error() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut answer = vec![0; 37];
        answer[36] = 0;
        theirs.write_all(&framed(&answer)).await.unwrap();
        let error = Client::connect(Box::new(ours), Duration::from_secs(1))
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains("no session granted"), "{error}");
    }
}
