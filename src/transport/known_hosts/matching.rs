//! Decides whether a known_hosts line matches a host.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// Matches `*` and `?` as OpenSSH does; no other character is special. Linear in both lengths for
/// each star.
pub(in crate::transport) fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to resume after the last star, and how much of the text it has consumed.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    p = after;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|c| *c == b'*')
}

/// Matches a comma-separated list of host names, case-insensitive. A match of a name with `!`
/// rejects the whole list.
pub(in crate::transport) fn list(patterns: &str, name: &str) -> bool {
    list_cased(&patterns.to_ascii_lowercase(), &name.to_ascii_lowercase())
}

/// The same, case-sensitive, for names that are not host names.
pub(in crate::transport) fn list_cased(patterns: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split(',') {
        let (negated, pattern) = pattern
            .strip_prefix('!')
            .map_or((false, pattern), |rest| (true, rest));
        if wildcard(pattern.as_bytes(), name.as_bytes()) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

/// `|1|salt|hash`: HMAC-SHA1 of the name.
pub(super) fn hashed(salt: &[u8], hash: &[u8], name: &str) -> bool {
    digest(salt, name).is_some_and(|d| d.as_slice() == hash)
}

fn digest(salt: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).ok()?;
    mac.update(name.to_ascii_lowercase().as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

/// A name as `HashKnownHosts yes` writes it.
pub(super) fn hash_name(salt: &[u8; 20], name: &str) -> Option<String> {
    Some(format!(
        "|1|{}|{}",
        STANDARD.encode(salt),
        STANDARD.encode(digest(salt, name)?)
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_match_as_in_openssh() {
        for (patterns, name, want) in [
            ("a.example.com", "A.Example.COM", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com,!bad.example.com", "bad.example.com", false),
            ("!bad.example.com,*.example.com", "good.example.com", true),
            ("!bad", "good", false),
            ("h?", "h1", true),
            ("h?", "h12", false),
            ("[h]:22??", "[h]:2222", true),
            ("[h]", "h", false),
            ("*", "[h]:2222", true),
            ("", "", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
        ] {
            assert_eq!(list(patterns, name), want, "{patterns} {name}");
        }
    }

    #[test]
    fn a_hashed_name_is_found_by_its_name_only() {
        let line = hash_name(&[7; 20], "Host.example").unwrap();
        let mut parts = line.split('|').skip(2).map(|p| STANDARD.decode(p).unwrap());
        let (salt, hash) = (parts.next().unwrap(), parts.next().unwrap());
        assert!(hashed(&salt, &hash, "host.EXAMPLE"));
        assert!(!hashed(&salt, &hash, "host.example2"));
    }

    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                slow(rest, text) || text.split_first().is_some_and(|(_, t)| slow(pattern, t))
            }
            (Some((p, rest)), Some((t, more))) if *p == b'?' || p == t => slow(rest, more),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn wildcards_agree_with_their_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(wildcard(pattern.as_bytes(), text.as_bytes()), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
