//! Which request is which.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Engine;
use super::build::BuildQuery;
use super::filters::Filters;
use super::images::User;
use super::references::Reference;
use super::reply::{Body, Reply};

/// A request that has arrived as a whole.
pub struct Call {
    method: String,
    /// Without the version of the API.
    path: String,
    query: Vec<(String, String)>,
    body: Bytes,
    /// The header with logins of registries.
    login: Option<String>,
    /// Who asks.
    by: String,
}

impl Call {
    pub fn new(method: &str, uri: &str, body: Bytes, login: Option<String>, by: String) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        Self {
            method: method.to_owned(),
            path: decode(without_version(path)),
            query: serde_urlencoded::from_str(query).unwrap_or_default(),
            body,
            login,
            by,
        }
    }

    /// Whether the Engine gives it up when its client goes away. Pulls and builds work in the context
    /// of the request, as do answers that only tell: events, logs, waiting, a saved image, lists. All
    /// that changes containers or names runs on to its end, also a stop that waits.
    pub fn ends_with_client(&self) -> bool {
        self.method == "GET"
            || matches!(self.path.as_str(), "/build" | "/images/create")
            || self.path.ends_with("/wait")
    }

    fn text(&self, key: &str) -> &str {
        let found = self.query.iter().find(|(name, _)| name == key);
        found.map_or("", |(_, value)| value)
    }

    fn is_set(&self, key: &str) -> bool {
        matches!(self.text(key), "1" | "true" | "True")
    }

    fn map(&self, key: &str) -> BTreeMap<String, String> {
        serde_json::from_str(self.text(key)).unwrap_or_default()
    }

    pub fn by(&self) -> &str {
        &self.by
    }

    pub fn words(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether it may change something.
    pub fn changes(&self) -> bool {
        self.method != "GET" && !self.path.ends_with("/wait")
    }
}

/// `/v1.41/info` → `/info`
fn without_version(path: &str) -> &str {
    let versioned = path
        .strip_prefix("/v1.")
        .and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    versioned.unwrap_or(path)
}

/// Names in a path are percent-encoded.
fn decode(path: &str) -> String {
    let query = format!("path={}", path.replace('+', "%2B"));
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&query).unwrap_or_default();
    pairs
        .into_iter()
        .next()
        .map_or_else(String::new, |(_, value)| value)
}

fn not_found() -> Reply {
    Reply::failed(404, "page not found")
}

impl Engine {
    /// Carries a request out.
    pub(super) async fn route(&self, call: &Call) -> Reply {
        let path = call.path.as_str();
        if let Some(rest) = path.strip_prefix("/containers/") {
            return self.route_container(call, rest).await;
        }
        if let Some(rest) = path.strip_prefix("/images/") {
            return self.route_image(call, rest).await;
        }
        let distribution = path.strip_prefix("/distribution/");
        if let Some(name) = distribution.and_then(|rest| rest.strip_suffix("/json")) {
            return self.distribution(name, call.login.as_deref());
        }
        match (call.method.as_str(), path) {
            ("GET" | "HEAD", "/_ping") => Reply {
                status: 200,
                body: Body::Bytes("text/plain; charset=utf-8", Bytes::from_static(b"OK")),
            },
            ("GET", "/version") => self.version_answer(),
            ("GET", "/info") => self.info(),
            ("GET", "/events") => match Filters::parse(call.text("filters")) {
                Some(filters) => self.events(call.text("since"), call.text("until"), filters),
                None => Reply::failed(400, "invalid filter"),
            },
            ("POST", "/build") => {
                let query = BuildQuery {
                    tag: call.text("t").to_owned(),
                    arguments: call.map("buildargs"),
                    labels: call.map("labels"),
                    login: call.login.clone(),
                };
                self.build(query, &call.body)
            }
            _ => not_found(),
        }
    }

