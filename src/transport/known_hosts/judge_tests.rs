use std::fs;

use russh::keys::PrivateKey;
use russh::keys::ssh_key::certificate::Builder;

use super::*;

fn key(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), algorithm).unwrap()
}

fn ed() -> PublicKey {
    key(Algorithm::Ed25519).public_key().clone()
}

fn ecdsa() -> PublicKey {
    key(Algorithm::Ecdsa {
        curve: russh::keys::EcdsaCurve::NistP256,
    })
    .public_key()
    .clone()
}

struct Case {
    dir: tempfile::TempDir,
    question: Question,
}

impl Case {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kh");
        fs::write(&file, text).unwrap();
        let question = Question {
            revoked_file: None,
            required_rsa_size: 1024,
            authority_algorithms: AlgorithmList::default(),
            label: "m1".to_owned(),
            host: "h1".to_owned(),
            port: 22,
            alias: None,
            user_files: vec![file],
            global_files: Vec::new(),
            accept_new: false,
            hash_names: false,
        };
        Self { dir, question }
    }

    fn on(mut self, change: impl FnOnce(&mut Question)) -> Self {
        change(&mut self.question);
        self
    }

    fn judge(&self, key: &PublicKey) -> Result<(), TransportError> {
        HostTrust::load(self.question.clone())?.judge(&key.clone().into())
    }

    fn file(&self) -> Vec<u8> {
        fs::read(self.dir.path().join("kh")).unwrap()
    }
}

fn line(names: &str, key: &PublicKey) -> String {
    format!("{names} {}\n", key.to_openssh().unwrap())
}

#[test]
fn a_recorded_key_is_trusted_in_every_spelling() {
    let key = ed();
    for names in ["h1", "H1", "h?", "*", "other,h1", "*,!h2"] {
        Case::new(&line(names, &key)).judge(&key).unwrap();
    }
    let two = line("h1", &ed()) + &line("h1", &key);
    Case::new(&two).judge(&key).unwrap();
}

#[test]
fn a_changed_key_names_place_and_both_fingerprints_even_for_another_type_and_with_accept_new() {
    let recorded = ed();
    for shown in [ed(), ecdsa()] {
        for accept in [false, true] {
            let case = Case::new(&format!("# one\n{}", line("h1", &recorded)))
                .on(|q| q.accept_new = accept);
            let before = case.file();
            let error = case.judge(&shown).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("kh:2"), "{text}");
            assert!(
                text.contains(&fingerprint(&recorded)) && text.contains(&fingerprint(&shown)),
                "{text}"
            );
            assert!(
                error
                    .hints()
                    .iter()
                    .any(|h| h.to_string().contains("ssh-keygen -R h1 -f"))
            );
            assert_eq!(case.file(), before);
        }
    }
}

#[test]
fn unknown_hosts_are_refused_or_recorded() {
    let key = ed();
    let old = line("h2", &ed());
    let strict = Case::new(&old);
    assert!(
        strict
            .judge(&key)
            .unwrap_err()
            .to_string()
            .contains("no key for h1 in ")
    );
    assert_eq!(strict.file(), old.as_bytes());
    let lenient = Case::new(&old).on(|q| q.accept_new = true);
    lenient.judge(&key).unwrap();
    assert_eq!(lenient.file(), (old.clone() + &line("h1", &key)).as_bytes());
    lenient.judge(&ed()).unwrap_err();
}

#[test]
fn a_revoked_key_is_refused_whatever_else_is_recorded() {
    let key = ed();
    let case =
        Case::new(&(line("h1", &key) + "@revoked " + &line("*", &key))).on(|q| q.accept_new = true);
    assert!(
        case.judge(&key)
            .unwrap_err()
            .to_string()
            .contains("kh:2 revokes")
    );
}

#[test]
fn a_host_whose_record_cannot_be_read_is_not_new() {
    let case = Case::new("h1 ssh-unknown AAAA\n").on(|q| q.accept_new = true);
    assert!(
        case.judge(&ed())
            .unwrap_err()
            .to_string()
            .contains("unreadable key")
    );
}

#[test]
fn ports_and_aliases_belong_to_the_name() {
    let key = ed();
    Case::new(&line("[h1]:2222", &key))
        .on(|q| q.port = 2222)
        .judge(&key)
        .unwrap();
    // Without its port the name can confirm a key, as in OpenSSH; another key there is no change.
    Case::new(&line("h1", &key))
        .on(|q| q.port = 2222)
        .judge(&key)
        .unwrap();
    assert!(
        Case::new(&line("h1", &ed()))
            .on(|q| q.port = 2222)
            .judge(&key)
            .unwrap_err()
            .to_string()
            .contains("no key for [h1]:2222")
    );
    Case::new(&line("[h1]:2222", &key)).judge(&key).unwrap_err();
    Case::new(&line("alias", &key))
        .on(|q| (q.port, q.alias) = (2222, Some("Alias".to_owned())))
        .judge(&key)
        .unwrap();
    Case::new(&line("h1", &key))
        .on(|q| q.alias = Some("alias".to_owned()))
        .judge(&key)
        .unwrap_err();
}

