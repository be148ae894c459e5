//! Packets of ZooKeeper's client protocol, as far as the world's clients and servers speak it.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::tree::Node;

/// Larger frames end the connection.
const MAX_FRAME_BYTES: usize = 1024 * 1024;

pub mod kind {
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const EXISTS: i32 = 3;
    pub const GET_DATA: i32 = 4;
    pub const SET_DATA: i32 = 5;
    pub const GET_CHILDREN: i32 = 8;
    pub const SYNC: i32 = 9;
    pub const PING: i32 = 11;
    pub const GET_CHILDREN2: i32 = 12;
    pub const CREATE2: i32 = 15;
    pub const CLOSE: i32 = -11;
}

/// Reads values from a packet.
pub struct Reader<'a>(pub &'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub fn int(&mut self) -> Option<i32> {
        self.bytes().map(i32::from_be_bytes)
    }

    pub fn long(&mut self) -> Option<i64> {
        self.bytes().map(i64::from_be_bytes)
    }

    /// A length and so many bytes; a negative length is an empty buffer.
    pub fn buffer(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.int()?).unwrap_or(0);
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head.to_vec())
    }

    pub fn string(&mut self) -> Option<String> {
        String::from_utf8(self.buffer()?).ok()
    }
}

/// Writes values into a packet.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn int(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn long(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn buffer(self, bytes: &[u8]) -> Self {
        let mut writer = self.int(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        writer.0.extend(bytes);
        writer
    }

    pub fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    pub fn stat(self, node: &Node, children: usize) -> Self {
        let length = i32::try_from(node.data.chars().count()).unwrap_or(i32::MAX);
        self.long(signed(node.created))
            .long(signed(node.modified))
            .long(0)
            .long(0)
            .int(node.version)
            .int(node.children_version)
            .int(0)
            .long(node.owner)
            .int(length)
            .int(i32::try_from(children).unwrap_or(i32::MAX))
            .long(signed(node.created))
    }
}

pub fn signed(zxid: u64) -> i64 {
    i64::try_from(zxid).unwrap_or(i64::MAX)
}

/// Reads a frame after its length; `None` when the connection or the frame is no good.
pub async fn read_body(stream: &mut (impl AsyncRead + Unpin), length: i32) -> Option<Vec<u8>> {
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_FRAME_BYTES)?;
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let length = stream.read_i32().await.ok()?;
    read_body(stream, length).await
}

pub async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> Option<()> {
    let frame = Writer::default().buffer(body).0;
    stream.write_all(&frame).await.ok()?;
    stream.flush().await.ok()
}
