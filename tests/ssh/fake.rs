//! A scripted SSH server that misbehaves on demand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Response, Session,
    VerifiedPublicKey, run_stream,
};
use russh::{Channel, ChannelId, Disconnect, MethodKind, MethodSet};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use toots::spec::HostName;
use toots::transport::HostSettings;

/// The server's reaction to a command.
#[derive(Debug, Clone)]
pub enum Script {
    /// Accepts it and sends nothing more.
    Silent,
    /// Refuses it.
    Refuse,
    /// Zeros without end.
    Endless,
    /// One byte from time to time, without end.
    Drip,
    /// Output, then this status a number of times.
    Output(Vec<u8>, Vec<u8>, usize),
    /// Standard error, then status 1.
    Failing(Vec<u8>),
    /// Closes the connection with this text.
    Farewell(String),
}

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    pub script: Script,
    /// Keys are rejected; with this flag they count as one of two required methods.
    pub reject: Option<bool>,
    /// The window that it grants, and its largest packet.
    pub window: (u32, u32),
    /// A new host key per connection.
    pub new_key_each_time: bool,
    /// Closes the connection when a key is offered.
    pub leaves: bool,
    /// Asks this many questions before it accepts the login.
    pub questions: Option<usize>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            script: Script::Output(Vec::new(), Vec::new(), 1),
            reject: None,
            window: (1 << 20, 32768),
            new_key_each_time: false,
            leaves: false,
            questions: None,
        }
    }
}

/// A running server.
pub struct Fake {
    pub address: SocketAddr,
    pub dir: tempfile::TempDir,
    pub connections: Arc<AtomicUsize>,
    pub offers: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Fake {
    /// Starts a server that speaks SSH.
    pub async fn start(behaviour: Behaviour) -> Self {
        let key = new_key();
        let second = behaviour.new_key_each_time.then(new_key);
        let public = key.public_key().to_openssh().unwrap();
        let offers: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = offers.clone();
        let mut fake = Self::raw(move |mut stream, number| {
            let key = if number == 0 {
                key.clone()
            } else {
                second.clone().unwrap_or_else(|| key.clone())
            };
            let config = Config {
                keys: vec![key],
                auth_rejection_time: Duration::ZERO,
                window_size: behaviour.window.0,
                maximum_packet_size: behaviour.window.1,
                inactivity_timeout: None,
                ..Config::default()
            };
            let server = Server {
                behaviour: behaviour.clone(),
                channels: HashMap::new(),
                offers: seen.clone(),
                asked: 0,
            };
            async move {
                let _ = stream.set_nodelay(true);
                let _ = stream.flush().await;
                if let Ok(running) = run_stream(Arc::new(config), stream, server).await {
                    let _ = running.await;
                }
            }
        })
        .await;
        let line = format!("[127.0.0.1]:{} {public}\n", fake.address.port());
        std::fs::write(fake.known(), line).unwrap();
        fake.offers = offers;
        fake
    }

    /// Starts a server that runs a function for each TCP connection.
    pub async fn raw<F>(serve: impl Fn(tokio::net::TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let connections: Arc<AtomicUsize> = Arc::default();
        let count = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, count.fetch_add(1, Ordering::SeqCst)));
            }
        });
        crate::lab::keygen(&dir.path().join("id"), "ed25519", "");
        std::fs::write(dir.path().join("known_hosts"), "").unwrap();
        Self {
            address,
            dir,
            connections,
            offers: Arc::default(),
            task,
        }
    }

    pub fn known(&self) -> PathBuf {
        self.dir.path().join("known_hosts")
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(Path::new(name))
    }

    pub fn host(&self) -> HostSettings {
        HostSettings {
            dial: "127.0.0.1".to_owned(),
            port: Some(self.address.port()),
            user: Some("root".to_owned()),
            identity_files: vec![self.at("id")],
            known_hosts_files: Some(vec![self.known()]),
            ..HostSettings::new(HostName::new("m1").unwrap())
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn new_key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap()
}

/// The mark that the command line asks for.
fn mark_of(command: &[u8]) -> String {
    let line = String::from_utf8_lossy(command).into_owned();
    let (_, rest) = line.split_once("echo ").unwrap_or_default();
    rest.split(';').next().unwrap_or_default().to_owned()
}

/// Prints the mark on both streams, as the shell does.
async fn start(handle: &russh::server::Handle, channel: ChannelId, mark: &str) {
    let line = format!("{mark}\n").into_bytes();
    let _ = handle.data(channel, line.clone()).await;
    let _ = handle.extended_data(channel, 1, line).await;
}

/// The secret mark of the program that a connection's shell runs, when this input starts it.
fn program_mark(input: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(input);
    let (_, rest) = text.split_once("'m=")?;
    Some(rest.split('\\').next().unwrap_or_default().to_owned())
}

/// What the client has sent on a channel.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    /// The mark of the program, when the channel carries a connection's shell.
    shell: Option<String>,
    started: bool,
}

