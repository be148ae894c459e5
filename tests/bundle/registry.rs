//! A registry in the test process: serves what a test puts into it, on a free loopback port, and
//! misbehaves as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use toots::spec::digest;

pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

type Body = BoxBody<Bytes, std::io::Error>;

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
}

/// How a registry demands a login.
#[derive(Debug, Clone)]
pub enum Login {
    None,
    Basic,
    /// A token of the service at this URL; of this registry when it is empty.
    Token(String),
}

/// What a registry has and does.
pub struct Content {
    /// `repository:reference` → media type and bytes.
    pub manifests: BTreeMap<String, (String, Bytes)>,
    pub blobs: BTreeMap<String, Bytes>,
    pub login: Login,
    /// Tokens that are accepted at present: `token-N`.
    pub token: u32,
    /// Requests to the token service with this login are answered.
    pub password: Option<(String, String)>,
    /// Blobs are served by this address instead.
    pub blobs_at: Option<String>,
    /// Blob → after how many bytes its next answers break.
    pub breaks: BTreeMap<String, VecDeque<usize>>,
    pub ignores_ranges: bool,
    /// Answers with this status come first: path part → answers left, status, `Retry-After`.
    pub refusals: BTreeMap<String, (u32, u16, Option<String>)>,
    /// Pause between two pieces of 16 KiB of a blob.
    pub pause: Duration,
    pub seen: Vec<Seen>,
}

#[derive(Clone)]
pub struct TestRegistry {
    pub address: SocketAddr,
    content: Arc<Mutex<Content>>,
}

impl TestRegistry {
    /// Serves in clear until the runtime ends.
    pub async fn start() -> Self {
        Self::serve(None).await
    }

    /// Serves with TLS.
    pub async fn start_tls(acceptor: tokio_rustls::TlsAcceptor) -> Self {
        Self::serve(Some(acceptor)).await
    }

