//! What a build reads: the context's Dockerfile, as the classic builder understands it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    pub keyword: String,
    pub rest: String,
}

impl Instruction {
    pub fn text(&self) -> String {
        format!("{} {}", self.keyword, self.rest)
    }
}

const KNOWN: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads the instructions in order.
///
/// # Errors
/// The message of the Engine.
pub fn parse(text: &str) -> Result<Vec<Instruction>, String> {
    let mut instructions = Vec::new();
    let mut held = String::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        held += line.trim_end_matches('\\');
        if line.ends_with('\\') {
            continue;
        }
        let whole = std::mem::take(&mut held);
        let (keyword, rest) = whole
            .split_once(char::is_whitespace)
            .unwrap_or((&whole, ""));
        let keyword = keyword.to_ascii_uppercase();
        if !KNOWN.contains(&keyword.as_str()) {
            let at = n + 1;
            return Err(format!(
                "dockerfile parse error line {at}: unknown instruction: {keyword}"
            ));
        }
        let rest = rest.trim().to_owned();
        instructions.push(Instruction { keyword, rest });
    }
    Ok(instructions)
}

/// Replaces `${NAME}` and `$NAME`; what is not known is empty.
pub fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out += before;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, left) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            Some((name, left)) => (name, left),
            None => after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())),
        };
        out += values.get(name).map_or("", String::as_str);
        rest = left;
    }
    out + rest
}

/// `A=b C="d e"`
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, left) = match after.strip_prefix('"').and_then(|a| a.split_once('"')) {
            Some(quoted) => quoted,
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        pairs.push((key.trim().trim_matches('"').to_owned(), value.to_owned()));
        rest = left.trim();
    }
    pairs
}

/// `["a", "b"]`, else a line for the shell.
fn command(text: &str) -> Value {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) => words.into(),
        Err(_) => json!(["/bin/sh", "-c", text]),
    }
}

/// What an instruction changes of the settings for containers.
pub fn apply(instruction: &Instruction, text: &str, settings: &mut Value) {
    match instruction.keyword.as_str() {
        "CMD" => settings["Cmd"] = command(text),
        "ENTRYPOINT" => {
            settings["Entrypoint"] = command(text);
            // The base's arguments belong to the base's entrypoint.
            settings["Cmd"] = Value::Null;
        }
        "LABEL" => {
            for (key, value) in pairs(text) {
                settings["Labels"][key] = value.into();
            }
        }
        "ENV" => {
            let former = settings["Env"].as_array().cloned().unwrap_or_default();
            let new = pairs(text).into_iter();
            let new = new.map(|(key, value)| Value::from(format!("{key}={value}")));
            settings["Env"] = former.into_iter().chain(new).collect();
        }
        "EXPOSE" => settings["ExposedPorts"][text] = json!({}),
        "STOPSIGNAL" => settings["StopSignal"] = text.into(),
        "USER" => settings["User"] = text.into(),
        "VOLUME" => settings["Volumes"][text] = json!({}),
        "WORKDIR" => settings["WorkingDir"] = text.into(),
        _ => {}
    }
}

/// Whether it changes files, so that the image gets a layer.
pub fn has_layer(instruction: &Instruction) -> bool {
    matches!(
        instruction.keyword.as_str(),
        "ADD" | "COPY" | "RUN" | "WORKDIR"
    )
}
