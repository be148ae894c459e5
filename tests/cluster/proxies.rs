//! Proxies between toots and the SSH ports of the lab's machines.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::lab::{Lab, address};

/// Proxies before every host's SSH port that delay each byte to the host by a fixed time, and that
/// can be cut.
pub struct Proxies {
    pub inventory: PathBuf,
    lines: BTreeMap<String, Arc<Wire>>,
}

/// Both ends of every connection through one proxy.
#[derive(Default)]
struct Wire {
    ends: Mutex<Vec<(TcpStream, TcpStream)>>,
    cut: AtomicBool,
}

impl Proxies {
    pub fn connections(&self) -> Vec<(String, usize)> {
        self.lines
            .iter()
            .map(|(host, wire)| (host.clone(), wire.ends.lock().expect("a lock").len()))
            .collect()
    }

    /// Closes the operator's side of a host's connections; the host is not told and keeps its side
    /// open.
    pub fn cut(&self, host: &str) {
        let wire = &self.lines[host];
        wire.cut.store(true, Ordering::SeqCst);
        for (client, _) in wire.ends.lock().expect("a lock").iter() {
            drop(client.shutdown(Shutdown::Both));
        }
        std::thread::sleep(Duration::from_millis(50));
        wire.cut.store(false, Ordering::SeqCst);
    }
}

/// One proxy for each host, and an inventory and known_hosts that lead through them.
pub fn proxies(lab: &Lab, delay: Duration, change: impl Fn(&str) -> String) -> Proxies {
    let folder = lab.folder.join(".lab");
    let known = std::fs::read_to_string(folder.join("known_hosts")).expect("known_hosts");
    let (mut keys, mut lines, mut ports) = (String::new(), BTreeMap::new(), BTreeMap::new());
    for host in lab.machines {
        let address = address(host);
        let wire = Arc::new(Wire::default());
        let port = proxy(format!("{address}:22"), delay, Arc::clone(&wire));
        // `name,address type key`
        for (names, key) in known.lines().filter_map(|line| line.split_once(' ')) {
            if names.split(',').any(|name| name == address) {
                keys.push_str(&format!("[127.0.0.1]:{port} {key}\n"));
            }
        }
        lines.insert((*host).to_owned(), wire);
        ports.insert(host, port);
    }
    // Each lane has its own.
    let name = format!("proxied-{}", lab.masters[0]);
    let known_hosts = format!("known_hosts.{name}");
    std::fs::write(folder.join(&known_hosts), keys).expect("known_hosts");
    let inventory = lab.changed(&name, |text| {
        let own = change(text).replace(".lab/known_hosts", "known_hosts");
        let mut text = own.replace("\"known_hosts\"", &format!("\".lab/{known_hosts}\""));
        for (host, port) in &ports {
            text = text.replace(
                &format!("[hosts.{host}]\n"),
                &format!("[hosts.{host}]\nssh = \"127.0.0.1\"\nport = {port}\n"),
            );
        }
        text
    });
    Proxies { inventory, lines }
}

fn proxy(target: String, delay: Duration, wire: Arc<Wire>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&target).expect("the host");
            for stream in [&client, &server] {
                stream.set_nodelay(true).expect("nodelay");
            }
            let clone = |stream: &TcpStream| stream.try_clone().expect("a clone");
            wire.ends
                .lock()
                .expect("a lock")
                .push((clone(&client), clone(&server)));
            let (c, s, there, back) = (
                clone(&client),
                clone(&server),
                Arc::clone(&wire),
                Arc::clone(&wire),
            );
            std::thread::spawn(move || held_back(c, s, delay, &there));
            std::thread::spawn(move || held_back(server, client, Duration::ZERO, &back));
        }
    });
    port
}

/// Copies bytes; each chunk is forwarded a fixed time after it arrived, however many are in flight.
fn held_back(mut from: TcpStream, mut to: TcpStream, delay: Duration, wire: &Wire) {
    let (sender, receiver) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
    let writer = std::thread::spawn(move || {
        for (due, bytes) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        to
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if sender
            .send((Instant::now() + delay, buffer[..n].to_vec()))
            .is_err()
        {
            break;
        }
    }
    let cut = wire.cut.load(Ordering::SeqCst);
    drop(sender);
    let to = writer.join().expect("the writer ends");
    if !cut {
        drop(to.shutdown(Shutdown::Write));
    }
}
