//! Creations that must log in, trust a certificate, or wait: what is sent where, and what is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use toots::bundle::{CreateError, RegistryError, create_bundle};
use toots::event::EventSink;

use super::registry::{Login, TestRegistry};
use super::trouble::{break_at, large_image};
use super::{Recorder, create, file_in, names, open, own, reason, request, two_images};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_fetched_with_the_login_and_stay_at_the_registry() {
    let (registry, images) = two_images().await;
    let elsewhere = TestRegistry::start().await;
    {
        let mut content = registry.content();
        content.login = Login::Token(String::new());
        content.password = Some(("me".into(), "secret".into()));
        content.blobs_at = Some(elsewhere.url());
        elsewhere.content().blobs = content.blobs.clone();
    }
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(&file_in(&dir), &images);
    request.registries.own = own(&registry, Some(("me", "secret")));
    create_bundle(request.clone()).await.unwrap();
    {
        let content = registry.content();
        let tokens = content
            .seen
            .iter()
            .filter(|seen| seen.path.starts_with("/token"));
        for token in tokens.clone() {
            assert_eq!(token.authorization.as_deref(), Some("Basic bWU6c2VjcmV0"));
            assert!(
                token.path.contains("service=registry%2C+main"),
                "{}",
                token.path
            );
            assert!(token.path.contains("scope=repository%3A"), "{}", token.path);
        }
        // One per repository.
        assert_eq!(tokens.count(), 2, "{:?}", content.seen);
        let moved = elsewhere.content();
        assert!(moved.seen.len() >= 5);
        assert!(
            moved.seen.iter().all(|seen| seen.authorization.is_none()),
            "{:?}",
            moved.seen
        );
    }

    request.registries.own = own(&registry, Some(("me", "wrong")));
    let error = reason(create_bundle(request.clone()).await.map_err(first));
    assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
    // The login is that of its registry only.
    request.registries.own = own(&elsewhere, Some(("me", "secret")));
    let error = reason(create_bundle(request).await.map_err(first));
    assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
}

