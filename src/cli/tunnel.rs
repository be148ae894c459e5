//! `toots tunnel` and `toots open`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;

use super::args::{OpenArgs, TunnelArgs};
use super::console::Console;
use super::context::{self, Dialer};
use super::error::CliError;
use super::reach::order;
use super::{cluster, log};
use crate::inventory::Inventory;
use crate::spec::{ExitCode, Role};
use crate::tunnel::{Gateway, Names, forward, socks};

fn names(inventory: &Inventory) -> Names {
    let addresses = |role| inventory.with_role(role).map(|host| host.address).collect();
    Names {
        domain: inventory.network.in_domain.clone(),
        ex_domain: inventory.network.ex_domain.clone(),
        hosts: inventory
            .hosts
            .iter()
            .map(|host| (host.name.as_str().to_ascii_lowercase(), host.address))
            .collect(),
        edges: addresses(Role::Edge),
        servers: addresses(Role::Master),
    }
}

/// `toots tunnel`: serves until interrupted.
pub(super) async fn serve_proxy(console: &Console, args: TunnelArgs) -> Result<ExitCode, CliError> {
    let loaded = context::load(console, &args.source)?;
    if !args.listen.ip().is_loopback() {
        return Err(CliError::NotLoopback(args.listen.ip()));
    }
    log::to_terminal(console);
    let way = Arc::new(Gateway::new(
        Arc::new(Dialer::new(
            console,
            &loaded.inventory,
            &args.connection,
            None,
        )),
        order(&loaded.inventory),
    ));
    let through = way
        .session()
        .await
        .map_err(CliError::NoHost)?
        .host()
        .clone();
    let (listener, address) = listen(args.listen).await?;
    console.print(&format!("socks5h://{address}\n"));
    console.message(&format!(
        "through {through}; for example: curl --proxy socks5h://{address} http://{through}:8500/ui/"
    ));
    tokio::select! {
        biased;
        never = socks(listener, way, names(&loaded.inventory)) => match never {},
        () = console.machine().signals.interrupted() => Ok(ExitCode::DONE),
    }
}

/// `toots open`: forwards a port to the current address of the service's web interface, until
/// interrupted.
pub(super) async fn open_service(console: &Console, args: OpenArgs) -> Result<ExitCode, CliError> {
    let loaded = context::load(console, &args.source)?;
    log::to_terminal(console);
    let order = order(&loaded.inventory);
    let dial = Arc::new(Dialer::new(
        console,
        &loaded.inventory,
        &args.connection,
        None,
    ));
    let web = cluster::read_status(console, loaded, &args.connection)
        .await?
        .web;
    let Some(address) = web.iter().find(|address| address.service == args.service) else {
        return Err(CliError::NoWebInterface {
            service: args.service,
            known: web.into_iter().map(|address| address.service).collect(),
        });
    };
    let uri: hyper::Uri = address
        .url
        .parse()
        .map_err(|error: hyper::http::uri::InvalidUri| CliError::WebAddress {
            service: address.service.clone(),
            url: address.url.clone(),
            why: error.to_string(),
        })?;
    let (host, port) = (
        uri.host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned(),
        uri.port_u16().unwrap_or(80),
    );
    let way = Arc::new(Gateway::new(dial, order));
    // The service's own port number when it is free here, because people know it.
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = match args.port {
        Some(port) => listen(at(port)).await,
        None => match bind(at(port)).await {
            Ok(bound) => Ok(bound),
            Err(_) => listen(at(0)).await,
        },
    };
    let (listener, local) = bound?;
    let url = format!("http://{local}{}", uri.path());
    console.print(&format!("{url}\n"));
    console.message(&format!(
        "{} at {}; press Ctrl-C to stop",
        address.service, address.url
    ));
    if !args.no_browser
        && let Err(error) = ::open::that_detached(&url)
    {
        console.message(&format!(
            "warning: cannot open a browser ({error}): open the address above"
        ));
    }
    tokio::select! {
        biased;
        never = forward(listener, way, host, port) => match never {},
        () = console.machine().signals.interrupted() => Ok(ExitCode::DONE),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "other programs of this machine connect to it"
)]
async fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), CliError> {
    bind(address)
        .await
        .map_err(|source| CliError::Listen { address, source })
}
