//! Certificates and logins that follow from one generated secret, as filters of templates.
//!
//! Every run of every operator computes the same bytes from the secret that the masters keep, so
//! nothing else is recorded. Ed25519 is chosen for this: its key is any 32 bytes, and a signature
//! has no random part, which those of ECDSA have. Go programs know it since Go 1.13.
//!
//! The certificates do not expire: clocks of hosts cannot make them invalid, and who replaces the
//! secret replaces them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Rest;
use minijinja::{Environment, ErrorKind};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use sha2::{Digest, Sha256};

use crate::spec::{Secret, digest};

/// The start of an Ed25519 key in PKCS #8 (RFC 8410, section 7); the 32 bytes of the key follow.
const PKCS8_START: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The lowest cost that programs accept is 4. A generated password cannot be guessed, and a server
/// pays this with each request.
const BCRYPT_COST: u32 = 5;

/// Adds the filters. What follows from a masked secret is masked.
pub(super) fn add_filters(environment: &mut Environment<'_>) {
    environment.add_filter("ca_certificate", |secret: &str| {
        masked(secret, || ca_certificate(secret))
    });
    environment.add_filter("server_pem", |secret: &str, names: Rest<String>| {
        masked(secret, || server_pem(secret, &names))
    });
    environment.add_filter("htpasswd", |password: &str, user: &str| {
        masked(password, || htpasswd(user, password))
    });
    environment.add_filter("basic_login", |password: &str, user: &str| {
        masked(password, || Ok(basic_login(user, password)))
    });
}

type Filtered = Result<String, Box<dyn std::error::Error>>;

fn masked(secret: &str, text: impl FnOnce() -> Filtered) -> Result<String, minijinja::Error> {
    if secret == Secret::MASK {
        return Ok(Secret::MASK.to_owned());
    }
    text()
        .map(|text| text.trim_end().to_owned())
        .map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

/// The 32 bytes that follow from a secret for a purpose.
fn derived(secret: &str, purpose: &str) -> [u8; 32] {
    let hash = Sha256::new().chain_update(secret).chain_update([0]);
    hash.chain_update(purpose).finalize().into()
}

fn key(secret: &str, purpose: &str) -> Result<KeyPair, rcgen::Error> {
    KeyPair::try_from([&PKCS8_START[..], &derived(secret, purpose)].concat())
}

fn params(names: &[String], common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.not_before = date_time_ymd(2020, 1, 1);
    // RFC 5280, 4.1.2.5: for a certificate without an expiration date.
    params.not_after = date_time_ymd(9999, 12, 31);
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, common_name);
    Ok(params)
}

/// The authority of a secret, with its key.
fn authority(secret: &str) -> Result<(CertificateParams, KeyPair), rcgen::Error> {
    let key = key(secret, "authority")?;
    // Two clusters have two names, so that a program that trusts both tells them apart.
    let name = format!("toots authority {}", &digest(key.public_key_raw())[..8]);
    let mut params = params(&[], &name)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok((params, key))
}

fn ca_certificate(secret: &str) -> Filtered {
    let (params, key) = authority(secret)?;
    Ok(params.self_signed(&key)?.pem())
}

/// Key and certificate of a server in one text; it answers to the names, which may be addresses.
fn server_pem(secret: &str, names: &[String]) -> Filtered {
    let first = names.first().ok_or("server_pem needs a name")?;
    let (authority, authority_key) = authority(secret)?;
    let key = key(secret, &format!("server {}", names.join(" ")))?;
    let mut params = params(names, first)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &Issuer::new(authority, authority_key))?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

/// A line of an htpasswd file.
fn htpasswd(user: &str, password: &str) -> Filtered {
    let mut salt = [0; 16];
    salt.copy_from_slice(&derived(password, "salt")[..16]);
    let hash = bcrypt::hash_with_salt(password, BCRYPT_COST, salt)?;
    Ok(format!(
        "{user}:{}",
        hash.format_for_version(bcrypt::Version::TwoY)
    ))
}

/// User and password as in an `Authorization` header and in Docker's config.json.
fn basic_login(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    fn names() -> Vec<String> {
        ["10.0.0.11", "registry.service.consul"]
            .map(str::to_owned)
            .into()
    }

    /// Lets a client that trusts the authority of `trusted` connect to a server of `served`.
    fn handshake(trusted: &str, served: &str, name: &str) -> Result<(), rustls::Error> {
        let provider = || Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        let ca = ca_certificate(trusted).unwrap();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())?;
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let pem = server_pem(served, &names()).unwrap();
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name)?;
        let mut server = ServerConnection::new(Arc::new(server))?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut bytes = Vec::new();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn certificate_verifies_for_name_and_address() {
        for name in names() {
            assert_eq!(handshake("drawn", "drawn", &name), Ok(()), "{name}");
        }
        for (trusted, name) in [("other", "10.0.0.11"), ("drawn", "10.0.0.12")] {
            let refused = handshake(trusted, "drawn", name);
            assert!(
                matches!(refused, Err(rustls::Error::InvalidCertificate(_))),
                "{trusted} {name}: {refused:?}"
            );
        }
    }

    /// A running cluster has these bytes: other ones would replace its container and the trust of
    /// each host.
    #[test]
    fn texts_never_change() {
        let texts = [
            ca_certificate("drawn").unwrap(),
            server_pem("drawn", &names()).unwrap(),
            htpasswd("toots", "drawn").unwrap(),
        ];
        assert_eq!(
            texts.map(|text| digest(text.as_bytes())[..16].to_owned()),
            ["49335df2d574a08c", "3b0b8707ef650a88", "02c8a3f91f3c6cb4"]
        );
    }

    #[test]
    fn password_opens_its_login_only() {
        let line = htpasswd("toots", "drawn").unwrap();
        let hash = line.strip_prefix("toots:").unwrap();
        assert!(hash.starts_with("$2y$05$"), "{hash}");
        assert!(bcrypt::verify("drawn", hash).unwrap());
        assert!(!bcrypt::verify("other", hash).unwrap());
        assert_eq!(basic_login("toots", "drawn"), "dG9vdHM6ZHJhd24=");
    }
}
