//! The algorithms offered in the key exchange.

use russh::client::Config;
use russh::keys::{Algorithm, HashAlg};
use russh::{Preferred, cipher, kex, mac};

use super::TransportError;
use super::config::AlgorithmList;
use super::endpoint::Endpoint;
use super::known_hosts::HostTrust;

/// The protocol library's configuration for one hop.
pub(super) fn config(endpoint: &Endpoint, trust: &HostTrust) -> Result<Config, TransportError> {
    let lists = &endpoint.algorithms;
    let defaults = Preferred::DEFAULT;
    let choose_kex = {
        // Names that announce extensions are not key exchanges; they stay, whatever is chosen.
        let real: Vec<_> = defaults
            .kex
            .iter()
            .copied()
            .filter(|k| {
                !k.as_ref().starts_with("ext-info") && !k.as_ref().starts_with("kex-strict")
            })
            .collect();
        let known: Vec<_> = kex::ALL_KEX_ALGORITHMS
            .iter()
            .map(|k| **k)
            .filter(|k| *k != kex::NONE)
            .collect();
        let mut chosen = some(
            "KexAlgorithms",
            lists.kex.choose(&real, &known, |k| k.as_ref().to_owned()),
        )?;
        chosen.extend(defaults.kex.iter().copied().filter(|k| !real.contains(k)));
        chosen
    };
    let ciphers: Vec<_> = CIPHERS
        .iter()
        .chain(defaults.cipher.iter())
        .copied()
        .collect();
    let macs: Vec<_> = mac::ALL_MAC_ALGORITHMS
        .iter()
        .map(|m| **m)
        .filter(|m| *m != mac::NONE)
        .collect();
    let (keys, certificates) = host_keys(&lists.host_key, trust)?;
    Ok(Config {
        keepalive_interval: (!endpoint.keepalive.is_zero()).then_some(endpoint.keepalive),
        keepalive_max: endpoint.keepalive_max,
        nodelay: true,
        preferred: Preferred {
            kex: choose_kex.into(),
            key: keys.into(),
            host_key_certificates: certificates.into(),
            cipher: some(
                "Ciphers",
                lists
                    .ciphers
                    .choose(&defaults.cipher, &ciphers, |c| c.as_ref().to_owned()),
            )?
            .into(),
            mac: some(
                "MACs",
                lists
                    .macs
                    .choose(&defaults.mac, &macs, |m| m.as_ref().to_owned()),
            )?
            .into(),
            // A host that is not trusted yet could send a decompression bomb.
            compression: vec![russh::compression::NONE].into(),
        },
        ..Config::default()
    })
}

const CIPHERS: [cipher::Name; 1] = [cipher::AES_128_GCM];

/// Plain keys, recorded ones first unless the operator chose the order, and certificates where an
/// authority is recorded.
fn host_keys(
    list: &AlgorithmList,
    trust: &HostTrust,
) -> Result<(Vec<Algorithm>, Vec<Algorithm>), TransportError> {
    // RSA keys are accepted with SHA-2 signatures only.
    let keys: Vec<_> = Preferred::DEFAULT
        .key
        .iter()
        .filter(|a| !matches!(a, Algorithm::Rsa { hash: None }))
        .cloned()
        .collect();
    let name = |a: &Algorithm| match a {
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha256),
        } => "rsa-sha2-256".to_owned(),
        Algorithm::Rsa { .. } => "rsa-sha2-512".to_owned(),
        other => other.as_str().to_owned(),
    };
    let plain = list.choose(&keys, &keys, name);
    let certified = if trust.wants_certificate() {
        list.choose(&keys, &keys, Algorithm::to_certificate_type)
    } else {
        Vec::new()
    };
    if plain.is_empty() && certified.is_empty() {
        return some("HostKeyAlgorithms", plain).map(|p| (p, certified));
    }
    let plain = if list.ordered() {
        plain
    } else {
        trust.order(&plain)
    };
    Ok((plain, certified))
}

fn some<T>(keyword: &str, list: Vec<T>) -> Result<Vec<T>, TransportError> {
    if list.is_empty() {
        Err(TransportError::Settings(format!(
            "{keyword} leaves no supported algorithm"
        )))
    } else {
        Ok(list)
    }
}
