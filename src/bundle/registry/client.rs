//! Requests to a registry.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RANGE};
use reqwest::{Response, StatusCode, Url};

use super::answer::{media_type, range_start};
use super::error::{AttemptError, RegistryError, from_http, without_query};
use super::http::{self, BodyError, read_body};
use super::options::RegistryOptions;
use super::origin::RegistryOrigin;
use crate::bundle::MAX_DOCUMENT_BYTES;
use crate::bundle::digest::BlobDigest;
use crate::bundle::manifest::{ACCEPTED, BlobDescriptor};
use crate::bundle::name::{ImageName, own_name};
use crate::event::{Event, EventSink};
use crate::spec::Secret;

/// Attempts of a request that gets no answer, or a refusal that may pass.
const MAX_ATTEMPTS: u32 = 3;

/// The longest pause that a registry may ask for; longer ones end the run.
const MAX_PAUSE: Duration = Duration::from_secs(120);

/// The clients of all registries, one per registry.
pub(in crate::bundle) struct Registries {
    options: RegistryOptions,
    events: Arc<dyn EventSink>,
    clients: Mutex<BTreeMap<String, Arc<RegistryClient>>>,
}

impl Registries {
    pub(in crate::bundle) fn new(options: RegistryOptions, events: Arc<dyn EventSink>) -> Self {
        Self {
            options,
            events,
            clients: Mutex::default(),
        }
    }

    /// The client of an image's registry.
    pub(in crate::bundle) fn client(
        &self,
        name: &ImageName,
    ) -> Result<Arc<RegistryClient>, RegistryError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(name.registry()) {
            return Ok(Arc::clone(client));
        }
        let client = RegistryClient::new(name.registry(), &self.options, &self.events)?;
        let client = Arc::new(client);
        clients.insert(name.registry().to_owned(), Arc::clone(&client));
        Ok(client)
    }
}

/// A client of one registry.
pub(in crate::bundle) struct RegistryClient {
    registry: String,
    origin: RegistryOrigin,
    http: reqwest::Client,
    login: Option<(String, Secret)>,
    answer_timeout: Duration,
    retry_delay: Duration,
    events: Arc<dyn EventSink>,
    /// Repository → the last accepted login.
    authorizations: tokio::sync::Mutex<BTreeMap<String, HeaderValue>>,
    /// Why the registry cannot be reached: asked once, not once per image.
    unreachable: Mutex<Option<RegistryError>>,
}

/// An index or manifest as a registry served it.
#[derive(Debug)]
pub(in crate::bundle) struct ServedManifest {
    pub bytes: Vec<u8>,
    pub media_type: Option<String>,
}

/// The content of a blob, from an offset on.
#[derive(Debug)]
pub(in crate::bundle) struct BlobBody {
    registry: String,
    response: Response,
    /// Where it begins: the requested offset, or 0 when the registry sends everything.
    pub offset: u64,
}

impl BlobBody {
    /// The next piece; `None` at the end.
    pub(in crate::bundle) async fn chunk(&mut self) -> Result<Option<Bytes>, AttemptError> {
        let piece = self.response.chunk().await;
        piece.map_err(|error| from_http(&self.registry, &error))
    }
}

impl RegistryClient {
    fn new(
        registry: &str,
        options: &RegistryOptions,
        events: &Arc<dyn EventSink>,
    ) -> Result<Self, RegistryError> {
        let own = options.own.as_ref();
        let own = own.filter(|own| own_name(&own.server) == registry);
        let has_ca = own.is_some_and(|own| own.ca.is_some());
        let origin = RegistryOrigin::of_registry(registry, has_ca).ok_or_else(|| {
            RegistryError::Unreachable {
                registry: registry.to_owned(),
                why: "its name is no host".into(),
            }
        })?;
        Ok(Self {
            http: http::client(&origin, registry, own, options)?,
            registry: registry.to_owned(),
            origin,
            login: own.and_then(|own| own.login.clone()),
            answer_timeout: options.answer_timeout,
            retry_delay: options.retry_delay,
            events: Arc::clone(events),
            authorizations: tokio::sync::Mutex::default(),
            unreachable: Mutex::default(),
        })
    }

