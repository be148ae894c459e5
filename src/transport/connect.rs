//! Opens sessions: time limits, jump hosts, retries.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use rand::Rng;
use russh::client::{self, Handle};
use tokio::time::sleep;

use super::ask::Asked;
use super::auth::Login;
use super::budget::Budget;
use super::endpoint::{Endpoint, Proxy};
use super::handler::{Guard, HandshakeError, Watch, describe};
use super::identity::KeyRing;
use super::known_hosts::HostTrust;
use super::link::Link;
use super::server_banner::{BannerStream, ServerBanner};
use super::ssh::SshSession;
use super::turns::Turns;
use super::{
    Ask, BoxStream, Explained, HostSettings, Session, ShownKey, SshOptions, TransportError, dial,
    explain, offer,
};

/// Attempts at a port that refuses. A connection that is reset (a busy `MaxStartups`) is retried
/// until the time limit.
const MAX_REFUSALS: u32 = 3;

/// Below this, a dropped login is not blamed on the prompt.
const MIN_PROMPT_TIME: Duration = Duration::from_secs(1);

/// How one attempt failed.
enum Failed {
    /// Nothing listens.
    Refused(TransportError),
    /// Closed before anything was proven: a server that drops connections under load does this.
    Dropped(TransportError),
    /// The host did not wait for a person's answer, which is cached by now.
    Impatient(TransportError),
    /// Another attempt would change nothing.
    Final(TransportError),
}

type Hop = Shared<BoxFuture<'static, Result<Arc<Link>, TransportError>>>;

/// Opens sessions. One per run: it holds the prompts, the keys and the limits that all hosts share.
#[derive(Clone)]
pub struct Connector(Arc<Inner>);

struct Inner {
    settings: SshOptions,
    asked: Arc<Asked>,
    keys: KeyRing,
    /// Permits for key exchanges and logins in progress.
    turns: Turns,
    hops: Mutex<HashMap<String, Hop>>,
    warnings: Mutex<Vec<String>>,
}

impl Connector {
    /// Creates a connector that prompts through `ask`.
    #[must_use]
    pub fn new(settings: SshOptions, ask: Arc<dyn Ask>) -> Self {
        let asked = Arc::new(Asked::new(ask));
        Self(Arc::new(Inner {
            turns: Turns::new(settings.handshakes),
            keys: KeyRing::new(asked.clone()),
            asked,
            settings,
            hops: Mutex::default(),
            warnings: Mutex::default(),
        }))
    }

    /// Connects, verifies the host, authenticates.
    ///
    /// # Errors
    /// When the host is unreachable, untrusted or denies the login; hints name the next commands.
    pub async fn connect(&self, host: &HostSettings) -> Result<Arc<dyn Session>, TransportError> {
        let endpoint = self.resolve(host).await?;
        let link = self.link(&endpoint, &[]).await?;
        let session = SshSession::new(
            host.name.clone(),
            endpoint.user,
            link,
            endpoint.privilege,
            self.0.asked.clone(),
            self.0.settings.timeouts.exec,
        );
        Ok(Arc::new(session))
    }

    /// Problems of configuration and key files that prevent no connection, each once.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.0
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn warn(&self, new: &[String]) {
        let mut warnings = self
            .0
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for warning in new {
            if !warnings.contains(warning) {
                tracing::warn!("{warning}");
                warnings.push(warning.clone());
            }
        }
    }

