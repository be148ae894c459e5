//! Decides whether a host key can be trusted.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::learn::{self, Learned};
use super::parse::{self, KnownHostsLine, Marker};
use super::revoked;
use crate::event::escape;
use crate::spec::Remedy;
use crate::transport::TransportError;
use crate::transport::config::AlgorithmList;

/// The key type and SHA256 fingerprint, as OpenSSH prints them.
pub(in crate::transport) fn fingerprint(key: &PublicKey) -> String {
    format!(
        "{} {}",
        key.algorithm().as_str(),
        key.fingerprint(HashAlg::Sha256)
    )
}

/// The length of an RSA key, in bits; `None` for other keys.
pub(in crate::transport) fn rsa_bits(key: &PublicKey) -> Option<u32> {
    let bytes = key.key_data().rsa()?.n().as_positive_bytes()?;
    let leading = bytes.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(bytes.len() * 8)
        .ok()
        .map(|bits| bits - leading)
}

/// Which host's key is judged, and where keys are recorded.
#[derive(Debug, Clone)]
pub(in crate::transport) struct Question {
    /// The host's name in the inventory, for hints.
    pub(in crate::transport) label: String,
    /// The name or address that is connected to.
    pub(in crate::transport) host: String,
    pub(in crate::transport) port: u16,
    /// `HostKeyAlias`: the name under which keys are recorded instead.
    pub(in crate::transport) alias: Option<String>,
    pub(in crate::transport) user_files: Vec<PathBuf>,
    pub(in crate::transport) global_files: Vec<PathBuf>,
    /// Record the key of a host without any record, instead of refusing it.
    pub(in crate::transport) accept_new: bool,
    /// Hash the name in new records.
    pub(in crate::transport) hash_names: bool,
    /// `RevokedHostKeys`: public keys, one per line.
    pub(in crate::transport) revoked_file: Option<PathBuf>,
    /// Least length of an RSA host key, in bits.
    pub(in crate::transport) required_rsa_size: u32,
    /// Signature algorithms that a host certificate may have.
    pub(in crate::transport) authority_algorithms: AlgorithmList,
}

impl Question {
    /// The name under which keys are recorded.
    pub(in crate::transport) fn name(&self) -> String {
        match &self.alias {
            Some(alias) => alias.to_ascii_lowercase(),
            None if self.port == 22 => self.host.to_ascii_lowercase(),
            None => format!("[{}]:{}", self.host.to_ascii_lowercase(), self.port),
        }
    }

    /// The name that a certificate must contain.
    fn principal(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.host)
    }
}

/// All records of one host.
#[derive(Debug)]
pub(in crate::transport) struct HostTrust {
    question: Question,
    name: String,
    lines: Vec<KnownHostsLine>,
    /// Lines for the name without its port: they can confirm a key, not refuse one.
    bare: Vec<KnownHostsLine>,
    /// Keys of `RevokedHostKeys`, with their places.
    revoked: Vec<(PublicKey, String)>,
    /// Problems of other lines in the files.
    pub(in crate::transport) warnings: Vec<String>,
}

