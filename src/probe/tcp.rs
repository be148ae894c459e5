//! Sends a line and reads the answer: ZooKeeper's four-letter words and ordinary TCP probes.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::answer::{Answer, ProbeError, show};
use crate::host::{BoxStream, HostSession, StreamTarget};

/// Limit of an answer in bytes; the longest one (`mntr` of a large ensemble) has about 30 KiB.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Sends a text and reads until the peer closes, or until `enough` bytes arrived.
///
/// # Errors
/// When nothing listens there, or the answer does not end in time.
pub async fn line(
    session: &Arc<dyn HostSession>,
    address: &str,
    port: u16,
    send: &str,
    enough: Option<usize>,
    limit: Duration,
) -> Answer<Vec<u8>> {
    let question = match send.trim() {
        "" => format!("connection to port {port}"),
        word => word.to_owned(),
    };
    let target = StreamTarget::Tcp {
        address: address.to_owned(),
        port,
    };
    let dialogue = async {
        let stream = session
            .open(target)
            .await
            .map_err(|e| ProbeError::transport(&question, &e))?;
        converse(stream, send, enough)
            .await
            .map_err(|e| ProbeError::Unreachable {
                question: question.clone(),
                why: show(e.to_string().as_bytes()),
            })
    };
    match tokio::time::timeout(limit, dialogue).await {
        Ok(answer) => answer,
        Err(_) => Err(ProbeError::Silent { question, limit }),
    }
}

async fn converse(
    mut stream: BoxStream,
    send: &str,
    enough: Option<usize>,
) -> std::io::Result<Vec<u8>> {
    stream.write_all(send.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    let enough = enough.unwrap_or(MAX_ANSWER_BYTES).min(MAX_ANSWER_BYTES);
    while answer.len() < enough {
        let mut part = [0u8; 8192];
        let read = match stream.read(&mut part).await {
            Ok(0) => break,
            Ok(read) => read,
            // ZooKeeper may reset the connection after its answer.
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(error),
        };
        answer.extend_from_slice(&part[..read]);
    }
    answer.truncate(MAX_ANSWER_BYTES);
    Ok(answer)
}
