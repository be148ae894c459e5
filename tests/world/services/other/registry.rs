//! The registry of applications' images: TLS with toots' certificate, and a login.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::network::Listener;
use crate::process::{Process, Program, Signal};
use crate::services::Surroundings;
use crate::services::view::Service;
use crate::services::web::{Handler, Reply, Request, serve_connection};

pub struct Registry(pub Surroundings);

struct Settings {
    port: u16,
    tls: Arc<ServerConfig>,
    /// `user:hash` lines.
    logins: String,
}

/// The value of `key:` wherever it stands in the configuration.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.trim().trim_matches('"'))
}

fn read(process: &Process) -> Option<Settings> {
    let text = process.text(process.command.get(2)?)?;
    let port = value(&text, "addr")?.rsplit_once(':')?.1.parse().ok()?;
    let pem = process.text(value(&text, "certificate")?)?;
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .ok()?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .ok()?;
    let (_, auth) = text.split_once("htpasswd:")?;
    Some(Settings {
        port,
        tls: Arc::new(tls),
        logins: process.text(value(auth, "path")?)?,
    })
}

struct Images {
    logins: String,
}

impl Images {
    fn knows(&self, authorization: &str) -> bool {
        let login = authorization
            .strip_prefix("Basic ")
            .and_then(|text| STANDARD.decode(text).ok());
        let login = login
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default();
        let Some((user, password)) = login.split_once(':') else {
            return false;
        };
        let mut known = self
            .logins
            .lines()
            .filter_map(|line| line.trim().split_once(':'));
        known.any(|(name, hash)| name == user && is_password(password, hash))
    }
}

/// Whether a hash is that of a password. Each pair is calculated once in a run of the tests: it takes as
/// long as a life of a cluster.
fn is_password(password: &str, hash: &str) -> bool {
    static KNOWN: Mutex<BTreeMap<(String, String), bool>> = Mutex::new(BTreeMap::new());
    let pair = (password.to_owned(), hash.to_owned());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known
        .entry(pair)
        .or_insert_with(|| bcrypt::verify(password, hash).unwrap_or(false))
}

#[async_trait]
impl Handler for Images {
    async fn answer(&self, request: Request) -> Reply {
        if !self.knows(request.header("authorization")) {
            return Reply::text(401, "").with("WWW-Authenticate", "Basic realm=\"toots\"");
        }
        match request.path.as_str() {
            "/v2/" => Reply::json(200, &json!({})),
            _ => Reply::json(404, &json!({ "errors": [{ "code": "NAME_UNKNOWN" }] })),
        }
    }
}

async fn serve(mut listener: Listener, tls: TlsAcceptor, images: Arc<Images>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            (stream, _) = listener.accept() => {
                let (tls, images) = (tls.clone(), Arc::clone(&images));
                connections.spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve_connection(stream, images).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

#[async_trait]
impl Program for Registry {
    async fn run(&self, mut process: Process) -> i64 {
        let Some(settings) = read(&process) else {
            process.log.line("configuration error");
            return 1;
        };
        let Ok(listener) = process.network.listen(process.address, settings.port) else {
            process.log.line("bind: address already in use");
            return 1;
        };
        let seat = self
            .0
            .view
            .sit(Service::Other, process.address, &process.name);
        seat.set(|row| row.serves = true);
        let images = Arc::new(Images {
            logins: settings.logins,
        });
        let serve = serve(listener, settings.tls.into(), images);
        tokio::pin!(serve);
        loop {
            tokio::select! {
                biased;
                Some(signal) = process.signals.recv() => if signal == Signal::Term { return 0 },
                () = &mut serve => {}
            }
        }
    }
}