impl HostTrust {
    /// Reads the records.
    pub(in crate::transport) fn load(question: Question) -> Result<Self, TransportError> {
        let name = question.name();
        let (mut lines, mut bare, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for path in question.user_files.iter().chain(&question.global_files) {
            let parsed = parse::read(path)?;
            warnings.extend(parsed.warnings);
            for line in parsed.lines {
                if line.hosts.matches(&name) {
                    lines.push(line);
                } else if question.alias.is_none()
                    && question.port != 22
                    && line.hosts.matches(&question.host)
                {
                    bare.push(line);
                }
            }
        }
        let revoked = match &question.revoked_file {
            Some(path) => revoked::read(path)?,
            None => Vec::new(),
        };
        Ok(Self {
            question,
            name,
            lines,
            bare,
            revoked,
            warnings,
        })
    }

    /// The algorithms to offer: recorded ones first, so that a host with several keys presents the
    /// recorded one.
    pub(in crate::transport) fn order(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let recorded: Vec<Algorithm> = self
            .recorded()
            .chain(self.bare.iter())
            .filter_map(|l| l.key.as_ref())
            .map(PublicKey::algorithm)
            .collect();
        // An RSA key is recorded under one name and signs under two.
        let known = |a: &Algorithm| {
            recorded.iter().any(|r| {
                r == a || (matches!((r, a), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. })))
            })
        };
        let mut order: Vec<Algorithm> = all.iter().filter(|a| known(a)).cloned().collect();
        order.extend(all.iter().filter(|a| !known(a)).cloned());
        order
    }

    /// Whether an authority is recorded for this host, so that certificates are worth requesting.
    /// OpenSSH, too, requests certificates first whenever an authority matches, even with a
    /// recorded plain key.
    pub(in crate::transport) fn wants_certificate(&self) -> bool {
        self.lines
            .iter()
            .chain(&self.bare)
            .any(|l| l.marker == Some(Marker::CertAuthority) && l.key.is_some())
    }

    /// Judges the presented key, and records it when the host is new and recording is allowed.
    pub(in crate::transport) fn judge(
        &self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<(), TransportError> {
        let key = shown.public_key();
        let mut certificate_fault = None;
        if let Some(certificate) = shown.certificate() {
            match self
                .certificate(certificate, &self.lines)
                .or_else(|e| match e {
                    Fault::Revoked(e) => Err(Fault::Revoked(e)),
                    // The name without its port may name the authority, as for plain keys.
                    Fault::Not(e) => self
                        .certificate(certificate, &self.bare)
                        .map_err(|_| Fault::Not(e)),
                }) {
                Ok(()) => return Ok(()),
                Err(Fault::Revoked(e)) => return Err(e),
                Err(Fault::Not(why)) => certificate_fault = Some(why),
            }
        }
        self.plain(&key, certificate_fault)
    }

    /// Whether a key is recorded, without recording it. A revoked key, or one that differs from the
    /// record, is an error here too.
    pub(in crate::transport) fn check_shown_key(
        &self,
        key: &PublicKey,
    ) -> Result<bool, TransportError> {
        self.not_revoked(key, &self.lines)?;
        let equal = |l: &KnownHostsLine| {
            l.key
                .as_ref()
                .is_some_and(|k| k.key_data() == key.key_data())
        };
        match self.recorded().find(|l| l.key.is_some()) {
            _ if self.recorded().any(equal) => Ok(true),
            Some(line) => Err(self.changed(line, key)),
            None => Ok(false),
        }
    }

    fn plain(
        &self,
        key: &PublicKey,
        certificate_fault: Option<String>,
    ) -> Result<(), TransportError> {
        let equal = |l: &&KnownHostsLine| {
            l.marker.is_none()
                && l.key
                    .as_ref()
                    .is_some_and(|k| k.key_data() == key.key_data())
        };
        self.not_revoked(key, &self.lines)?;
        self.long_enough(key)?;
        if self.lines.iter().any(|l| equal(&l)) {
            return Ok(());
        }
        if let Some(line) = self.recorded().find(|l| l.key.is_some()) {
            return Err(self.changed(line, key));
        }
        if self.bare.iter().any(|l| equal(&l)) {
            return self.not_revoked(key, &self.bare);
        }
        if let Some(line) = self.recorded().next() {
            let why = format!(
                "{} has an unreadable key for the host; the host sent {}",
                line.place(),
                fingerprint(key)
            );
            return Err(self.untrusted(why, vec![format!("correct {}", line.place()).into()]));
        }
        if let Some(why) = certificate_fault {
            return Err(self.untrusted(
                format!("{why}; its key {} is not recorded either", fingerprint(key)),
                Vec::new(),
            ));
        }
        if self.question.accept_new {
            return self.accept(key);
        }
        let files: Vec<_> = self
            .question
            .user_files
            .iter()
            .chain(&self.question.global_files)
            .map(|p| p.display().to_string())
            .collect();
        let why = format!(
            "no key for {} in {}; the host sent {}",
            self.name,
            files.join(", "),
            fingerprint(key)
        );
        let hints = vec![
            Remedy::TrustHost {
                host: self.question.label.clone(),
            },
            Remedy::AcceptNewHostKeys,
        ];
        Err(self.untrusted(why, hints))
    }

    fn accept(&self, key: &PublicKey) -> Result<(), TransportError> {
        let Some(path) = self.question.user_files.first() else {
            return Err(self.untrusted("no file to record the host key in".to_owned(), Vec::new()));
        };
        match learn::append(path, &self.name, key, self.question.hash_names)? {
            Learned::Added | Learned::Known => Ok(()),
            Learned::Other(place) => {
                let why = format!(
                    "{place} has another key since a moment ago; the host sent {}",
                    fingerprint(key)
                );
                Err(self.untrusted(why, Vec::new()))
            }
        }
    }

    /// Lines that record keys of exactly this host.
    fn recorded(&self) -> impl Iterator<Item = &KnownHostsLine> {
        self.lines.iter().filter(|l| l.marker.is_none())
    }

    fn not_revoked(&self, key: &PublicKey, lines: &[KnownHostsLine]) -> Result<(), TransportError> {
        let revoked = |l: &&KnownHostsLine| {
            l.marker == Some(Marker::Revoked)
                && l.key
                    .as_ref()
                    .is_some_and(|k| k.key_data() == key.key_data())
        };
        let listed = self
            .revoked
            .iter()
            .find(|(revoked, _)| revoked.key_data() == key.key_data())
            .map(|(_, place)| place.clone());
        match lines
            .iter()
            .find(revoked)
            .map(KnownHostsLine::place)
            .or(listed)
        {
            None => Ok(()),
            Some(place) => {
                let why = format!("{place} revokes the host key {}", fingerprint(key));
                Err(self.untrusted(
                    why,
                    vec![
                        "a revoked key may be stolen: find out why it was revoked before you connect"
                            .into(),
                    ],
                ))
            }
        }
    }

    fn long_enough(&self, key: &PublicKey) -> Result<(), TransportError> {
        let least = self.question.required_rsa_size;
        match rsa_bits(key) {
            Some(bits) if bits < least => {
                let why = format!(
                    "the host key {} has {bits} bits, RequiredRSASize is {least}",
                    fingerprint(key)
                );
                Err(self.untrusted(why, vec!["give the host an ed25519 key".into()]))
            }
            _ => Ok(()),
        }
    }

    fn changed(&self, line: &KnownHostsLine, key: &PublicKey) -> TransportError {
        let recorded = line.key.as_ref().map(fingerprint).unwrap_or_default();
        let why = format!(
            "host key changed: {} has {recorded}, the host sent {}",
            line.place(),
            fingerprint(key)
        );
        let remove = format!(
            "ssh-keygen -R {} -f {}",
            crate::spec::quote(&self.name),
            crate::spec::quote(&line.file.display().to_string())
        );
        let hints = vec![
            "someone may intercept the connection, or the host was reinstalled: compare the fingerprint on the host's console".into(),
            Remedy::ReplaceHostKey {
                remove,
                host: self.question.label.clone(),
            },
        ];
        self.untrusted(why, hints)
    }

    fn untrusted(&self, why: String, hints: Vec<Remedy>) -> TransportError {
        TransportError::Untrusted {
            host: self.name.clone(),
            why,
            hints,
        }
    }

    fn certificate(
        &self,
        certificate: &Certificate,
        lines: &[KnownHostsLine],
    ) -> Result<(), Fault> {
        let authority = PublicKey::from(certificate.signature_key().clone());
        self.not_revoked(&PublicKey::from(certificate.public_key().clone()), lines)
            .map_err(Fault::Revoked)?;
        self.not_revoked(&authority, lines)
            .map_err(Fault::Revoked)?;
        let vouches = |l: &&KnownHostsLine| {
            l.marker == Some(Marker::CertAuthority)
                && l.key
                    .as_ref()
                    .is_some_and(|k| k.key_data() == authority.key_data())
        };
        let Some(line) = lines.iter().find(vouches) else {
            return Err(Fault::Not(format!(
                "no @cert-authority line for authority {} of the host certificate",
                fingerprint(&authority)
            )));
        };
        let algorithm = certificate.signature().algorithm();
        if !self
            .question
            .authority_algorithms
            .allows(algorithm.as_str())
        {
            return Err(Fault::Not(format!(
                "host certificate (authority {}) is signed with {}, which CASignatureAlgorithms \
                 does not allow",
                line.place(),
                algorithm.as_str()
            )));
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|d| d.as_secs())
            .unwrap_or_default();
        check(certificate, self.question.principal(), now).map_err(|why| {
            Fault::Not(format!(
                "host certificate (authority {}) {why}",
                line.place()
            ))
        })
    }
}

