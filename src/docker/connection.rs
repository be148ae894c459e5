//! HTTP/1.1 to the Engine over channels of a session. Opening a channel costs a round trip, so a
//! connection is reused when its response is complete.
//!
//! A user who may not open the Engine's socket needs a login shell and a session channel for each
//! connection. There are at most [`MAX_COMMANDS`] of them; further requests wait for one that is
//! done.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::BollardRequest;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore, oneshot};

use super::limited::{Allowance, Limited};
use crate::env;
use crate::host::{BoxStream, HostSession, StreamTarget, TransportError};

pub(super) type Boxed = Box<dyn std::error::Error + Send + Sync>;
type Sender = SendRequest<UnsyncBoxBody<Bytes, Boxed>>;

/// An open connection.
struct Open {
    sender: Sender,
    allowance: Allowance,
    /// Held by a connection that needs a session channel.
    permit: Option<OwnedSemaphorePermit>,
    /// No request was sent over it.
    is_new: bool,
}

/// Connections through the Docker command at once.
const MAX_COMMANDS: usize = 2;
/// How long a request waits for the first of them before the second is opened.
const GROW_INTERVAL: Duration = Duration::from_millis(300);

/// The connections to one Engine.
pub(super) struct Connections {
    session: Arc<dyn HostSession>,
    idle: Arc<Idle>,
    target: Arc<OnceCell<StreamTarget>>,
    commands: Arc<Semaphore>,
}

/// Connections without a request, or whose response is being read.
#[derive(Default)]
struct Idle {
    open: Mutex<Vec<Open>>,
    /// A connection is done with its response, or has ended.
    freed: Notify,
    /// A connection through the Docker command is being opened.
    connecting: AtomicBool,
    /// How many connections ended before their first request: the command starts also without an Engine.
    ended_new: AtomicUsize,
}

impl Idle {
    fn with<T>(&self, f: impl FnOnce(&mut Vec<Open>) -> T) -> T {
        f(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A connection that can take a request. Those that have ended are dropped.
    fn take(&self) -> Option<Open> {
        self.with(|open| {
            open.retain(|open| {
                let is_closed = open.sender.is_closed();
                if is_closed && open.is_new {
                    self.ended_new.fetch_add(1, Ordering::SeqCst);
                }
                !is_closed
            });
            let at = open.iter().position(|open| open.sender.is_ready())?;
            Some(open.swap_remove(at))
        })
    }

    /// Keeps a connection for the next request, once its response is complete.
    async fn keep(self: Arc<Self>, mut open: Open) {
        if open.sender.ready().await.is_ok() {
            self.with(|idle| idle.push(open));
        } else {
            drop(open);
        }
        self.freed.notify_waiters();
    }
}

impl Connections {
    pub(super) fn session(&self) -> &dyn HostSession {
        &*self.session
    }

    pub(super) fn new(session: Arc<dyn HostSession>) -> Self {
        Self {
            session,
            idle: Arc::default(),
            target: Arc::default(),
            commands: Arc::new(Semaphore::new(MAX_COMMANDS)),
        }
    }

    /// Sends one request and keeps the connection for the next one.
    pub(super) async fn request(
        &self,
        request: BollardRequest,
    ) -> Result<Response<Incoming>, std::io::Error> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = with_sorted_filters(path)
            .parse()
            .map_err(std::io::Error::other)?;
        let body = body.collect().await.map_err(std::io::Error::other)?;
        let body = Full::new(sorted(body.to_bytes())).map_err(|never| match never {});
        self.send(Request::from_parts(parts, body.boxed_unsync()), None)
            .await
    }

    /// The same for a request that bollard does not know. `limit` is that of the answer in bytes,
    /// when it is not the usual one.
    pub(super) async fn send(
        &self,
        mut request: Request<UnsyncBoxBody<Bytes, Boxed>>,
        limit: Option<usize>,
    ) -> Result<Response<Incoming>, std::io::Error> {
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("docker"));
        url_alphabet(headers);
        let mut open = self.take_or_connect().await?;
        open.allowance.renew(limit);
        open.is_new = false;
        let response = open
            .sender
            .send_request(request)
            .await
            .map_err(std::io::Error::other)?;
        if open.sender.is_ready() || open.permit.is_none() {
            self.idle.with(|idle| idle.push(open));
        } else {
            env::spawn(Arc::clone(&self.idle).keep(open));
        }
        Ok(response)
    }

