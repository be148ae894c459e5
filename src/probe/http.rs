//! HTTP/1.1 over a session, with TLS where asked: one connection for all requests of a probe to one
//! member, a time limit for each, redirects only reported.

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
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use tokio_rustls::TlsConnector;

use super::answer::{Answer, ProbeError, authority, show};
use crate::env::{self, SpawnedTask};
use crate::host::{BoxStream, HostSession, StreamTarget};
use crate::spec::Secret;

/// Limit of an answer's body in bytes; larger than any answer that a probe requests.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// An answer to a request.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Returns the reply when the status is 200.
    ///
    /// # Errors
    /// For any other status, with the start of the body.
    pub fn ok(self, question: &str) -> Answer<Self> {
        if self.status == 200 {
            Ok(self)
        } else {
            Err(self.unwanted(question))
        }
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    /// When the form is unexpected.
    pub fn json<T: DeserializeOwned>(&self, question: &str) -> Answer<T> {
        serde_json::from_slice(&self.body).map_err(|e| {
            ProbeError::malformed(question, format!("unexpected JSON ({e})"), &self.body)
        })
    }

    /// Turns a reply with an unexpected status into an error.
    #[must_use]
    pub fn unwanted(&self, question: &str) -> ProbeError {
        ProbeError::Status {
            question: question.to_owned(),
            status: self.status,
            text: show(&self.body),
        }
    }
}

/// A connection, with the task that drives it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: SpawnedTask<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The HTTP interface of one member.
pub struct Http {
    session: Arc<dyn HostSession>,
    address: String,
    port: u16,
    deadline: Duration,
    login: Option<HeaderValue>,
    tls: Option<TlsConnector>,
    connection: Option<Connection>,
}

impl Http {
    /// Prepares requests to an address as seen from the host. Sends nothing yet.
    #[must_use]
    pub fn new(
        session: Arc<dyn HostSession>,
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
            tls: None,
            connection: None,
        }
    }

    /// Adds credentials to every request.
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

    /// Speaks TLS; the server's certificate must be one of this authority for the address.
    ///
    /// # Errors
    /// When the text is not a certificate.
    pub fn with_tls(mut self, ca: &str) -> Answer<Self> {
        let unusable = |why: String| ProbeError::malformed("TLS", why, b"");
        let ca = CertificateDer::from_pem_slice(ca.as_bytes())
            .map_err(|error| unusable(format!("CA certificate: {error}")))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(|error| unusable(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        self.tls = Some(Arc::new(config).into());
        Ok(self)
    }

    /// Connects ahead of the first request, to save its wait. A failure shows with that request.
    pub async fn connect_early(&mut self) {
        if self.connection.is_none()
            && let Ok(Ok(connection)) =
                tokio::time::timeout(self.deadline, self.connect("connect")).await
        {
            self.connection = Some(connection);
        }
    }

    /// Sends GET.
    ///
    /// # Errors
    /// When there is no complete answer in time. Any status is an answer.
    pub async fn get(&mut self, path: &str) -> Answer<Reply> {
        self.request(Method::GET, path, None, Bytes::new()).await
    }

    /// Sends GET with another `Host`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_as(&mut self, host: &str, path: &str) -> Answer<Reply> {
        self.request(Method::GET, path, Some(host), Bytes::new())
            .await
    }

    /// Sends GET and parses JSON from an answer with status 200.
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

    /// Sends PUT.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn put(&mut self, path: &str, body: impl Into<Bytes>) -> Answer<Reply> {
        self.request(Method::PUT, path, None, body.into()).await
    }

    /// Sends DELETE.
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
                // A late answer must not be taken for that of the next request.
                self.connection = None;
                Err(ProbeError::Silent { question, limit })
            }
        }
    }

    /// Sends a request, and repeats it once on a new connection when a used connection fails: a
    /// server may close an idle one at any time. Every request of a probe may be repeated.
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
        let target = StreamTarget::Tcp {
            address: self.address.clone(),
            port: self.port,
        };
        let stream = self
            .session
            .open(target)
            .await
            .map_err(|e| ProbeError::transport(question, &e))?;
        let stream = match &self.tls {
            None => stream,
            Some(tls) => self.encrypt(tls, stream, question).await?,
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| unreachable(question, &e))?;
        let task = env::spawn(async move {
            // Its error also reaches whoever waits for the answer.
            let _ = connection.await;
        });
        Ok(Connection { sender, task })
    }

    async fn encrypt(
        &self,
        tls: &TlsConnector,
        stream: BoxStream,
        question: &str,
    ) -> Answer<BoxStream> {
        let name = ServerName::try_from(self.address.clone())
            .map_err(|error| ProbeError::malformed(question, error, self.address.as_bytes()))?;
        let encrypted = tls
            .connect(name, stream)
            .await
            .map_err(|error| unreachable(question, &error))?;
        Ok(Box::new(encrypted))
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
            // Mesos answers 415 to any parameter in Content-Type; Consul accepts any type.
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
        let body = Limited::new(body, MAX_BODY_BYTES)
            .collect()
            .await
            .map_err(|e| ProbeError::malformed(question, format!("truncated body ({e})"), b""))?
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

/// Sends one GET on a new connection.
///
/// # Errors
/// When there is no complete answer within 5 s.
pub async fn get(
    session: &Arc<dyn HostSession>,
    address: &str,
    port: u16,
    path: &str,
) -> Answer<Reply> {
    Http::new(Arc::clone(session), address, port, Duration::from_secs(5))
        .get(path)
        .await
}

/// Sends one POST of JSON on a new connection.
///
/// # Errors
/// When there is no complete answer within 5 s.
pub async fn post(
    session: &Arc<dyn HostSession>,
    address: &str,
    port: u16,
    path: &str,
    json: impl Into<Bytes>,
) -> Answer<Reply> {
    Http::new(Arc::clone(session), address, port, Duration::from_secs(5))
        .post(path, json)
        .await
}
