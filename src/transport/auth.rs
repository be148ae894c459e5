//! Authenticates with as few attempts as possible: one per credential, configured ones first.

use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Reply};
use russh::keys::agent::AgentIdentity;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use russh::{MethodKind, MethodSet};

use super::TransportError;
use super::agent::{AgentError, SshAgent};
use super::ask::Asked;
use super::budget::Budget;
use super::endpoint::Endpoint;
use super::handler::{Guard, Watch, shown};
use super::identity::{Credential, Holder, KeyRing, SignError, credentials, sign};
use super::known_hosts::rsa_bits;
use crate::spec::Remedy;

/// OpenSSH servers close the connection at the sixth failed attempt.
const MAX_KEYS: usize = 6;
/// A server may repeat its questions without end; no real login needs more rounds.
const MAX_ROUNDS: usize = 8;
const MAX_PROMPTS: usize = 16;

/// The inputs of authentication besides the connection.
pub(super) struct Login<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) keys: &'a KeyRing,
    pub(super) asked: &'a Asked,
    pub(super) budget: &'a Budget,
    pub(super) watch: &'a Watch,
}

/// The credentials that were tried, and why others were not.
#[derive(Default)]
struct Record {
    tried: Vec<String>,
    notes: Vec<String>,
    offered: Vec<String>,
    untried: usize,
}

enum Attempt {
    In,
    /// Refused; the server accepts these methods next.
    Out(MethodSet),
}

