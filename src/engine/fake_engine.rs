//! Engines that tests of this room play: their image stores, and what they do wrongly. Compiled for
//! tests only.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::fake_images::{Stored, digest_of, inspected, listed, save, sha};
use crate::host::fake::FakeHost;
use crate::host::{
    BoxStream, HostAnswer, LockAnswer, Observation, Operation, OperationError, StreamTarget,
    TransportError,
};
use crate::spec::HostName;

/// Changes what a load makes of an image.
pub(super) type Spoil = fn(&mut Stored);

/// When a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakAt {
    Request,
    Answer,
}

/// A container of an Engine that a test plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlayedContainer {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub is_running: bool,
}

/// Receives each changing request for a container before it is carried out, and its number.
type OnRequest = Box<dyn FnMut(usize, &str) + Send>;

/// An Engine with its store.
#[derive(Default)]
pub(super) struct Play {
    pub containers: Vec<PlayedContainer>,
    /// Changing requests for containers so far.
    pub requests: usize,
    pub on_request: Option<OnRequest>,
    /// Whether each answer ends its connection.
    pub closes: bool,
    /// Breaks the connection at the changing request with this number.
    pub break_at: Option<(usize, BreakAt)>,
    /// Delays the answer to the changing request with this number.
    pub delay_at: Option<(usize, Duration)>,
    /// How often the host's lock can be taken before another run holds it.
    pub lock_limit: Option<usize>,
    /// Requests for the lock, and how many of them are over.
    pub locks: (usize, usize),

    /// Instead of a recent one.
    pub version: Option<String>,
    pub has_containerd_store: bool,
    pub images: Vec<Stored>,
    /// Lengths of the archives that came.
    pub loads: Vec<usize>,
    pub saves: usize,
    /// Saves leave out the configuration of the image and still end well.
    pub saves_incompletely: bool,
    /// Whether the host has Perl, with which it gives images to other hosts directly.
    pub has_perl: bool,
    /// Images that it gave to other hosts.
    pub gives: usize,
    pub pulls: usize,
    pub build_output: Option<&'static str>,
    /// What a build brings.
    pub built: Option<Stored>,
    /// The queries of builds.
    pub builds: Vec<String>,
    /// What was sent to write records of packages.
    pub written: Vec<String>,
    /// What a pull brings; without, the registry cannot be reached.
    pub registry: Option<Stored>,
    /// Changes what a load makes of an image.
    pub spoil: Option<Spoil>,
    /// The next requests for these paths break the connection: before the Engine did anything, or
    /// after.
    pub breaks: Vec<(&'static str, BreakAt)>,
}

#[derive(Clone, Default)]
pub(super) struct FakeEngine(Arc<Mutex<Play>>);

impl FakeEngine {
    pub fn play(&self) -> MutexGuard<'_, Play> {
        self.0.lock().unwrap()
    }

    /// Counts a changing request for a container and reports it; returns when its connection breaks,
    /// and how long its answer takes.
    fn report(&self, method: &str, uri: &str) -> (Option<BreakAt>, Duration) {
        if method == "GET" || !uri.starts_with("/containers/") {
            return (None, Duration::ZERO);
        }
        let mut play = self.play();
        play.requests += 1;
        let number = play.requests;
        if let Some(on_request) = &mut play.on_request {
            on_request(number, uri);
        }
        let breaks = play.break_at.filter(|(at, _)| *at == number);
        let delay = play.delay_at.filter(|(at, _)| *at == number);
        (
            breaks.map(|(_, at)| at),
            delay.map_or(Duration::ZERO, |(_, delay)| delay),
        )
    }

    pub fn with(has_containerd_store: bool, images: Vec<Stored>) -> Self {
        let engine = Self::default();
        engine.play().has_containerd_store = has_containerd_store;
        engine.play().images = images;
        engine
    }

