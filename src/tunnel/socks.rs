//! A SOCKS5 proxy (RFC 1928) into the cluster.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fast_socks5::server::{Socks5ServerProtocol, SocksServerError};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{ReplyError, Socks5Command};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::gateway::{Gateway, client};
use super::names::{Destination, Names};
use crate::env;
use crate::host::{BoxStream, TransportError};
use crate::probe::passing_instances;
use crate::spec::shown;

/// Limit of the SOCKS handshake with a client.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// Serves until it is dropped. Supports CONNECT only (no BIND, no UDP), without authentication: it
/// is for loopback.
pub async fn socks(listener: TcpListener, gateway: Arc<Gateway>, names: Names) -> Infallible {
    let names = Arc::new(names);
    loop {
        let client = client(&listener).await;
        let (gateway, names) = (Arc::clone(&gateway), Arc::clone(&names));
        env::spawn(async move {
            if let Err(error) = serve(client, &gateway, &names).await {
                tracing::debug!(%error, "client disconnected");
            }
        });
    }
}

async fn serve(
    client: TcpStream,
    gateway: &Gateway,
    names: &Names,
) -> Result<(), SocksServerError> {
    let asked = async {
        Socks5ServerProtocol::accept_no_auth(client)
            .await?
            .read_command()
            .await
    };
    let Ok(asked) = tokio::time::timeout(HANDSHAKE_LIMIT, asked).await else {
        return Ok(());
    };
    let (protocol, command, target) = asked?;
    if !matches!(command, Socks5Command::TCPConnect) {
        return protocol.reply_error(&ReplyError::CommandNotSupported).await;
    }
    let (name, port) = match target {
        TargetAddr::Ip(address) => (address.ip().to_string(), address.port()),
        TargetAddr::Domain(name, port) => (name, port),
    };
    match open(gateway, names, &name, port).await {
        Ok(mut far) => {
            let mut near = protocol
                .reply_success(SocketAddr::from(([0, 0, 0, 0], 0)))
                .await?;
            // Either side may close it at any time.
            drop(copy_bidirectional(&mut near, &mut far).await);
            Ok(())
        }
        Err(error) => {
            tracing::warn!(name = shown(&name), port, %error, "connection failed");
            let reply = match error {
                TransportError::Refused { .. } => ReplyError::ConnectionRefused,
                TransportError::Deadline { .. } => ReplyError::ConnectionTimeout,
                _ => ReplyError::HostUnreachable,
            };
            protocol.reply_error(&reply).await
        }
    }
}

/// Connects to the first address of a name that answers.
async fn open(
    gateway: &Gateway,
    names: &Names,
    name: &str,
    port: u16,
) -> Result<BoxStream, TransportError> {
    let addresses: Vec<String> = match names.place(name, port) {
        Destination::Address(address) => vec![address],
        Destination::Edge => names.edges.iter().map(ToString::to_string).collect(),
        Destination::Service {
            name,
            tag,
            datacenter,
        } => {
            let session = gateway.session().await?;
            let mut found = Vec::new();
            for server in &names.servers {
                if let Ok(list) = passing_instances(
                    &session,
                    &server.to_string(),
                    &name,
                    tag.as_deref(),
                    datacenter.as_deref(),
                )
                .await
                {
                    found = list;
                    break;
                }
            }
            found
        }
    };
    let why = "Consul has no healthy instance of the service".to_owned();
    let mut last = TransportError::Refused {
        what: format!("{name}:{port}"),
        why,
    };
    for address in addresses {
        match gateway.open(&address, port).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
