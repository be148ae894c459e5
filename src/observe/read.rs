//! Observes a host in one pass.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::parse::{self, ParseError};
use super::types::{DockerStatus, HostStatus, Listener};
use crate::docker::{DockerError, Engine};
use crate::spec::quote;
use crate::transport::{Exec, Session, TransportError};

/// What to observe besides the machine itself.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Managed paths outside /etc/toots.
    pub paths: Vec<String>,
    /// Data directories.
    pub data_dirs: Vec<String>,
    /// The script's limit, when it is not the default.
    pub deadline: Option<Duration>,
    /// Addresses and ports that must be reachable.
    pub reach: Vec<(String, u16)>,
    /// Ports whose listeners must be known.
    pub ports: BTreeSet<u16>,
}

/// Why a host could not be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The script could not be run.
    #[error("cannot observe the host")]
    Session(#[from] TransportError),
    /// The script failed.
    #[error("cannot observe the host: the script exited with status {status}: {stderr}")]
    Script {
        /// Exit status.
        status: u32,
        /// Its last lines of standard error.
        stderr: String,
    },
    /// The answer is not the script's output.
    #[error("cannot observe the host: unexpected answer: {0}")]
    Answer(ParseError),
    /// The Engine failed, other than being absent or silent.
    #[error("cannot observe the host's containers")]
    Docker(#[from] DockerError),
}

const SCRIPT: &str = include_str!("script.sh");
const REACH_SCRIPT: &str = include_str!("reach.bash");
const SCRIPT_LIMIT: Duration = Duration::from_secs(60);
const RETRY_INTERVAL: Duration = Duration::from_millis(300);
const MAX_OUTPUT_BYTES: usize = 8 * 1024 * 1024;

/// Attempts to observe a host while its processes and its Engine's containers do not match.
const MAX_OBSERVATIONS: usize = 3;

/// Observes a host: the script and the Engine's answers in parallel. They show different moments: a
/// container that listens and that the Engine did not list was created or removed in between
/// (another run is at work), and a socket without a process was opened while the processes were
/// read. Then the host is observed again. What stays belongs to another container runtime, or to the
/// kernel.
///
/// # Errors
/// When the script cannot be run or its answer is incomplete. An Engine that does not answer is
/// data, not an error.
pub async fn read(
    session: &Arc<dyn Session>,
    engine: &Engine,
    request: &Request,
) -> Result<HostStatus, ObserveError> {
    let mut former = BTreeSet::new();
    for _ in 1..MAX_OBSERVATIONS {
        let (status, unexplained) = once(session, engine, request).await?;
        if unexplained.is_subset(&former) {
            return Ok(status);
        }
        former = unexplained;
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    Ok(once(session, engine, request).await?.0)
}

/// One observation, and what may be explained by the next one: the ids of listening containers that
/// the Engine did not list, listeners without a process, and an Engine that did not answer.
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
        // Whether an Engine is there says nothing then: it would be as silent after it is installed.
        Err(error) if needs_more_sessions(&error) => DockerStatus::OutOfSessions(full(&error)),
        Err(_) if !here => DockerStatus::Absent,
        Err(error) => {
            let unit = if status.docker_unit.is_empty() {
                String::new()
            } else {
                format!(" (unit is {})", status.docker_unit)
            };
            DockerStatus::Silent(format!("{}{unit}", full(&error)))
        }
    };
    let is_unexplained = |listener: &&Listener| {
        listener.holders.is_empty() && request.ports.contains(&listener.port)
    };
    let mut unexplained: BTreeSet<String> = status
        .host
        .listeners
        .iter()
        .filter(is_unexplained)
        .map(|listener| format!("{}/{}", listener.port, listener.protocol))
        .collect();
    // An Engine fails to list what is being removed at that moment.
    if matches!(
        status.host.docker,
        DockerStatus::Silent(_) | DockerStatus::Unreadable { .. }
    ) {
        unexplained.insert("the Engine".to_owned());
    }
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
                    None => _ = unexplained.insert(id.clone()),
                }
            }
        }
    }
    Ok((status.host, unexplained))
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
    is_caused_by(error, |error| {
        matches!(
            error,
            TransportError::Lost(_) | TransportError::Privilege { .. }
        )
    })
}

fn needs_more_sessions(error: &DockerError) -> bool {
    is_caused_by(error, |error| {
        matches!(error, TransportError::TooFewSessions { .. })
    })
}

fn is_caused_by(error: &DockerError, is_cause: impl Fn(&TransportError) -> bool) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref().is_some_and(&is_cause) {
            return true;
        }
        next = error.source();
    }
    false
}

async fn docker(engine: &Engine) -> Result<DockerStatus, DockerError> {
    let (version, containers, images) =
        tokio::join!(engine.version(), engine.containers(), engine.images());
    let engine = version?;
    match (containers, images) {
        (Ok(containers), Ok(images)) => Ok(DockerStatus::Up {
            engine,
            containers,
            images,
        }),
        (Err(error), _) | (_, Err(error)) if transport_lost(&error) => Err(error),
        // Old and foreign Engines: the version explains more than the answer that cannot be read.
        (Err(error), _) | (_, Err(error)) => Ok(DockerStatus::Unreadable {
            engine,
            why: full(&error),
        }),
    }
}

