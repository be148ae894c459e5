//! One connection of a client: a four-letter word, or a session.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::ensemble::Ensemble;
use super::member::Key;
use super::packet::{Reader, Writer, kind, read_body, read_frame, signed, write_frame};
use super::tree::{code, text_of};
use super::words;
use super::writes::{Lost, Write};

/// A session on one member.
struct Session {
    ensemble: Ensemble,
    key: Key,
    id: i64,
}

/// Serves a connection until its end, or until the member no longer serves as it did.
pub async fn serve(ensemble: Ensemble, key: Key, version: String, mut stream: DuplexStream) {
    let mut first = [0; 4];
    if stream.read_exact(&mut first).await.is_err() {
        return;
    }
    if words::is_word(&first) {
        let word = String::from_utf8_lossy(&first).into_owned();
        let answer = words::answer(&ensemble, key, &version, &word);
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        return;
    }
    let Some(served) = ensemble.serving(key) else {
        return;
    };
    let mut changes = ensemble.changes();
    let ended = async {
        while ensemble.serving(key) == Some(served) {
            changes.changed().await;
        }
    };
    tokio::select! {
        biased;
        () = ended => {}
        _ = serve_session(&ensemble, key, &mut stream, i32::from_be_bytes(first)) => {}
    }
}

async fn serve_session(
    ensemble: &Ensemble,
    key: Key,
    stream: &mut DuplexStream,
    length: i32,
) -> Option<()> {
    let body = read_body(stream, length).await?;
    let (session, reply) = Session::open(ensemble, key, &body).await?;
    write_frame(stream, &reply).await?;
    let session = session?;
    loop {
        let frame = read_frame(stream).await?;
        ensemble.hear_session(key, session.id);
        let mut reader = Reader(&frame);
        let (xid, kind) = (reader.int()?, reader.int()?);
        let answer = session.answer(kind, &mut reader).await.ok()?;
        let zxid = ensemble.read(key, |tree| tree.zxid)?;
        let (error, body) = match answer {
            Some(Ok(body)) => (0, body),
            Some(Err(error)) => (error, Vec::new()),
            None => return None,
        };
        let mut reply = Writer::default().int(xid).long(signed(zxid)).int(error);
        reply.0.extend(body);
        write_frame(stream, &reply.0).await?;
        if kind == kind::CLOSE {
            return None;
        }
    }
}

/// The body of an answer, or an error code; `None`: the request has another form.
type Answer = Option<Result<Vec<u8>, i32>>;

impl Session {
    /// The session, unless it has expired, and the answer to the client.
    async fn open(ensemble: &Ensemble, key: Key, body: &[u8]) -> Option<(Option<Self>, Vec<u8>)> {
        let mut reader = Reader(body);
        let (_, _, timeout, known) = (reader.int()?, reader.long()?, reader.int()?, reader.long()?);
        let tick = ensemble.lock().members.get(&key)?.config.tick;
        let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let timeout = timeout.clamp(millis(tick * 2), millis(tick * 20));
        let id = if known == 0 {
            let session = ensemble.new_session();
            // Its time begins before it is known to all.
            ensemble.hear_session(key, session);
            let open = Write::Open { session, timeout };
            ensemble.write(key, &open).await.ok()?.ok()?;
            // The leader counts its time from now on.
            ensemble.wake();
            Some(session)
        } else {
            // The leader knows whether it still exists.
            ensemble.write(key, &Write::Sync).await.ok()?.ok()?;
            let exists = ensemble.read(key, |tree| tree.sessions.contains_key(&known))?;
            exists.then_some(known)
        };
        if let Some(id) = id {
            ensemble.hear_session(key, id);
        }
        let reply = Writer::default()
            .int(0)
            .int(if id.is_some() { timeout } else { 0 })
            .long(id.unwrap_or(0))
            .buffer(&[0; 16])
            .byte(0);
        let session = id.map(|id| Self {
            ensemble: ensemble.clone(),
            key,
            id,
        });
        Some((session, reply.0))
    }

    async fn write(&self, write: Write) -> Result<Result<String, i32>, Lost> {
        let answer = self.ensemble.write(self.key, &write).await?;
        Ok(answer.map(|(_, path)| path))
    }

