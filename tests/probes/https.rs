//! A probe over TLS: it passes with the certificate, the authority and the login that a playbook
//! derives from the cluster's secrets, and names what is wrong otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use toots::host::{
    BoxStream, Cost, HoldLock, HostAnswer, HostSession, LockAnswer, Operation, OperationError,
    StreamTarget, TransportError,
};
use toots::playbook::{Playbook, Renderer, TemplateValues};
use toots::probe::{Member, ask_ordinary};
use toots::spec::{HostName, ProbeLogin, ProbeSpec, Secret};

/// A host whose server speaks TLS and wants the login toots:drawn-password.
struct TlsHost {
    name: HostName,
    acceptor: TlsAcceptor,
}

#[async_trait]
impl HostSession for TlsHost {
    fn host(&self) -> &HostName {
        &self.name
    }

    async fn run(&self, operation: Operation) -> Result<HostAnswer, OperationError> {
        panic!("no operation is expected, got {operation:?}")
    }

    async fn hold_lock(&self, _: HoldLock) -> Result<LockAnswer, TransportError> {
        panic!("no lock is expected")
    }

    async fn open(&self, _: StreamTarget) -> Result<BoxStream, TransportError> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let acceptor = self.acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(far).await else {
                return;
            };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            let login = text("{{ 'drawn-password' | basic_login('toots') }}");
            let known = request.contains(&format!("authorization: Basic {login}\r\n"));
            let status = if known { "200 OK" } else { "401 Unauthorized" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        });
        Ok(Box::new(near))
    }

    fn cost(&self) -> Cost {
        Cost::default()
    }

    fn closed(&self) -> bool {
        false
    }

    async fn close(&self) {}
}

fn text(template: &str) -> String {
    let renderer = Renderer::new(&Playbook::load(None).unwrap()).unwrap();
    renderer
        .text("a test", template, &TemplateValues::default())
        .unwrap()
}

fn member(served_by: &str) -> Member {
    let pem = text(&format!(
        "{{{{ '{served_by}' | server_pem('10.0.0.11', 'registry.service.consul') }}}}"
    ));
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let name = HostName::new("m1").unwrap();
    let session = TlsHost {
        name: name.clone(),
        acceptor: Arc::new(config).into(),
    };
    Member {
        host: name,
        address: [10, 0, 0, 11].into(),
        member: Some(1),
        session: Some(Arc::new(session)),
    }
}

#[tokio::test]
async fn certificate_and_login_are_proven() {
    let probe = |login: bool| ProbeSpec::Https {
        port: 5000,
        path: "/v2/".into(),
        status: 200,
        ca: text("{{ 'drawn-ca' | ca_certificate }}"),
        login: login.then(|| ProbeLogin {
            user: "toots".into(),
            secret: "registry_password".into(),
        }),
    };
    let secrets =
        |password: &str| BTreeMap::from([("registry_password".to_owned(), Secret::new(password))]);
    let limit = Duration::from_secs(5);
    let check = async |spec: ProbeSpec, member: Member, secrets: BTreeMap<String, Secret>| {
        let state = || async { panic!("no container is expected") };
        let answer = ask_ordinary(&spec, &member, limit, &secrets, state).await;
        answer.map_err(|error| error.to_string())
    };
    let own = secrets("drawn-password");
    assert_eq!(
        check(probe(true), member("drawn-ca"), own.clone()).await,
        Ok(())
    );
    for (login, secrets) in [(false, own.clone()), (true, secrets("other"))] {
        let refused = check(probe(login), member("drawn-ca"), secrets).await;
        assert_eq!(refused, Err("GET https :5000/v2/: 401 {}".to_owned()));
    }
    let foreign = check(probe(true), member("other-ca"), own).await;
    let why = foreign.unwrap_err();
    assert!(
        why.starts_with("GET /v2/: invalid peer certificate"),
        "{why}"
    );
}
