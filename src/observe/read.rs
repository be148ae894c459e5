//! Asks a host everything at once.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::parse;
use super::types::{DockerStatus, HostStatus};
use crate::docker::{DockerError, Engine};
use crate::transport::{Exec, Session, TransportError};

/// What to look at besides the machine itself.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Managed paths outside /etc/toots.
    pub paths: Vec<String>,
    /// Data directories.
    pub data_dirs: Vec<String>,
    /// The script's limit, when it is not the usual one.
    pub deadline: Option<Duration>,
    /// Addresses and ports that must be reachable.
    pub reach: Vec<(String, u16)>,
}

/// Why a host could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The script could not be run.
    #[error("read the host")]
    Session(#[from] TransportError),
    /// The script ended badly.
    #[error("read the host: the script ended with status {status}: {stderr}")]
    Script {
        /// Exit status.
        status: u32,
        /// Its last words.
        stderr: String,
    },
    /// The answer is not what the script prints.
    #[error("read the host: unexpected answer: {0}")]
    Answer(String),
    /// The Engine failed in a way that is not an absent or silent Engine.
    #[error("read the host's containers")]
    Docker(#[from] DockerError),
}

const SCRIPT: &str = include_str!("script.sh");
const DEADLINE: Duration = Duration::from_secs(60);
const MAX_OUTPUT: usize = 8 * 1024 * 1024;

/// Reads a host: the script and the Engine's answers at the same time.
///
/// # Errors
/// When the script cannot be run or its answer is not complete. An Engine that does not answer is data, not an error.
pub async fn read(session: &Arc<dyn Session>, engine: &Engine, request: &Request) -> Result<HostStatus, ObserveError> {
    let (script, docker) = tokio::join!(script(session, request), docker(engine));
    let mut status = script?;
    let here = status.docker_here;
    status.host.docker = match docker {
        Ok(up) => up,
        Err(error) if transport_lost(&error) => return Err(error.into()),
        Err(_) if !here => DockerStatus::Absent,
        Err(error) => {
            let unit = if status.docker_unit.is_empty() { String::new() } else { format!(" (its unit is {})", status.docker_unit) };
            DockerStatus::Silent(format!("{}{unit}", full(&error)))
        }
    };
    if let DockerStatus::Up { containers, .. } = &status.host.docker {
        for listener in &mut status.host.listeners {
            let ids = listener.holders.iter().filter_map(|pid| status.owners.get(pid));
            listener.container = ids.filter_map(|id| containers.iter().find(|c| c.id == *id)).map(|c| c.name.clone()).next();
        }
    }
    Ok(status.host)
}

fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

fn transport_lost(error: &DockerError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(TransportError::Lost(_) | TransportError::Privilege { .. })) {
            return true;
        }
        next = error.source();
    }
    false
}

async fn docker(engine: &Engine) -> Result<DockerStatus, DockerError> {
    let (version, containers, images) = tokio::try_join!(engine.version(), engine.containers(), engine.images())?;
    Ok(DockerStatus::Up { engine: version, containers, images })
}

async fn script(session: &Arc<dyn Session>, request: &Request) -> Result<parse::Reading, ObserveError> {
    let nonce = format!("{:016x}", rand::random::<u64>());
    let words = |items: &[String]| items.iter().map(|item| crate::transport::quote(item)).collect::<Vec<_>>().join(" ");
    let reach: Vec<String> = request.reach.iter().map(|(address, port)| format!("{address}/{port}")).collect();
    let head = format!(
        "nonce={nonce}\npaths={}\ndata={}\nreach={}\n",
        crate::transport::quote(&words(&request.paths)),
        crate::transport::quote(&words(&request.data_dirs)),
        crate::transport::quote(&words(&reach))
    );
    let exec = Exec {
        command: "sh -s".into(),
        stdin: Bytes::from(head + SCRIPT),
        privileged: true,
        deadline: request.deadline.unwrap_or(DEADLINE),
        max_output: MAX_OUTPUT,
    };
    let before = now_ms();
    let output = session.exec(exec).await?;
    if output.status != 0 {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let stderr = stderr.trim().chars().take(2000).collect();
        return Err(ObserveError::Script { status: output.status, stderr });
    }
    parse::reading(&output.stdout, &nonce, before).map_err(ObserveError::Answer)
}

/// Milliseconds since the epoch by the operator's clock.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}
