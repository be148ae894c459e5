//! From a host's settings to a session: limits, jump hosts, retries.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use rand::Rng;
use russh::client::{self, Handle};
use tokio::{sync::Semaphore, time::sleep};

use super::{
    Ask, BoxStream, Explained, HostSettings, Session, ShownKey, SshSettings, TransportError,
    ask::Asked,
    auth::Login,
    budget::Budget,
    dial,
    endpoint::{Endpoint, Proxy},
    explain,
    greeting::{Beginning, Greeted},
    handler::{Broken, Guard, Watch, describe},
    identity::KeyRing,
    known_hosts::HostTrust,
    offer,
    ssh::{Link, SshSession},
};

/// A port that refuses is asked so often; a connection that is reset (a busy `MaxStartups`) until the time is over.
const REFUSED: u32 = 3;

/// No server loses its patience while a person answers faster than this.
const IMPATIENT: Duration = Duration::from_secs(1);

/// How one attempt failed.
enum Failed {
    /// Nothing listens.
    Refused(TransportError),
    /// Cut off before anything was proven: a server that drops connections under load does this.
    Dropped(TransportError),
    /// The host did not wait for a person's answer, which is known by now.
    Impatient(TransportError),
    /// Trying again would change nothing.
    Final(TransportError),
}

type Hop = Shared<BoxFuture<'static, Result<Arc<Link>, TransportError>>>;

/// Makes sessions. One per run: it holds what is asked once, shared and bounded.
#[derive(Clone)]
pub struct Connector(Arc<Inner>);

struct Inner {
    settings: SshSettings,
    asked: Arc<Asked>,
    keys: KeyRing,
    /// Key exchanges and logins going on at once.
    turns: Arc<Semaphore>,
    hops: Mutex<HashMap<String, Hop>>,
    warnings: Mutex<Vec<String>>,
}

impl Connector {
    /// A connector with its settings, which asks secrets of `ask`.
    #[must_use]
    pub fn new(settings: SshSettings, ask: Arc<dyn Ask>) -> Self {
        let asked = Arc::new(Asked::new(ask));
        Self(Arc::new(Inner {
            turns: Arc::new(Semaphore::new(settings.handshakes.max(1))),
            keys: KeyRing::new(asked.clone()),
            asked,
            settings,
            hops: Mutex::default(),
            warnings: Mutex::default(),
        }))
    }

    /// Connects, proves the host, logs in.
    ///
    /// # Errors
    /// When the host is not reached, not trusted, or does not let the login in; hints name the next commands.
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

    /// What is wrong with configuration and key files without keeping anyone from connecting, each once.
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

