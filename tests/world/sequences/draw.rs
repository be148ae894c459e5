//! The requests of a sequence, drawn from its seed.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Client;
use crate::docker::{Behaviour, Payload};
use crate::random::Random;
use crate::readings::Reading;

/// Their names on an Engine begin with the sequence's prefix.
pub const CONTAINERS: [&str; 3] = ["a", "b", "b.old"];
const IMAGES: [&str; 3] = ["img:1", "img:2", "other:1"];
const POLICIES: [&str; 5] = [
    "no",
    "unless-stopped",
    "always",
    "on-failure",
    "on-failure:2",
];

/// A request in words, and how to send it.
pub struct Call {
    pub words: String,
    pub method: &'static str,
    pub uri: String,
    pub payload: Payload,
    pub reading: Reading,
}

/// One call, or two at once: the second is sent while the first is under way.
pub struct Step {
    pub first: Call,
    pub meanwhile: Option<Call>,
}

impl Step {
    pub fn words(&self) -> String {
        match &self.meanwhile {
            Some(second) => format!("{}, meanwhile {}", self.first.words, second.words),
            None => self.first.words.clone(),
        }
    }
}

/// The image of a sequence: a configuration of its own on the layers of an image that the Engine has,
/// so that no other sequence names or uses it.
pub struct OwnImage {
    prefix: String,
    config: Vec<u8>,
    layers: usize,
}

impl OwnImage {
    /// Reads the layers of the image that the Engine has.
    pub async fn on(client: &impl Client, prefix: &str, base: &str) -> Self {
        let uri = format!("/images/{base}/json");
        let (status, body) = client.send("GET", &uri, Payload::None).await;
        assert_eq!(status, 200, "{base}: {}", String::from_utf8_lossy(&body));
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let layers = body["RootFS"]["Layers"].as_array().map_or(0, Vec::len);
        let config = json!({
            "os": "linux",
            "architecture": body["Architecture"],
            "config": { "Cmd": ["sh"], "Labels": { "toots.world": prefix } },
            "rootfs": { "type": "layers", "diff_ids": body["RootFS"]["Layers"] },
        });
        Self {
            prefix: prefix.to_owned(),
            config: config.to_string().into_bytes(),
            layers,
        }
    }

    fn digest(&self) -> String {
        let digest = Sha256::digest(&self.config);
        digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    pub fn id(&self) -> String {
        format!("sha256:{}", self.digest())
    }

    /// An archive without the layers, which the Engine has.
    fn archive(&self, is_named: bool) -> Vec<u8> {
        let config = format!("{}.json", self.digest());
        let names = is_named.then(|| vec![format!("{}img:1", self.prefix)]);
        let layers: Vec<String> = (0..self.layers).map(|n| format!("{n}/layer.tar")).collect();
        let manifest = json!([{ "Config": config, "RepoTags": names, "Layers": layers }]);
        let mut tar = tar::Builder::new(Vec::new());
        let manifest = manifest.to_string().into_bytes();
        for (name, bytes) in [
            (config.as_str(), &self.config),
            ("manifest.json", &manifest),
        ] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes.as_slice())
                .expect("an archive");
        }
        tar.into_inner().expect("an archive")
    }
}

/// Draws the calls of a seed.
pub struct Draw<'a> {
    pub random: Random,
    pub prefix: &'a str,
    pub image: &'a OwnImage,
}