    async fn route_container(&self, call: &Call, rest: &str) -> Reply {
        let (name, action) = rest.split_once('/').unwrap_or((rest, ""));
        let by = call.by.as_str();
        match (call.method.as_str(), name, action) {
            ("GET", "json", "") => match Filters::parse(call.text("filters")) {
                Some(filters) => self.list(call.is_set("all"), &filters),
                None => Reply::failed(400, "invalid filter"),
            },
            ("POST", "create", "") => match serde_json::from_slice::<Value>(&call.body) {
                Ok(body) => self.create(call.text("name"), body, by),
                Err(_) => Reply::failed(500, "unexpected EOF"),
            },
            ("GET", _, "json") => self.inspect(name),
            ("GET", _, "logs") => self.logs(name, call.text("tail")),
            ("POST", _, "start") => self.start(name, by),
            ("POST", _, "stop") => {
                let grace = call.text("t").parse().ok().map(Duration::from_secs);
                self.stop(name, grace, by).await
            }
            ("POST", _, "kill") => self.kill(name, call.text("signal"), by).await,
            ("POST", _, "rename") => self.rename(name, call.text("name"), by),
            ("POST", _, "wait") => self.wait(name),
            ("DELETE", _, "") => self.remove(name, call.is_set("force"), by).await,
            _ => not_found(),
        }
    }

    async fn route_image(&self, call: &Call, rest: &str) -> Reply {
        let filters = Filters::parse(call.text("filters"));
        match (call.method.as_str(), rest) {
            ("GET", "json") => match filters {
                Some(filters) => self.lock().images.list(&filters),
                None => Reply::failed(400, "invalid filter"),
            },
            ("POST", "prune") => {
                let filters = filters.unwrap_or_default();
                let mut state = self.lock();
                let users = state.users();
                state.images.prune(&filters, &users)
            }
            ("POST", "create") => {
                let (image, tag) = (call.text("fromImage"), call.text("tag"));
                self.pull(image, tag, call.login.as_deref())
            }
            ("POST", "load") => self.load(&call.body).await,
            ("GET", "get") => {
                let names = call.query.iter().filter(|(key, _)| key == "names");
                let names: Vec<String> = names.map(|(_, name)| name.clone()).collect();
                self.save(&names)
            }
            ("GET", _) => match rest.rsplit_once('/') {
                Some((name, "json")) => self.lock().images.inspect(name),
                Some((name, "get")) => self.save(&[name.to_owned()]),
                _ => not_found(),
            },
            ("POST", _) => match rest.rsplit_once('/') {
                Some((name, "tag")) => self.tag(name, call.text("repo"), call.text("tag")),
                _ => not_found(),
            },
            ("DELETE", name) => self.remove_image(name, call.is_set("force"), &call.by),
            _ => not_found(),
        }
    }

    fn tag(&self, name: &str, repository: &str, tag: &str) -> Reply {
        let mut state = self.lock();
        if state.is_disk_full {
            return Reply::full_disk("image/repositories.json");
        }
        let reference = match tag {
            "" => Reference::parse(repository),
            tag => Reference::parse(&format!("{repository}:{tag}")),
        };
        match state.images.tag(name, &reference) {
            Err(refused) => refused,
            Ok(id) => {
                self.tell_of_image(&mut state, &id, "tag", &reference.text());
                Reply::done(201)
            }
        }
    }

    fn remove_image(&self, name: &str, force: bool, by: &str) -> Reply {
        let mut state = self.lock();
        let users = state.users();
        match state.images.remove(name, force, &users) {
            Err(refused) => refused,
            Ok(removed) => {
                for entry in &removed {
                    for (key, action) in [("Untagged", "untag"), ("Deleted", "delete")] {
                        if let Some(gone) = entry[key].as_str() {
                            self.tell_of_image(&mut state, gone, action, gone);
                        }
                    }
                }
                self.note("engine", format!("remove image {name} by {by}"));
                Reply::json(200, removed.into())
            }
        }
    }

    fn version_answer(&self) -> Reply {
        let (version, api) = (self.version(), self.api_version());
        let body = json!({
            "Version": version,
            "ApiVersion": api,
            "MinAPIVersion": if self.is_before(29) { "1.12" } else { "1.44" },
            "Os": "linux",
            "Arch": "amd64",
            "KernelVersion": "6.12.0",
            "Components": [{ "Name": "Engine", "Version": version, "Details": {} }],
        });
        Reply::json(200, body)
    }
}

impl super::EngineState {
    /// Which containers use which images.
    pub(super) fn users(&self) -> Vec<User> {
        let users = self.containers.iter().map(|container| User {
            container: container.id.clone(),
            image: container.image.clone(),
            is_running: container.is_running(),
        });
        users.collect()
    }
}