    /// The effective settings of a host and their origins. Contacts nobody.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub async fn explain(&self, host: &HostSettings) -> Result<Vec<Explained>, TransportError> {
        self.resolve(host)
            .await
            .map(|endpoint| explain::explain_settings(&endpoint))
    }

    /// The key that a host presents, for a person to compare. No login is attempted; jump hosts on
    /// the way must be trusted as always.
    ///
    /// # Errors
    /// When the host is unreachable, or its key is revoked or differs from a recorded one.
    pub async fn host_key(&self, host: &HostSettings) -> Result<ShownKey, TransportError> {
        let endpoint = self.resolve(host).await?;
        let through = self.through(&endpoint, &[]).await?;
        let budget = Budget::new(endpoint.connect_timeout);
        let (watch, trust) = (Watch::default(), HostTrust::load(endpoint.question())?);
        let guard = Guard::showing(Arc::new(trust), watch.clone());
        let link = through.as_ref().map(|(_, link)| link.as_ref());
        // The connection ends as soon as the host has presented its key: that error is expected.
        let left = self
            .handshake(&endpoint, link, guard, &watch, &budget)
            .await
            .err();
        match (watch.shown(), left) {
            (Some((key, recorded)), _) => Ok(ShownKey::new(key, &endpoint.question(), recorded)),
            (
                None,
                Some(
                    Failed::Refused(e)
                    | Failed::Dropped(e)
                    | Failed::Impatient(e)
                    | Failed::Final(e),
                ),
            ) => Err(e),
            (None, None) => Err(unreachable(&endpoint, "the host sent no key")),
        }
    }

    async fn resolve(&self, host: &HostSettings) -> Result<Endpoint, TransportError> {
        let (host, settings) = (host.clone(), self.0.settings.clone());
        blocking(move || Endpoint::resolve(&host, &settings)).await
    }

    /// A jump host uses the settings of its own name; from the target it takes only those of the
    /// operator's side.
    async fn resolve_hop(&self, hop: &str, target: &Endpoint) -> Result<Endpoint, TransportError> {
        let (hop, target, settings) = (
            hop.to_owned(),
            target.settings.clone(),
            self.0.settings.clone(),
        );
        blocking(move || Endpoint::resolve_hop(&hop, &target, &settings)).await
    }

    /// The last jump host before a target.
    async fn through(
        &self,
        endpoint: &Endpoint,
        seen: &[String],
    ) -> Result<Option<(String, Arc<Link>)>, TransportError> {
        match &endpoint.proxy {
            Proxy::Jump(hops) => self.jump(hops, endpoint, seen).await.map(Some),
            Proxy::Direct | Proxy::Command(_) => Ok(None),
        }
    }

    /// An authenticated connection, with retries. `seen`: the hops so far, to detect a cycle of
    /// jump hosts.
    fn link<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        seen: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<Link>, TransportError>> {
        async move {
            // The jump host first: fifty hosts behind a dead one then fail at once.
            let through = self.through(endpoint, seen).await?;
            self.attempts(endpoint, through.map(|(_, link)| link)).await
        }
        .boxed()
    }

    async fn attempts(
        &self,
        endpoint: &Endpoint,
        through: Option<Arc<Link>>,
    ) -> Result<Arc<Link>, TransportError> {
        let budget = Budget::new(endpoint.connect_timeout);
        let mut tries = 0;
        let mut last = None;
        loop {
            tries += 1;
            let error = match self.attempt(endpoint, through.clone(), &budget).await {
                Ok(link) => return Ok(Arc::new(link)),
                Err(Failed::Refused(e)) if tries < MAX_REFUSALS => e,
                Err(Failed::Dropped(e)) => e,
                Err(Failed::Impatient(e)) if tries == 1 => e,
                // The time ended in a further attempt: why the one before failed says more.
                Err(Failed::Final(e @ TransportError::Deadline { .. })) => {
                    return Err(last.unwrap_or(e));
                }
                Err(Failed::Final(e) | Failed::Refused(e) | Failed::Impatient(e)) => return Err(e),
            };
            let pause = Duration::from_millis(
                rand::rng().random_range(100..=300) * u64::from(tries.min(5)),
            );
            if budget.left().is_none_or(|left| left <= pause) {
                return Err(error);
            }
            tracing::debug!(host = endpoint.label, tries, "{error}; retrying");
            last = Some(error);
            sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        endpoint: &Endpoint,
        through: Option<Arc<Link>>,
        budget: &Budget,
    ) -> Result<Link, Failed> {
        let trust = Arc::new(HostTrust::load(endpoint.question()).map_err(Failed::Final)?);
        self.warn(&trust.warnings);
        let watch = Watch::default();
        let guard = Guard::new(trust, watch.clone());
        let (mut handle, beginning) = self
            .handshake(endpoint, through.as_deref(), guard, &watch, budget)
            .await?;
        let login = Login {
            endpoint,
            keys: &self.0.keys,
            asked: &self.0.asked,
            budget,
            watch: &watch,
        };
        let result = login.run(&mut handle).await;
        beginning.done();
        // A host that closes the login for another reason says so.
        let impatient =
            handle.is_closed() && budget.paused() > MIN_PROMPT_TIME && watch.farewell().is_none();
        result.map_err(if impatient {
            Failed::Impatient
        } else {
            Failed::Final
        })?;
        Ok(Link::new(
            handle,
            watch,
            self.0.settings.session_channels,
            through,
        ))
    }

    /// Banner, key exchange, host key.
    async fn handshake(
        &self,
        endpoint: &Endpoint,
        through: Option<&Link>,
        guard: Guard,
        watch: &Watch,
        budget: &Budget,
    ) -> Result<(Handle<Guard>, ServerBanner), Failed> {
        let config = Arc::new(offer::config(endpoint, guard.trust()).map_err(Failed::Final)?);
        let stream = bytes(endpoint, through, budget).await?;
        let beginning = ServerBanner::default();
        let stream = BannerStream::new(
            stream,
            beginning.clone(),
            self.0.turns.route(&route(endpoint)),
            budget.clone(),
        );
        let what = format!("SSH handshake with {}", endpoint.address());
        let failed = match budget
            .run(&what, client::connect_stream(config, stream, guard))
            .await
        {
            Ok(Ok(handle)) => return Ok((handle, beginning)),
            Ok(Err(HandshakeError::Trust(e))) | Err(e) => Failed::Final(e),
            Ok(Err(broken)) => {
                let mut why = describe(&broken);
                if let Some(strange) = beginning.strange() {
                    why = format!("{why}; the host said {strange:?}");
                }
                let failure = unreachable(endpoint, &why);
                if is_dropped(&broken) && !watch.proven() {
                    Failed::Dropped(failure)
                } else {
                    Failed::Final(failure)
                }
            }
        };
        beginning.abandon();
        Err(failed)
    }

    /// The connection to the last of the jump hosts, shared by all hosts behind it.
    async fn jump(
        &self,
        hops: &[String],
        target: &Endpoint,
        seen: &[String],
    ) -> Result<(String, Arc<Link>), TransportError> {
        let Some((last, before)) = hops.split_last() else {
            return Err(TransportError::Settings(format!(
                "the jump hosts of {} are empty",
                target.label
            )));
        };
        let mut hop = self.resolve_hop(last, target).await?;
        if !before.is_empty() {
            hop.proxy = Proxy::Jump(before.to_vec());
        }
        let key = format!("{}@{} via {:?}", hop.user, hop.address(), hop.proxy);
        if seen.contains(&key) {
            return Err(TransportError::Settings(format!(
                "the jump hosts of {} form a loop at {last}",
                target.label
            )));
        }
        loop {
            let shared = self.shared(&key, &hop, seen);
            // A connection made for other hosts may be lost by now; one just made is not checked
            // twice.
            let fresh = shared.peek().is_none();
            let result = shared.clone().await;
            if matches!(&result, Ok(link) if !link.closed()) {
                return result.map(|link| (key, link));
            }
            self.forget(&key, &shared);
            match result {
                Ok(_) if !fresh => {}
                Ok(_) => {
                    return Err(unreachable(
                        target,
                        &format!("jump host {last}: connection lost"),
                    ));
                }
                Err(e) => return Err(at_hop(last, target, e)),
            }
        }
    }

    fn forget(&self, key: &str, old: &Hop) {
        let mut hops = self.0.hops.lock().unwrap_or_else(PoisonError::into_inner);
        if hops.get(key).is_some_and(|s| s.ptr_eq(old)) {
            hops.remove(key);
        }
    }

    fn shared(&self, key: &str, hop: &Endpoint, seen: &[String]) -> Hop {
        let mut hops = self.0.hops.lock().unwrap_or_else(PoisonError::into_inner);
        let (connector, hop) = (self.clone(), hop.clone());
        let mut seen = seen.to_vec();
        seen.push(key.to_owned());
        hops.entry(key.to_owned())
            .or_insert_with(|| {
                async move { connector.link(&hop, &seen).await }
                    .boxed()
                    .shared()
            })
            .clone()
    }
}

