//! `toots tunnel` and `toots open`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;

use super::args::{Open, Tunnel};
use super::context::{self, Dialer};
use super::exit::Exit;
use super::reach::order;
use super::{cluster, log, output};
use crate::inventory::Inventory;
use crate::spec::{Role, shown};
use crate::tunnel::{Names, Way, forward, socks};

fn fail(what: &str, error: &dyn std::fmt::Display) {
    eprintln!("toots: failed to {what}: {}", shown(&error.to_string()));
}

fn names(inventory: &Inventory) -> Names {
    let of = |role| inventory.with_role(role).map(|host| host.address).collect();
    Names {
        domain: inventory.network.in_domain.clone(),
        ex_domain: inventory.network.ex_domain.clone(),
        hosts: inventory
            .hosts
            .iter()
            .map(|host| (host.name.as_str().to_ascii_lowercase(), host.address))
            .collect(),
        edges: of(Role::Edge),
        servers: of(Role::Master),
    }
}

/// `toots tunnel`: serves until it is interrupted.
pub(super) async fn tunnel(args: Tunnel) -> Exit {
    let loaded = match context::load(&args.source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    if !args.listen.ip().is_loopback() {
        eprintln!(
            "toots: {} is no address of loopback: anyone who reaches it would be in the cluster",
            args.listen.ip()
        );
        return Exit::USAGE;
    }
    log::to_terminal();
    let way = Arc::new(Way::new(
        Arc::new(Dialer::new(&loaded.inventory, &args.connection)),
        order(&loaded.inventory),
    ));
    let through = match way.session().await {
        Ok(session) => session.host().clone(),
        Err(error) => {
            fail("come in through any host", &error);
            return Exit::UNREACHED;
        }
    };
    let (listener, address) = match listen(args.listen).await {
        Ok(bound) => bound,
        Err(exit) => return exit,
    };
    output::print(&format!("socks5h://{address}\n"));
    eprintln!(
        "through {through}; for instance: curl --proxy socks5h://{address} http://{through}:8500/ui/"
    );
    tokio::select! {
        never = socks(listener, way, names(&loaded.inventory)) => match never {},
        _ = tokio::signal::ctrl_c() => Exit::DONE,
    }
}

/// `toots open`: forwards a port to where the service's web interface is now, until it is interrupted.
pub(super) async fn open(args: Open) -> Exit {
    let loaded = match context::load(&args.source) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    log::to_terminal();
    let order = order(&loaded.inventory);
    let dial = Arc::new(Dialer::new(&loaded.inventory, &args.connection));
    let web = match cluster::look(loaded, &args.connection).await {
        Ok((_, view)) => view.web,
        Err(exit) => return exit,
    };
    let Some(address) = web.iter().find(|address| address.service == args.service) else {
        let known: Vec<&str> = web.iter().map(|address| address.service.as_str()).collect();
        eprintln!(
            "toots: no web interface of {:?}\n  hint: there are {}",
            args.service,
            known.join(", ")
        );
        return Exit::USAGE;
    };
    let uri: hyper::Uri = match address.url.parse() {
        Ok(uri) => uri,
        Err(error) => {
            fail("read its address", &error);
            return Exit::INTERNAL;
        }
    };
    let (host, port) = (
        uri.host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned(),
        uri.port_u16().unwrap_or(80),
    );
    let way = Arc::new(Way::new(dial, order));
    // The service's own number where it is free here, since people know it.
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = match args.port {
        Some(port) => listen(at(port)).await,
        None => match bind(at(port)).await {
            Ok(bound) => Ok(bound),
            Err(_) => listen(at(0)).await,
        },
    };
    let (listener, local) = match bound {
        Ok(bound) => bound,
        Err(exit) => return exit,
    };
    let url = format!("http://{local}{}", uri.path());
    output::print(&format!("{url}\n"));
    eprintln!("{} at {}, until Ctrl-C", address.service, address.url);
    if !args.no_browser
        && let Err(error) = ::open::that_detached(&url)
    {
        eprintln!("no browser could be opened ({error}): open the address above");
    }
    tokio::select! {
        never = forward(listener, way, host, port) => match never {},
        _ = tokio::signal::ctrl_c() => Exit::DONE,
    }
}

async fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Exit> {
    bind(address).await.map_err(|error| {
        fail(&format!("listen on {address}"), &error);
        Exit::USAGE
    })
}
