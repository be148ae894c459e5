//! A Docker Engine behind a socket: builds, saves and lists images as far as recipes need it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use toots::spec::digest;

/// An image in the store.
#[derive(Clone, Default)]
pub struct Stored {
    pub name: Option<String>,
    pub recipe: String,
    pub architecture: String,
    pub layers: Vec<Vec<u8>>,
}

impl Stored {
    fn config(&self) -> String {
        let ids = self.layers.iter().map(|l| format!("sha256:{}", digest(l)));
        json!({
            "os": "linux", "architecture": self.architecture,
            "config": {"Labels": {"toots.recipe": self.recipe}},
            "rootfs": {"type": "layers", "diff_ids": ids.collect::<Vec<_>>()},
        })
        .to_string()
    }

    pub fn id(&self) -> String {
        format!("sha256:{}", digest(self.config().as_bytes()))
    }

    /// As Engine 20.10 saves it: the second of two equal layers is a link to the first.
    fn save(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let header = |size: usize| {
            let mut header = tar::Header::new_ustar();
            header.set_size(size as u64);
            header.set_mode(0o644);
            header
        };
        let mut add = |name: &str, content: &[u8]| {
            let mut header = header(content.len());
            tar.append_data(&mut header, name, content).unwrap();
        };
        let config = self.config();
        add("config.json", config.as_bytes());
        let layers: Vec<String> = (0..self.layers.len())
            .map(|n| format!("{n}/layer.tar"))
            .collect();
        let manifest = json!([{"Config": "config.json", "RepoTags": null, "Layers": layers}]);
        add("manifest.json", manifest.to_string().as_bytes());
        for (at, layer) in self.layers.iter().enumerate() {
            let first = self.layers.iter().position(|other| other == layer).unwrap();
            let name = &layers[at];
            if first == at {
                tar.append_data(&mut header(layer.len()), name, layer.as_slice())
                    .unwrap();
            } else {
                let mut header = header(0);
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, name, format!("../{first}/layer.tar"))
                    .unwrap();
            }
        }
        tar.into_inner().unwrap()
    }
}

/// What an Engine has and was asked for.
pub struct Play {
    pub architecture: &'static str,
    pub version: &'static str,
    pub images: Vec<Stored>,
    /// The parameters of builds, and the files that came with them.
    pub builds: Vec<(BTreeMap<String, String>, BTreeMap<String, String>)>,
    /// What a build says before it fails.
    pub failure: Option<&'static str>,
}

pub struct TestEngine {
    pub socket: PathBuf,
    play: Arc<Mutex<Play>>,
}

impl TestEngine {
    pub fn start(dir: &Path) -> Self {
        let socket = dir.join("docker.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let engine = Self {
            socket,
            play: Arc::new(Mutex::new(Play {
                architecture: "amd64",
                version: "26.1.5",
                images: Vec::new(),
                builds: Vec::new(),
                failure: None,
            })),
        };
        let play = Arc::clone(&engine.play);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let play = Arc::clone(&play);
                let answer = service_fn(move |request: Request<Incoming>| {
                    let play = Arc::clone(&play);
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let uri = head.uri.to_string();
                        let (status, answer) = play.lock().unwrap().answer(&uri, &body);
                        let response = Response::builder()
                            .status(status)
                            .header("content-type", "application/json")
                            .body(Full::new(Bytes::from(answer)));
                        Ok::<_, Infallible>(response.unwrap())
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move {
                    drop(http.serve_connection(TokioIo::new(stream), answer).await);
                });
            }
        });
        engine
    }

    pub fn play(&self) -> MutexGuard<'_, Play> {
        self.play.lock().unwrap()
    }

    /// The value of DOCKER_HOST.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Play {
    fn answer(&mut self, uri: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let query: BTreeMap<String, String> = serde_urlencoded::from_str(query).unwrap();
        let json = |value: Value| (200, value.to_string().into_bytes());
        match path {
            "/version" => json(json!({
                "Version": self.version, "ApiVersion": "1.45", "Os": "linux",
                "Arch": self.architecture,
            })),
            "/info" => json(json!({})),
            "/images/json" => json(self.images.iter().map(listed).collect()),
            "/images/prune" => json(json!({"ImagesDeleted": null, "SpaceReclaimed": 0})),
            "/build" => (200, self.build(query, body).into_bytes()),
            "/images/get" => {
                let image = self.find(&query["names"]);
                (200, image.unwrap().save())
            }
            _ if path.starts_with("/distribution/") => {
                let digest = format!("sha256:{}", digest(b"base"));
                json(json!({"Descriptor": {"digest": digest}, "Platforms": []}))
            }
            _ => {
                let name = path.trim_start_matches("/images/");
                let image = self.find(name.trim_end_matches("/json")).unwrap();
                json(json!({
                    "Id": image.id(), "Os": "linux", "Architecture": image.architecture,
                }))
            }
        }
    }

    fn find(&self, name: &str) -> Option<Stored> {
        let name = name.replace("%3A", ":");
        let fits = |image: &&Stored| image.id() == name || image.name.as_ref() == Some(&name);
        self.images.iter().find(fits).cloned()
    }

    fn build(&mut self, query: BTreeMap<String, String>, body: &[u8]) -> String {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(body).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let text: &mut String = files.entry(name).or_default();
            std::io::Read::read_to_string(&mut entry, text).unwrap();
        }
        let labels: Value = serde_json::from_str(&query["labels"]).unwrap();
        let name = query["t"].clone();
        let own = format!("packages of {name}").into_bytes();
        self.builds.push((query, files));
        if let Some(why) = self.failure {
            let line = json!({"stream": format!("{why}\n")});
            let error = json!({"errorDetail": {"message": "exit code: 100"}});
            return format!("{line}\r\n{error}\r\n");
        }
        let recipe = labels["toots.recipe"].as_str().unwrap().to_owned();
        let image = Stored {
            recipe,
            name: Some(name),
            architecture: self.architecture.to_owned(),
            layers: vec![vec![9; 3000], own, vec![9; 3000]],
        };
        let line = json!({"stream": "toots-package dnsmasq-base 2.91-1\n"});
        let id = json!({"aux": {"ID": image.id()}});
        self.images.push(image);
        format!("{line}\r\n{id}\r\n")
    }
}

fn listed(image: &Stored) -> Value {
    json!({
        "Id": image.id(), "ParentId": "", "RepoTags": image.name.iter().collect::<Vec<_>>(),
        "RepoDigests": [], "Created": 0, "Size": 0, "SharedSize": -1,
        "Labels": {"toots.recipe": image.recipe}, "Containers": -1,
    })
}