/// Translates a failure at a jump host for the target: untrusted and denied stay what they are,
/// with their hints.
fn at_hop(hop: &str, target: &Endpoint, error: TransportError) -> TransportError {
    let at = |why: String| format!("jump host {hop}: {why}");
    match error {
        TransportError::Untrusted { host, why, hints } => TransportError::Untrusted {
            host,
            why: at(why),
            hints,
        },
        TransportError::Authentication { user, why, hints } => TransportError::Authentication {
            user,
            why: at(why),
            hints,
        },
        TransportError::Settings(why) => TransportError::Settings(at(why)),
        other => unreachable(target, &at(other.to_string())),
    }
}

fn unreachable(endpoint: &Endpoint, why: &str) -> TransportError {
    TransportError::Unreachable {
        address: endpoint.address(),
        why: why.to_owned(),
    }
}

fn refused(endpoint: &Endpoint, error: &io::Error) -> Failed {
    let failure = unreachable(endpoint, &error.to_string());
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failed::Refused(failure),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            Failed::Dropped(failure)
        }
        _ => Failed::Final(failure),
    }
}

/// What a handshake shares with others: the last jump host, the proxy's command, or the server.
fn route(endpoint: &Endpoint) -> String {
    match &endpoint.proxy {
        // Another way to the same jump host is the same jump host.
        Proxy::Jump(hops) => format!("jump {}", hops.last().map_or("", String::as_str)),
        Proxy::Command(_) => "command".to_owned(),
        Proxy::Direct => endpoint.address(),
    }
}

