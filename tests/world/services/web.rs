//! HTTP/1.1 between simulated machines: a server that ends with its program, and a client.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::network::{Listener, Network};

#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            ..Self::default()
        }
    }

    pub fn post(path: &str, body: &Value) -> Self {
        Self {
            headers: [("content-type".to_owned(), "application/json".to_owned())].into(),
            body: body.to_string().into_bytes(),
            ..Self::new("POST", path)
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Those of the query; a key without a value has an empty one.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        serde_urlencoded::from_str(&self.query).unwrap_or_default()
    }

    fn uri(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }
}

pub enum Body {
    Whole(Bytes),
    /// Lines, until the sender is dropped; it is closed when the client has gone.
    Lines(mpsc::UnboundedReceiver<String>),
}

pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Body,
}

impl Reply {
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            headers: BTreeMap::new(),
            body: Body::Whole(Bytes::from(text.into())),
        }
    }

    pub fn json(status: u16, value: &Value) -> Self {
        Self::text(status, value.to_string()).with("Content-Type", "application/json")
    }

    pub fn lines(lines: mpsc::UnboundedReceiver<String>) -> Self {
        Self {
            body: Body::Lines(lines),
            ..Self::text(200, "")
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_owned(), value.into());
        self
    }
}

/// Answers requests. One that never returns lets the client hang.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    async fn answer(&self, request: Request) -> Reply;
}

/// Serves until it is dropped, with every connection.
pub async fn serve(mut listener: Listener, handler: Arc<dyn Handler>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            (stream, _) = listener.accept() => {
                connections.spawn(serve_connection(stream, Arc::clone(&handler)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until its end.
pub async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handler: Arc<dyn Handler>,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let handler = Arc::clone(&handler);
        async move {
            let request = read(request).await?;
            Ok::<_, hyper::Error>(respond(handler.answer(request).await))
        }
    });
    let http = hyper::server::conn::http1::Builder::new()
        // It would be the time of the real machine.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away is no error of the server.
    drop(http.await);
}

async fn read(request: hyper::Request<Incoming>) -> Result<Request, hyper::Error> {
    let (head, body) = request.into_parts();
    let headers = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    Ok(Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: body.collect().await?.to_bytes().to_vec(),
    })
}

fn respond(reply: Reply) -> hyper::Response<UnsyncBoxBody<Bytes, Infallible>> {
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let body = match reply.body {
        Body::Whole(bytes) => Full::new(bytes).boxed_unsync(),
        Body::Lines(lines) => {
            let lines = futures::stream::unfold(lines, |mut lines| async move {
                Some((lines.recv().await?, lines))
            });
            let frames = lines.map(|line| Ok(Frame::data(Bytes::from(line + "\n"))));
            StreamBody::new(frames).boxed_unsync()
        }
    };
    response.body(body).expect("a response")
}

/// Where a client sits, and how long it waits for an answer.
#[derive(Clone)]
pub struct Client {
    pub network: Network,
    pub from: Ipv4Addr,
    pub limit: Duration,
}

#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An answer whose lines are still to come. Dropped, its connection ends.
pub struct Lines {
    lines: mpsc::UnboundedReceiver<String>,
    _connection: JoinSet<()>,
}

impl Lines {
    pub async fn next(&mut self) -> Option<String> {
        self.lines.recv().await
    }
}

impl Client {
    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// When there is no complete answer in time.
    pub async fn send(&self, to: Ipv4Addr, port: u16, request: Request) -> io::Result<Answer> {
        let exchange = async {
            let mut connection = JoinSet::new();
            let (head, body) = self.begin(to, port, request, &mut connection).await?;
            let body = body.collect().await.map_err(io::Error::other)?;
            Ok(Answer {
                body: body.to_bytes().to_vec(),
                ..head
            })
        };
        match tokio::time::timeout(self.limit, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Sends a request whose answer comes line by line.
    ///
    /// # Errors
    /// When the answer does not begin in time; the head of one that is no 200 is the error's text.
    pub async fn follow(&self, to: Ipv4Addr, port: u16, request: Request) -> io::Result<Lines> {
        let mut connection = JoinSet::new();
        let begin = self.begin(to, port, request, &mut connection);
        let (head, mut body) = match tokio::time::timeout(self.limit, begin).await {
            Ok(answer) => answer?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        if head.status != 200 {
            return Err(io::Error::other(format!("status {}", head.status)));
        }
        let (sender, lines) = mpsc::unbounded_channel();
        connection.spawn(async move {
            let mut text = String::new();
            while let Some(Ok(frame)) = body.frame().await {
                text += &String::from_utf8_lossy(&frame.into_data().unwrap_or_default());
                while let Some((line, rest)) = text.split_once('\n') {
                    if sender.send(line.to_owned()).is_err() {
                        return;
                    }
                    text = rest.to_owned();
                }
            }
        });
        Ok(Lines {
            lines,
            _connection: connection,
        })
    }

    async fn begin(
        &self,
        to: Ipv4Addr,
        port: u16,
        request: Request,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<(Answer, Incoming)> {
        let stream = self.network.connect(self.from, to, port).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tasks.spawn(async move { drop(connection.await) });
        let mut message = hyper::Request::builder()
            .method(request.method.as_str())
            .uri(request.uri());
        if !request.headers.contains_key("host") {
            message = message.header("host", format!("{to}:{port}"));
        }
        for (name, value) in &request.headers {
            message = message.header(name, value);
        }
        let message = message
            .body(Full::new(Bytes::from(request.body)))
            .map_err(io::Error::other)?;
        let response = sender
            .send_request(message)
            .await
            .map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let headers = head.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        let answer = Answer {
            status: head.status.as_u16(),
            headers: headers.collect(),
            body: Vec::new(),
        };
        Ok((answer, body))
    }
}
