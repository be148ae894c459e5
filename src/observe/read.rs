//! Asks a host everything at once.

use std::collections::BTreeSet;
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
const PAUSE: Duration = Duration::from_millis(300);
const MAX_OUTPUT: usize = 8 * 1024 * 1024;

/// How often a host is read when its processes and its Engine's containers do not fit together.
const READINGS: usize = 3;

/// Reads a host: the script and the Engine's answers at the same time. The two are of two moments: a listener in a container that the
/// Engine did not list is one that came or went in between (another run is at work), and the host is read again. An id that stays is of
/// another container runtime.
///
/// # Errors
/// When the script cannot be run or its answer is not complete. An Engine that does not answer is data, not an error.
pub async fn read(
    session: &Arc<dyn Session>,
    engine: &Engine,
    request: &Request,
) -> Result<HostStatus, ObserveError> {
    let mut former = BTreeSet::new();
    for _ in 1..READINGS {
        let (status, unlisted) = once(session, engine, request).await?;
        if unlisted.is_subset(&former) {
            return Ok(status);
        }
        former = unlisted;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(once(session, engine, request).await?.0)
}

/// One reading, and the ids of containers that listen and that the Engine did not list.
async fn once(
    session: &Arc<dyn Session>,
    engine: &Engine,
    request: &Request,
) -> Result<(HostStatus, BTreeSet<String>), ObserveError> {
    let (script, docker) = tokio::join!(script(session, request), docker(engine));
    let mut status = script?;
    let here = status.docker_here;
    status.host.docker = match docker {
        Ok(up) => up,
        Err(error) if transport_lost(&error) => return Err(error.into()),
        Err(_) if !here => DockerStatus::Absent,
        Err(error) => {
            let unit = if status.docker_unit.is_empty() {
                String::new()
            } else {
                format!(" (its unit is {})", status.docker_unit)
            };
            DockerStatus::Silent(format!("{}{unit}", full(&error)))
        }
    };
    let mut unlisted = BTreeSet::new();
    if let DockerStatus::Up { containers, .. } = &status.host.docker {
        for listener in &mut status.host.listeners {
            for id in listener
                .holders
                .iter()
                .filter_map(|pid| status.owners.get(pid))
            {
                match containers.iter().find(|c| c.id == *id) {
                    Some(container) => {
                        _ = listener
                            .container
                            .get_or_insert_with(|| container.name.clone())
                    }
                    None => _ = unlisted.insert(id.clone()),
                }
            }
        }
    }
    Ok((status.host, unlisted))
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
        if matches!(
            error.downcast_ref(),
            Some(TransportError::Lost(_) | TransportError::Privilege { .. })
        ) {
            return true;
        }
        next = error.source();
    }
    false
}

async fn docker(engine: &Engine) -> Result<DockerStatus, DockerError> {
    let (version, containers, images) =
        tokio::try_join!(engine.version(), engine.containers(), engine.images())?;
    Ok(DockerStatus::Up {
        engine: version,
        containers,
        images,
    })
}

async fn script(
    session: &Arc<dyn Session>,
    request: &Request,
) -> Result<parse::Reading, ObserveError> {
    let nonce = format!("{:016x}", rand::random::<u64>());
    let words = |items: &[String]| {
        items
            .iter()
            .map(|item| crate::transport::quote(item))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let reach: Vec<String> = request
        .reach
        .iter()
        .map(|(address, port)| format!("{address}/{port}"))
        .collect();
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
        return Err(ObserveError::Script {
            status: output.status,
            stderr,
        });
    }
    parse::reading(&output.stdout, &nonce, before).map_err(ObserveError::Answer)
}

/// Milliseconds since the epoch by the operator's clock.
fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use base64::Engine as _;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    use super::*;
    use crate::spec::HostName;
    use crate::transport::fake::{FakeSession, output};
    use crate::transport::{BoxStream, Target};

    const LISTED: &str = "aaaa";

    /// A host whose Engine lists one container, while port 8500 is held by those of each reading in turn. Returns the holder's name and the
    /// number of readings.
    async fn read_of(owners: &'static [&'static str]) -> (Option<String>, usize) {
        let readings = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&readings);
        let script = move |exec: &Exec| {
            let owner = owners[count.fetch_add(1, Ordering::SeqCst)];
            let stdin = String::from_utf8_lossy(&exec.stdin);
            let nonce = stdin.lines().next()?.strip_prefix("nonce=")?.to_owned();
            let sockets = r#"tcp LISTEN 0 0 10.0.0.1:8500 0.0.0.0:* users:(("consul",pid=7,fd=3))"#;
            let records = [
                ("docker-here", "1"),
                ("sockets", sockets),
                ("owners", &format!("7 {owner}")),
                ("end", &nonce),
            ];
            let line = |(key, value): (&str, &str)| {
                format!(
                    "{nonce} {key} {}\n",
                    base64::engine::general_purpose::STANDARD.encode(value)
                )
            };
            Some(Ok(output(0, records.map(line).concat(), "")))
        };
        let docker = |_: &Target| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let answer = service_fn(
                |request: hyper::Request<hyper::body::Incoming>| async move {
                    let body = match request.uri().path().rsplit('/').next() {
                        Some("version") => "{}".to_owned(),
                        Some("json") if request.uri().path().contains("/containers/") => {
                            format!(r#"[{{"Id":"{LISTED}","Names":["/consul"]}}]"#)
                        }
                        _ => "[]".to_owned(),
                    };
                    let answer =
                        hyper::Response::builder().header("content-type", "application/json");
                    answer.body(http_body_util::Full::new(Bytes::from(body)))
                },
            );
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(far), answer),
            );
            Some(Ok(Box::new(near) as BoxStream))
        };
        let fake = FakeSession::new(HostName::new("m1").unwrap())
            .on_exec(script)
            .on_open(docker);
        let session: Arc<dyn Session> = Arc::new(fake);
        let status = read(
            &session,
            &Engine::over(Arc::clone(&session)),
            &Request::default(),
        )
        .await
        .unwrap();
        (
            status.listeners[0].container.clone(),
            readings.load(Ordering::SeqCst),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_that_came_or_went_meanwhile_is_looked_at_again() {
        assert_eq!(read_of(&[LISTED]).await, (Some("consul".into()), 1));
        assert_eq!(read_of(&["bbbb", LISTED]).await, (Some("consul".into()), 2));
        assert_eq!(
            read_of(&["bbbb", "cccc", LISTED]).await,
            (Some("consul".into()), 3)
        );
        assert_eq!(
            read_of(&["bbbb", "bbbb"]).await,
            (None, 2),
            "another runtime's"
        );
        assert_eq!(read_of(&["bbbb", "cccc", "dddd"]).await, (None, 3));
    }
}
