//! The time to connect to 5 and to 20 hosts at once, by the latency of the network. Each host is a
//! port of its own before one sshd; behind it a proxy holds every byte back for half of a round trip
//! in each direction. Hosts that share nothing must not wait for each other: at latency, 20 take as
//! long as 5. Run: `cargo bench --bench connect` as root.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, clippy::panic, clippy::expect_used)]
#[path = "../tests/ssh/lab.rs"]
mod lab;

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use toots::transport::HostSettings;

const LATENCIES_MS: [u64; 3] = [0, 50, 200];
const SIZES: [usize; 2] = [5, 20];
const RUNS: usize = 5;

fn main() {
    if !lab::ready() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sshd = lab::Sshd::start(&["ed25519"], "MaxStartups 1000");
        println!("round trip    5 hosts    20 hosts   ratio");
        for round_trip in LATENCIES_MS {
            let delay = Duration::from_millis(round_trip) / 2;
            let mut times = Vec::new();
            for hosts in SIZES {
                times.push(fastest(&sshd, hosts, delay).await);
            }
            let ratio = times[1].as_secs_f64() / times[0].as_secs_f64();
            let (few, many) = (times[0], times[1]);
            println!("{round_trip:>7} ms   {few:>8.2?}   {many:>9.2?}   {ratio:>5.2}");
        }
    });
}

/// The fastest of several runs.
async fn fastest(sshd: &lab::Sshd, hosts: usize, delay: Duration) -> Duration {
    let ports = join_all((0..hosts).map(|_| proxy(sshd.port, delay))).await;
    let key = sshd.key("ed25519");
    let known: String = ports
        .iter()
        .map(|port| format!("[127.0.0.1]:{port} {key}\n"))
        .collect();
    sshd.known(&known);
    let hosts: Vec<HostSettings> = ports
        .into_iter()
        .map(|port| HostSettings {
            port: Some(port),
            ..sshd.host()
        })
        .collect();
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let connector = lab::connector(lab::settings());
        let began = Instant::now();
        let sessions = join_all(hosts.iter().map(|host| connector.connect(host))).await;
        times.push(began.elapsed());
        join_all(sessions.iter().map(|s| s.as_ref().unwrap().close())).await;
    }
    times.into_iter().min().unwrap()
}

/// A port that leads to another one, with a delay in each direction.
async fn proxy(to: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                // The client is connected at once; its request to connect has yet to arrive.
                tokio::time::sleep(delay).await;
                let far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                tokio::join!(
                    hold_back(near_in, far_out, delay),
                    hold_back(far_in, near_out, delay)
                );
            });
        }
    });
    port
}

/// Copies to the end, every byte later by the delay; the rate stays what it is.
async fn hold_back(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) {
    let (sender, mut held) = tokio::sync::mpsc::unbounded_channel();
    let receive = async move {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            let due = tokio::time::Instant::now() + delay;
            if sender.send((due, buffer[..n].to_vec())).is_err() {
                break;
            }
        }
    };
    let send = async move {
        while let Some((due, bytes)) = held.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(receive, send);
}
