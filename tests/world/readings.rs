//! What is read of an Engine's answers, as text: the fields that toots reads, without what is chance.

use serde_json::Value;

/// What a request's answer is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    Status,
    Container,
    Containers,
    Log,
    Image,
    Images,
    /// What was untagged and deleted.
    Removal,
    Stream,
    Archive,
}

impl Reading {
    /// The text of an answer with status 200.
    pub fn read(self, body: &[u8]) -> String {
        let json = || serde_json::from_slice::<Value>(body).expect("JSON");
        match self {
            Reading::Status => String::new(),
            Reading::Container => container(&json()),
            Reading::Containers => each(&json(), listed),
            Reading::Log => log(body),
            Reading::Image => tags(&json()),
            Reading::Images => each(&json(), tags),
            Reading::Removal => removal(&json()),
            Reading::Stream => stream(body),
            Reading::Archive => archive(body),
        }
    }
}

fn each(list: &Value, read: impl Fn(&Value) -> String) -> String {
    let list = list.as_array().into_iter().flatten();
    let list: Vec<String> = list.map(read).collect();
    format!("[{}]", list.join("; "))
}

/// What toots reads of a container. One in a crash loop runs for moments, which nobody can foresee.
pub fn container(body: &Value) -> String {
    let state = &body["State"];
    let name = body["Name"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches('/');
    let is = body["Config"]["Labels"]["is"].as_str().unwrap_or_default();
    let restarts = body["RestartCount"].as_i64().unwrap_or(-1);
    if restarts > 0 && state["Running"] == true {
        return format!("{name} {is} loops");
    }
    let status = state["Status"].as_str().unwrap_or_default();
    let flags = [("Running", "+"), ("Restarting", "r"), ("OOMKilled", "o")]
        .map(|(key, word)| if state[key] == true { word } else { "" })
        .concat();
    // Whether a signal or its own end came first is chance, too.
    let code = match restarts {
        0 => state["ExitCode"].to_string(),
        _ => "own".into(),
    };
    let started = match state["StartedAt"].as_str() {
        Some(at) if !at.starts_with("0001-") => " since",
        _ => "",
    };
    format!("{name} {is} {status}{flags} {code}{started}")
}

/// A container in a list, which says nothing of restarts.
fn listed(body: &Value) -> String {
    let name = body["Names"][0].as_str().unwrap_or_default();
    let name = name.trim_start_matches('/');
    let is = body["Labels"]["is"].as_str().unwrap_or_default();
    let state = body["State"].as_str().unwrap_or_default();
    let image = body["Image"].as_str().unwrap_or_default();
    let is_brief = matches!(is, "brief" | "failing");
    if is_brief && matches!(state, "running" | "restarting") {
        return format!("{name} loops {image}");
    }
    let status = body["Status"].as_str().unwrap_or_default();
    // After a loop the code is chance, and the time always.
    let words = if status.starts_with("Exited") && !is_brief {
        2
    } else {
        1
    };
    let status: Vec<&str> = status.split(' ').take(words).collect();
    let image_id = body["ImageID"].as_str().unwrap_or_default();
    format!(
        "{name} {is} {state} {} {image} {image_id}",
        status.join(" ")
    )
}

/// The words with which an Engine refuses, without what is chance.
pub fn refusal(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = body["message"].as_str().unwrap_or_default();
    // What comes before depends on the runtime's version.
    let message = message.find("exec: ").map_or(message, |at| &message[at..]);
    let is_hex = |word: &str| word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = message.trim_end().split(' ').map(|word| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        match bare {
            "restarting" => word.replace(bare, "running"),
            bare if is_hex(bare) => word.replace(bare, "ID"),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The lines without the frames in which they come.
fn log(body: &[u8]) -> String {
    let mut rest = body;
    let mut text = String::new();
    while let Some((head, after)) = rest.split_at_checked(8) {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (line, after) = after.split_at(length);
        text += String::from_utf8_lossy(line).trim_end();
        rest = after;
    }
    text
}

fn tags(body: &Value) -> String {
    let tags = body["RepoTags"].as_array().into_iter().flatten();
    let mut tags: Vec<&str> = tags.filter_map(Value::as_str).collect();
    tags.sort_unstable();
    let is_id = body["Id"]
        .as_str()
        .is_some_and(|id| id.starts_with("sha256:"));
    let digests = body["RepoDigests"].as_array().map_or(0, Vec::len);
    // A list has the labels beside the name, an image's details below its configuration.
    let labels = [&body["Labels"], &body["Config"]["Labels"]];
    let labels = labels.into_iter().filter_map(Value::as_object).flatten();
    let id = if is_id { "id" } else { "no id" };
    format!(
        "{id} {} digests {digests} labels {}",
        tags.join(" "),
        labels.count()
    )
}

fn removal(body: &Value) -> String {
    let list = body.as_array().or(body["ImagesDeleted"].as_array());
    let count = |key: &str| {
        let list = list.into_iter().flatten();
        list.filter(|entry| entry[key].is_string()).count()
    };
    format!(
        "untagged {} deleted {}",
        count("Untagged"),
        count("Deleted")
    )
}

fn stream(body: &[u8]) -> String {
    let lines = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let text = |line: Value| match line["errorDetail"]["message"].as_str() {
        Some(error) => format!("error {error}"),
        None => line["stream"]
            .as_str()
            .unwrap_or_default()
            .trim()
            .to_owned(),
    };
    let lines: Vec<String> = lines.map(|line| text(line.expect("JSON"))).collect();
    lines.join("; ")
}

/// The names in a saved archive, and how many layers it has.
fn archive(body: &[u8]) -> String {
    let mut archive = tar::Archive::new(body);
    for entry in archive.entries().expect("an archive") {
        let entry = entry.expect("an entry");
        if entry.path().expect("a path").ends_with("manifest.json") {
            let manifest: Value = serde_json::from_reader(entry).expect("a manifest");
            let layers = manifest[0]["Layers"].as_array().map_or(0, Vec::len);
            return format!("{} {layers}", manifest[0]["RepoTags"]);
        }
    }
    "no manifest".into()
}
