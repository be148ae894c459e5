//! TCP connections to names with one or several addresses.

use std::{io, net::SocketAddr, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::sleep,
};

/// An address that has not answered for this long is joined by the next one, not given up.
const STAGGER: Duration = Duration::from_millis(750);

/// Which addresses may be used, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Way {
    /// `AddressFamily`: only IPv6 (true) or only IPv4 (false).
    pub(super) only_v6: Option<bool>,
    /// `BindAddress`.
    pub(super) from: Option<std::net::IpAddr>,
}

/// Connects to the first address that answers. The caller sets the limit of time.
pub(super) async fn dial(host: &str, port: u16, way: Way) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host((host, port))
        .await
        .map_err(|e| io::Error::new(io::ErrorKind::NotFound, format!("the name cannot be resolved ({e})")))?
        .filter(|a| way.only_v6.is_none_or(|v6| a.is_ipv6() == v6))
        .filter(|a| way.from.is_none_or(|from| from.is_ipv6() == a.is_ipv6()))
        .collect();
    race(&addresses, |address| one(address, way)).await
}

async fn one(address: SocketAddr, way: Way) -> io::Result<TcpStream> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    if let Some(from) = way.from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(address).await?;
    // an exec is a few small packets; waiting to fill a segment would cost a round trip each
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Tries each address in turn, the next one as soon as the one before failed or has been silent for a while.
async fn race<T, F: Future<Output = io::Result<T>>>(addresses: &[SocketAddr], connect: impl Fn(SocketAddr) -> F) -> io::Result<T> {
    let mut waiting = addresses.iter().copied();
    let mut running = FuturesUnordered::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no usable address");
    if let Some(first) = waiting.next() {
        running.push(connect(first));
    }
    while !running.is_empty() {
        tokio::select! {
            Some(result) = running.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(e) => {
                    failed = e;
                    running.extend(waiting.next().map(&connect));
                }
            },
            () = sleep(STAGGER), if waiting.len() > 0 => running.extend(waiting.next().map(&connect)),
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(n: u16) -> Vec<SocketAddr> {
        (1..=n).map(|p| SocketAddr::from(([127, 0, 0, 1], p))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_does_not_hide_the_next() {
        let start = tokio::time::Instant::now();
        let got = race(&addresses(3), |a| async move {
            match a.port() {
                1 => std::future::pending().await,
                2 => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                port => Ok(port),
            }
        })
        .await;
        assert_eq!(got.unwrap(), 3);
        assert_eq!(start.elapsed(), STAGGER);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_failure_is_told() {
        let got = race(&addresses(2), |_| async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused)) }).await;
        assert_eq!(got.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(race(&[], |_| async { Ok(()) }).await.unwrap_err().to_string().contains("no usable address"));
    }
}