/// The first of several reasons.
fn first(error: CreateError) -> CreateError {
    match error {
        CreateError::Registry(mut errors) => {
            errors.truncate(1);
            CreateError::Registry(errors)
        }
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_token_is_renewed_within_a_blob() {
    let (registry, image, digest) = large_image().await;
    registry.content().login = Login::Token(String::new());
    break_at(&registry, &digest, [500_000]);
    let expiry = registry.clone();
    let moment = tokio::spawn(async move {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            if expiry.blob_requests().len() > 1 {
                expiry.content().token = 2;
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let dir = tempfile::tempdir().unwrap();
    create(&file_in(&dir), &[image]).await.unwrap();
    moment.await.unwrap();
    open(&file_in(&dir)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_sent_when_they_are_demanded() {
    let (registry, images) = two_images().await;
    registry.content().login = Login::Basic;
    registry.content().password = Some(("me".into(), "secret".into()));
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(&file_in(&dir), &images[..1]);
    for (login, attempts) in [(None, 1), (Some(("me", "wrong")), 2)] {
        registry.content().seen.clear();
        request.registries.own = own(&registry, login);
        let error = reason(create_bundle(request.clone()).await);
        assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
        // A wrong password is sent once: an account may be locked by more.
        assert_eq!(registry.content().seen.len(), attempts);
    }
    request.registries.own = own(&registry, Some(("me", "secret")));
    create_bundle(request).await.unwrap();
}

fn refuse(registry: &TestRegistry, part: &str, times: u32, status: u16, after: Option<&str>) {
    let refusal = (times, status, after.map(str::to_owned));
    registry.content().refusals.insert(part.to_owned(), refusal);
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limits_are_waited_for() {
    let (registry, images) = two_images().await;
    let dir = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let mut request = request(&file_in(&dir), &images[1..]);
    request.events = Arc::clone(&recorder) as Arc<dyn EventSink>;
    refuse(&registry, "/manifests/", 1, 429, Some("1"));
    refuse(&registry, "/blobs/", 1, 503, None);
    let started = Instant::now();
    create_bundle(request.clone()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    let warnings: Vec<String> = names(&recorder.events());
    let warning = warnings
        .iter()
        .find(|text| text.starts_with("warning: "))
        .unwrap();
    assert!(
        warning.ends_with("limits the rate: not now; next attempt in 1 s"),
        "{warning}"
    );

    // Nobody waits for an hour without a word.
    for part in ["/manifests/", "/blobs/"] {
        registry.content().refusals.clear();
        refuse(&registry, part, 99, 429, Some("3600"));
        std::fs::remove_file(file_in(&dir)).ok();
        let started = Instant::now();
        let error = reason(create_bundle(request.clone()).await);
        assert!(
            matches!(error, RegistryError::RateLimited { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("3600 s"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    registry.content().refusals.clear();
    refuse(&registry, "/manifests/", 99, 500, None);
    let error = reason(create_bundle(request).await);
    assert!(
        matches!(error, RegistryError::Status { status: 500, .. }),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_that_is_down_is_asked_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dir = tempfile::tempdir().unwrap();
    let images: Vec<String> = (0..30).map(|n| format!("{address}/image{n}:1")).collect();
    let mut request = request(&file_in(&dir), &images);
    request.registries.retry_delay = Duration::from_millis(100);
    let started = Instant::now();
    let error = reason(create_bundle(request).await);
    let is_unreachable = matches!(&error, RegistryError::Unreachable { registry, why }
        if *registry == address.to_string() && why.contains("refused"));
    assert!(is_unreachable, "{error:?}");
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

/// A certificate authority, and a server's part of TLS for 127.0.0.1.
fn authority() -> (Vec<u8>, tokio_rustls::TlsAcceptor) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap().pem().into_bytes();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "registry.invalid".to_owned()];
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (ca, Arc::new(config).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn inventory_names_the_certificate_authority() {
    let (ca, acceptor) = authority();
    let (other_ca, _) = authority();
    let registry = TestRegistry::start_tls(acceptor).await;
    registry.add_image("a", Some("1"), "amd64", &[b"layer"]);
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(&file_in(&dir), &[registry.image("a:1")]);
    let with_ca = |ca: &[u8]| {
        let mut own = own(&registry, None).unwrap();
        own.ca = Some(ca.to_vec());
        Some(own)
    };
    request.registries.own = with_ca(&ca);
    create_bundle(request.clone()).await.unwrap();

    request.registries.own = with_ca(&other_ca);
    let error = reason(create_bundle(request.clone()).await);
    assert!(
        matches!(error, RegistryError::Untrusted { .. }),
        "{error:?}"
    );
    request.registries.own = with_ca(b"no certificate");
    let error = reason(create_bundle(request.clone()).await).to_string();
    assert!(error.contains("is not a PEM file"), "{error}");

    // A name that DNS does not know, at the address of the inventory.
    let port = registry.address.port();
    let mut own = with_ca(&ca).unwrap();
    own.server = format!("registry.invalid:{port}");
    own.address = Some(registry.address.ip());
    request.registries.own = Some(own);
    let image = format!("registry.invalid:{port}/a:1");
    request.images = [toots::spec::ImageRef(image)].into();
    create_bundle(request.clone()).await.unwrap();

    // It never goes on in clear.
    let clear = TestRegistry::start().await;
    registry.content().blobs_at = Some(clear.url());
    std::fs::remove_file(file_in(&dir)).unwrap();
    let error = reason(create_bundle(request.clone()).await);
    let RegistryError::Insecure { why, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(
        why.contains(&clear.url()) && !why.contains("signature"),
        "{why}"
    );
    registry.content().login = Login::Token(format!("{}/token", clear.url()));
    let error = reason(create_bundle(request.clone()).await);
    assert!(matches!(error, RegistryError::Insecure { .. }), "{error:?}");
    assert!(clear.content().seen.is_empty());

    let mut own = with_ca(&ca).unwrap();
    own.server = clear.address.to_string();
    request.registries.own = Some(own);
    request.images = [toots::spec::ImageRef(clear.image("a:1"))].into();
    let error = reason(create_bundle(request).await).to_string();
    assert!(error.contains("it does not speak TLS"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_registry_times_out() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("{}/a:1", listener.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(&file_in(&dir), &[image]);
    request.registries.answer_timeout = Duration::from_millis(100);
    let error = reason(create_bundle(request).await).to_string();
    assert!(error.contains("timed out"), "{error}");

    // Data that stop are a broken connection.
    let registry = TestRegistry::start().await;
    registry.add_image("a", Some("1"), "amd64", &[&[3; 40_000]]);
    registry.content().pause = Duration::from_secs(60);
    let mut request = super::request(&file_in(&dir), &[registry.image("a:1")]);
    request.registries.idle_timeout = Duration::from_millis(300);
    create_bundle(request).await.unwrap();
    assert_eq!(registry.blob_requests().len(), 4);
}