enum Fault {
    /// Nothing else can outweigh this.
    Revoked(TransportError),
    /// The certificate is not usable; the plain key may be.
    Not(String),
}

/// What is wrong with a host certificate. The text continues "host certificate …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum CertificateError {
    #[error("is a user certificate, not a host certificate")]
    ForUsers,
    #[error("is signed with SHA-1")]
    Sha1,
    #[error("has an invalid signature")]
    Signature,
    #[error("is not valid yet")]
    NotYet,
    #[error("has expired")]
    Expired,
    #[error("has unknown critical options")]
    CriticalOptions,
    #[error("is for {names}, not for {principal}")]
    OtherHost { names: String, principal: String },
}

/// Checks everything that a host certificate must fulfil once its authority is known.
fn check(certificate: &Certificate, principal: &str, now: u64) -> Result<(), CertificateError> {
    if certificate.cert_type() != CertType::Host {
        return Err(CertificateError::ForUsers);
    }
    if matches!(
        certificate.signature().algorithm(),
        Algorithm::Rsa { hash: None }
    ) {
        return Err(CertificateError::Sha1);
    }
    let authority =
        PublicKey::from(certificate.signature_key().clone()).fingerprint(HashAlg::Sha256);
    if certificate
        .validate_at(certificate.valid_after(), [&authority])
        .is_err()
    {
        return Err(CertificateError::Signature);
    }
    if now < certificate.valid_after() {
        return Err(CertificateError::NotYet);
    }
    if now >= certificate.valid_before() {
        return Err(CertificateError::Expired);
    }
    if !certificate.critical_options().is_empty() {
        return Err(CertificateError::CriticalOptions);
    }
    let names = certificate.valid_principals();
    // Names are compared exactly, without wildcards. A certificate without names is valid for every
    // host, as OpenSSH documents.
    if !names.is_empty() && !names.iter().any(|n| n == principal) {
        let names = escape(
            &names
                .iter()
                .take(5)
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        );
        return Err(CertificateError::OtherHost {
            names,
            principal: principal.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