#[test]
fn files_count_together_and_unreadable_files_are_errors() {
    let key = ed();
    let global = Case::new(&line("h1", &key));
    let case = Case::new("").on(|q| q.global_files = global.question.user_files.clone());
    case.judge(&key).unwrap();
    let broken = Case::new(&line("h1", &key)).on(|q| q.global_files = vec![std::env::temp_dir()]);
    assert!(
        broken
            .judge(&key)
            .unwrap_err()
            .to_string()
            .contains("read known host keys")
    );
}

#[test]
fn recorded_algorithms_are_offered_first() {
    let algorithms = [
        Algorithm::Ed25519,
        Algorithm::Ecdsa {
            curve: russh::keys::EcdsaCurve::NistP256,
        },
    ];
    let case = Case::new(&line("h1", &ecdsa()));
    assert_eq!(
        HostTrust::load(case.question.clone())
            .unwrap()
            .order(&algorithms),
        [algorithms[1].clone(), algorithms[0].clone()]
    );
}

fn certificate(
    authority: &PrivateKey,
    host: &PrivateKey,
    change: impl FnOnce(&mut Builder),
) -> PublicKeyOrCertificate {
    typed(CertType::Host, authority, host, change)
}

fn typed(
    kind: CertType,
    authority: &PrivateKey,
    host: &PrivateKey,
    change: impl FnOnce(&mut Builder),
) -> PublicKeyOrCertificate {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut builder = Builder::new_with_random_nonce(
        &mut russh::keys::key::safe_rng(),
        host.public_key(),
        now - 60,
        now + 600,
    )
    .unwrap();
    builder.cert_type(kind).unwrap();
    change(&mut builder);
    PublicKeyOrCertificate::Certificate(builder.sign(authority).unwrap())
}

#[test]
fn certificates_are_checked_in_every_respect() {
    let (authority, host) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let case = Case::new(&("@cert-authority ".to_owned() + &line("h*", authority.public_key())));
    let judge = |shown: &PublicKeyOrCertificate| {
        HostTrust::load(case.question.clone()).unwrap().judge(shown)
    };
    let named = |name: &'static str| {
        certificate(&authority, &host, move |b| {
            _ = b.valid_principal(name).unwrap()
        })
    };
    assert!(
        HostTrust::load(case.question.clone())
            .unwrap()
            .wants_certificate()
    );
    judge(&named("h1")).unwrap();
    judge(&named("h*")).unwrap_err();
    assert!(
        judge(&named("h2"))
            .unwrap_err()
            .to_string()
            .contains("is for h2, not for h1")
    );
    let user = typed(CertType::User, &authority, &host, |b| {
        _ = b.valid_principal("h1").unwrap()
    });
    assert!(
        judge(&user)
            .unwrap_err()
            .to_string()
            .contains("not a host certificate")
    );
    let option = certificate(&authority, &host, |b| {
        _ = b
            .valid_principal("h1")
            .unwrap()
            .critical_option("x", "y")
            .unwrap()
    });
    assert!(
        judge(&option)
            .unwrap_err()
            .to_string()
            .contains("critical options")
    );
    let other = certificate(&key(Algorithm::Ed25519), &host, |b| {
        _ = b.valid_principal("h1").unwrap()
    });
    assert!(
        judge(&other)
            .unwrap_err()
            .to_string()
            .contains("no @cert-authority line")
    );
    let shown = named("h1");
    let valid = shown.certificate().unwrap();
    assert_eq!(
        check(valid, "h1", valid.valid_before()),
        Err(CertificateError::Expired)
    );
    assert_eq!(
        check(valid, "h1", valid.valid_after() - 1),
        Err(CertificateError::NotYet)
    );
}

#[test]
fn a_revoked_authority_or_certified_key_is_refused() {
    let (authority, host) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let shown = certificate(&authority, &host, |b| _ = b.valid_principal("h1").unwrap());
    for revoked in [authority.public_key(), host.public_key()] {
        let text = format!(
            "@cert-authority {}@revoked {}",
            line("h1", authority.public_key()),
            line("h1", revoked)
        );
        let error = HostTrust::load(Case::new(&text).question).err();
        assert!(error.is_none());
        let case = Case::new(&text);
        assert!(
            HostTrust::load(case.question.clone())
                .unwrap()
                .judge(&shown)
                .unwrap_err()
                .to_string()
                .contains("revokes")
        );
    }
}

#[test]
fn a_certificate_that_does_not_help_leaves_the_plain_key() {
    let (authority, host) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let shown = certificate(&authority, &host, |b| _ = b.valid_principal("h1").unwrap());
    let case = Case::new(&line("h1", host.public_key()));
    HostTrust::load(case.question.clone())
        .unwrap()
        .judge(&shown)
        .unwrap();
}

#[test]
fn messages() {
    crate::testing::snapshot_messages!("certificate_error", CertificateError, hints: |_| Vec::new(), {
        CertificateError::ForUsers => CertificateError::ForUsers,
        CertificateError::Sha1 => CertificateError::Sha1,
        CertificateError::Signature => CertificateError::Signature,
        CertificateError::NotYet => CertificateError::NotYet,
        CertificateError::Expired => CertificateError::Expired,
        CertificateError::CriticalOptions => CertificateError::CriticalOptions,
        CertificateError::OtherHost { .. } => CertificateError::OtherHost { names: "m2".into(), principal: "m1".into() },
    });
}
