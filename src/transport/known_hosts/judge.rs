//! May this host be trusted with a login?

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use russh::keys::{
    Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate,
    ssh_key::certificate::CertType,
};

use super::{
    learn::{self, Learned},
    parse::{self, Line, Marker},
};
use crate::{event::escape, transport::TransportError};

/// SHA256 of a key as OpenSSH prints it, with the key's type before it.
pub(in crate::transport) fn fingerprint(key: &PublicKey) -> String {
    format!(
        "{} {}",
        key.algorithm().as_str(),
        key.fingerprint(HashAlg::Sha256)
    )
}

/// Whose key it is, and where keys are recorded.
#[derive(Debug, Clone)]
pub(in crate::transport) struct Question {
    /// The host's name in the inventory, for hints.
    pub(in crate::transport) label: String,
    /// Name or address that is connected to.
    pub(in crate::transport) host: String,
    pub(in crate::transport) port: u16,
    /// `HostKeyAlias`: the name that keys are recorded under instead.
    pub(in crate::transport) alias: Option<String>,
    pub(in crate::transport) user_files: Vec<PathBuf>,
    pub(in crate::transport) global_files: Vec<PathBuf>,
    /// A host without any record is recorded instead of refused.
    pub(in crate::transport) accept_new: bool,
    /// New records hide the name.
    pub(in crate::transport) hash_names: bool,
}

impl Question {
    /// The name that keys are recorded under.
    pub(in crate::transport) fn name(&self) -> String {
        match &self.alias {
            Some(alias) => alias.to_ascii_lowercase(),
            None if self.port == 22 => self.host.to_ascii_lowercase(),
            None => format!("[{}]:{}", self.host.to_ascii_lowercase(), self.port),
        }
    }

    /// The name that a certificate must be for.
    fn principal(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.host)
    }
}

/// All that is recorded of one host.
#[derive(Debug)]
pub(in crate::transport) struct HostTrust {
    question: Question,
    name: String,
    lines: Vec<Line>,
    /// Lines for the name without its port: they can confirm a key, not refuse one.
    bare: Vec<Line>,
    /// What is wrong with other lines of the files.
    pub(in crate::transport) warnings: Vec<String>,
}