impl Input {
    /// Removes a line.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n')?;
        let line = self.bytes.drain(..=end).take(end).collect();
        Some(line)
    }

    /// Removes a command; false when none is complete. A channel of its own carries one command.
    fn take_command(&mut self) -> bool {
        if !self.started {
            let Some(line) = self.take_line() else {
                return false;
            };
            self.started = true;
            self.shell = program_mark(&line);
            if self.shell.is_none() {
                return true;
            }
        }
        if self.shell.is_none() {
            return false;
        }
        while let Some(line) = self.take_line() {
            let text = String::from_utf8_lossy(&line).into_owned();
            let Some(length) = text.strip_prefix('r').and_then(|n| n.parse().ok()) else {
                continue;
            };
            if self.bytes.len() < length {
                let rest = std::mem::take(&mut self.bytes);
                self.bytes = [line, b"\n".to_vec(), rest].concat();
                return false;
            }
            self.bytes.drain(..length);
            return true;
        }
        false
    }
}

struct Server {
    behaviour: Behaviour,
    channels: HashMap<ChannelId, Input>,
    offers: Arc<Mutex<Vec<String>>>,
    asked: usize,
}

impl Server {
    fn answer(&self) -> Auth {
        match self.behaviour.reject {
            None => Auth::Accept,
            Some(partial_success) => Auth::Reject {
                proceed_with_methods: Some(MethodSet::from(
                    [MethodKind::Password, MethodKind::KeyboardInteractive].as_slice(),
                )),
                partial_success,
            },
        }
    }
}

impl Handler for Server {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        _offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        self.offers.lock().unwrap().push(user.to_owned());
        if self.behaviour.leaves {
            return Err(russh::Error::Disconnect);
        }
        Ok(if self.behaviour.reject == Some(false) {
            self.answer()
        } else {
            Auth::Accept
        })
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        _key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.answer())
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _: &str,
        _: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let rounds = self.behaviour.questions.unwrap_or(0);
        if self.asked >= rounds {
            return Ok(if rounds > 0 {
                Auth::Accept
            } else {
                self.answer()
            });
        }
        self.asked += 1;
        let prompts = vec![("code\x1b[2J: ".into(), false)];
        Ok(Auth::Partial {
            name: "n\x1b".into(),
            instructions: "i\r".into(),
            prompts: prompts.into(),
        })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let handle = session.handle();
        match &self.behaviour.script {
            Script::Silent => session.channel_success(channel)?,
            Script::Refuse => session.channel_failure(channel)?,
            Script::Farewell(words) => session.disconnect(Disconnect::ByApplication, words, "")?,
            _ => {
                session.channel_success(channel)?;
                start(&handle, channel, &mark_of(command)).await;
                self.channels.insert(channel, Input::default());
            }
        }
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(input) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        input.bytes.extend_from_slice(data);
        while input.take_command() {
            let (script, shell) = (self.behaviour.script.clone(), input.shell.clone());
            tokio::spawn(play(session.handle(), channel, script, shell));
        }
        Ok(())
    }
}

/// Answers a command: in a shell with events, on a channel of its own with the protocol's messages.
async fn play(
    handle: russh::server::Handle,
    channel: ChannelId,
    script: Script,
    shell: Option<String>,
) {
    let (stdout, stderr, status, times) = match script {
        Script::Endless => {
            while handle.data(channel, vec![0; 32 * 1024]).await.is_ok() {}
            return;
        }
        Script::Drip => {
            while handle.data(channel, vec![b'.']).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            return;
        }
        Script::Failing(stderr) => (Vec::new(), stderr, 1, 1),
        Script::Output(stdout, stderr, times) => (stdout, stderr, 0, times),
        Script::Silent | Script::Refuse | Script::Farewell(_) => return,
    };
    for piece in stdout.chunks(32 * 1024) {
        let _ = handle.data(channel, piece.to_vec()).await;
    }
    if !stderr.is_empty() {
        let _ = handle.extended_data(channel, 1, stderr).await;
    }
    for _ in 0..times {
        match &shell {
            Some(mark) => {
                let event = format!("{mark}e{status}\n{mark}i\n");
                drop(handle.data(channel, event.into_bytes()).await);
            }
            None => drop(handle.exit_status_request(channel, status).await),
        }
    }
    if let Some(mark) = &shell
        && times > 0
    {
        let event = format!("{mark}e\n").into_bytes();
        drop(handle.extended_data(channel, 1, event).await);
        return;
    }
    let _ = handle.eof(channel).await;
    let _ = handle.close(channel).await;
}