    pub(in crate::bundle) fn registry(&self) -> &str {
        &self.registry
    }

    pub(super) fn origin(&self) -> &RegistryOrigin {
        &self.origin
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The user and password of the inventory, for this registry.
    pub(super) fn basic_login(&self) -> Option<HeaderValue> {
        let (user, password) = self.login.as_ref()?;
        let text = STANDARD.encode(format!("{user}:{}", password.expose()));
        let mut value = HeaderValue::from_str(&format!("Basic {text}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Fetches an index or manifest by tag or digest. A digest is compared.
    pub(in crate::bundle) async fn manifest(
        &self,
        name: &ImageName,
        reference: &str,
    ) -> Result<ServedManifest, RegistryError> {
        let url = self.origin.manifest(name.repository(), reference);
        let (bytes, media_type) = self.document(name, &url, Some(ACCEPTED)).await?;
        if let Ok(expected) = reference.parse::<BlobDigest>() {
            self.compare(
                name,
                "digest of the manifest",
                &expected,
                &BlobDigest::of_bytes(&bytes),
            )?;
        }
        Ok(ServedManifest { bytes, media_type })
    }

    /// Fetches a small blob.
    pub(in crate::bundle) async fn small_blob(
        &self,
        name: &ImageName,
        blob: &BlobDescriptor,
    ) -> Result<Vec<u8>, RegistryError> {
        let url = self
            .origin
            .blob(name.repository(), &blob.digest.to_string());
        let (bytes, _) = self.document(name, &url, None).await?;
        let got = BlobDigest::of_bytes(&bytes);
        self.compare(name, "digest of the configuration", &blob.digest, &got)?;
        Ok(bytes)
    }

    fn compare(
        &self,
        name: &ImageName,
        what: &str,
        expected: &BlobDigest,
        got: &BlobDigest,
    ) -> Result<(), RegistryError> {
        if expected == got {
            return Ok(());
        }
        Err(RegistryError::Content {
            image: name.to_string(),
            registry: self.registry.clone(),
            what: what.to_owned(),
            expected: expected.to_string(),
            got: got.to_string(),
        })
    }

    async fn document(
        &self,
        name: &ImageName,
        url: &Url,
        accept: Option<&'static str>,
    ) -> Result<(Vec<u8>, Option<String>), RegistryError> {
        let malformed = |why: String| RegistryError::Malformed {
            image: name.to_string(),
            url: without_query(url),
            why,
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            if let Some(error) = &*self.known_unreachable() {
                return Err(error.clone());
            }
            let result = match self.get(name, url, accept, 0).await {
                Err(error) => Err(error),
                Ok(response) => {
                    let media_type = media_type(&response);
                    match read_body(response, MAX_DOCUMENT_BYTES).await {
                        Ok(body) => Ok((body, media_type)),
                        Err(BodyError::TooLong) => {
                            Err(malformed(format!("longer than {MAX_DOCUMENT_BYTES} bytes")).into())
                        }
                        Err(BodyError::Http(error)) => Err(from_http(&self.registry, &error)),
                    }
                }
            };
            match result {
                Ok(document) => return Ok(document),
                Err(error) => self.pause(error, attempt, MAX_ATTEMPTS).await?,
            }
        }
    }

    /// Begins to read a blob at an offset. One attempt: the caller knows what it has.
    pub(in crate::bundle) async fn blob(
        &self,
        name: &ImageName,
        blob: &BlobDescriptor,
        offset: u64,
    ) -> Result<BlobBody, AttemptError> {
        let url = self
            .origin
            .blob(name.repository(), &blob.digest.to_string());
        let response = self.get(name, &url, None, offset).await?;
        let resumed = response.status() == StatusCode::PARTIAL_CONTENT;
        if resumed && range_start(&response) != Some(offset) {
            return Err(RegistryError::Malformed {
                image: name.to_string(),
                url: without_query(response.url()),
                why: format!("asked for the bytes from {offset} on, got others"),
            }
            .into());
        }
        Ok(BlobBody {
            registry: self.registry.clone(),
            response,
            offset: if resumed { offset } else { 0 },
        })
    }

    /// Waits before the next attempt, or returns the error when there is none.
    pub(in crate::bundle) async fn pause(
        &self,
        error: AttemptError,
        attempt: u32,
        attempts: u32,
    ) -> Result<(), RegistryError> {
        let (error, asked) = match error {
            AttemptError::Final(error) => return Err(error),
            AttemptError::Transient(error, asked) => (error, asked),
        };
        let own = self.retry_delay.saturating_mul(1 << (attempt - 1).min(5));
        let pause = asked.unwrap_or(own);
        if attempt >= attempts || pause > MAX_PAUSE {
            if matches!(error, RegistryError::Unreachable { .. }) {
                *self.known_unreachable() = Some(error.clone());
            }
            return Err(match asked.filter(|pause| *pause > MAX_PAUSE) {
                Some(pause) => error.with_pause(pause),
                None => error,
            });
        }
        tracing::warn!(%error, ?pause, "retrying");
        if asked.is_some() {
            let text = format!("{error}; next attempt in {} s", pause.as_secs());
            self.events.send(Event::warning(None, text));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn known_unreachable(&self) -> std::sync::MutexGuard<'_, Option<RegistryError>> {
        self.unreachable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends GET, and once more with a login when one is demanded.
    async fn get(
        &self,
        name: &ImageName,
        url: &Url,
        accept: Option<&'static str>,
        offset: u64,
    ) -> Result<Response, AttemptError> {
        let mut refused = None;
        let mut refusals = 0;
        loop {
            let login = self.login_for(name, refused.take()).await?;
            let mut request = self.http.get(url.clone());
            if let Some(accept) = accept {
                request = request.header(ACCEPT, accept);
            }
            if offset > 0 {
                request = request.header(RANGE, format!("bytes={offset}-"));
            }
            if let Some(login) = &login {
                request = request.header(AUTHORIZATION, login);
            }
            tracing::debug!(%url, offset, login = login.is_some(), "GET");
            let response = self.send(request, &self.registry).await?;
            match response.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(response),
                // The second time, another request had renewed the login, and that one expired.
                StatusCode::UNAUTHORIZED if refusals < 2 && self.origin.is_own(response.url()) => {
                    refusals += 1;
                    refused = Some((login, response.headers().clone()));
                }
                _ => return Err(self.refusal(name, response).await),
            }
        }
    }

    /// Sends a request to a server; `server` names it in errors.
    pub(super) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        server: &str,
    ) -> Result<Response, AttemptError> {
        match tokio::time::timeout(self.answer_timeout, request.send()).await {
            Ok(answer) => answer.map_err(|error| from_http(server, &error)),
            Err(_) => {
                let error = RegistryError::Unreachable {
                    registry: server.to_owned(),
                    why: "timed out".into(),
                };
                Err(AttemptError::Transient(error, None))
            }
        }
    }

    /// The login for a repository; a new one after a refusal, unless another request got one
    /// meanwhile.
    async fn login_for(
        &self,
        name: &ImageName,
        refused: Option<(Option<HeaderValue>, HeaderMap)>,
    ) -> Result<Option<HeaderValue>, AttemptError> {
        let mut known = self.authorizations.lock().await;
        let current = known.get(name.repository()).cloned();
        match refused {
            Some((sent, headers)) if sent == current => {
                let login = self.authorize(name, &headers).await?;
                if sent.as_ref() == Some(&login) {
                    let why = match self.login {
                        Some(_) => "the login is not accepted",
                        None => "it needs a login",
                    };
                    return Err(self.denied(name, why).into());
                }
                known.insert(name.repository().to_owned(), login.clone());
                Ok(Some(login))
            }
            _ => Ok(current),
        }
    }
}