impl Login<'_> {
    /// Authenticates. Called only on a connection whose host key was accepted.
    pub(super) async fn run(&self, handle: &mut Handle<Guard>) -> Result<(), TransportError> {
        let mut record = Record::default();
        let result = self.methods(handle, &mut record).await;
        match result {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.failure(record)),
            Err(LoginError::Deadline(e)) => Err(e),
            Err(LoginError::Lost(why)) => {
                record.notes.push(self.watch.ended().unwrap_or(why));
                Err(self.failure(record))
            }
        }
    }

    async fn methods(
        &self,
        handle: &mut Handle<Guard>,
        record: &mut Record,
    ) -> Result<bool, LoginError> {
        let user = self.endpoint.user.clone();
        let first = self.step(handle.authenticate_none(user)).await?;
        let Attempt::Out(mut methods) = outcome(first) else {
            return Ok(true);
        };
        record.offered = methods.iter().map(|m| <&str>::from(m).to_owned()).collect();
        if methods.contains(&MethodKind::PublicKey) {
            match self.public_keys(handle, record, methods).await? {
                Attempt::In => return Ok(true),
                Attempt::Out(rest) => methods = rest,
            }
        }
        if self.endpoint.settings.keyboard_interactive
            && methods.contains(&MethodKind::KeyboardInteractive)
        {
            record.tried.push("keyboard-interactive".to_owned());
            match self.questions(handle, record).await? {
                Attempt::In => return Ok(true),
                Attempt::Out(rest) => methods = rest,
            }
        }
        if self.endpoint.settings.password && methods.contains(&MethodKind::Password) {
            record.tried.push("password".to_owned());
            return self.password(handle, record).await;
        }
        Ok(false)
    }

    /// Tries the keys. `methods`: what the server accepts, also when there is no key to try.
    async fn public_keys(
        &self,
        handle: &mut Handle<Guard>,
        record: &mut Record,
        mut methods: MethodSet,
    ) -> Result<Attempt, LoginError> {
        let (mut agent, identities) = self.agent(handle, record).await?;
        let (list, notes) = credentials(self.endpoint, &identities);
        record.notes.extend(notes);
        record.untried = list.len().saturating_sub(MAX_KEYS);
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
            let mut hand = CredentialSigner {
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
            .map_err(LoginError::Deadline)?;
            let fault = hand.fault.take();
            record.notes.extend(fault.clone());
            match result {
                Ok(result) => match outcome_or_lost(result)? {
                    Attempt::In => return Ok(Attempt::In),
                    Attempt::Out(rest) => methods = rest,
                },
                Err(Unsigned) if fault.is_some() => {}
                Err(Unsigned) => return Err(LoginError::Lost("connection closed".to_owned())),
            }
            if !methods.contains(&MethodKind::PublicKey) {
                break;
            }
        }
        Ok(Attempt::Out(methods))
    }

    /// The signature hash for keys that leave a choice. `server`: what the server announced; `None`
    /// when it announced nothing, `Some(None)` for SHA-1 only.
    fn hash(
        &self,
        public: &PublicKey,
        certificate: bool,
        server: Option<Option<HashAlg>>,
    ) -> Result<Option<HashAlg>, AlgorithmError> {
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
                Err(AlgorithmError::NotAccepted)
            };
        }
        let least = self.endpoint.required_rsa_size;
        if let Some(bits) = rsa_bits(public).filter(|bits| *bits < least) {
            return Err(AlgorithmError::Short { bits, least });
        }
        // A server that announces nothing accepts what every server since 2016 accepts.
        let best = match server {
            None => HashAlg::Sha512,
            Some(Some(best)) => best,
            Some(None) => return Err(AlgorithmError::Sha1Only),
        };
        [best, HashAlg::Sha256]
            .into_iter()
            .find(|h| accepted.allows(&name(&Algorithm::Rsa { hash: Some(*h) })))
            .map(Some)
            .ok_or(AlgorithmError::NotAccepted)
    }

    async fn agent(
        &self,
        handle: &Handle<Guard>,
        record: &mut Record,
    ) -> Result<(Option<SshAgent>, Vec<AgentIdentity>), LoginError> {
        let Some(socket) = &self.endpoint.agent else {
            return Ok((None, Vec::new()));
        };
        let ask = async {
            let mut agent = SshAgent::connect(socket, handle.agent_session_binding()).await?;
            let identities = agent.identities().await?;
            Ok::<_, AgentError>((agent, identities))
        };
        match self
            .budget
            .run("ask the agent", ask)
            .await
            .map_err(LoginError::Deadline)?
        {
            Ok((agent, identities)) => Ok((Some(agent), identities)),
            Err(error) => {
                record.notes.push(error.to_string());
                Ok((None, Vec::new()))
            }
        }
    }

    /// The public key; opens the file when it is not known otherwise.
    async fn public(
        &self,
        credential: &Credential,
        record: &mut Record,
    ) -> Option<(PublicKey, Option<Arc<PrivateKey>>)> {
        match (&credential.public, &credential.holder) {
            (Some(public), _) => Some((public.clone(), None)),
            (None, Holder::File(path)) => match self.keys.open(path, self.budget).await {
                Ok(key) => Some((key.public_key().clone(), Some(key))),
                Err(error) => {
                    record.notes.push(error.to_string());
                    None
                }
            },
            (None, Holder::SshAgent(_)) => None,
        }
    }

    async fn password(
        &self,
        handle: &mut Handle<Guard>,
        record: &mut Record,
    ) -> Result<bool, LoginError> {
        let user = self.endpoint.user.clone();
        let question = format!("password of {user} (first for {}): ", self.endpoint.label);
        let Some(password) = self
            .budget
            .pause(self.asked.once(&format!("password {user}"), &question))
            .await
        else {
            record
                .notes
                .push("no terminal to ask for the password".to_owned());
            return Ok(false);
        };
        let result = self
            .step(handle.authenticate_password(user, password.expose()))
            .await?;
        Ok(matches!(outcome_or_lost(result)?, Attempt::In))
    }

    async fn questions(
        &self,
        handle: &mut Handle<Guard>,
        record: &mut Record,
    ) -> Result<Attempt, LoginError> {
        let mut reply = self
            .step(handle.authenticate_keyboard_interactive_start(self.endpoint.user.clone(), None))
            .await?;
        for _ in 0..MAX_ROUNDS {
            let prompts = match reply {
                Reply::Success => return Ok(Attempt::In),
                Reply::Failure {
                    remaining_methods, ..
                } => return Ok(Attempt::Out(remaining_methods)),
                Reply::InfoRequest { prompts, .. } => prompts,
            };
            if prompts.len() > MAX_PROMPTS {
                return Err(LoginError::Lost(
                    "the host asks too many questions".to_owned(),
                ));
            }
            let mut answers = Vec::with_capacity(prompts.len());
            for prompt in prompts {
                let question = format!("{} asks: {} ", self.endpoint.label, shown(&prompt.prompt));
                let Some(answer) = self.budget.pause(self.asked.each_time(&question)).await else {
                    record
                        .notes
                        .push("no terminal to ask the host's questions".to_owned());
                    return Ok(Attempt::Out(MethodSet::empty()));
                };
                answers.push(answer.expose().to_owned());
            }
            reply = self
                .step(handle.authenticate_keyboard_interactive_respond(answers))
                .await?;
        }
        Err(LoginError::Lost(
            "the host repeats its questions without end".to_owned(),
        ))
    }

    async fn step<T>(
        &self,
        future: impl Future<Output = Result<T, russh::Error>>,
    ) -> Result<T, LoginError> {
        match self.budget.run("log in", future).await {
            Ok(Ok(out)) => Ok(out),
            Ok(Err(e)) => Err(LoginError::Lost(shown(&e.to_string()))),
            Err(deadline) => Err(LoginError::Deadline(deadline)),
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
            hints.push(Remedy::SetIdentityFile);
        }
        let offers = |m: &str| record.offered.iter().any(|o| o == m);
        if offers("publickey") {
            let login =
                crate::spec::quote(&format!("{}@{}", self.endpoint.user, self.endpoint.host));
            hints.push(format!("ssh-copy-id -p {} {login}", self.endpoint.port).into());
        }
        if (offers("password") && !self.endpoint.settings.password)
            || (offers("keyboard-interactive") && !self.endpoint.settings.keyboard_interactive)
        {
            hints.push(Remedy::AskPassword);
        }
        TransportError::Authentication {
            user: self.endpoint.user.clone(),
            why,
            hints,
        }
    }
}