    /// An idle connection, else a new one.
    async fn take_or_connect(&self) -> Result<Open, std::io::Error> {
        let mut try_socket = true;
        let mut waited = false;
        if let Some(open) = self.idle.take() {
            return Ok(open);
        }
        // What ended while nobody asked is counted by now, and says nothing.
        let ended_before = self.idle.ended_new.load(Ordering::SeqCst);
        loop {
            let freed = self.idle.freed.notified();
            tokio::pin!(freed);
            // Registered before the check, so that a connection freed in between is not missed.
            freed.as_mut().enable();
            if let Some(open) = self.idle.take() {
                return Ok(open);
            }
            if self.idle.ended_new.load(Ordering::SeqCst) > ended_before {
                let why = "the connection to the Docker Engine ended before a request";
                return Err(std::io::Error::new(ErrorKind::ConnectionAborted, why));
            }
            if std::mem::take(&mut try_socket)
                && let Some(open) = self.connect_socket().await?
            {
                return Ok(open);
            }
            let first = self.commands.available_permits() == MAX_COMMANDS;
            if (first || waited)
                && let Some(attempt) = self.connect_command()
            {
                tokio::select! {
                    biased;
                    // No error here means that the attempt succeeded.
                    Ok(error) = attempt => return Err(error),
                    () = freed => {}
                }
                waited = false;
            } else {
                waited = tokio::time::timeout(GROW_INTERVAL, freed).await.is_err();
            }
        }
    }

    /// Connects to the socket; `None` when the login user may not open it. Determined once.
    async fn connect_socket(&self) -> Result<Option<Open>, std::io::Error> {
        let socket = StreamTarget::Engine;
        if self.target.get().is_some_and(|target| *target != socket) {
            return Ok(None);
        }
        match self.session.open(socket.clone()).await {
            Ok(stream) => {
                let open = speak_http(stream, None).await?;
                drop(self.target.set(socket));
                Ok(Some(open))
            }
            Err(TransportError::Refused { .. }) if self.target.get().is_none() => Ok(None),
            Err(other) => Err(std::io::Error::other(other)),
        }
    }

    /// Connects through the Docker command as root, in a task: a login shell that has been started
    /// is not given up when another connection is free sooner. `None` while another one starts, or
    /// when there are enough.
    fn connect_command(&self) -> Option<oneshot::Receiver<std::io::Error>> {
        if self.idle.connecting.swap(true, Ordering::SeqCst) {
            return None;
        }
        let idle = Arc::clone(&self.idle);
        let Ok(permit) = Arc::clone(&self.commands).try_acquire_owned() else {
            idle.connecting.store(false, Ordering::SeqCst);
            return None;
        };
        let (failed, attempt) = oneshot::channel();
        let (session, target) = (Arc::clone(&self.session), Arc::clone(&self.target));
        env::spawn(async move {
            let command = StreamTarget::EngineCommand;
            let opened = match session.open(command.clone()).await {
                Ok(stream) => speak_http(stream, Some(permit)).await,
                Err(error) => Err(std::io::Error::other(error)),
            };
            idle.connecting.store(false, Ordering::SeqCst);
            match opened {
                Ok(open) => {
                    drop(target.set(command));
                    idle.with(|idle| idle.push(open));
                }
                Err(error) => drop(failed.send(error)),
            }
            idle.freed.notify_waiters();
        });
        Some(attempt)
    }
}

/// Prepares a stream for requests.
async fn speak_http(
    stream: BoxStream,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<Open, std::io::Error> {
    let allowance = Allowance::default();
    let stream = Limited {
        stream,
        allowance: allowance.clone(),
    };
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(std::io::Error::other)?;
    env::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to the Docker Engine closed");
        }
    });
    Ok(Open {
        sender,
        allowance,
        permit,
        is_new: true,
    })
}

/// JSON with the keys of its maps in order. bollard's maps have another order in each of them, and
/// two runs of one seed must send the same bytes. Anything else stays as it is.
fn sorted(json: Bytes) -> Bytes {
    let value = serde_json::from_slice::<serde_json::Value>(&json);
    match value.map(|value| serde_json::to_vec(&value)) {
        Ok(Ok(sorted)) => sorted.into(),
        _ => json,
    }
}

/// A path with its query, whose filters are such JSON.
fn with_sorted_filters(path: &str) -> String {
    let Some((name, query)) = path.split_once('?') else {
        return path.to_owned();
    };
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    if !pairs.iter().any(|(key, _)| key == "filters") {
        return path.to_owned();
    }
    let pairs = pairs.into_iter().map(|(key, value)| match &*key {
        "filters" => {
            let value = sorted(Bytes::from(value));
            (key, String::from_utf8_lossy(&value).into_owned())
        }
        _ => (key, value),
    });
    let query = serde_urlencoded::to_string(pairs.collect::<Vec<_>>());
    query.map_or_else(|_| path.to_owned(), |query| format!("{name}?{query}"))
}

