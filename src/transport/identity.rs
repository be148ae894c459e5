//! Keys for the login: files, certificates, the agent's keys.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use russh::keys::agent::AgentIdentity;
use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey, decode_secret_key};
use tokio::sync::Mutex;

use super::ask::Asked;
use super::budget::Budget;
use super::endpoint::Endpoint;

/// A key file is small; a device or log named by mistake is not read to its end.
const MAX_KEY_FILE_BYTES: u64 = 256 * 1024;

/// Where the private key is.
#[derive(Debug, Clone)]
pub(super) enum Holder {
    SshAgent(Box<AgentIdentity>),
    File(PathBuf),
}

/// One credential to authenticate with.
#[derive(Debug, Clone)]
pub(super) struct Credential {
    /// The key to offer; `None` for old encrypted files, which do not reveal it before they are
    /// decrypted.
    pub(super) public: Option<PublicKey>,
    pub(super) certificate: Option<Certificate>,
    pub(super) holder: Holder,
}

impl Credential {
    /// Fingerprint and origin, for messages.
    pub(super) fn label(&self) -> String {
        let print = self
            .public
            .as_ref()
            .map_or_else(|| "a key".to_owned(), super::known_hosts::fingerprint);
        let kind = if self.certificate.is_some() {
            " with certificate"
        } else {
            ""
        };
        match &self.holder {
            Holder::SshAgent(_) => format!("{print}{kind} (agent)"),
            Holder::File(path) => format!("{print}{kind} ({})", path.display()),
        }
    }
}

/// A private key file, as far as it can be read without a prompt.
#[derive(Debug)]
enum FileKey {
    Plain(Arc<PrivateKey>),
    /// The text, and the public key when known.
    Encrypted(String, Option<PublicKey>),
    PublicOnly(PublicKey),
    CertificateOnly(Box<Certificate>),
}

impl FileKey {
    fn public(&self) -> Option<PublicKey> {
        match self {
            Self::Plain(key) => Some(key.public_key().clone()),
            Self::Encrypted(_, public) => public.clone(),
            Self::PublicOnly(public) => Some(public.clone()),
            Self::CertificateOnly(certificate) => {
                Some(PublicKey::from(certificate.public_key().clone()))
            }
        }
    }
}

fn text_of(path: &Path) -> io::Result<(String, fs::Metadata)> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() || meta.len() > MAX_KEY_FILE_BYTES {
        return Err(io::Error::other("not a key file"));
    }
    Ok((fs::read_to_string(path)?, meta))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn public_of(text: &str) -> Option<FileKey> {
    let line = text
        .lines()
        .find(|l| !l.trim().is_empty() && !l.starts_with('#'))?;
    match Certificate::from_openssh(line) {
        Ok(certificate) => Some(FileKey::CertificateOnly(Box::new(certificate))),
        Err(_) => PublicKey::from_openssh(line).ok().map(FileKey::PublicOnly),
    }
}

/// A key file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub(super) struct KeyError {
    pub(super) path: PathBuf,
    pub(super) fault: KeyFault,
}

/// What is wrong with a key file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyFault {
    /// Unreadable, or in a format that is not known.
    #[error("{0}")]
    Unusable(String),
    #[error("no key in the file")]
    NoKey,
    #[error("no private key in the file")]
    NoPrivateKey,
    /// The file's mode.
    #[error("readable by other users (mode {0:04o}); not used")]
    Exposed(u32),
    #[error("needs a passphrase and there is no terminal to ask; add the key to the agent")]
    NeedsPassphrase,
    #[error("wrong passphrase")]
    WrongPassphrase,
}