    async fn answer(&self, kind: i32, reader: &mut Reader<'_>) -> Result<Answer, Lost> {
        Ok(match kind {
            kind::PING => Some(Ok(Vec::new())),
            kind::CREATE | kind::CREATE2 => self.create(kind, reader).await?,
            kind::DELETE => {
                let Some((path, version)) = reader.string().zip(reader.int()) else {
                    return Ok(None);
                };
                let answer = self.write(Write::Delete { path, version }).await?;
                Some(answer.map(|_| Vec::new()))
            }
            kind::SET_DATA => {
                let (path, data) = (reader.string(), reader.buffer());
                let (Some(path), Some(data), Some(version)) = (path, data, reader.int()) else {
                    return Ok(None);
                };
                let (node, data) = (path.clone(), text_of(&data));
                let answer = self
                    .write(Write::Set {
                        path,
                        data,
                        version,
                    })
                    .await?;
                Some(answer.and_then(|_| self.stat(&node).map(|stat| stat.0)))
            }
            kind::SYNC => {
                let Some(path) = reader.string() else {
                    return Ok(None);
                };
                let answer = self.write(Write::Sync).await?;
                Some(answer.map(|_| Writer::default().buffer(path.as_bytes()).0))
            }
            kind::CLOSE => {
                let answer = self.write(Write::Close { session: self.id }).await?;
                Some(answer.map(|_| Vec::new()))
            }
            _ => self.read(kind, reader),
        })
    }

    async fn create(&self, kind: i32, reader: &mut Reader<'_>) -> Result<Answer, Lost> {
        let (path, data) = (reader.string(), reader.buffer());
        let acls = reader.int().unwrap_or(0);
        for _ in 0..acls {
            let _ = (reader.int(), reader.string(), reader.string());
        }
        let (Some(path), Some(data), Some(flags)) = (path, data, reader.int()) else {
            return Ok(None);
        };
        let create = Write::Create {
            path,
            data: text_of(&data),
            owner: if flags & 1 == 1 { self.id } else { 0 },
            is_sequential: flags & 2 == 2,
        };
        let answer = self.write(create).await?;
        Ok(Some(answer.map(|path| {
            let reply = Writer::default().buffer(path.as_bytes());
            match self.stat(&path) {
                Ok(stat) if kind == kind::CREATE2 => [reply.0, stat.0].concat(),
                _ => reply.0,
            }
        })))
    }

    fn stat(&self, path: &str) -> Result<Writer, i32> {
        let stat = self.ensemble.read(self.key, |tree| {
            let node = tree.nodes.get(path)?;
            Some(Writer::default().stat(node, tree.children(path).len()))
        });
        stat.flatten().ok_or(code::NO_NODE)
    }

    /// Reads the member's own data, which may be old.
    fn read(&self, kind: i32, reader: &mut Reader<'_>) -> Answer {
        if !matches!(
            kind,
            kind::EXISTS | kind::GET_DATA | kind::GET_CHILDREN | kind::GET_CHILDREN2
        ) {
            return Some(Err(code::UNIMPLEMENTED));
        }
        let path = reader.string()?;
        let stat = match self.stat(&path) {
            Ok(stat) => stat.0,
            Err(error) => return Some(Err(error)),
        };
        let body = self.ensemble.read(self.key, |tree| match kind {
            kind::EXISTS => Writer::default(),
            kind::GET_DATA => {
                let data = tree.nodes.get(&path).map(|node| node.data.as_str());
                Writer::default().buffer(&super::tree::bytes_of(data.unwrap_or_default()))
            }
            _ => {
                let children = tree.children(&path);
                let count = i32::try_from(children.len()).unwrap_or(i32::MAX);
                let count = Writer::default().int(count);
                children
                    .iter()
                    .fold(count, |list, child| list.buffer(child.as_bytes()))
            }
        })?;
        let stat = if kind == kind::GET_CHILDREN {
            Vec::new()
        } else {
            stat
        };
        Some(Ok([body.0, stat].concat()))
    }
}
