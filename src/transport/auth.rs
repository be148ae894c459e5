//! Logging in, with as few attempts as possible: one for each credential, the configured ones first.

use std::sync::Arc;

use russh::{
    MethodKind, MethodSet,
    client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Reply},
    keys::{Algorithm, HashAlg, PrivateKey, PublicKey, agent::AgentIdentity},
};

use super::{
    TransportError,
    agent::Agent,
    ask::Asked,
    budget::Budget,
    endpoint::Endpoint,
    handler::{Guard, Watch, shown},
    identity::{Credential, Holder, KeyRing, credentials, sign},
};

/// OpenSSH's servers end the connection at the sixth failure.
const MAX_KEYS: usize = 6;
/// A server may ask questions again and again; nobody needs more rounds.
const MAX_ROUNDS: usize = 8;
const MAX_PROMPTS: usize = 16;

/// What authentication needs besides the connection.
pub(super) struct Login<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) keys: &'a KeyRing,
    pub(super) asked: &'a Asked,
    pub(super) budget: &'a Budget,
    pub(super) watch: &'a Watch,
}

/// What was tried and why it did not help.
#[derive(Default)]
struct Record {
    tried: Vec<String>,
    notes: Vec<String>,
    offered: Vec<String>,
    untried: usize,
}

enum Step {
    In,
    /// These methods may go on.
    Out(MethodSet),
}