enum LoginError {
    Deadline(TransportError),
    Lost(String),
}

fn outcome(result: AuthResult) -> Attempt {
    match result {
        AuthResult::Success => Attempt::In,
        AuthResult::Failure {
            remaining_methods, ..
        } => Attempt::Out(remaining_methods),
    }
}

/// The library reports a closed connection as a failure without remaining methods.
fn outcome_or_lost(result: AuthResult) -> Result<Attempt, LoginError> {
    match outcome(result) {
        Attempt::Out(methods) if methods.is_empty() => {
            Err(LoginError::Lost("connection closed".to_owned()))
        }
        step => Ok(step),
    }
}

/// Why a key cannot be used with this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum AlgorithmError {
    #[error("PubkeyAcceptedAlgorithms does not allow it")]
    NotAccepted,
    #[error("the key has {bits} bits, RequiredRSASize is {least}")]
    Short { bits: u32, least: u32 },
    #[error("the host accepts RSA with SHA-1 only")]
    Sha1Only,
}

/// Signs for one credential.
struct CredentialSigner<'a, 'l> {
    login: &'a Login<'l>,
    credential: &'a Credential,
    agent: Option<&'a mut SshAgent>,
    opened: Option<Arc<PrivateKey>>,
    fault: Option<String>,
}

/// Not signed: the reason is in [`CredentialSigner::fault`], or the connection is gone.
struct Unsigned;

impl From<russh::SendError> for Unsigned {
    fn from(_: russh::SendError) -> Self {
        Self
    }
}

impl russh::Signer for CredentialSigner<'_, '_> {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, Unsigned> {
        let signed = match (&self.credential.holder, self.agent.as_mut()) {
            (Holder::SshAgent(identity), Some(agent)) => {
                // For a certificate in a file, the agent knows only the plain key.
                let identity = if matches!(key, AgentIdentity::PublicKey { .. }) {
                    key
                } else {
                    identity
                };
                self.login
                    .budget
                    .pause(agent.sign(identity, hash, data))
                    .await
                    .map_err(SignError::from)
            }
            (Holder::SshAgent(_), None) => Err(SignError::AgentGone),
            (Holder::File(path), _) => match &self.opened {
                Some(key) => sign(key, hash, data),
                None => match self.login.keys.open(path, self.login.budget).await {
                    Ok(key) => sign(&key, hash, data),
                    Err(error) => Err(error.into()),
                },
            },
        };
        signed.map_err(|fault| {
            self.fault = Some(fault.to_string());
            Unsigned
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("algorithm_error", AlgorithmError, hints: |_| Vec::new(), {
            AlgorithmError::NotAccepted => AlgorithmError::NotAccepted,
            AlgorithmError::Short { .. } => AlgorithmError::Short { bits: 1024, least: 2048 },
            AlgorithmError::Sha1Only => AlgorithmError::Sha1Only,
        });
    }
}
