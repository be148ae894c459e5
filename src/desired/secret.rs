//! Derives one secret for each name from one random draw.

use base64::Engine as _;
use sha2::{Digest, Sha256};

use crate::playbook::SecretKind;
use crate::spec::Secret;

/// A secret that depends on the drawn one and on its name, in the format of its kind.
pub(super) fn derived(root: &Secret, name: &str, kind: SecretKind) -> Secret {
    let bytes = Sha256::new()
        .chain_update(root.expose())
        .chain_update([0])
        .chain_update(name)
        .finalize();
    match kind {
        SecretKind::Base64 => Secret::new(base64::engine::general_purpose::STANDARD.encode(bytes)),
        SecretKind::Password => {
            // 32 letters and digits without look-alikes; 24 of them hold 120 bits.
            const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
            let letter = |byte: &u8| char::from(LETTERS[usize::from(byte % 32)]);
            Secret::new(bytes.iter().take(24).map(letter).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_own() {
        let root = Secret::new("drawn");
        let derived_once = derived(&root, "vrrp", SecretKind::Password);
        assert_ne!(derived_once, derived(&root, "stats", SecretKind::Password));
        assert_eq!(derived_once, derived(&root, "vrrp", SecretKind::Password));
        assert!(
            derived_once.expose().len() == 24
                && derived_once
                    .expose()
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric())
        );
        let key = derived(&root, "consul_gossip", SecretKind::Base64);
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(key.expose())
            .unwrap();
        assert_eq!(bytes.len(), 32, "Consul takes 16, 24 or 32 bytes");
    }
}