    pub fn session(&self, host: HostName) -> FakeHost {
        let (perl, lock, files) = (self.clone(), self.clone(), self.clone());
        let session = FakeHost::new(host)
            .on_run(observation)
            .on_run(move |operation| files.write(operation))
            .on_lock(move |_| Ok(lock.lock()))
            .on_open(move |target| perl.start(target));
        let (engine, lost) = (self.clone(), session.lost());
        session.serve(StreamTarget::Engine, move |stream: DuplexStream| {
            let (engine, lost) = (engine.clone(), Arc::clone(&lost));
            async move {
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (engine, lost) = (engine.clone(), Arc::clone(&lost));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let uri = head.uri.to_string();
                        let (breaks, delay) = engine.report(head.method.as_str(), &uri);
                        if !delay.is_zero() {
                            tokio::time::sleep(delay).await;
                        }
                        // What a report leads to comes before the answer.
                        for _ in 0..50 {
                            tokio::task::yield_now().await;
                        }
                        let mut play = engine.play();
                        let mut paths = play.breaks.iter();
                        let at = paths.position(|(path, _)| uri.starts_with(path));
                        let at = breaks.or(at.map(|at| play.breaks.remove(at).1));
                        if at == Some(BreakAt::Request) {
                            lost.store(true, std::sync::atomic::Ordering::SeqCst);
                            return Err("connection lost");
                        }
                        let (status, answer) = play.answer(head.method.as_str(), &uri, &body);
                        if at == Some(BreakAt::Answer) {
                            lost.store(true, std::sync::atomic::Ordering::SeqCst);
                            return Err("connection lost");
                        }
                        let mut response = Response::builder()
                            .status(status)
                            .header("content-type", "application/json");
                        if play.closes {
                            response = response.header("connection", "close");
                        }
                        Ok(response.body(Full::new(Bytes::from(answer))).unwrap())
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                // A connection that a test ends is no error of the test.
                drop(http.serve_connection(TokioIo::new(stream), answer).await);
            }
        })
    }
}

/// Archives on their way between two hosts, each under a port of its own.
static GIVEN: Mutex<BTreeMap<u16, Vec<u8>>> = Mutex::new(BTreeMap::new());

impl FakeEngine {
    /// The host's lock, held until its input ends.
    fn lock(&self) -> LockAnswer {
        {
            let mut play = self.play();
            play.locks.0 += 1;
            if play.lock_limit.is_some_and(|limit| play.locks.0 > limit) {
                play.locks.1 += 1;
                return LockAnswer::Taken {
                    holder: "ann@desk".into(),
                };
            }
        }
        let engine = self.clone();
        let (near, mut far) = tokio::io::duplex(64);
        tokio::spawn(async move {
            far.read_to_end(&mut Vec::new()).await.unwrap();
            engine.play().locks.1 += 1;
        });
        LockAnswer::Held(Box::new(near))
    }

    /// Files that are written to the host.
    fn write(&self, operation: &Operation) -> Option<Result<HostAnswer, OperationError>> {
        let Operation::Place(place) = operation else {
            return None;
        };
        for file in &place.files {
            if file.path.starts_with("/etc/toots/packages/") {
                let content = String::from_utf8_lossy(&file.content);
                self.play()
                    .written
                    .push(format!("{}\n{content}", file.path));
            }
        }
        None
    }

    /// Gives and takes images.
    fn start(&self, target: &StreamTarget) -> Option<Result<BoxStream, TransportError>> {
        let output = match target {
            StreamTarget::GiveImage { image, .. } => self.give_image(image),
            StreamTarget::TakeImage { port, .. } => self.take_image(*port),
            _ => return None,
        };
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            far.write_all(output.as_bytes()).await.unwrap();
        });
        Some(Ok(Box::new(near)))
    }

    fn give_image(&self, name: &str) -> String {
        let mut play = self.play();
        if !play.has_perl {
            return String::new();
        }
        play.gives += 1;
        let image = play.images.iter().find(|image| image.is_named(name));
        let archive = save(image.unwrap(), name, play.has_containerd_store);
        let mut given = GIVEN.lock().unwrap();
        let port = given.last_key_value().map_or(1, |(port, _)| port + 1);
        given.insert(port, archive);
        format!("{port}\n")
    }

    fn take_image(&self, port: u16) -> String {
        let archive = GIVEN.lock().unwrap()[&port].clone();
        let answer = self.play().load(&archive);
        format!("{}\n{}", archive.len(), answer["stream"].as_str().unwrap())
    }
}