    /// What is in effect for a host, and who said so. Contacts nobody.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub async fn explain(&self, host: &HostSettings) -> Result<Vec<Explained>, TransportError> {
        self.resolve(host)
            .await
            .map(|endpoint| explain::explain(&endpoint))
    }

    /// The key that a host shows, for a person to judge. Nothing is sent to log in to it; jump hosts on the way must be proven as ever.
    ///
    /// # Errors
    /// When the host is not reached, or its key is revoked or differs from a recorded one.
    pub async fn host_key(&self, host: &HostSettings) -> Result<ShownKey, TransportError> {
        let endpoint = self.resolve(host).await?;
        let through = self.through(&endpoint, &[]).await?;
        let budget = Budget::new(endpoint.connect_timeout);
        let (watch, trust) = (Watch::default(), HostTrust::load(endpoint.question())?);
        let guard = Guard::showing(Arc::new(trust), watch.clone());
        let link = through.as_ref().map(|(_, link)| link.as_ref());
        // the host is asked for its key only, and left as soon as it has shown it: that is the error which is expected
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
            (None, None) => Err(unreachable(&endpoint, "the host showed no key")),
        }
    }

    async fn resolve(&self, host: &HostSettings) -> Result<Endpoint, TransportError> {
        let (host, settings) = (host.clone(), self.0.settings.clone());
        blocking(move || Endpoint::resolve(&host, &settings)).await
    }

    /// A jump host has the settings of its own name, and from the target only what belongs to the operator's side.
    async fn resolve_hop(&self, hop: &str, target: &Endpoint) -> Result<Endpoint, TransportError> {
        let (hop, target, settings) = (
            hop.to_owned(),
            target.settings.clone(),
            self.0.settings.clone(),
        );
        blocking(move || Endpoint::resolve_hop(&hop, &target, &settings)).await
    }

    /// The last jump host on the way to a target.
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

    /// An authenticated connection, with retries. `seen` are the hops on the way here, against a ring of jumps.
    fn link<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        seen: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<Link>, TransportError>> {
        async move {
            // the jump host first: fifty hosts behind a dead one learn so at once
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
        loop {
            tries += 1;
            let error = match self.attempt(endpoint, through.clone(), &budget).await {
                Ok(link) => return Ok(Arc::new(link)),
                Err(Failed::Refused(e)) if tries < REFUSED => e,
                Err(Failed::Dropped(e)) => e,
                Err(Failed::Impatient(e)) if tries == 1 => e,
                Err(Failed::Final(e) | Failed::Refused(e) | Failed::Impatient(e)) => return Err(e),
            };
            let pause = Duration::from_millis(
                rand::rng().random_range(100..=300) * u64::from(tries.min(5)),
            );
            if budget.left().is_none_or(|left| left <= pause) {
                return Err(error);
            }
            tracing::debug!(host = endpoint.label, tries, "{error}; trying again");
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
        // a host that ends a login for another reason says so
        let impatient =
            handle.is_closed() && budget.paused() > IMPATIENT && watch.farewell().is_none();
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

    /// Greeting, key exchange, host key.
    async fn handshake(
        &self,
        endpoint: &Endpoint,
        through: Option<&Link>,
        guard: Guard,
        watch: &Watch,
        budget: &Budget,
    ) -> Result<(Handle<Guard>, Beginning), Failed> {
        let config = Arc::new(offer::config(endpoint, guard.trust()).map_err(Failed::Final)?);
        let stream = bytes(endpoint, through, budget).await?;
        let beginning = Beginning::default();
        let stream = Greeted::new(
            stream,
            beginning.clone(),
            self.0.turns.clone(),
            budget.clone(),
        );
        let what = format!("SSH handshake with {}", endpoint.address());
        let failed = match budget
            .run(&what, client::connect_stream(config, stream, guard))
            .await
        {
            Ok(Ok(handle)) => return Ok((handle, beginning)),
            Ok(Err(Broken::Trust(e))) | Err(e) => Failed::Final(e),
            Ok(Err(broken)) => {
                let mut why = describe(&broken);
                if let Some(strange) = beginning.strange() {
                    why = format!("{why}; it said {strange:?}");
                }
                let told = unreachable(endpoint, &why);
                if dropped(&broken) && !watch.proven() {
                    Failed::Dropped(told)
                } else {
                    Failed::Final(told)
                }
            }
        };
        beginning.abandon();
        Err(failed)
    }

    /// The connection to the last of some jump hosts, shared by all who go through it.
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
                "the jump hosts of {} lead in a ring at {last}",
                target.label
            )));
        }
        loop {
            let shared = self.shared(&key, &hop, seen);
            // a connection that was made for others may have been lost since; one that was just made is not asked for twice
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
                        &format!("jump host {last}: the connection was lost"),
                    ));
                }
                Err(e) => return Err(at_hop(last, target, e)),
            }
        }
    }

    fn forget(&self, key: &str, old: &Hop) {
        let mut all = self.0.hops.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(key).is_some_and(|s| s.ptr_eq(old)) {
            all.remove(key);
        }
    }

    fn shared(&self, key: &str, hop: &Endpoint, seen: &[String]) -> Hop {
        let mut all = self.0.hops.lock().unwrap_or_else(PoisonError::into_inner);
        let (connector, hop) = (self.clone(), hop.clone());
        let mut seen = seen.to_vec();
        seen.push(key.to_owned());
        all.entry(key.to_owned())
            .or_insert_with(|| {
                async move { connector.link(&hop, &seen).await }
                    .boxed()
                    .shared()
            })
            .clone()
    }
}

/// What a failure at a jump host means for the target: a matter of trust or of logging in stays one, with its hints.
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
        other => unreachable(target, &at(format!("failed to {other}"))),
    }
}

fn unreachable(endpoint: &Endpoint, why: &str) -> TransportError {
    TransportError::Unreachable {
        address: endpoint.address(),
        why: why.to_owned(),
    }
}

fn refused(endpoint: &Endpoint, error: &io::Error) -> Failed {
    let told = unreachable(endpoint, &error.to_string());
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failed::Refused(told),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Failed::Dropped(told),
        _ => Failed::Final(told),
    }
}

/// Bytes to and from the host.
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
                    dial::dial(&endpoint.host, endpoint.port, endpoint.way),
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

/// Was the connection cut, rather than something said that will be said again?
fn dropped(broken: &Broken) -> bool {
    match broken {
        Broken::Ssh(russh::Error::HUP | russh::Error::Disconnect) => true,
        Broken::Ssh(russh::Error::IO(e)) => {
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

/// Files are read and commands run on a thread of their own.
async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, TransportError> + Send + 'static,
) -> Result<T, TransportError> {
    tokio::task::spawn_blocking(f).await.unwrap_or_else(|e| {
        Err(TransportError::Settings(format!(
            "read the configuration: {e}"
        )))
    })
}
