//! HTTP/1.1 over a session: one connection for all questions of a probe to one member, a limit for each, redirects only reported.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::answer::{Answer, ProbeError, authority, show};
use crate::spec::Secret;
use crate::transport::{Session, Target};

/// More than any answer that a probe asks for; beyond it the answer is refused.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// An answer to a request.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Itself when the status is 200.
    ///
    /// # Errors
    /// With the status and the body's beginning otherwise.
    pub fn ok(self, question: &str) -> Answer<Self> {
        if self.status == 200 {
            Ok(self)
        } else {
            Err(self.unwanted(question))
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not of that form.
    pub fn json<T: DeserializeOwned>(&self, question: &str) -> Answer<T> {
        serde_json::from_slice(&self.body).map_err(|e| {
            ProbeError::malformed(question, format!("not the expected JSON ({e})"), &self.body)
        })
    }

    /// As an error, for a status that is not the wanted one.
    #[must_use]
    pub fn unwanted(&self, question: &str) -> ProbeError {
        ProbeError::Status {
            question: question.to_owned(),
            status: self.status,
            text: show(&self.body),
        }
    }
}

/// A connection as hyper sees it, with the task that reads it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One member's HTTP interface.
pub struct Http {
    session: Arc<dyn Session>,
    address: String,
    port: u16,
    deadline: Duration,
    login: Option<HeaderValue>,
    connection: Option<Connection>,
}

impl Http {
    /// Prepares questions to an address as the host sees it; nothing is sent yet.
    #[must_use]
    pub fn new(
        session: Arc<dyn Session>,
        address: impl Into<String>,
        port: u16,
        deadline: Duration,
    ) -> Self {
        Self {
            session,
            address: address.into(),
            port,
            deadline,
            login: None,
            connection: None,
        }
    }

    /// Sends a login with every question.
    #[must_use]
    pub fn with_login(mut self, login: Option<&(String, Secret)>) -> Self {
        self.login = login.and_then(|(user, password)| {
            let encoded = STANDARD.encode(format!("{user}:{}", password.expose()));
            let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        self
    }

    /// Connects ahead of the first question, so that it costs no further wait. Nothing is asked; a failure shows with that question.
    pub async fn knock(&mut self) {
        if self.connection.is_none()
            && let Ok(Ok(connection)) =
                tokio::time::timeout(self.deadline, self.connect("connect")).await
        {
            self.connection = Some(connection);
        }
    }

    /// Asks with GET.
    ///
    /// # Errors
    /// When there is no whole answer in time. Any status is an answer.
    pub async fn get(&mut self, path: &str) -> Answer<Reply> {
        self.request(Method::GET, path, None, Bytes::new()).await
    }

    /// Asks with GET and another `Host`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_as(&mut self, host: &str, path: &str) -> Answer<Reply> {
        self.request(Method::GET, path, Some(host), Bytes::new())
            .await
    }

    /// Asks with GET for JSON behind a status 200.
    ///
    /// # Errors
    /// As [`Self::get`], and for any other status or form.
    pub async fn get_json<T: DeserializeOwned>(&mut self, path: &str) -> Answer<T> {
        let reply = self.get(path).await?;
        reply.ok(path)?.json(path)
    }

    /// Sends JSON with POST.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post(&mut self, path: &str, json: impl Into<Bytes>) -> Answer<Reply> {
        self.request(Method::POST, path, None, json.into()).await
    }

    /// Writes with PUT.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn put(&mut self, path: &str, body: impl Into<Bytes>) -> Answer<Reply> {
        self.request(Method::PUT, path, None, body.into()).await
    }

    /// Deletes.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn delete(&mut self, path: &str) -> Answer<Reply> {
        self.request(Method::DELETE, path, None, Bytes::new()).await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        host: Option<&str>,
        body: Bytes,
    ) -> Answer<Reply> {
        let limit = self.deadline;
        let question = format!("{method} {path}");
        match tokio::time::timeout(
            limit,
            self.request_on_any(&question, &method, path, host, &body),
        )
        .await
        {
            Ok(answer) => answer,
            Err(_) => {
                // A late answer must not be taken for the next question's.
                self.connection = None;
                Err(ProbeError::Silent { question, limit })
            }
        }
    }

    /// A server may close an idle connection at any time, so what fails on a used one is asked once more on a new one;
    /// every request of a probe may be repeated.
    async fn request_on_any(
        &mut self,
        question: &str,
        method: &Method,
        path: &str,
        host: Option<&str>,
        body: &Bytes,
    ) -> Answer<Reply> {
        if let Some(connection) = self.connection.take()
            && !connection.sender.is_closed()
            && let Ok(reply) = self
                .exchange(connection, question, method, path, host, body)
                .await
        {
            return Ok(reply);
        }
        let connection = self.connect(question).await?;
        self.exchange(connection, question, method, path, host, body)
            .await
    }

    async fn connect(&self, question: &str) -> Answer<Connection> {
        let target = Target::Tcp {
            address: self.address.clone(),
            port: self.port,
        };
        let stream = self
            .session
            .open(target)
            .await
            .map_err(|e| ProbeError::transport(question, &e))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| unreachable(question, &e))?;
        let task = tokio::spawn(async move {
            // Its error also reaches whoever waits for the answer.
            let _ = connection.await;
        });
        Ok(Connection { sender, task })
    }

    async fn exchange(
        &mut self,
        mut connection: Connection,
        question: &str,
        method: &Method,
        path: &str,
        host: Option<&str>,
        body: &Bytes,
    ) -> Answer<Reply> {
        let own = authority(&self.address, self.port);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host.unwrap_or(&own))
            .header(ACCEPT, "application/json, */*;q=0.1");
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login);
        }
        if method == Method::POST || method == Method::PUT {
            // Mesos answers 415 to any parameter behind it; Consul's keys take any type.
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body.clone()))
            .map_err(|e| unreachable(question, &e))?;
        connection
            .sender
            .ready()
            .await
            .map_err(|e| unreachable(question, &e))?;
        let response = connection
            .sender
            .send_request(request)
            .await
            .map_err(|e| unreachable(question, &e))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(|e| {
                ProbeError::malformed(
                    question,
                    format!("the body did not arrive whole ({e})"),
                    b"",
                )
            })?
            .to_bytes();
        self.connection = Some(connection);
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }
}

fn unreachable(question: &str, error: &dyn std::error::Error) -> ProbeError {
    let mut why = error.to_string();
    if let Some(source) = error.source() {
        why = format!("{why}: {source}");
    }
    ProbeError::Unreachable {
        question: question.to_owned(),
        why: show(why.as_bytes()),
    }
}

/// One GET on a connection of its own.
///
/// # Errors
/// When there is no whole answer within 5 s.
pub async fn get(
    session: &Arc<dyn Session>,
    address: &str,
    port: u16,
    path: &str,
) -> Answer<Reply> {
    Http::new(Arc::clone(session), address, port, Duration::from_secs(5))
        .get(path)
        .await
}

/// One POST of JSON on a connection of its own.
///
/// # Errors
/// When there is no whole answer within 5 s.
pub async fn post(
    session: &Arc<dyn Session>,
    address: &str,
    port: u16,
    path: &str,
    json: impl Into<Bytes>,
) -> Answer<Reply> {
    Http::new(Arc::clone(session), address, port, Duration::from_secs(5))
        .post(path, json)
        .await
}