impl Login<'_> {
    /// Logs in. Called only on a connection whose host key was accepted.
    pub(super) async fn run(&self, handle: &mut Handle<Guard>) -> Result<(), TransportError> {
        let mut record = Record::default();
        let result = self.methods(handle, &mut record).await;
        match result {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.failure(record)),
            Err(Stop::Deadline(e)) => Err(e),
            Err(Stop::Lost(why)) => {
                record.notes.push(self.watch.ended().unwrap_or(why));
                Err(self.failure(record))
            }
        }
    }

    async fn methods(&self, handle: &mut Handle<Guard>, record: &mut Record) -> Result<bool, Stop> {
        let user = self.endpoint.user.clone();
        let first = self.step(handle.authenticate_none(user)).await?;
        let Step::Out(mut methods) = outcome(first) else {
            return Ok(true);
        };
        record.offered = methods.iter().map(|m| <&str>::from(m).to_owned()).collect();
        if methods.contains(&MethodKind::PublicKey) {
            match self.public_keys(handle, record).await? {
                Step::In => return Ok(true),
                Step::Out(rest) => methods = rest,
            }
        }
        if self.endpoint.settings.keyboard_interactive
            && methods.contains(&MethodKind::KeyboardInteractive)
        {
            record.tried.push("keyboard-interactive".to_owned());
            match self.questions(handle, record).await? {
                Step::In => return Ok(true),
                Step::Out(rest) => methods = rest,
            }
        }
        if self.endpoint.settings.password && methods.contains(&MethodKind::Password) {
            record.tried.push("password".to_owned());
            return self.password(handle, record).await;
        }
        Ok(false)
    }

    async fn public_keys(
        &self,
        handle: &mut Handle<Guard>,
        record: &mut Record,
    ) -> Result<Step, Stop> {
        let (mut agent, identities) = self.agent(handle, record).await?;
        let (list, notes) = credentials(self.endpoint, &identities);
        record.notes.extend(notes);
        record.untried = list.len().saturating_sub(MAX_KEYS);
        let mut methods = MethodSet::from([MethodKind::PublicKey].as_slice());
        let mut rsa = None;
        for credential in list.iter().take(MAX_KEYS) {
            let Some((public, opened)) = self.public(credential, record).await else {
                continue;
            };
            if public.algorithm().is_rsa() && rsa.is_none() {
                rsa = Some(self.step(handle.best_supported_rsa_hash()).await?);
            }
            let hash = match self.hash(&public, credential.certificate.is_some(), rsa.flatten()) {
                Ok(hash) => hash,
                Err(why) => {
                    record.notes.push(format!("{}: {why}", credential.label()));
                    continue;
                }
            };
            record.tried.push(credential.label());
            let mut hand = Hand {
                login: self,
                credential,
                agent: agent.as_mut(),
                opened,
                fault: None,
            };
            let user = self.endpoint.user.clone();
            let result = match &credential.certificate {
                Some(c) => {
                    self.budget
                        .run(
                            "log in",
                            handle.authenticate_certificate_with(user, c.clone(), hash, &mut hand),
                        )
                        .await
                }
                None => {
                    self.budget
                        .run(
                            "log in",
                            handle.authenticate_publickey_with(user, public, hash, &mut hand),
                        )
                        .await
                }
            }
            .map_err(Stop::Deadline)?;
            let fault = hand.fault.take();
            record.notes.extend(fault.clone());
            match result {
                Ok(result) => match outcome_or_lost(result)? {
                    Step::In => return Ok(Step::In),
                    Step::Out(rest) => methods = rest,
                },
                Err(Unsigned) if fault.is_some() => {}
                Err(Unsigned) => return Err(Stop::Lost("the connection ended".to_owned())),
            }
            if !methods.contains(&MethodKind::PublicKey) {
                break;
            }
        }
        Ok(Step::Out(methods))
    }

    /// The hash to sign with, for keys that leave a choice. `server` is what the server says it knows: nothing, SHA-1 only, or the best.
    fn hash(
        &self,
        public: &PublicKey,
        certificate: bool,
        server: Option<Option<HashAlg>>,
    ) -> Result<Option<HashAlg>, String> {
        let accepted = &self.endpoint.algorithms.public_key;
        let algorithm = public.algorithm();
        let name = |a: &Algorithm| {
            if certificate {
                a.to_certificate_type()
            } else {
                a.as_str().to_owned()
            }
        };
        if !matches!(algorithm, Algorithm::Rsa { .. }) {
            let allowed = accepted.allows(&name(&algorithm));
            return if allowed {
                Ok(None)
            } else {
                Err("PubkeyAcceptedAlgorithms does not allow it".to_owned())
            };
        }
        // a server that does not say takes what every server since 2016 knows
        let best = match server {
            None => HashAlg::Sha512,
            Some(Some(best)) => best,
            Some(None) => return Err("the host takes RSA with SHA-1 only".to_owned()),
        };
        [best, HashAlg::Sha256]
            .into_iter()
            .find(|h| accepted.allows(&name(&Algorithm::Rsa { hash: Some(*h) })))
            .map(Some)
            .ok_or_else(|| "PubkeyAcceptedAlgorithms does not allow it".to_owned())
    }

    async fn agent(
        &self,
        handle: &Handle<Guard>,
        record: &mut Record,
    ) -> Result<(Option<Agent>, Vec<AgentIdentity>), Stop> {
        let Some(socket) = &self.endpoint.agent else {
            return Ok((None, Vec::new()));
        };
        let ask = async {
            let mut agent = Agent::connect(socket, handle.agent_session_binding()).await?;
            let identities = agent.identities().await?;
            Ok((agent, identities))
        };
        match self
            .budget
            .run("ask the agent", ask)
            .await
            .map_err(Stop::Deadline)?
        {
            Ok((agent, identities)) => Ok((Some(agent), identities)),
            Err(note) => {
                let note: String = note;
                record.notes.push(note);
                Ok((None, Vec::new()))
            }
        }
    }

    /// The public half, opening the file when it is not known otherwise.
    async fn public(
        &self,
        credential: &Credential,
        record: &mut Record,
    ) -> Option<(PublicKey, Option<Arc<PrivateKey>>)> {
        match (&credential.public, &credential.holder) {
            (Some(public), _) => Some((public.clone(), None)),
            (None, Holder::File(path)) => match self.keys.open(path, self.budget).await {
                Ok(key) => Some((key.public_key().clone(), Some(key))),
                Err(note) => {
                    record.notes.push(note);
                    None
                }
            },
            (None, Holder::Agent(_)) => None,
        }
    }

    async fn password(
        &self,
        handle: &mut Handle<Guard>,
        record: &mut Record,
    ) -> Result<bool, Stop> {
        let user = self.endpoint.user.clone();
        let question = format!("password of {user} (first for {}): ", self.endpoint.label);
        let Some(password) = self
            .budget
            .pause(self.asked.once(&format!("password {user}"), &question))
            .await
        else {
            record
                .notes
                .push("nobody can be asked for the password".to_owned());
            return Ok(false);
        };
        let result = self
            .step(handle.authenticate_password(user, password.expose()))
            .await?;
        Ok(matches!(outcome_or_lost(result)?, Step::In))
    }

    async fn questions(
        &self,
        handle: &mut Handle<Guard>,
        record: &mut Record,
    ) -> Result<Step, Stop> {
        let mut reply = self
            .step(handle.authenticate_keyboard_interactive_start(self.endpoint.user.clone(), None))
            .await?;
        for _ in 0..MAX_ROUNDS {
            let prompts = match reply {
                Reply::Success => return Ok(Step::In),
                Reply::Failure {
                    remaining_methods, ..
                } => return Ok(Step::Out(remaining_methods)),
                Reply::InfoRequest { prompts, .. } => prompts,
            };
            if prompts.len() > MAX_PROMPTS {
                return Err(Stop::Lost("the host asks too many questions".to_owned()));
            }
            let mut answers = Vec::with_capacity(prompts.len());
            for prompt in prompts {
                let question = format!("{} asks: {} ", self.endpoint.label, shown(&prompt.prompt));
                let Some(answer) = self.budget.pause(self.asked.each_time(&question)).await else {
                    record
                        .notes
                        .push("nobody can be asked the host's questions".to_owned());
                    return Ok(Step::Out(MethodSet::empty()));
                };
                answers.push(answer.expose().to_owned());
            }
            reply = self
                .step(handle.authenticate_keyboard_interactive_respond(answers))
                .await?;
        }
        Err(Stop::Lost("the host asks again and again".to_owned()))
    }

    async fn step<T>(
        &self,
        future: impl Future<Output = Result<T, russh::Error>>,
    ) -> Result<T, Stop> {
        match self.budget.run("log in", future).await {
            Ok(Ok(out)) => Ok(out),
            Ok(Err(e)) => Err(Stop::Lost(shown(&e.to_string()))),
            Err(deadline) => Err(Stop::Deadline(deadline)),
        }
    }

    fn failure(&self, record: Record) -> TransportError {
        let list = |items: &[String], none: &str| {
            if items.is_empty() {
                none.to_owned()
            } else {
                items.join(", ")
            }
        };
        let mut why = format!(
            "the host offers {}; tried {}",
            list(&record.offered, "nothing"),
            list(&record.tried, "nothing")
        );
        if record.untried > 0 {
            why.push_str(&format!("; {} more keys were not tried", record.untried));
        }
        if let Some(ended) = self.watch.ended().filter(|e| !record.notes.contains(e)) {
            why.push_str(&format!("; {ended}"));
        }
        for note in &record.notes {
            why.push_str(&format!("; {note}"));
        }
        let mut hints = Vec::new();
        if record.untried > 0 {
            hints.push(
                "name the right key: identity_file in [ssh], or IdentityFile in ssh_config"
                    .to_owned(),
            );
        }
        let offers = |m: &str| record.offered.iter().any(|o| o == m);
        if offers("publickey") {
            let login = super::quote(&format!("{}@{}", self.endpoint.user, self.endpoint.host));
            hints.push(format!("ssh-copy-id -p {} {login}", self.endpoint.port));
        }
        if (offers("password") && !self.endpoint.settings.password)
            || (offers("keyboard-interactive") && !self.endpoint.settings.keyboard_interactive)
        {
            hints.push(
                "password = true or keyboard_interactive = true in [ssh] lets toots ask for one"
                    .to_owned(),
            );
        }
        TransportError::Authentication {
            user: self.endpoint.user.clone(),
            why,
            hints,
        }
    }
}