/// What the observation of a host finds besides its Engine.
fn observation(operation: &Operation) -> Option<Result<HostAnswer, OperationError>> {
    let Operation::Observe(_) = operation else {
        return None;
    };
    let mut observation = Box::<Observation>::default();
    observation.facts.hostname = "h".into();
    observation.facts.kernel = "6.12".into();
    observation.facts.arch = "x86_64".into();
    Some(Ok(HostAnswer::Observe(observation)))
}

fn parameter(uri: &str, name: &str) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    pairs
        .into_iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

impl Play {
    fn answer(&mut self, method: &str, uri: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let path = uri.split('?').next().unwrap();
        let json = |value: Value| (200, value.to_string().into_bytes());
        if path == "/version" {
            let version = self.version.as_deref().unwrap_or("26.1.5");
            return json(json!({"Version": version, "ApiVersion": "1.45"}));
        }
        if path == "/info" {
            let kind = if self.has_containerd_store {
                "io.containerd.snapshotter.v1"
            } else {
                "x"
            };
            return json(json!({"DriverStatus": [["driver-type", kind]]}));
        }
        if path == "/images/json" {
            return json(self.images.iter().map(listed).collect());
        }
        if path.starts_with("/distribution/") {
            let message = json!({"message": "dial tcp: no route to host"});
            return (500, message.to_string().into());
        }
        if path == "/containers/json" {
            return json(self.containers.iter().map(listed_container).collect());
        }
        if let Some(path) = path.strip_prefix("/containers/") {
            return self.answer_container(method, path, uri, body);
        }
        if path == "/images/prune" {
            return json(json!({"ImagesDeleted": null, "SpaceReclaimed": 0}));
        }
        if path == "/build" {
            self.builds.push(uri.to_owned());
            self.images.extend(self.built.clone());
            let lines = self.build_output.unwrap_or_default();
            let lines = lines
                .lines()
                .map(|line| json!({"stream": line}).to_string());
            let end = json!({"aux": {"ID": digest_of("built")}}).to_string();
            let answer: Vec<String> = lines.chain([end]).collect();
            return (200, answer.join("\r\n").into_bytes());
        }
        if path == "/images/load" {
            return json(self.load(body));
        }
        if path == "/images/get" {
            self.saves += 1;
            let name = parameter(uri, "names").unwrap();
            let image = self.images.iter().find(|image| image.is_named(&name));
            let mut image = image.unwrap().clone();
            if self.saves_incompletely {
                image.config.clear();
            }
            let archive = save(&image, &name, self.has_containerd_store);
            return (200, archive);
        }
        if path == "/images/create" {
            self.pulls += 1;
            return match self.registry.clone() {
                Some(image) => {
                    self.images.push(image);
                    json(json!({"status": "done"}))
                }
                None => (
                    500,
                    json!({"message": "dial tcp: no route to host"})
                        .to_string()
                        .into(),
                ),
            };
        }
        let name = path.trim_start_matches("/images/");
        let (name, request) = name.rsplit_once('/').unwrap();
        let name = name.replace("%3A", ":").replace("%2F", "/");
        let found = self
            .images
            .iter_mut()
            .find(|image| image.is_named(&name) || image.digests.contains(&name));
        let Some(image) = found else {
            let message = format!("no such image: {name}");
            return (404, json!({"message": message}).to_string().into());
        };
        match (method, request) {
            ("GET", "json") => json(inspected(image)),
            ("POST", "tag") => {
                let [repository, tag] = ["repo", "tag"].map(|key| parameter(uri, key).unwrap());
                image.tags.insert(format!("{repository}:{tag}"));
                (201, Vec::new())
            }
            other => panic!("{other:?} {name}"),
        }
    }

