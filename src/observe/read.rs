//! Observes a host in one pass.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::types::{DockerStatus, HostStatus};
use crate::docker::{DockerError, Engine};
use crate::host::{HostSession, Listener, Observation, Observe, OperationError, TransportError};

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
    /// The answer is not that of an observation.
    #[error("cannot observe the host: {0}")]
    Answer(OperationError),
    /// The Engine failed, other than being absent or silent.
    #[error("cannot observe the host's containers")]
    Docker(#[from] DockerError),
}

const RETRY_INTERVAL: Duration = Duration::from_millis(300);

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
    session: &Arc<dyn HostSession>,
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
    session: &Arc<dyn HostSession>,
    engine: &Engine,
    request: &Request,
) -> Result<(HostStatus, BTreeSet<String>), ObserveError> {
    let (observation, docker) = tokio::join!(observe(session, request), docker(engine));
    let mut observation = observation?;
    let here = observation.docker_here;
    let unit = std::mem::take(&mut observation.docker_unit);
    let owners = std::mem::take(&mut observation.owners);
    let mut status = HostStatus {
        machine: observation,
        ..HostStatus::default()
    };
    status.docker = match docker {
        Ok(up) => up,
        Err(error) if transport_lost(&error) => return Err(error.into()),
        // Whether an Engine is there says nothing then: it would be as silent after it is installed.
        Err(error) if needs_more_sessions(&error) => DockerStatus::OutOfSessions(full(&error)),
        Err(_) if !here => DockerStatus::Absent,
        Err(error) => {
            let unit = if unit.is_empty() {
                String::new()
            } else {
                format!(" (unit is {unit})")
            };
            DockerStatus::Silent(format!("{}{unit}", full(&error)))
        }
    };
    let is_unexplained = |listener: &&Listener| {
        listener.holders.is_empty() && request.ports.contains(&listener.port)
    };
    let mut unexplained: BTreeSet<String> = status
        .listeners
        .iter()
        .filter(is_unexplained)
        .map(|listener| format!("{}/{}", listener.port, listener.protocol))
        .collect();
    // An Engine fails to list what is being removed at that moment.
    if matches!(
        status.docker,
        DockerStatus::Silent(_) | DockerStatus::Unreadable { .. }
    ) {
        unexplained.insert("the Engine".to_owned());
    }
    if let DockerStatus::Up { containers, .. } = &status.docker {
        for listener in &mut status.machine.listeners {
            for id in listener.holders.iter().filter_map(|pid| owners.get(pid)) {
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
    Ok((status, unexplained))
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

async fn observe(
    session: &Arc<dyn HostSession>,
    request: &Request,
) -> Result<Observation, ObserveError> {
    let operation = Observe {
        paths: request.paths.clone(),
        data_dirs: request.data_dirs.clone(),
        reach: request.reach.clone(),
        deadline: request.deadline,
    };
    session
        .perform(operation)
        .await
        .map(|observation| *observation)
        .map_err(|error| match error {
            OperationError::Transport(error) => ObserveError::Session(error),
            OperationError::Failed { status, stderr, .. } => ObserveError::Script {
                status,
                stderr: String::from_utf8_lossy(&stderr)
                    .trim()
                    .chars()
                    .take(2000)
                    .collect(),
            },
            other => ObserveError::Answer(other),
        })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    use super::*;
    use crate::host::fake::FakeHost;
    use crate::host::{BoxStream, HostAnswer, Operation, ParseError, StreamTarget};
    use crate::spec::HostName;

    const LISTED: &str = "aaaa";
    const FAILING: &str = "failing";

    /// Observes a host whose Engine lists one container, while port 8500 is held by those of each
    /// observation in turn, or by no process. With [`FAILING`] the Engine cannot list. Returns the
    /// holder's name and the number of observations.
    async fn read_of(owners: &'static [&'static str]) -> (Option<String>, usize) {
        let readings = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&readings);
        let observation = move |_: &Operation| {
            let owner = owners[count.fetch_add(1, Ordering::SeqCst)];
            let mut listener = Listener {
                protocol: "tcp".into(),
                address: [10, 0, 0, 1].into(),
                port: 8500,
                process: None,
                pid: None,
                holders: Vec::new(),
                container: None,
            };
            let mut observation = Observation {
                docker_here: true,
                ..Observation::default()
            };
            if !owner.is_empty() {
                listener.holders.push(7);
                observation.owners.insert(7, owner.to_owned());
            }
            observation.listeners.push(listener);
            Some(Ok(HostAnswer::Observe(Box::new(observation))))
        };
        let listings = Arc::new(AtomicUsize::new(0));
        let docker = move |_: &StreamTarget| {
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
        let fake = FakeHost::new(HostName::new("m1").unwrap())
            .on_run(observation)
            .on_open(docker);
        let session: Arc<dyn HostSession> = Arc::new(fake);
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
            ObserveError::Answer(_) => ObserveError::Answer(OperationError::Observation(ParseError::Truncated)),
            ObserveError::Docker(_) => ObserveError::Docker(DockerError::Deadline { what: "list containers".into(), limit: Duration::from_secs(30) }),
        });
    }
}