/// The byte stream to the host.
async fn bytes(
    endpoint: &Endpoint,
    through: Option<&Link>,
    budget: &Budget,
) -> Result<BoxStream, Failed> {
    let what = format!("connect to {}", endpoint.address());
    match (&endpoint.proxy, through) {
        (_, Some(link)) => {
            let channel = budget
                .run(&what, link.hop(&endpoint.host, endpoint.port))
                .await
                .map_err(Failed::Final)?;
            Ok(Box::new(
                channel
                    .map_err(|e| Failed::Final(unreachable(endpoint, &e.to_string())))?
                    .into_stream(),
            ))
        }
        (Proxy::Command(line), None) => {
            let pipe = dial::command(line)
                .map_err(|e| Failed::Final(unreachable(endpoint, &format!("ProxyCommand: {e}"))))?;
            Ok(Box::new(pipe))
        }
        _ => {
            let dialled = budget
                .run(
                    &what,
                    dial::connect_tcp(&endpoint.host, endpoint.port, endpoint.way),
                )
                .await;
            Ok(Box::new(
                dialled
                    .map_err(Failed::Final)?
                    .map_err(|e| refused(endpoint, &e))?,
            ))
        }
    }
}

/// Whether the connection was cut, rather than closed for a reason that another attempt would meet
/// again.
fn is_dropped(broken: &HandshakeError) -> bool {
    match broken {
        HandshakeError::Ssh(russh::Error::HUP | russh::Error::Disconnect) => true,
        HandshakeError::Ssh(russh::Error::IO(e)) => {
            matches!(
                e.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
            )
        }
        _ => false,
    }
}

/// Runs file access and commands on a thread of their own.
async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, TransportError> + Send + 'static,
) -> Result<T, TransportError> {
    tokio::task::spawn_blocking(f).await.unwrap_or_else(|e| {
        Err(TransportError::Settings(format!(
            "read the configuration: {e}"
        )))
    })
}
