//! Events as JSON lines: `{"v":1,"ts":…,"type":…}`; the result comes last, without a timestamp.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

use crate::event::{Event, VERSION, escape};

/// One line of `toots … --output json`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Line")]
struct Stamped<'a> {
    /// Version of the format.
    v: u8,
    /// RFC 3339; the result has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<String>,
    #[serde(flatten)]
    event: &'a Event,
}

/// The JSON schema of one line of `--output json`.
#[must_use]
pub fn event_schema() -> serde_json::Value {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<Stamped<'_>>()
        .to_value()
}

/// One line of JSON, without its newline.
#[must_use]
pub fn json_line(event: &Event, at: jiff::Timestamp) -> String {
    let ts = (!matches!(event, Event::Result(_))).then(|| format!("{at:.3}"));
    to_json(&Stamped {
        v: VERSION,
        ts,
        event,
    })
}

/// JSON without characters that can control a terminal: those that serde keeps (DEL, C1,
/// bidirectional marks) become `\u….`
pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    // Only a map with keys that are not text can fail, and there is none.
    let raw = serde_json::to_string(value).unwrap_or_default();
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        let harmless = (c.is_ascii() && c != '\u{7f}') || escape(&c.to_string()).starts_with(c);
        if harmless {
            out.push(c);
        } else {
            out.extend(
                c.encode_utf16(&mut [0; 2])
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}")),
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_drive_terminals_are_written_as_numbers_and_read_back() {
        let text = "a\x1b\u{7f}\u{9b}\u{202e}\u{e0041}ü日\n\"";
        let json = to_json(&text);
        assert!(json.chars().all(|c| !c.is_control() && c != '\u{202e}'));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
