//! Byte streams to a host: TCP to a name with one or more addresses, or a local command.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::sleep;

/// After this long without an answer, the next address is tried as well.
const STAGGER: Duration = Duration::from_millis(750);

/// Which addresses may be used, and the source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct AddressFilter {
    /// `AddressFamily`: only IPv6 (true) or only IPv4 (false).
    pub(super) only_v6: Option<bool>,
    /// `BindAddress`.
    pub(super) from: Option<std::net::IpAddr>,
}

/// Connects to the first address that answers. The caller sets the limit of time.
pub(super) async fn connect_tcp(
    host: &str,
    port: u16,
    way: AddressFilter,
) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host((host, port))
        .await
        .map_err(|e| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("cannot resolve the name ({e})"),
            )
        })?
        .filter(|a| way.only_v6.is_none_or(|v6| a.is_ipv6() == v6))
        .filter(|a| way.from.is_none_or(|from| from.is_ipv6() == a.is_ipv6()))
        .collect();
    race(&addresses, |address| connect_address(address, way)).await
}

async fn connect_address(address: SocketAddr, way: AddressFilter) -> io::Result<TcpStream> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    if let Some(from) = way.from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(address).await?;
    // An exec is a few small packets; Nagle's algorithm would cost a round trip each.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Tries the addresses in turn. The next one starts when the previous one failed or was silent for
/// [`STAGGER`].
async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut waiting = addresses.iter().copied();
    let mut running = FuturesUnordered::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "no usable address for the name");
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

/// A command whose standard input and output lead to the host. Dropping it ends the command.
pub(super) struct CommandPipe {
    _child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

/// Starts a `ProxyCommand` in the user's shell, as OpenSSH does. Its standard error is discarded:
/// its text is not verified, and a live view may own the screen.
pub(super) fn command(line: &str) -> io::Result<CommandPipe> {
    let shell = std::env::var("SHELL")
        .ok()
        .filter(|s| !s.is_empty())
        .unwrap_or_else(|| "/bin/sh".to_owned());
    let mut child = Command::new(shell)
        .args(["-c", &format!("exec {line}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(stdin), Some(stdout)) => Ok(CommandPipe {
            _child: child,
            stdin,
            stdout,
        }),
        _ => Err(io::Error::other(
            "the command has no standard input or output",
        )),
    }
}

impl AsyncRead for CommandPipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buf)
    }
}

impl AsyncWrite for CommandPipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stdin).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(n: u16) -> Vec<SocketAddr> {
        (1..=n)
            .map(|p| SocketAddr::from(([127, 0, 0, 1], p)))
            .collect()
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
    async fn last_failure_is_reported() {
        let got = race(&addresses(2), |_| async {
            Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused))
        })
        .await;
        assert_eq!(got.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(
            race(&[], |_| async { Ok(()) })
                .await
                .unwrap_err()
                .to_string()
                .contains("no usable address")
        );
    }
}