impl Draw<'_> {
    pub fn step(&mut self, n: usize) -> Step {
        let single = |first| Step {
            first,
            meanwhile: None,
        };
        // The first calls create and start, so that most later ones find something.
        match n {
            0 => return single(self.create("a")),
            1 => return single(self.create("b")),
            2 => return single(self.on("a", "POST", "start", "/start")),
            _ => {}
        }
        match self.random.below(40) {
            0..=3 => {
                let name = *self.random.choose(&["a", "b"]);
                single(self.create(name))
            }
            4..=11 => single(self.on_container("POST", "start", "/start")),
            12..=24 => single(self.change()),
            25..=28 => single(self.read()),
            29..=33 => self.pair(),
            _ => single(self.on_images()),
        }
    }

    fn name(&mut self) -> &'static str {
        let names = ["a", "a", "a", "a", "b", "b", "b.old"];
        self.random.choose::<&str>(&names)
    }

    fn call(&self, words: String, method: &'static str, uri: String, reading: Reading) -> Call {
        Call {
            words,
            method,
            uri,
            payload: Payload::None,
            reading,
        }
    }

    fn on_container(&mut self, method: &'static str, word: &str, action: &str) -> Call {
        let name = self.name();
        self.on(name, method, word, action)
    }

    fn on(&self, name: &str, method: &'static str, word: &str, action: &str) -> Call {
        let uri = format!("/containers/{}{name}{action}", self.prefix);
        self.call(format!("{word} {name}"), method, uri, Reading::Status)
    }

    fn create(&mut self, name: &str) -> Call {
        let (behaviour, _, command) = self.random.choose(&Behaviour::ALL);
        let policy = *self.random.choose(&POLICIES);
        let (policy, tries) = policy.split_once(':').unwrap_or((policy, "0"));
        let (which, image) = match self.random.below(16) {
            0 => (" of absent", "toots-world/absent".to_owned()),
            1 => (" of img:2", format!("{}img:2", self.prefix)),
            2 => (" of id", self.image.id()),
            _ => ("", format!("{}img:1", self.prefix)),
        };
        let tries: i64 = tries.parse().expect("a number");
        let words = match tries {
            0 => format!("create {name} {behaviour} {policy}{which}"),
            _ => format!("create {name} {behaviour} {policy}:{tries}{which}"),
        };
        let body = json!({
            "Image": image,
            "Cmd": command,
            "Labels": { "toots.world": self.prefix, "is": behaviour },
            "HostConfig": {
                "RestartPolicy": { "Name": policy, "MaximumRetryCount": tries },
                "NetworkMode": "none",
            },
        });
        Call {
            words,
            method: "POST",
            uri: format!("/containers/create?name={}{name}", self.prefix),
            payload: Payload::Json(body),
            reading: Reading::Status,
        }
    }

    /// A change of a container that exists.
    fn change(&mut self) -> Call {
        match self.random.below(12) {
            0..=2 => self.on_container("POST", "stop", "/stop?t=1"),
            3..=5 => {
                let signal = *self
                    .random
                    .choose(&["HUP", "SIGTERM", "KILL", "15", "NOPE"]);
                self.on_container(
                    "POST",
                    &format!("kill {signal}"),
                    &format!("/kill?signal={signal}"),
                )
            }
            6..=8 => {
                let to = *self.random.choose(&CONTAINERS);
                let new = format!("/rename?name={}{to}", self.prefix);
                let call = self.on_container("POST", "rename", &new);
                Call {
                    words: format!("{} {to}", call.words),
                    ..call
                }
            }
            9 | 10 => self.on_container("DELETE", "remove", "?v=true"),
            _ => self.on_container("DELETE", "remove by force", "?force=true&v=true"),
        }
    }

    fn read(&mut self) -> Call {
        let prefix = self.prefix;
        let list = |words: &str, all: &str, filters: Value| {
            let query = [("all", all), ("filters", &filters.to_string())];
            let query = serde_urlencoded::to_string(query).expect("a query");
            (words.to_owned(), format!("/containers/json?{query}"))
        };
        let own = format!("toots.world={prefix}");
        let (words, uri) = match self.random.below(7) {
            0 | 1 => {
                let call = self.on_container("GET", "inspect", "/json");
                return Call {
                    reading: Reading::Container,
                    ..call
                };
            }
            2 | 3 => {
                let tail = "/logs?stdout=true&stderr=true&tail=1";
                let call = self.on_container("GET", "log", tail);
                return Call {
                    reading: Reading::Log,
                    ..call
                };
            }
            4 => list("list", "true", json!({ "label": [own] })),
            5 => list("list running", "false", json!({ "label": [own] })),
            _ => list(
                "list exited a",
                "true",
                json!({ "label": [own], "name": [format!("{prefix}a")], "status": ["exited"] }),
            ),
        };
        self.call(words, "GET", uri, Reading::Containers)
    }

    /// Two requests for one container at once.
    fn pair(&mut self) -> Step {
        let name = self.name();
        let which = self.random.below(9);
        let stop = self.on(name, "POST", "stop", "/stop?t=1");
        let force = || self.on(name, "DELETE", "remove by force", "?force=true");
        let (first, second) = match which {
            0 => (stop, self.on(name, "POST", "start", "/start")),
            1 => (stop, self.on(name, "POST", "stop", "/stop?t=1")),
            2 => (stop, self.on(name, "DELETE", "remove", "")),
            3 => (stop, force()),
            4 => (
                stop,
                self.on(name, "POST", "kill KILL", "/kill?signal=KILL"),
            ),
            5 => (
                stop,
                self.on(name, "POST", "kill TERM", "/kill?signal=TERM"),
            ),
            6 => {
                let to = format!("/rename?name={}b.old", self.prefix);
                (stop, self.on(name, "POST", "rename to b.old", &to))
            }
            7 => (self.on(name, "POST", "wait", "/wait"), stop),
            _ => (force(), force()),
        };
        Step {
            first,
            meanwhile: Some(second),
        }
    }

    fn on_images(&mut self) -> Call {
        let prefix = self.prefix;
        let name = *self
            .random
            .choose(&["img:1", "img:1", "img:2", "other:1", "id"]);
        let image = match name {
            "id" => self.image.id(),
            name => format!("{prefix}{name}"),
        };
        let filters = |filters: Value| {
            serde_urlencoded::to_string([("filters", filters.to_string())]).expect("a query")
        };
        let own = format!("toots.world={prefix}");
        match self.random.below(12) {
            0..=2 => {
                let to = *self.random.choose(&IMAGES);
                let (repository, tag) = to.split_once(':').expect("a tag");
                let uri = format!("/images/{image}/tag?repo={prefix}{repository}&tag={tag}");
                self.call(format!("tag {name} {to}"), "POST", uri, Reading::Status)
            }
            3..=5 => {
                let uri = format!("/images/{image}");
                self.call(format!("remove {name}"), "DELETE", uri, Reading::Removal)
            }
            6 => {
                let uri = format!("/images/{image}?force=true");
                self.call(
                    format!("remove {name} by force"),
                    "DELETE",
                    uri,
                    Reading::Removal,
                )
            }
            7 => {
                let uri = format!("/images/{image}/json");
                self.call(format!("inspect {name}"), "GET", uri, Reading::Image)
            }
            8 => {
                let uri = format!("/images/json?{}", filters(json!({ "label": [own] })));
                self.call("list images".into(), "GET", uri, Reading::Images)
            }
            9 => {
                let dangling = json!({ "label": [own], "dangling": ["true"] });
                let uri = format!("/images/prune?{}", filters(dangling));
                self.call("prune images".into(), "POST", uri, Reading::Removal)
            }
            10 => {
                let uri = format!("/images/get?names={image}");
                self.call(format!("save {name}"), "GET", uri, Reading::Archive)
            }
            _ => {
                let is_named = self.random.below(2) == 0;
                load(self.image, is_named)
            }
        }
    }
}

pub fn load(image: &OwnImage, is_named: bool) -> Call {
    Call {
        words: format!("load{}", if is_named { "" } else { " without name" }),
        method: "POST",
        uri: "/images/load?quiet=0".into(),
        payload: Payload::Tar(image.archive(is_named)),
        reading: Reading::Stream,
    }
}
