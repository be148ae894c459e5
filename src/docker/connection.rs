//! HTTP/1.1 to the Engine over channels of a session. Opening a channel costs a round trip, so a connection that has finished its answer
//! is used again.

use std::sync::{Arc, Mutex, PoisonError};

use bollard::BollardRequest;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::sync::OnceCell;

use crate::transport::{BoxStream, Session, Target, TransportError};

type Boxed = Box<dyn std::error::Error + Send + Sync>;
type Sender = SendRequest<UnsyncBoxBody<Bytes, Boxed>>;

/// Where the Engine listens.
const SOCKET: &str = "/var/run/docker.sock";
/// The Docker command that joins its standard streams to the Engine (18.09 and later), for users who may not use the socket.
const STDIO: &str = "docker system dial-stdio";

/// The way to one Engine.
pub(super) struct Connections {
    session: Arc<dyn Session>,
    idle: Mutex<Vec<Sender>>,
    target: OnceCell<Target>,
}

impl Connections {
    pub(super) fn new(session: Arc<dyn Session>) -> Self {
        Self {
            session,
            idle: Mutex::new(Vec::new()),
            target: OnceCell::new(),
        }
    }

    /// Sends one request; the connection is kept for the next one.
    pub(super) async fn request(
        &self,
        request: BollardRequest,
    ) -> Result<Response<Incoming>, std::io::Error> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse().map_err(std::io::Error::other)?;
        parts
            .headers
            .insert(HOST, HeaderValue::from_static("docker"));
        url_alphabet(&mut parts.headers);
        let request = Request::from_parts(parts, body.map_err(Into::into).boxed_unsync());
        let mut sender = match self.take() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let response = sender
            .send_request(request)
            .await
            .map_err(std::io::Error::other)?;
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        Ok(response)
    }

    fn take(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        let at = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(at))
    }

    async fn connect(&self) -> Result<Sender, std::io::Error> {
        let stream = self.stream().await.map_err(std::io::Error::other)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the engine ended");
            }
        });
        Ok(sender)
    }

    /// The socket when the login user may use it, else the Docker command as root; found out once.
    async fn stream(&self) -> Result<BoxStream, TransportError> {
        if let Some(target) = self.target.get() {
            return self.session.open(target.clone()).await;
        }
        let socket = Target::Unix {
            path: SOCKET.to_owned(),
        };
        match self.session.open(socket.clone()).await {
            Ok(stream) => {
                drop(self.target.set(socket));
                Ok(stream)
            }
            Err(TransportError::Refused { .. }) => {
                let command = Target::Command {
                    command: STDIO.to_owned(),
                    privileged: true,
                };
                let stream = self.session.open(command.clone()).await?;
                drop(self.target.set(command));
                Ok(stream)
            }
            Err(other) => Err(other),
        }
    }
}

/// The Engine reads the login in the alphabet for URLs; bollard 0.21 writes it in the standard one, which differs for some passwords.
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
    use super::*;

    #[test]
    fn a_login_is_written_for_urls() {
        let mut headers = HeaderMap::new();
        headers.insert("x-registry-auth", HeaderValue::from_static("ab+/cd=="));
        url_alphabet(&mut headers);
        assert_eq!(headers["x-registry-auth"], "ab-_cd==");
    }
}