    async fn serve(tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Self {
            address: listener.local_addr().unwrap(),
            content: Arc::new(Mutex::new(Content {
                manifests: BTreeMap::new(),
                blobs: BTreeMap::new(),
                login: Login::None,
                token: 1,
                password: None,
                blobs_at: None,
                breaks: BTreeMap::new(),
                ignores_ranges: false,
                refusals: BTreeMap::new(),
                pause: Duration::ZERO,
                seen: Vec::new(),
            })),
        };
        let server = registry.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, tls) = (server.clone(), tls.clone());
                tokio::spawn(async move {
                    let answer = service_fn(move |request| {
                        let answer = server.answer(&request);
                        async { Ok::<_, Infallible>(answer) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    match tls {
                        None => drop(http.serve_connection(TokioIo::new(stream), answer).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let stream = TokioIo::new(stream);
                                drop(http.serve_connection(stream, answer).await);
                            }
                        }
                    }
                });
            }
        });
        registry
    }

    pub fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }

    /// A reference to an image of this registry.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The paths of blobs that were asked for, and from where on.
    pub fn blob_requests(&self) -> Vec<(String, Option<String>)> {
        let content = self.content();
        let blobs = content
            .seen
            .iter()
            .filter(|seen| seen.path.contains("/blobs/"));
        blobs
            .map(|seen| {
                let digest = seen.path.rsplit('/').next().unwrap_or_default();
                (digest.to_owned(), seen.range.clone())
            })
            .collect()
    }

    pub fn add_blob(&self, bytes: impl Into<Bytes>) -> (String, usize) {
        let bytes = bytes.into();
        let name = format!("sha256:{}", digest(&bytes));
        let length = bytes.len();
        self.content().blobs.insert(name.clone(), bytes);
        (name, length)
    }

    /// Adds a manifest under a reference and its digest; returns its digest and length.
    pub fn add_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        text: &str,
    ) -> (String, usize) {
        let name = format!("sha256:{}", digest(text.as_bytes()));
        let bytes = Bytes::from(text.to_owned());
        let mut content = self.content();
        for reference in tag.into_iter().chain([&*name]) {
            content.manifests.insert(
                format!("{repository}:{reference}"),
                (media_type.to_owned(), bytes.clone()),
            );
        }
        (name, text.len())
    }

    /// Adds an image of one platform with these layers.
    pub fn add_image(
        &self,
        repository: &str,
        tag: Option<&str>,
        architecture: &str,
        layers: &[&[u8]],
    ) -> (String, usize) {
        let diff_ids: Vec<String> = layers
            .iter()
            .map(|layer| format!("\"sha256:{}\"", digest(&[b"plain ", *layer].concat())))
            .collect();
        let config = format!(
            r#"{{"os":"linux","architecture":"{architecture}","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            diff_ids.join(",")
        );
        let (config, length) = self.add_blob(config);
        let layers: Vec<String> = layers
            .iter()
            .map(|layer| {
                let (digest, length) = self.add_blob(layer.to_vec());
                format!(
                    r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{digest}","size":{length}}}"#
                )
            })
            .collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{length}}},"layers":[{}]}}"#,
            layers.join(",")
        );
        self.add_manifest(repository, tag, OCI_MANIFEST, &manifest)
    }

    /// Adds an index over images of these architectures, and an attestation.
    pub fn add_index(&self, repository: &str, tag: &str, images: &[(&str, &(String, usize))]) {
        let mut entries: Vec<String> = images
            .iter()
            .map(|(architecture, (digest, length))| entry(architecture, "linux", digest, *length))
            .collect();
        let absent = format!("sha256:{}", "e".repeat(64));
        entries.push(entry("unknown", "unknown", &absent, 7));
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#,
            entries.join(",")
        );
        self.add_manifest(repository, Some(tag), OCI_INDEX, &index);
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let (authorization, range) = (header("authorization"), header("range"));
        let mut content = self.content();
        content.seen.push(Seen {
            path: request.uri().to_string(),
            authorization: authorization.clone(),
            range: range.clone(),
        });
        let refusal = content
            .refusals
            .iter_mut()
            .find(|(part, (left, ..))| path.contains(part.as_str()) && *left > 0);
        if let Some((_, (left, status, retry_after))) = refusal {
            *left -= 1;
            let mut answer = Response::builder().status(*status);
            if let Some(after) = retry_after {
                answer = answer.header("retry-after", after.as_str());
            }
            let text = r#"{"errors":[{"code":"REFUSED","message":"not now"}]}"#;
            return answer.body(full(text)).unwrap();
        }
        if path == "/token" {
            return token(&content, authorization.as_deref());
        }
        if let Some(answer) = self.demand_login(&content, authorization.as_deref()) {
            return answer;
        }
        let Some(path) = path.strip_prefix("/v2/") else {
            return status(StatusCode::NOT_FOUND);
        };
        if let Some((repository, reference)) = path.split_once("/manifests/") {
            return match content.manifests.get(&format!("{repository}:{reference}")) {
                Some((media_type, bytes)) => Response::builder()
                    .header("content-type", media_type.as_str())
                    .body(full(bytes.clone()))
                    .unwrap(),
                None => status(StatusCode::NOT_FOUND),
            };
        }
        match path.split_once("/blobs/") {
            Some((_, digest)) => blob(&mut content, path, digest, range.as_deref()),
            None => status(StatusCode::NOT_FOUND),
        }
    }

    fn demand_login(&self, content: &Content, sent: Option<&str>) -> Option<Response<Body>> {
        let (wanted, challenge) = match &content.login {
            Login::None => return None,
            Login::Basic => (basic(content), "Basic realm=\"registry\"".to_owned()),
            Login::Token(url) => {
                let realm = match &**url {
                    "" => format!("{}/token", self.url()),
                    url => url.to_owned(),
                };
                let challenge = format!("Bearer realm=\"{realm}\",service=\"registry, main\"");
                (format!("Bearer token-{}", content.token), challenge)
            }
        };
        (sent != Some(&*wanted)).then(|| {
            Response::builder()
                .status(StatusCode::UNAUTHORIZED)
                .header("www-authenticate", challenge)
                .body(full("{}"))
                .unwrap()
        })
    }
}

