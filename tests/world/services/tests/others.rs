//! The programs of which little is asked.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::sleep;

use super::rendered::Hosts;
use super::rig::{M1, Rig, S1};
use crate::services::web::Request;

pub const ALL: &str = "cluster = \"dc1\"\nmasters = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]\n\
    slaves = [\"10.0.0.21\"]\nedges = [\"10.0.0.31\"]\n[network]\nnic = \"eth0\"\n\
    [openvpn]\nca = \"ca.crt\"\ncertificate = \"vpn.crt\"\nkey = \"vpn.key\"\n\
    [components]\ndnsmasq = true\nregistry = true\nsupervisord = true\n";

/// A certificate with its key, and a login, in the place of those that the first run draws.
fn with_secrets(mut hosts: Hosts) -> Hosts {
    let key = rcgen::KeyPair::generate().expect("a key");
    let parameters = rcgen::CertificateParams::new(vec![M1.to_string()]).expect("names");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let pem = certificate.pem() + &key.serialize_pem();
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    let host = hosts.get_mut(&M1).expect("a master");
    host.files
        .insert("/etc/toots/registry/server.pem".to_owned(), pem);
    host.files.insert(
        "/etc/toots/registry/htpasswd".to_owned(),
        format!("toots:{hash}\n"),
    );
    hosts
}

/// Whoever asks by TLS and believes this certificate.
async fn ask_by_tls(rig: &Rig, login: &str) -> u16 {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName};
    let pem = rig
        .files(M1)
        .text("/etc/toots/registry/server.pem")
        .expect("a certificate");
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM"))
        .expect("a root");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = rig
        .network
        .connect(M1, M1, 5000)
        .await
        .expect("a connection");
    let name = ServerName::try_from(M1.to_string()).expect("a name");
    let stream = tls.connect(name, stream).await.expect("TLS");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .expect("HTTP");
    tokio::spawn(connection);
    let request = hyper::Request::builder()
        .uri("/v2/")
        .header("host", "10.0.0.11:5000")
        .header("authorization", login)
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .expect("a request");
    sender
        .send_request(request)
        .await
        .expect("an answer")
        .status()
        .as_u16()
}

#[tokio::test(start_paused = true)]
pub async fn they_start_from_what_toots_renders_and_answer() {
    let rig = Rig::from_hosts(with_secrets(super::rendered::rendered(ALL)));
    let edge = Ipv4Addr::new(10, 0, 0, 31);
    rig.bring_up(&["dnsmasq", "registry", "supervisord", "openvpn"])
        .await;
    let ends: Vec<_> = rig
        .record
        .entries()
        .into_iter()
        .filter(|e| e.what.starts_with("exit"))
        .collect();
    assert!(ends.is_empty(), "{ends:?}");
    assert!(rig.network.connect(S1, S1, 53).await.is_ok());
    for machine in [M1, S1, edge] {
        assert_eq!(
            rig.get(machine, 9000, "/").await.expect("an answer").status,
            401
        );
    }
    let with_login = Request {
        headers: [("authorization".to_owned(), "Basic YWRtaW46Kioq".to_owned())].into(),
        ..Request::new("GET", "/")
    };
    assert_eq!(
        rig.ask(M1, 9000, with_login)
            .await
            .expect("an answer")
            .status,
        200
    );
    // toots:secret
    assert_eq!(ask_by_tls(&rig, "Basic dG9vdHM6c2VjcmV0").await, 200);
    assert_eq!(ask_by_tls(&rig, "Basic dG9vdHM6d3Jvbmc=").await, 401);
    for (machine, component, code) in [
        (S1, "dnsmasq", 0),
        (M1, "registry", 0),
        (edge, "openvpn", 0),
    ] {
        rig.term(machine, component);
        sleep(Duration::from_millis(100)).await;
        assert_eq!(rig.exits(machine, component), [code], "{component}");
    }
}

#[tokio::test(start_paused = true)]
pub async fn they_do_not_start_from_a_broken_configuration() {
    let rig = Rig::from_hosts(with_secrets(super::rendered::rendered(ALL)));
    let edge = Ipv4Addr::new(10, 0, 0, 31);
    let conf = "/etc/toots/dnsmasq/dnsmasq.conf";
    let text = rig.files(S1).text(conf).expect("a configuration");
    rig.files(S1).write(conf, text + "nonsense=1\n", 0o644);
    rig.files(M1)
        .write("/etc/toots/registry/server.pem", "***", 0o600);
    rig.files(edge).remove("/etc/toots/openvpn/server.key");
    for (machine, component, code) in [
        (S1, "dnsmasq", 1),
        (M1, "registry", 1),
        (edge, "openvpn", 1),
    ] {
        let mut container = rig.container(machine, component);
        container.restarts = false;
        rig.run(machine, container).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.exits(machine, component), [code], "{component}");
    }
}