enum Stop {
    Deadline(TransportError),
    Lost(String),
}

fn outcome(result: AuthResult) -> Step {
    match result {
        AuthResult::Success => Step::In,
        AuthResult::Failure {
            remaining_methods, ..
        } => Step::Out(remaining_methods),
    }
}

/// The library reports a connection that ended as a failure without any method that could go on.
fn outcome_or_lost(result: AuthResult) -> Result<Step, Stop> {
    match outcome(result) {
        Step::Out(methods) if methods.is_empty() => {
            Err(Stop::Lost("the connection ended".to_owned()))
        }
        step => Ok(step),
    }
}

/// Signs for one credential.
struct Hand<'a, 'l> {
    login: &'a Login<'l>,
    credential: &'a Credential,
    agent: Option<&'a mut Agent>,
    opened: Option<Arc<PrivateKey>>,
    fault: Option<String>,
}

/// No signature; the reason is in [`Hand::fault`], or the connection is gone.
struct Unsigned;

impl From<russh::SendError> for Unsigned {
    fn from(_: russh::SendError) -> Self {
        Self
    }
}

impl russh::Signer for Hand<'_, '_> {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, Unsigned> {
        let signed = match (&self.credential.holder, self.agent.as_mut()) {
            (Holder::Agent(identity), Some(agent)) => {
                // for a certificate of a file the agent knows only the plain key
                let identity = if matches!(key, AgentIdentity::PublicKey { .. }) {
                    key
                } else {
                    identity
                };
                self.login
                    .budget
                    .pause(agent.sign(identity, hash, data))
                    .await
            }
            (Holder::Agent(_), None) => Err("the agent is gone".to_owned()),
            (Holder::File(path), _) => match &self.opened {
                Some(key) => sign(key, hash, data),
                None => match self.login.keys.open(path, self.login.budget).await {
                    Ok(key) => sign(&key, hash, data),
                    Err(note) => Err(note),
                },
            },
        };
        signed.map_err(|fault| {
            self.fault = Some(fault);
            Unsigned
        })
    }
}
