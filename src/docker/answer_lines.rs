//! Answers that come as one JSON object per line, while the Engine works.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use serde::Deserialize;

use super::error::DockerError;

/// One object of the answer to a build or a load.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AnswerLine {
    pub(super) stream: Option<String>,
    pub(super) status: Option<String>,
    pub(super) id: Option<String>,
    pub(super) aux: Option<serde_json::Value>,
    error_detail: Option<ErrorDetail>,
    /// What engines before `errorDetail` say.
    error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    message: String,
}

impl AnswerLine {
    fn error(&self) -> Option<&str> {
        let detail = self.error_detail.as_ref();
        detail
            .map(|detail| detail.message.as_str())
            .or(self.error.as_deref())
    }
}

/// Longest line that is kept, in bytes.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Reads the answer to its end. `alive` says whether something else moved while no byte came: bytes of
/// the request that are still being sent.
///
/// # Errors
/// When the Engine reports an error in or instead of the lines, or nothing moves for `idle`.
pub(super) async fn read(
    what: &str,
    response: Response<Incoming>,
    idle: Duration,
    mut alive: impl FnMut() -> bool,
    mut each: impl FnMut(AnswerLine),
) -> Result<(), DockerError> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut held: Vec<u8> = Vec::new();
    loop {
        let frame = match tokio::time::timeout(idle, body.frame()).await {
            Err(_) if alive() => continue,
            Err(_) => {
                return Err(DockerError::Deadline {
                    what: what.to_owned(),
                    limit: idle,
                });
            }
            Ok(None) => break,
            Ok(Some(frame)) => frame.map_err(|error| DockerError::Disconnected {
                what: what.to_owned(),
                source: Box::new(error),
            })?,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        held.extend_from_slice(&data);
        if status >= 400 {
            held.truncate(MAX_LINE_BYTES);
            continue;
        }
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            take(what, &line, &mut each)?;
        }
        if held.len() > MAX_LINE_BYTES {
            return Err(refused(
                what,
                200,
                "the answer has a line without end".into(),
            ));
        }
    }
    if status >= 400 {
        #[derive(Deserialize)]
        struct EngineMessage {
            message: String,
        }
        let message = serde_json::from_slice::<EngineMessage>(&held).map_or_else(
            |_| String::from_utf8_lossy(&held).trim().to_owned(),
            |answer| answer.message,
        );
        return Err(refused(what, status, message));
    }
    take(what, &held, &mut each)
}

fn take(what: &str, line: &[u8], each: &mut impl FnMut(AnswerLine)) -> Result<(), DockerError> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let line: AnswerLine = serde_json::from_slice(line)
        .map_err(|error| refused(what, 200, format!("the answer is no JSON: {error}")))?;
    match line.error() {
        Some(message) => Err(refused(what, 500, message.to_owned())),
        None => {
            each(line);
            Ok(())
        }
    }
}

pub(super) fn refused(what: &str, status: u16, message: String) -> DockerError {
    DockerError::Refused {
        what: what.to_owned(),
        status,
        message,
    }
}
