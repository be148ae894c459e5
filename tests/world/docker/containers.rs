//! Requests for containers that need no process: creation, names, lists, signals that are only noted.

use serde_json::{Value, json};

use super::container::{Container, KILL, State, signal_number};
use super::describe;
use super::filters::Filters;
use super::references::shown;
use super::reply::{Body, Reply};
use super::{Engine, EngineState};
use crate::process::Log;

impl EngineState {
    /// By name, id, or the beginning of an id.
    pub fn find(&mut self, name: &str) -> Option<&mut Container> {
        let name = name.trim_start_matches('/');
        let list = &mut self.containers;
        let exact = |c: &Container| c.name == name || c.id == name;
        let at = list.iter().position(exact).or_else(|| {
            let begins = |c: &Container| name.len() >= 4 && c.id.starts_with(name);
            list.iter().position(begins)
        })?;
        list.get_mut(at)
    }

    fn name_in_use(&self, name: &str) -> Option<Reply> {
        let other = self.containers.iter().find(|other| other.name == name)?;
        Some(Reply::failed(
            409,
            format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{}\". You have to remove (or rename) that container to be able to reuse that name.",
                other.id
            ),
        ))
    }
}

pub fn absent(name: &str) -> Reply {
    Reply::failed(404, format!("No such container: {name}"))
}

fn has_valid_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_allowed)
}

impl Engine {
    pub(super) fn create(&self, name: &str, body: Value, by: &str) -> Reply {
        let now = self.now();
        let mut state = self.lock();
        let image = body["Image"].as_str().unwrap_or_default();
        if !name.is_empty() && !has_valid_name(name) {
            let why = format!(
                "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            );
            return Reply::failed(400, why);
        }
        let Some(stored) = state.images.find(image) else {
            return Reply::failed(404, format!("No such image: {}", shown(image)));
        };
        let (image, settings) = (stored.id.clone(), stored.image.settings());
        let program = self.program_of(stored);
        let contains = stored.image.program().unwrap_or_default();
        if let Some(conflict) = state.name_in_use(name) {
            return conflict;
        }
        if state.is_disk_full {
            return Reply::full_disk("containers");
        }
        state.created += 1;
        let id = self.unique_id(&format!("container {}", state.created));
        let name = match name {
            "" => format!("nameless_{}", state.created),
            name => name.to_owned(),
        };
        let container = Container {
            id: id.clone(),
            name,
            body,
            image,
            settings,
            program,
            contains,
            state: State::Created,
            exit_code: 0,
            error: String::new(),
            is_oom_killed: false,
            restart_count: 0,
            pause: std::time::Duration::ZERO,
            created: now,
            started: None,
            finished: None,
            is_stopped_by_user: false,
            ends_for_good: false,
            is_being_removed: false,
            log: Log::default(),
            process: None,
            epoch: 0,
        };
        self.tell(&mut state, &container, "create", json!({}));
        self.note(&container.name, format!("create by {by}"));
        state.containers.push(container);
        Reply::json(201, json!({ "Id": id, "Warnings": [] }))
    }

    pub(super) fn rename(&self, name: &str, to: &str, by: &str) -> Reply {
        let mut state = self.lock();
        let to = to.trim_start_matches('/');
        if to.is_empty() {
            return Reply::failed(400, "Neither old nor new names may be empty");
        }
        let Some(container) = state.find(name) else {
            return absent(name);
        };
        let id = container.id.clone();
        if container.name == to {
            let why = "Renaming a container with the same name as its current name";
            return Reply::failed(400, why);
        }
        if !has_valid_name(to) {
            let why = format!(
                "Error when allocating new name: Invalid container name (/{to}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            );
            return Reply::failed(400, why);
        }
        if let Some(Reply {
            status,
            body: Body::Json(conflict),
        }) = state.name_in_use(to)
        {
            let why = conflict["message"].as_str().unwrap_or_default();
            return Reply::failed(status, format!("Error when allocating new name: {why}"));
        }
        let Some(container) = state.find(&id) else {
            return absent(name);
        };
        // Recorded of Engine 20.10: it wants to rename the container's network, too, which is gone
        // between two runs.
        if container.state == State::Restarting {
            return Reply::failed(404, format!("sandbox {id} not found"));
        }
        let former = std::mem::replace(&mut container.name, to.to_owned());
        self.note(&former, format!("rename {to} by {by}"));
        let former = json!({ "oldName": format!("/{former}") });
        self.tell_of(&mut state, &id, "rename", former);
        Reply::done(204)
    }

    pub(super) async fn kill(&self, name: &str, signal: &str, by: &str) -> Reply {
        let number = match signal {
            "" => KILL,
            signal => match signal_number(signal) {
                Some(number) => number,
                None => return Reply::failed(400, format!("Invalid signal: {signal}")),
            },
        };
        let id = {
            let mut state = self.lock();
            let Some(container) = state.find(name) else {
                let why = format!("Cannot kill container: {name}: No such container: {name}");
                return Reply::failed(404, why);
            };
            let id = container.id.clone();
            if !container.is_running() {
                let why = format!("Cannot kill container: {name}: Container {id} is not running");
                return Reply::failed(409, why);
            }
            self.note(&container.name, format!("kill {number} by {by}"));
            self.send_signal(&mut state, &id, number);
            id
        };
        // Only for SIGKILL the Engine waits until it has effect.
        if number == KILL {
            self.wait_for_end(&id).await;
        }
        Reply::done(204)
    }

    pub(super) fn inspect(&self, name: &str) -> Reply {
        match self.lock().find(name) {
            Some(container) => Reply::json(200, describe::inspected(container)),
            None => absent(name),
        }
    }

    /// Those that match, the youngest first.
    pub(super) fn list(&self, with_stopped: bool, filters: &Filters) -> Reply {
        let now = self.now();
        let state = self.lock();
        let with_stopped = with_stopped || filters.has("status");
        let containers = state.containers.iter().rev();
        let found = containers
            .filter(|container| with_stopped || container.is_running())
            .filter(|container| describe::matches(container, filters));
        let list = found.map(|container| {
            let named = container.body["Image"].as_str().unwrap_or_default();
            let found = state.images.find(named);
            // A name that another image has now would mislead.
            let is_same = found.is_some_and(|stored| stored.id == container.image);
            let shown = if is_same {
                named
            } else {
                container.image.as_str()
            };
            describe::listed(container, shown, now)
        });
        Reply::json(200, list.collect())
    }

    /// The lines that a container printed, each in a frame.
    pub(super) fn logs(&self, name: &str, tail: &str) -> Reply {
        let mut state = self.lock();
        let Some(container) = state.find(name) else {
            return absent(name);
        };
        let lines = container.log.lines();
        let skipped = tail
            .parse()
            .map_or(0, |tail| lines.len().saturating_sub(tail));
        let mut body = Vec::new();
        for line in &lines[skipped..] {
            let length = u32::try_from(line.len() + 1).unwrap_or(u32::MAX);
            body.extend([1, 0, 0, 0]);
            body.extend(length.to_be_bytes());
            body.extend(line.as_bytes());
            body.push(b'\n');
        }
        let kind = "application/vnd.docker.raw-stream";
        Reply {
            status: 200,
            body: Body::Bytes(kind, body.into()),
        }
    }
}
