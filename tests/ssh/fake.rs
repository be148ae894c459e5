//! A scripted SSH server that misbehaves on demand.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use russh::{
    Channel, ChannelId, Disconnect, MethodKind, MethodSet,
    keys::{Algorithm, PrivateKey},
    server::{
        Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Response, Session,
        VerifiedPublicKey, run_stream,
    },
};
use tokio::{io::AsyncWriteExt, net::TcpListener, task::JoinHandle};
use toots::{spec::HostName, transport::HostSettings};

/// What happens when a command is run.
#[derive(Debug, Clone)]
pub enum Script {
    /// Accepts it and says nothing more.
    Silent,
    /// Refuses it.
    Refuse,
    /// Zeros without end.
    Endless,
    /// One byte now and then, without end.
    Drip,
    /// Output, then so many times this status.
    Output(Vec<u8>, Vec<u8>, usize),
    /// Standard error, then status 1.
    Failing(Vec<u8>),
    /// Ends the connection with these words.
    Farewell(String),
}

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    pub script: Script,
    /// Keys are rejected; with this flag they count as half of what is needed.
    pub reject: Option<bool>,
    /// The window that it grants, and its largest packet.
    pub window: (u32, u32),
    /// A new host key for each connection.
    pub new_key_each_time: bool,
    /// Leaves when a key is offered, instead of an answer.
    pub leaves: bool,
    /// Asks so many questions before it lets in.
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
    /// One that speaks SSH.
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

    /// One that does with each TCP connection what it is told.
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

struct Server {
    behaviour: Behaviour,
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
        _command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let handle = session.handle();
        match self.behaviour.script.clone() {
            Script::Silent => session.channel_success(channel)?,
            Script::Refuse => session.channel_failure(channel)?,
            Script::Farewell(words) => session.disconnect(Disconnect::ByApplication, &words, "")?,
            Script::Failing(stderr) => {
                session.channel_success(channel)?;
                tokio::spawn(async move {
                    let _ = handle.extended_data(channel, 1, stderr).await;
                    let _ = handle.exit_status_request(channel, 1).await;
                    let _ = handle.eof(channel).await;
                    let _ = handle.close(channel).await;
                });
            }
            Script::Endless => {
                session.channel_success(channel)?;
                tokio::spawn(async move {
                    while handle.data(channel, vec![0; 32 * 1024]).await.is_ok() {}
                });
            }
            Script::Drip => {
                session.channel_success(channel)?;
                tokio::spawn(async move {
                    while handle.data(channel, vec![b'.']).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                });
            }
            Script::Output(stdout, stderr, statuses) => {
                session.channel_success(channel)?;
                tokio::spawn(async move {
                    for piece in stdout.chunks(32 * 1024) {
                        let _ = handle.data(channel, piece.to_vec()).await;
                    }
                    if !stderr.is_empty() {
                        let _ = handle.extended_data(channel, 1, stderr).await;
                    }
                    for _ in 0..statuses {
                        let _ = handle.exit_status_request(channel, 0).await;
                    }
                    let _ = handle.eof(channel).await;
                    let _ = handle.close(channel).await;
                });
            }
        }
        Ok(())
    }
}