/// Why a login could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignError {
    #[error("cannot sign with the key ({0})")]
    Key(String),
    #[error(transparent)]
    File(#[from] KeyError),
    #[error(transparent)]
    Agent(#[from] super::agent::AgentError),
    #[error("the agent is gone")]
    AgentGone,
}

fn load(path: &Path) -> Result<FileKey, KeyError> {
    let fail = |fault| KeyError {
        path: path.to_owned(),
        fault,
    };
    let beside = || {
        text_of(&with_suffix(path, ".pub"))
            .ok()
            .and_then(|(t, _)| public_of(&t))
            .and_then(|k| k.public())
    };
    let (text, meta) = match text_of(path) {
        Ok(read) => read,
        // The public key alone selects a key of the agent.
        Err(e) => {
            return beside()
                .map(FileKey::PublicOnly)
                .ok_or_else(|| fail(KeyFault::Unusable(e.to_string())));
        }
    };
    if !text.contains("-----BEGIN ") {
        return public_of(&text).ok_or_else(|| fail(KeyFault::NoKey));
    }
    if meta.uid() == nix::unistd::Uid::current().as_raw() && meta.mode() & 0o077 != 0 {
        return Err(fail(KeyFault::Exposed(meta.mode() & 0o7777)));
    }
    match PrivateKey::from_openssh(&text) {
        Ok(key) if key.is_encrypted() => {
            return Ok(FileKey::Encrypted(text, Some(key.public_key().clone())));
        }
        Ok(key) => return Ok(FileKey::Plain(Arc::new(key))),
        Err(_) => {}
    }
    match decode_secret_key(&text, None) {
        Ok(key) => Ok(FileKey::Plain(Arc::new(key))),
        Err(_) if text.contains("ENCRYPTED") => Ok(FileKey::Encrypted(text, beside())),
        Err(e) => Err(fail(KeyFault::Unusable(e.to_string()))),
    }
}

type Opened = Arc<Mutex<Option<Result<Arc<PrivateKey>, KeyError>>>>;

/// The private keys opened in this run.
pub(super) struct KeyRing {
    asked: Arc<Asked>,
    opened: Mutex<HashMap<PathBuf, Opened>>,
}

impl KeyRing {
    pub(super) fn new(asked: Arc<Asked>) -> Self {
        Self {
            asked,
            opened: Mutex::default(),
        }
    }

    /// The private key of a file. Prompts for its passphrase once per run, and again when it was
    /// mistyped.
    pub(super) async fn open(
        &self,
        path: &Path,
        budget: &Budget,
    ) -> Result<Arc<PrivateKey>, KeyError> {
        let slot = self
            .opened
            .lock()
            .await
            .entry(path.to_owned())
            .or_default()
            .clone();
        budget
            .pause(async {
                let mut opened = slot.lock().await;
                if opened.is_none() {
                    *opened = Some(self.decrypt(path).await);
                }
                opened.clone().unwrap_or_else(|| {
                    Err(KeyError {
                        path: path.to_owned(),
                        fault: KeyFault::NoPrivateKey,
                    })
                })
            })
            .await
    }

    async fn decrypt(&self, path: &Path) -> Result<Arc<PrivateKey>, KeyError> {
        let fail = |fault| KeyError {
            path: path.to_owned(),
            fault,
        };
        let text = match load(path)? {
            FileKey::Plain(key) => return Ok(key),
            FileKey::Encrypted(text, _) => text,
            _ => return Err(fail(KeyFault::NoPrivateKey)),
        };
        for _ in 0..3 {
            let question = format!("passphrase of {}: ", path.display());
            let Some(passphrase) = self.asked.each_time(&question).await else {
                return Err(fail(KeyFault::NeedsPassphrase));
            };
            let text = text.clone();
            // Key derivation is slow by design.
            let key = tokio::task::spawn_blocking(move || {
                decode_secret_key(&text, Some(passphrase.expose()))
            })
            .await;
            if let Ok(Ok(key)) = key {
                return Ok(Arc::new(key));
            }
        }
        Err(fail(KeyFault::WrongPassphrase))
    }
}

/// The credentials to try, best first, and notes on those that cannot be tried.
///
/// Configured keys come first, through the agent when it holds them; then, unless `IdentitiesOnly`,
/// the agent's other keys. The default files are used only when nothing is configured. A
/// certificate precedes its plain key.
pub(super) fn credentials(
    endpoint: &Endpoint,
    agent: &[AgentIdentity],
) -> (Vec<Credential>, Vec<String>) {
    let mut notes = Vec::new();
    let mut list: Vec<Credential> = Vec::new();
    let configured = !endpoint.identity_files.is_empty();
    let others = |list: &mut Vec<Credential>| {
        if !endpoint.identities_only {
            for identity in agent {
                push(list, from_agent(identity));
            }
        }
    };
    for path in &endpoint.identity_files {
        file_credentials(path, endpoint, agent, &mut list, &mut notes);
    }
    for file in endpoint.certificate_files.iter().filter(|f| f.exists()) {
        agent_certificate(file, agent, &mut list);
    }
    others(&mut list);
    if !configured {
        for path in endpoint
            .default_identity_files
            .iter()
            .filter(|p| p.exists())
        {
            file_credentials(path, endpoint, agent, &mut list, &mut notes);
        }
    }
    (list, notes)
}

/// Adds a certificate file whose private key only the agent holds.
fn agent_certificate(file: &Path, agent: &[AgentIdentity], list: &mut Vec<Credential>) {
    let Some(FileKey::CertificateOnly(certificate)) =
        text_of(file).ok().and_then(|(text, _)| public_of(&text))
    else {
        return;
    };
    let holder = agent.iter().map(from_agent).find(|credential| {
        credential
            .public
            .as_ref()
            .is_some_and(|public| public.key_data() == certificate.public_key())
    });
    if let Some(credential) = holder {
        push(
            list,
            Credential {
                certificate: Some(*certificate),
                ..credential
            },
        );
    }
}

fn from_agent(identity: &AgentIdentity) -> Credential {
    let (public, certificate) = match identity {
        AgentIdentity::PublicKey { key, .. } => (key.clone(), None),
        AgentIdentity::Certificate { certificate, .. } => (
            PublicKey::from(certificate.public_key().clone()),
            Some(certificate.clone()),
        ),
    };
    Credential {
        public: Some(public),
        certificate,
        holder: Holder::SshAgent(Box::new(identity.clone())),
    }
}

/// Adds a credential unless it is listed already: one attempt per credential.
fn push(list: &mut Vec<Credential>, new: Credential) {
    let same = |c: &Credential| {
        c.certificate.as_ref().map(|c| c.signature().as_bytes())
            == new.certificate.as_ref().map(|c| c.signature().as_bytes())
            && match (&c.public, &new.public) {
                (Some(a), Some(b)) => a.key_data() == b.key_data(),
                _ => false,
            }
    };
    if !list.iter().any(same) {
        list.push(new);
    }
}

fn file_credentials(
    path: &Path,
    endpoint: &Endpoint,
    agent: &[AgentIdentity],
    list: &mut Vec<Credential>,
    notes: &mut Vec<String>,
) {
    let key = match load(path) {
        Ok(key) => key,
        Err(error) => return notes.push(error.to_string()),
    };
    let public = key.public();
    let held = public.as_ref().and_then(|p| {
        agent.iter().find(|i| {
            from_agent(i)
                .public
                .is_some_and(|h| h.key_data() == p.key_data())
        })
    });
    let holder = match (held, &key) {
        // The private key is the same, so the agent can sign for a certificate in a file.
        (Some(identity), _) => Holder::SshAgent(Box::new(identity.clone())),
        (None, FileKey::Plain(_) | FileKey::Encrypted(..)) => Holder::File(path.to_owned()),
        (None, _) => {
            return notes.push(format!(
                "{}: public key only, and the agent does not hold its private key",
                path.display()
            ));
        }
    };
    let beside = with_suffix(path, "-cert.pub");
    for file in std::iter::once(&beside)
        .chain(&endpoint.certificate_files)
        .filter(|f| f.exists())
    {
        match text_of(file).ok().and_then(|(t, _)| public_of(&t)) {
            Some(FileKey::CertificateOnly(c))
                if public
                    .as_ref()
                    .is_some_and(|p| p.key_data() == c.public_key()) =>
            {
                push(
                    list,
                    Credential {
                        public: public.clone(),
                        certificate: Some(*c),
                        holder: holder.clone(),
                    },
                );
            }
            Some(FileKey::CertificateOnly(_)) => {}
            _ => notes.push(format!("{}: no certificate in the file", file.display())),
        }
    }
    if let FileKey::CertificateOnly(certificate) = &key {
        push(
            list,
            Credential {
                public,
                certificate: Some(certificate.as_ref().clone()),
                holder,
            },
        );
        return;
    }
    push(
        list,
        Credential {
            public,
            certificate: None,
            holder,
        },
    );
}

/// Signs with a private key of a file.
pub(super) fn sign(
    key: &PrivateKey,
    hash: Option<HashAlg>,
    mut data: Vec<u8>,
) -> Result<Vec<u8>, SignError> {
    use russh::keys::signature::Signer;
    use russh::keys::ssh_encoding::Encode;
    use russh::keys::ssh_key::Signature;
    use russh::keys::ssh_key::private::KeypairData;
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(rsa) => (rsa, hash).try_sign(&data),
        _ => key.try_sign(&data),
    }
    .map_err(|e| SignError::Key(e.to_string()))?;
    signature
        .encode_prefixed(&mut data)
        .map_err(|e| SignError::Key(e.to_string()))?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::agent::AgentError;

    #[test]
    fn messages() {
        crate::testing::snapshot_messages!("key_fault", KeyFault, hints: |_| Vec::new(), {
            KeyFault::Unusable(_) => KeyFault::Unusable("permission denied".into()),
            KeyFault::NoKey => KeyFault::NoKey,
            KeyFault::NoPrivateKey => KeyFault::NoPrivateKey,
            KeyFault::Exposed(_) => KeyFault::Exposed(0o644),
            KeyFault::NeedsPassphrase => KeyFault::NeedsPassphrase,
            KeyFault::WrongPassphrase => KeyFault::WrongPassphrase,
        });
        snapshot_sign_errors();
    }

    fn snapshot_sign_errors() {
        crate::testing::snapshot_messages!("sign_error", SignError, hints: |_| Vec::new(), {
            SignError::Key(_) => SignError::Key("no such algorithm".into()),
            SignError::File(_) => SignError::File(KeyError {
                path: "id_ed25519".into(),
                fault: KeyFault::WrongPassphrase,
            }),
            SignError::Agent(_) => SignError::Agent(AgentError::SignDeadline(
                std::time::Duration::from_secs(60),
            )),
            SignError::AgentGone => SignError::AgentGone,
        });
    }
}