impl HostTrust {
    /// Reads what is recorded.
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
        Ok(Self {
            question,
            name,
            lines,
            bare,
            warnings,
        })
    }

    /// The algorithms to offer: recorded ones first, so that a host with several keys shows the one that is known.
    pub(in crate::transport) fn order(&self, all: &[Algorithm]) -> Vec<Algorithm> {
        let recorded: Vec<Algorithm> = self
            .recorded()
            .chain(self.bare.iter())
            .filter_map(|l| l.key.as_ref())
            .map(PublicKey::algorithm)
            .collect();
        // an RSA key is recorded under one name and signs under two
        let known = |a: &Algorithm| {
            recorded.iter().any(|r| {
                r == a || (matches!((r, a), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. })))
            })
        };
        let mut order: Vec<Algorithm> = all.iter().filter(|a| known(a)).cloned().collect();
        order.extend(all.iter().filter(|a| !known(a)).cloned());
        order
    }

    /// Whether an authority vouches for this host, so that certificates are worth asking for. A recorded plain key does not make them
    /// unwanted: OpenSSH asks for certificates first whenever an authority matches.
    pub(in crate::transport) fn wants_certificate(&self) -> bool {
        self.lines
            .iter()
            .chain(&self.bare)
            .any(|l| l.marker == Some(Marker::CertAuthority) && l.key.is_some())
    }

    /// Judges what the host showed, and records it when the host is new and that is allowed.
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
                    // the name without its port may name the authority, as for plain keys
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

    /// Whether a key is on record, without recording it. A revoked key or one that differs from the record is an error here too.
    pub(in crate::transport) fn look(&self, key: &PublicKey) -> Result<bool, TransportError> {
        self.not_revoked(key, &self.lines)?;
        let equal = |l: &Line| {
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
        let equal = |l: &&Line| {
            l.marker.is_none()
                && l.key
                    .as_ref()
                    .is_some_and(|k| k.key_data() == key.key_data())
        };
        self.not_revoked(key, &self.lines)?;
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
                "{} records a key that cannot be read; the host shows {}",
                line.place(),
                fingerprint(key)
            );
            return Err(self.untrusted(why, vec![format!("correct {}", line.place())]));
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
            "no key of {} is recorded in {}; the host shows {}",
            self.name,
            files.join(", "),
            fingerprint(key)
        );
        let hints = vec![
            format!("toots ssh trust {}", self.question.label),
            "--accept-new-host-keys records keys of hosts that have none".to_owned(),
        ];
        Err(self.untrusted(why, hints))
    }

    fn accept(&self, key: &PublicKey) -> Result<(), TransportError> {
        let Some(path) = self.question.user_files.first() else {
            return Err(self.untrusted(
                "there is no file to record its key in".to_owned(),
                Vec::new(),
            ));
        };
        match learn::append(path, &self.name, key, self.question.hash_names)? {
            Learned::Added | Learned::Known => Ok(()),
            Learned::Other(place) => {
                let why = format!(
                    "{place} records another key since a moment; the host shows {}",
                    fingerprint(key)
                );
                Err(self.untrusted(why, Vec::new()))
            }
        }
    }

    /// Lines that record keys of this very host.
    fn recorded(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|l| l.marker.is_none())
    }

    fn not_revoked(&self, key: &PublicKey, lines: &[Line]) -> Result<(), TransportError> {
        let revoked = |l: &&Line| {
            l.marker == Some(Marker::Revoked)
                && l.key
                    .as_ref()
                    .is_some_and(|k| k.key_data() == key.key_data())
        };
        match lines.iter().find(revoked) {
            None => Ok(()),
            Some(line) => {
                let why = format!(
                    "{} revokes the key that the host shows, {}",
                    line.place(),
                    fingerprint(key)
                );
                Err(self.untrusted(
                    why,
                    vec![
                        "a revoked key may be in foreign hands: find out why before anything else"
                            .to_owned(),
                    ],
                ))
            }
        }
    }

    fn changed(&self, line: &Line, key: &PublicKey) -> TransportError {
        let recorded = line.key.as_ref().map(fingerprint).unwrap_or_default();
        let why = format!(
            "the host key changed: {} records {recorded}, the host shows {}",
            line.place(),
            fingerprint(key)
        );
        let remove = format!(
            "ssh-keygen -R {} -f {}",
            super::super::quote(&self.name),
            super::super::quote(&line.file.display().to_string())
        );
        let hints = vec![
            "someone may be listening in, or the host was installed anew: compare the fingerprint on the host's console".to_owned(),
            format!("if it is right: {remove} && toots ssh trust {}", self.question.label),
        ];
        self.untrusted(why, hints)
    }

    fn untrusted(&self, why: String, hints: Vec<String>) -> TransportError {
        TransportError::Untrusted {
            host: self.name.clone(),
            why,
            hints,
        }
    }

    fn certificate(&self, certificate: &Certificate, lines: &[Line]) -> Result<(), Fault> {
        let authority = PublicKey::from(certificate.signature_key().clone());
        self.not_revoked(&PublicKey::from(certificate.public_key().clone()), lines)
            .map_err(Fault::Revoked)?;
        self.not_revoked(&authority, lines)
            .map_err(Fault::Revoked)?;
        let vouches = |l: &&Line| {
            l.marker == Some(Marker::CertAuthority)
                && l.key
                    .as_ref()
                    .is_some_and(|k| k.key_data() == authority.key_data())
        };
        let Some(line) = lines.iter().find(vouches) else {
            return Err(Fault::Not(format!(
                "no line names the authority {} of its certificate",
                fingerprint(&authority)
            )));
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|d| d.as_secs())
            .unwrap_or_default();
        check(certificate, self.question.principal(), now).map_err(|why| {
            Fault::Not(format!(
                "the host's certificate (authority of {}) {why}",
                line.place()
            ))
        })
    }
}

enum Fault {
    /// Nothing else may make up for it.
    Revoked(TransportError),
    /// The certificate does not help; the plain key may.
    Not(String),
}

/// All that a host certificate must fulfil once its authority is known.
fn check(certificate: &Certificate, principal: &str, now: u64) -> Result<(), String> {
    if certificate.cert_type() != CertType::Host {
        return Err("is not a host certificate".to_owned());
    }
    if matches!(
        certificate.signature().algorithm(),
        Algorithm::Rsa { hash: None }
    ) {
        return Err("is signed with SHA-1".to_owned());
    }
    let authority =
        PublicKey::from(certificate.signature_key().clone()).fingerprint(HashAlg::Sha256);
    if certificate
        .validate_at(certificate.valid_after(), [&authority])
        .is_err()
    {
        return Err("has a wrong signature".to_owned());
    }
    if now < certificate.valid_after() {
        return Err("is not valid yet".to_owned());
    }
    if now >= certificate.valid_before() {
        return Err("has expired".to_owned());
    }
    if !certificate.critical_options().is_empty() {
        return Err("has critical options that are not known".to_owned());
    }
    let names = certificate.valid_principals();
    // Names are compared to the letter, without wildcards. A certificate without names is for every host, as OpenSSH documents it.
    if !names.is_empty() && !names.iter().any(|n| n == principal) {
        let names = escape(
            &names
                .iter()
                .take(5)
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        );
        return Err(format!("is for {names}, not for {principal}"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
