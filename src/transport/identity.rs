//! Keys that may open a host: files, certificates, the agent's.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use russh::keys::{
    Certificate, HashAlg, PrivateKey, PublicKey, agent::AgentIdentity, decode_secret_key,
};
use tokio::sync::Mutex;

use super::{ask::Asked, budget::Budget, endpoint::Endpoint};

/// A key file is small; a device or a log named by mistake is not read to its end.
const MAX_KEY_FILE: u64 = 256 * 1024;

/// Where the private half is.
#[derive(Debug, Clone)]
pub(super) enum Holder {
    Agent(Box<AgentIdentity>),
    File(PathBuf),
}

/// One thing to authenticate with.
#[derive(Debug, Clone)]
pub(super) struct Credential {
    /// The key that is offered; unknown for old encrypted files, which do not say it before they are opened.
    pub(super) public: Option<PublicKey>,
    pub(super) certificate: Option<Certificate>,
    pub(super) holder: Holder,
}

impl Credential {
    /// Fingerprint and origin for messages.
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
            Holder::Agent(_) => format!("{print}{kind} (agent)"),
            Holder::File(path) => format!("{print}{kind} ({})", path.display()),
        }
    }
}

/// A private key file as far as it can be read without asking anyone.
#[derive(Debug)]
enum FileKey {
    Plain(Arc<PrivateKey>),
    /// The text, and the public half when it is known.
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
    if !meta.is_file() || meta.len() > MAX_KEY_FILE {
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

fn load(path: &Path) -> Result<FileKey, String> {
    let beside = || {
        text_of(&with_suffix(path, ".pub"))
            .ok()
            .and_then(|(t, _)| public_of(&t))
            .and_then(|k| k.public())
    };
    let (text, meta) = match text_of(path) {
        Ok(read) => read,
        // the public half alone chooses a key of the agent
        Err(e) => {
            return beside()
                .map(FileKey::PublicOnly)
                .ok_or_else(|| format!("{}: {e}", path.display()));
        }
    };
    if !text.contains("-----BEGIN ") {
        return public_of(&text).ok_or_else(|| format!("{}: holds no key", path.display()));
    }
    if meta.uid() == nix::unistd::Uid::current().as_raw() && meta.mode() & 0o077 != 0 {
        return Err(format!(
            "{}: others may read it (mode {:04o}); it is not used",
            path.display(),
            meta.mode() & 0o7777
        ));
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
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

type Opened = Arc<Mutex<Option<Result<Arc<PrivateKey>, String>>>>;

/// Private keys that were opened in this run.
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

    /// The private key of a file; the person is asked for its passphrase once per run, and once more when it was mistyped.
    pub(super) async fn open(
        &self,
        path: &Path,
        budget: &Budget,
    ) -> Result<Arc<PrivateKey>, String> {
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
                opened
                    .clone()
                    .unwrap_or_else(|| Err("it is not opened".to_owned()))
            })
            .await
    }

    async fn decrypt(&self, path: &Path) -> Result<Arc<PrivateKey>, String> {
        let text = match load(path)? {
            FileKey::Plain(key) => return Ok(key),
            FileKey::Encrypted(text, _) => text,
            _ => return Err(format!("{}: holds no private key", path.display())),
        };
        for _ in 0..3 {
            let question = format!("passphrase of {}: ", path.display());
            let Some(passphrase) = self.asked.each_time(&question).await else {
                return Err(format!(
                    "{}: its passphrase is needed and nobody can be asked; add the key to the agent",
                    path.display()
                ));
            };
            let text = text.clone();
            // the derivation is slow by design
            let key = tokio::task::spawn_blocking(move || {
                decode_secret_key(&text, Some(passphrase.expose()))
            })
            .await;
            if let Ok(Ok(key)) = key {
                return Ok(Arc::new(key));
            }
        }
        Err(format!("{}: the passphrase was wrong", path.display()))
    }
}

/// What to try, best first, and notes on what cannot be tried.
///
/// Configured keys come first, by the agent when it holds them; then, unless only configured ones may be used, the agent's others; the
/// default files are looked at only when nothing is configured. A certificate goes before its plain key.
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
        holder: Holder::Agent(Box::new(identity.clone())),
    }
}

/// One attempt per credential: what is listed already is not listed again.
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
        Err(note) => return notes.push(note),
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
        // the private half is the same, so the agent can sign for a certificate that lies in a file
        (Some(identity), _) => Holder::Agent(Box::new(identity.clone())),
        (None, FileKey::Plain(_) | FileKey::Encrypted(..)) => Holder::File(path.to_owned()),
        (None, _) => {
            return notes.push(format!(
                "{}: only a public key, and the agent does not hold its private one",
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
            _ => notes.push(format!("{}: holds no certificate", file.display())),
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
) -> Result<Vec<u8>, String> {
    use russh::keys::{
        signature::Signer,
        ssh_encoding::Encode,
        ssh_key::{Signature, private::KeypairData},
    };
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(rsa) => (rsa, hash).try_sign(&data),
        _ => key.try_sign(&data),
    }
    .map_err(|e| format!("the key cannot sign ({e})"))?;
    signature
        .encode_prefixed(&mut data)
        .map_err(|e| format!("the key cannot sign ({e})"))?;
    Ok(data)
}
