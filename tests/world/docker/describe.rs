//! Containers in the Engine's words.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::container::{Container, State};
use super::filters::Filters;

/// What an Engine writes for a time that is not known.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn state(container: &Container) -> &'static str {
    match container.state {
        State::Running => "running",
        State::Restarting => "restarting",
        _ if container.is_being_removed => "removing",
        State::Exited if container.started.is_some() => "exited",
        State::Created | State::Exited => "created",
    }
}

pub fn inspected(container: &Container) -> Value {
    let time = |at: Option<Timestamp>| at.map_or(NEVER.to_owned(), |at| at.to_string());
    let command = container.command();
    let (path, arguments) = match command.split_first() {
        Some((path, arguments)) => (path.as_str(), arguments),
        None => ("", &[][..]),
    };
    let env = container.env().into_iter();
    let env: Vec<String> = env.map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Id": container.id,
        "Created": container.created.to_string(),
        "Path": path,
        "Args": arguments,
        "Name": format!("/{}", container.name),
        "Image": container.image,
        "RestartCount": container.restart_count,
        "State": {
            "Status": state(container),
            "Running": container.is_running(),
            "Paused": false,
            "Restarting": container.state == State::Restarting,
            "OOMKilled": container.is_oom_killed,
            "Dead": false,
            "Pid": container.process.as_ref().map_or(0, |process| process.pid),
            "ExitCode": container.exit_code,
            "Error": container.error,
            "StartedAt": time(container.started.map(|(_, at)| at)),
            "FinishedAt": time(container.finished),
        },
        "Config": {
            "Image": container.body["Image"],
            "Labels": container.labels(),
            "Env": env,
            "ExposedPorts": container.body["ExposedPorts"],
            "Cmd": container.arguments(),
            "Entrypoint": container.entrypoint(),
        },
        "HostConfig": container.body["HostConfig"],
        "Mounts": [],
    })
}

pub fn listed(container: &Container, image: &str, now: Timestamp) -> Value {
    json!({
        "Id": container.id,
        "Names": [format!("/{}", container.name)],
        "Image": image,
        "ImageID": container.image,
        "Command": container.command().join(" "),
        "Created": container.created.as_second(),
        "Ports": [],
        "Labels": container.labels(),
        "State": state(container),
        "Status": status(container, now),
        "HostConfig": { "NetworkMode": container.host_config("NetworkMode") },
        "Mounts": [],
    })
}

/// The text about its state, with the time since it changed.
fn status(container: &Container, now: Timestamp) -> String {
    let since =
        |at: Option<Timestamp>| at.map_or(SignedDuration::ZERO, |at| now.duration_since(at));
    let up = since(container.started.map(|(_, at)| at));
    let ended = since(container.finished);
    let code = container.exit_code;
    match state(container) {
        "running" => format!("Up {}", human(up)),
        "restarting" => format!("Restarting ({code}) {} ago", human(ended)),
        "removing" => "Removal In Progress".into(),
        "created" => "Created".into(),
        _ => format!("Exited ({code}) {} ago", human(ended)),
    }
}

/// A duration as people say it.
fn human(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match (seconds, minutes, hours) {
        (..1, _, _) => "Less than a second".into(),
        (1, _, _) => "1 second".into(),
        (2..60, _, _) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".into(),
        (_, _, 2..48) => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

pub fn matches(container: &Container, filters: &Filters) -> bool {
    let name = format!("/{}", container.name);
    filters.has_labels(&container.labels())
        && filters.any("status", |wish| wish == state(container))
        && filters.any("id", |wish| container.id.starts_with(wish))
        && filters.any("name", |wish| has_name(&name, wish))
}

/// Whether a name has a part; of expressions only the anchors are understood.
fn has_name(name: &str, wish: &str) -> bool {
    let (wish, at_start) = match wish.strip_prefix('^') {
        Some(rest) => (rest, true),
        None => (wish, false),
    };
    let (wish, at_end) = match wish.strip_suffix('$') {
        Some(rest) => (rest, true),
        None => (wish, false),
    };
    let is_in = |name: &str| match (at_start, at_end) {
        (true, true) => name == wish,
        (true, false) => name.starts_with(wish),
        (false, true) => name.ends_with(wish),
        (false, false) => name.contains(wish),
    };
    is_in(name) || is_in(name.trim_start_matches('/'))
}