/// The Engine reads credentials in URL-safe base64; bollard 0.21 writes standard base64, which
/// differs for some passwords.
fn url_alphabet(headers: &mut HeaderMap) {
    let Some(login) = headers.get_mut("x-registry-auth") else {
        return;
    };
    let translated: Vec<u8> = login
        .as_bytes()
        .iter()
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        })
        .collect();
    if let Ok(mut value) = HeaderValue::from_bytes(&translated) {
        value.set_sensitive(true);
        *login = value;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;
    use crate::docker::Engine;
    use crate::host::fake::FakeHost;
    use crate::spec::HostName;

    /// Answers every request after a moment.
    async fn answer_slowly(mut far: DuplexStream) {
        let mut request = Vec::new();
        while let Ok(byte) = far.read_u8().await {
            request.push(byte);
            if request.ends_with(b"\r\n\r\n") {
                request.clear();
                tokio::time::sleep(Duration::from_millis(400)).await;
                let body = r#"{"Version":"20.10.0","ApiVersion":"1.41"}"#;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
                let text = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                far.write_all(text.as_bytes()).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_user_without_the_socket_needs_two_channels_at_most() {
        let socket = StreamTarget::Engine;
        let command = StreamTarget::EngineCommand;
        let refused = TransportError::Refused {
            what: "/var/run/docker.sock".to_owned(),
            why: "permission denied".to_owned(),
        };
        let session = Arc::new(
            FakeHost::new(HostName::new("m1").unwrap())
                .on_open(move |target| (*target == socket).then(|| Err(refused.clone())))
                .serve(command.clone(), answer_slowly),
        );
        let engine = Engine::over(session.clone() as Arc<dyn HostSession>);
        let first = engine.version().await;
        assert!(first.is_ok(), "{first:?}");
        let more = futures::future::join_all((0..8).map(|_| engine.version())).await;
        assert!(more.iter().all(Result::is_ok), "{more:?}");
        let commands = session.targets();
        let commands = commands.iter().filter(|target| **target == command);
        assert_eq!(commands.count(), 2);
    }

    /// The Docker command starts, and ends because nobody listens at the socket.
    #[tokio::test]
    async fn an_engine_that_is_not_there_is_asked_once() {
        let command = StreamTarget::EngineCommand;
        let refused = TransportError::Refused {
            what: "/var/run/docker.sock".to_owned(),
            why: "permission denied".to_owned(),
        };
        let session = Arc::new(
            FakeHost::new(HostName::new("m1").unwrap())
                .on_open(move |target| {
                    (*target == StreamTarget::Engine).then(|| Err(refused.clone()))
                })
                .serve(
                    command.clone(),
                    |far: DuplexStream| async move { drop(far) },
                ),
        );
        let engine = Engine::over(session.clone() as Arc<dyn HostSession>);
        for asked in 1..=3 {
            let answer = tokio::time::timeout(Duration::from_secs(5), engine.version()).await;
            let answer = answer.expect("an answer");
            assert!(answer.is_err(), "{answer:?}");
            let commands = session.targets();
            let commands = commands.iter().filter(|target| **target == command);
            assert_eq!(commands.count(), asked);
        }
    }

    #[test]
    fn maps_in_requests_have_an_order() {
        let body = sorted(Bytes::from_static(
            br#"{"b":{"d":1,"c":[{"y":2,"x":1}]},"a":null}"#,
        ));
        assert_eq!(body, r#"{"a":null,"b":{"c":[{"x":1,"y":2}],"d":1}}"#);
        for other in ["", "not JSON"] {
            assert_eq!(sorted(Bytes::from(other)), other);
        }
        let filters = [
            "{\"label\":[\"x y\"],\"a\":[]}",
            "{\"a\":[],\"label\":[\"x y\"]}",
        ];
        let paths = filters.map(|filters| {
            let query = [("all", "true"), ("filters", filters)];
            let query = serde_urlencoded::to_string(query).unwrap();
            with_sorted_filters(&format!("/images/prune?{query}"))
        });
        let sent =
            "/images/prune?all=true&filters=%7B%22a%22%3A%5B%5D%2C%22label%22%3A%5B%22x+y%22%5D%7D";
        assert_eq!(paths, [sent; 2]);
        for other in ["/info", "/images/json?all=true"] {
            assert_eq!(with_sorted_filters(other), other);
        }
    }

    #[test]
    fn a_login_is_written_for_urls() {
        let mut headers = HeaderMap::new();
        headers.insert("x-registry-auth", HeaderValue::from_static("ab+/cd=="));
        url_alphabet(&mut headers);
        assert_eq!(headers["x-registry-auth"], "ab-_cd==");
    }
}
