//! Sends requests to an Engine, the simulated one or a real one.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

/// The body of a request.
#[derive(Debug, Clone)]
pub enum Payload {
    None,
    Json(Value),
    Tar(Vec<u8>),
}

/// Sends one request on a connection of its own; returns the status and the answer as it comes.
pub async fn open(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &str,
    uri: &str,
    payload: Payload,
) -> Result<(u16, Incoming), hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (kind, body) = match payload {
        Payload::None => ("application/json", Vec::new()),
        Payload::Json(body) => ("application/json", body.to_string().into_bytes()),
        Payload::Tar(body) => ("application/x-tar", body),
    };
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "docker")
        .header("content-type", kind)
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let response = sender.send_request(request).await?;
    Ok((response.status().as_u16(), response.into_body()))
}

/// Sends one request and reads the whole answer.
pub async fn request(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &str,
    uri: &str,
    payload: Payload,
) -> Result<(u16, Vec<u8>), hyper::Error> {
    let (status, body) = open(stream, method, uri, payload).await?;
    Ok((status, body.collect().await?.to_bytes().to_vec()))
}
