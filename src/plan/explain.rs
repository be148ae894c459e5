//! Explains changes: changed fields as text, changed files as diffs.

use serde_json::Value;
use similar::TextDiff;

use crate::spec::{ContainerSpec, FileSpec};

/// The largest diff shown for one file, in bytes.
const MAX_DIFF_BYTES: usize = 16 * 1024;

/// Unified diff against a file's old content; masked for secrets, `None` for what is not text.
pub(super) fn file_diff(file: &FileSpec, former: Option<&[u8]>, new: bool) -> Option<String> {
    if file.secret {
        return Some("(secret, not shown)".into());
    }
    let former = match former {
        Some(bytes) => std::str::from_utf8(bytes).ok()?,
        None if new => "",
        None => return None,
    };
    let wanted = std::str::from_utf8(&file.content).ok()?;
    if former == wanted {
        return None;
    }
    let diff = TextDiff::from_lines(former, wanted);
    let mut text = diff
        .unified_diff()
        .context_radius(3)
        .header(&file.path, &file.path)
        .to_string();
    if text.len() > MAX_DIFF_BYTES {
        let cut = (0..=MAX_DIFF_BYTES)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(cut);
        text.push_str("\n… (cut)\n");
    }
    Some(text)
}

/// The fields in which two container specifications differ, in words.
pub(super) fn changed_fields(former: &ContainerSpec, wanted: &ContainerSpec) -> String {
    let (Ok(Value::Object(old)), Ok(Value::Object(new))) =
        (serde_json::to_value(former), serde_json::to_value(wanted))
    else {
        return "specification changed".into();
    };
    let mut reasons = Vec::new();
    // A field that is left out has its default.
    let fields = new
        .keys()
        .chain(old.keys().filter(|key| !new.contains_key(*key)));
    for field in fields {
        let [before, value] = [&old, &new].map(|map| map.get(field).unwrap_or(&Value::Null));
        if before == value {
            continue;
        }
        reasons.push(match (before, value) {
            (Value::Object(a), Value::Object(b)) => {
                let keys: Vec<&str> = a
                    .keys()
                    .chain(b.keys().filter(|k| !a.contains_key(*k)))
                    .filter(|k| a.get(*k) != b.get(*k))
                    .map(String::as_str)
                    .collect();
                format!("{field}: {}", keys.join(", "))
            }
            (Value::Array(a), Value::Array(b)) => {
                let gone = a
                    .iter()
                    .filter(|v| !b.contains(v))
                    .map(|v| format!("-{}", plain(v)));
                let come = b
                    .iter()
                    .filter(|v| !a.contains(v))
                    .map(|v| format!("+{}", plain(v)));
                format!(
                    "{field}: {}",
                    gone.chain(come).collect::<Vec<_>>().join(" ")
                )
            }
            (a, b) => format!("{field}: {} → {}", plain(a), plain(b)),
        });
    }
    if reasons.is_empty() {
        "specification changed".into()
    } else {
        reasons.join("; ")
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".into(),
        other => other.to_string(),
    }
}