fn entry(architecture: &str, os: &str, digest: &str, length: usize) -> String {
    format!(
        r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":{length},"platform":{{"architecture":"{architecture}","os":"{os}"}}}}"#
    )
}

fn basic(content: &Content) -> String {
    use base64::Engine as _;
    let (user, password) = content.password.clone().unwrap_or_default();
    let text = format!("{user}:{password}");
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(text)
    )
}

fn token(content: &Content, sent: Option<&str>) -> Response<Body> {
    if content.password.is_some() && sent != Some(&*basic(content)) {
        return status(StatusCode::UNAUTHORIZED);
    }
    let token = format!("{{\"token\":\"token-{}\"}}", content.token);
    Response::new(full(token))
}

fn blob(content: &mut Content, path: &str, digest: &str, range: Option<&str>) -> Response<Body> {
    if let Some(address) = &content.blobs_at {
        return Response::builder()
            .status(StatusCode::TEMPORARY_REDIRECT)
            .header("location", format!("{address}/v2/{path}?signature=secret"))
            .body(full(""))
            .unwrap();
    }
    let Some(bytes) = content.blobs.get(digest).cloned() else {
        return status(StatusCode::NOT_FOUND);
    };
    let first = range.filter(|_| !content.ignores_ranges).map(|range| {
        let first = range
            .strip_prefix("bytes=")
            .and_then(|r| r.strip_suffix('-'));
        first.and_then(|first| first.parse::<usize>().ok()).unwrap()
    });
    let mut answer = Response::builder();
    if let Some(first) = first {
        let range = format!("bytes {first}-{}/{}", bytes.len() - 1, bytes.len());
        answer = answer
            .status(StatusCode::PARTIAL_CONTENT)
            .header("content-range", range);
    }
    let bytes = bytes.slice(first.unwrap_or(0)..);
    let breaks_after = content.breaks.get_mut(digest).and_then(VecDeque::pop_front);
    let body = match breaks_after {
        None if content.pause.is_zero() => full(bytes),
        _ => in_pieces(bytes, breaks_after, content.pause),
    };
    answer.body(body).unwrap()
}

/// A body that takes its time, or ends with a broken connection.
fn in_pieces(bytes: Bytes, breaks_after: Option<usize>, pause: Duration) -> Body {
    let sent = bytes.slice(..breaks_after.unwrap_or(bytes.len()).min(bytes.len()));
    let mut pieces: Vec<std::io::Result<Bytes>> = sent
        .chunks(16 * 1024)
        .map(|piece| Ok(sent.slice_ref(piece)))
        .collect();
    if breaks_after.is_some() {
        pieces.push(Err(std::io::ErrorKind::ConnectionReset.into()));
    }
    let pieces = stream::iter(pieces).enumerate();
    let pieces = pieces.then(move |(at, piece)| async move {
        // Lets the pieces before leave: a connection that breaks takes what is buffered with it.
        let least = Duration::from_millis(2);
        let pause = if at == 0 { least } else { pause.max(least) };
        tokio::time::sleep(pause).await;
        piece.map(Frame::data)
    });
    BodyExt::boxed(StreamBody::new(SyncStream(Mutex::new(Box::pin(pieces)))))
}

/// A boxed body must be `Sync`, which a stream of futures is not.
struct SyncStream<S>(Mutex<S>);

impl<S: futures::Stream + Unpin> futures::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.0.lock().unwrap().poll_next_unpin(cx)
    }
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

fn status(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(full("{}"));
    *answer.status_mut() = status;
    answer
}