    fn answer_container(
        &mut self,
        method: &str,
        path: &str,
        uri: &str,
        body: &[u8],
    ) -> (u16, Vec<u8>) {
        let failed = |status, text: &str| (status, json!({"message": text}).to_string().into());
        if path == "create" {
            let body: Value = serde_json::from_slice(body).unwrap();
            let name = parameter(uri, "name").unwrap();
            if self.containers.iter().any(|other| other.name == name) {
                return failed(409, "the name is in use");
            }
            self.containers.push(PlayedContainer {
                name: name.clone(),
                labels: serde_json::from_value(body["Labels"].clone()).unwrap(),
                is_running: false,
            });
            let created = json!({"Id": name, "Warnings": []});
            return (201, created.to_string().into());
        }
        let (name, request) = path.split_once('/').unwrap_or((path, ""));
        let Some(at) = self.containers.iter().position(|other| other.name == name) else {
            return failed(404, "no such container");
        };
        let container = &mut self.containers[at];
        match (method, request) {
            ("POST", "stop") => container.is_running = false,
            ("POST", "start") => container.is_running = true,
            ("POST", "rename") => container.name = parameter(uri, "name").unwrap(),
            ("DELETE", "") if container.is_running => return failed(409, "it runs"),
            ("DELETE", "") => drop(self.containers.remove(at)),
            other => panic!("{other:?} {name}"),
        }
        (204, Vec::new())
    }

    /// As both stores load: the classic one by `manifest.json`, containerd's by `index.json`, else with
    /// a manifest of its own.
    fn load(&mut self, archive: &[u8]) -> Value {
        self.loads.push(archive.len());
        let mut entries: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            entry.read_to_end(entries.entry(name).or_default()).unwrap();
        }
        let manifest: Value = serde_json::from_slice(&entries["manifest.json"]).unwrap();
        // An image that toots built has its name in the archive of a host.
        let tag = manifest[0]["RepoTags"][0].as_str();
        assert!(
            tag.is_none_or(|tag| tag.starts_with("toots/")),
            "named before it was verified"
        );
        let config = entries[manifest[0]["Config"].as_str().unwrap()].clone();
        let content: Value = serde_json::from_slice(&config).unwrap();
        let known: BTreeMap<String, Vec<u8>> = self
            .images
            .iter()
            .flat_map(|image| &image.layers)
            .map(|layer| (sha(layer), layer.clone()))
            .collect();
        let files = manifest[0]["Layers"].as_array().unwrap().iter();
        let layers = files
            .zip(content["rootfs"]["diff_ids"].as_array().unwrap())
            .map(
                |(file, diff_id)| match entries.get(file.as_str().unwrap()) {
                    Some(layer) => layer.clone(),
                    None if self.has_containerd_store => panic!("containerd's store needs {file}"),
                    None => known[diff_id.as_str().unwrap()].clone(),
                },
            )
            .collect();
        let index = entries.get("index.json");
        let index = index.map(|index| serde_json::from_slice::<Value>(index).unwrap());
        let id = match (self.has_containerd_store, index) {
            (false, _) => sha(&config),
            (true, Some(index)) => index["manifests"][0]["digest"].as_str().unwrap().to_owned(),
            (true, None) => digest_of("a manifest of this host"),
        };
        let mut image = Stored {
            id,
            config,
            layers,
            ..Stored::default()
        };
        if let Some(spoil) = self.spoil {
            spoil(&mut image);
        }
        image.tags.extend(tag.map(str::to_owned));
        let text = match tag {
            Some(tag) => format!("Loaded image: {tag}\n"),
            None => format!("Loaded image ID: {}\n", image.id),
        };
        self.images.retain(|other| other.id != image.id);
        self.images.push(image);
        json!({"stream": text})
    }
}

fn listed_container(container: &PlayedContainer) -> Value {
    let state = if container.is_running {
        "running"
    } else {
        "exited"
    };
    json!({
        "Id": container.name, "Names": [format!("/{}", container.name)], "State": state,
        "Labels": container.labels,
    })
}
