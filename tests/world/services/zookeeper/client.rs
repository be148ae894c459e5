//! A client of the world: one session on one server, for the world's own services and writers.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::DuplexStream;

use super::packet::{Reader, Writer, kind, read_frame, write_frame};
use crate::network::Network;

pub struct Client {
    stream: DuplexStream,
    xid: i32,
    pub session: i64,
}

/// An error code of the server, or `None` when the connection is lost.
pub type Failure = Option<i32>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Persistent = 0,
    Ephemeral = 1,
    PersistentSequential = 2,
    EphemeralSequential = 3,
}

impl Client {
    /// Opens a session, or goes on with `session` when it is not 0.
    ///
    /// # Errors
    /// `Some(0)` when the session has expired.
    pub async fn connect(
        network: &Network,
        from: Ipv4Addr,
        to: (Ipv4Addr, u16),
        timeout: Duration,
        session: i64,
    ) -> Result<Self, Failure> {
        let mut stream = network.connect(from, to.0, to.1).await.map_err(|_| None)?;
        let request = Writer::default()
            .int(0)
            .long(0)
            .int(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
            .long(session)
            .buffer(&[0; 16])
            .byte(0);
        write_frame(&mut stream, &request.0).await.ok_or(None)?;
        let reply = read_frame(&mut stream).await.ok_or(None)?;
        let mut reader = Reader(&reply);
        let _version = reader.int();
        if reader.int().ok_or(None)? <= 0 {
            return Err(Some(0));
        }
        let session = reader.long().ok_or(None)?;
        Ok(Self {
            stream,
            xid: 0,
            session,
        })
    }

    async fn call(&mut self, kind: i32, body: Writer) -> Result<Vec<u8>, Failure> {
        self.xid += 1;
        let mut request = Writer::default().int(self.xid).int(kind);
        request.0.extend(body.0);
        write_frame(&mut self.stream, &request.0)
            .await
            .ok_or(None)?;
        let reply = read_frame(&mut self.stream).await.ok_or(None)?;
        let mut reader = Reader(&reply);
        let (_xid, _zxid, error) = (reader.int(), reader.long(), reader.int());
        match error {
            Some(0) => Ok(reader.0.to_vec()),
            Some(error) => Err(Some(error)),
            None => Err(None),
        }
    }

    /// # Errors
    /// As every request: the server's code, or `None` when the connection is lost.
    pub async fn create(&mut self, path: &str, data: &[u8], mode: Mode) -> Result<String, Failure> {
        let body = Writer::default()
            .buffer(path.as_bytes())
            .buffer(data)
            .int(1)
            .int(31)
            .buffer(b"world")
            .buffer(b"anyone")
            .int(mode as i32);
        let reply = self.call(kind::CREATE, body).await?;
        Reader(&reply).string().ok_or(None)
    }

    /// # Errors
    /// As [`Self::create`].
    pub async fn set(&mut self, path: &str, data: &[u8]) -> Result<(), Failure> {
        let body = Writer::default()
            .buffer(path.as_bytes())
            .buffer(data)
            .int(-1);
        self.call(kind::SET_DATA, body).await.map(drop)
    }

    /// # Errors
    /// As [`Self::create`].
    pub async fn get(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        let body = Writer::default().buffer(path.as_bytes()).byte(0);
        let reply = self.call(kind::GET_DATA, body).await?;
        Reader(&reply).buffer().ok_or(None)
    }

    /// # Errors
    /// As [`Self::create`].
    pub async fn exists(&mut self, path: &str) -> Result<bool, Failure> {
        let body = Writer::default().buffer(path.as_bytes()).byte(0);
        match self.call(kind::EXISTS, body).await {
            Ok(_) => Ok(true),
            Err(Some(super::tree::code::NO_NODE)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// # Errors
    /// As [`Self::create`].
    pub async fn children(&mut self, path: &str) -> Result<Vec<String>, Failure> {
        let body = Writer::default().buffer(path.as_bytes()).byte(0);
        let reply = self.call(kind::GET_CHILDREN, body).await?;
        let mut reader = Reader(&reply);
        let count = reader.int().ok_or(None)?;
        (0..count).map(|_| reader.string().ok_or(None)).collect()
    }

    /// # Errors
    /// As [`Self::create`].
    pub async fn sync(&mut self, path: &str) -> Result<(), Failure> {
        let body = Writer::default().buffer(path.as_bytes());
        self.call(kind::SYNC, body).await.map(drop)
    }

    /// # Errors
    /// As [`Self::create`].
    pub async fn ping(&mut self) -> Result<(), Failure> {
        self.call(kind::PING, Writer::default()).await.map(drop)
    }

    pub async fn close(mut self) {
        let _ = self.call(kind::CLOSE, Writer::default()).await;
    }
}