async fn script(
    session: &Arc<dyn Session>,
    request: &Request,
) -> Result<parse::ScriptAnswer, ObserveError> {
    let nonce = format!("{:016x}", rand::random::<u64>());
    let exec = Exec {
        command: "sh -s".into(),
        stdin: Bytes::from(command(&nonce, request)),
        privileged: true,
        deadline: request.deadline.unwrap_or(SCRIPT_LIMIT),
        max_output: MAX_OUTPUT_BYTES,
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

/// The script with its parameters, all of them on standard input: the nonce stays secret.
pub(super) fn command(nonce: &str, request: &Request) -> String {
    let words = |items: &[String]| {
        let words: Vec<String> = items.iter().map(|item| quote(item)).collect();
        quote(&words.join(" "))
    };
    let reach: Vec<String> = request
        .reach
        .iter()
        .map(|(address, port)| format!("{address}/{port}"))
        .collect();
    format!(
        "nonce={nonce}\npaths={}\ndata={}\nreach={}\nreach_script={}\n{SCRIPT}",
        words(&request.paths),
        words(&request.data_dirs),
        words(&reach),
        quote(REACH_SCRIPT),
    )
}

/// Milliseconds since the epoch on the operator's clock.
fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    use super::super::sections::encode;
    use super::*;
    use crate::spec::HostName;
    use crate::transport::fake::{FakeSession, output};
    use crate::transport::{BoxStream, Target};

    const LISTED: &str = "aaaa";
    const FAILING: &str = "failing";

    /// Observes a host whose Engine lists one container, while port 8500 is held by those of each
    /// observation in turn, or by no process. With [`FAILING`] the Engine cannot list. Returns the
    /// holder's name and the number of observations.
    async fn read_of(owners: &'static [&'static str]) -> (Option<String>, usize) {
        let readings = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&readings);
        let script = move |exec: &Exec| {
            let owner = owners[count.fetch_add(1, Ordering::SeqCst)];
            let stdin = String::from_utf8_lossy(&exec.stdin);
            let nonce = stdin.lines().next()?.strip_prefix("nonce=")?.to_owned();
            let socket = "tcp LISTEN 0 0 10.0.0.1:8500 0.0.0.0:*";
            let sockets = if owner.is_empty() {
                format!("complete\nsockets\n{socket}")
            } else {
                let users = r#"users:(("consul",pid=7,fd=3))"#;
                format!("complete\n7 {owner}\nsockets\n{socket} {users}")
            };
            let sections = [("docker-here", "1"), ("sockets", sockets.as_str())];
            Some(Ok(output(0, encode(&nonce, &sections, b""), "")))
        };
        let listings = Arc::new(AtomicUsize::new(0));
        let docker = move |_: &Target| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let listings = Arc::clone(&listings);
            let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let mut status = 200;
                let body = match request.uri().path().rsplit('/').next() {
                    Some("version") => "{}".to_owned(),
                    Some("json") if request.uri().path().contains("/containers/") => {
                        if owners[listings.fetch_add(1, Ordering::SeqCst)] == FAILING {
                            status = 500;
                        }
                        format!(r#"[{{"Id":"{LISTED}","Names":["/consul"]}}]"#)
                    }
                    _ => "[]".to_owned(),
                };
                let answer = hyper::Response::builder()
                    .status(status)
                    .header("content-type", "application/json");
                std::future::ready(answer.body(http_body_util::Full::new(Bytes::from(body))))
            });
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
            &Request {
                ports: [8500].into(),
                ..Request::default()
            },
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
        assert_eq!(read_of(&["", LISTED]).await, (Some("consul".into()), 2));
        assert_eq!(read_of(&["", ""]).await, (None, 2), "the kernel's");
        assert_eq!(read_of(&["bbbb", "cccc", "dddd"]).await, (None, 3));
        let listed = (Some("consul".into()), 2);
        assert_eq!(read_of(&[FAILING, LISTED]).await, listed, "a moment later");
        let (name, readings) = read_of(&[FAILING, FAILING, FAILING]).await;
        assert!(
            name.is_none() && readings <= 3,
            "an Engine that never answers"
        );
    }

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("observe_error", ObserveError, hints: |_| Vec::new(), {
            ObserveError::Session(_) => ObserveError::Session(TransportError::Lost("closed by the host".into())),
            ObserveError::Script { .. } => ObserveError::Script { status: 2, stderr: "sh: syntax error".into() },
            ObserveError::Answer(_) => ObserveError::Answer(ParseError::Truncated),
            ObserveError::Docker(_) => ObserveError::Docker(DockerError::Deadline { what: "list containers".into(), limit: Duration::from_secs(30) }),
        });
    }
}
