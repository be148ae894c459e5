//! The frame of the script's answer: one block of base64 with sections of text and, last, an
//! archive of file contents.

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::parse::ParseError;

/// Larger contents are not read; the script archives no such file, unless it grows meanwhile.
const MAX_CONTENT_BYTES: u64 = 64 * 1024;

/// What the script printed, by key.
#[derive(Debug)]
pub(super) struct Sections {
    texts: BTreeMap<String, String>,
    /// Path → content.
    pub contents: BTreeMap<String, Vec<u8>>,
}

impl Sections {
    /// The text of a section without the white space around it; empty when it is missing.
    pub(super) fn get(&self, key: &str) -> &str {
        self.texts.get(key).map_or("", |text| text.trim())
    }
}

/// Decodes an answer. Whatever else the host prints around the block is ignored.
pub(super) fn decode(output: &[u8], nonce: &str) -> Result<Sections, ParseError> {
    let text = String::from_utf8_lossy(output);
    let (begin, end) = (format!("{nonce} begin"), format!("{nonce} end"));
    let mut lines = text.lines().skip_while(|line| *line != begin).skip(1);
    let mut block = String::new();
    loop {
        match lines.next() {
            Some(line) if line == end => break,
            Some(line) => block.push_str(line),
            None => return Err(ParseError::Truncated),
        }
    }
    let bytes = STANDARD.decode(block).map_err(|_| ParseError::NotBase64)?;
    // The last section is binary. It is complete when the end is the end of the block.
    let (mark, end) = (format!("\n{nonce} contents\n"), format!("\n{nonce} end\n"));
    let at = bytes
        .windows(mark.len())
        .position(|window| window == mark.as_bytes())
        .ok_or(ParseError::Truncated)?;
    let archive = bytes[at + mark.len()..]
        .strip_suffix(end.as_bytes())
        .ok_or(ParseError::Truncated)?;
    Ok(Sections {
        texts: texts(&String::from_utf8_lossy(&bytes[..at]), nonce),
        contents: contents(archive),
    })
}

fn texts(text: &str, nonce: &str) -> BTreeMap<String, String> {
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    let mut key = None;
    for line in text.lines() {
        if let Some(next) = line
            .strip_prefix(nonce)
            .and_then(|rest| rest.strip_prefix(' '))
        {
            out.entry(next.to_owned()).or_default();
            key = Some(next);
        } else if let Some(section) = key.and_then(|key| out.get_mut(key)) {
            section.push_str(line);
            section.push('\n');
        }
    }
    out
}

/// Reads what tar wrote: one archive for each command line that find filled, one after another. The
/// second name of a file is a link to the first.
fn contents(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut out: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    archive.set_ignore_zeros(true);
    let Ok(entries) = archive.entries() else {
        return out;
    };
    for entry in entries.map_while(Result::ok) {
        let path = absolute(&entry.path_bytes());
        let kind = entry.header().entry_type();
        if kind.is_file() && entry.size() <= MAX_CONTENT_BYTES {
            let mut content = Vec::new();
            if entry
                .take(MAX_CONTENT_BYTES)
                .read_to_end(&mut content)
                .is_ok()
            {
                out.insert(path, content);
            }
        } else if kind.is_hard_link()
            && let Some(first) = entry.link_name_bytes()
            && let Some(content) = out.get(&absolute(&first)).cloned()
        {
            out.insert(path, content);
        }
    }
    out
}

/// tar leaves out the first slash.
fn absolute(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    format!("/{}", name.trim_start_matches('/'))
}

/// An answer as the script prints it.
#[cfg(test)]
pub(super) fn encode(nonce: &str, sections: &[(&str, &str)], archive: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (key, value) in sections {
        block.extend(format!("\n{nonce} {key}\n{value}\n").bytes());
    }
    block.extend(format!("\n{nonce} contents\n").bytes());
    block.extend(archive);
    block.extend(format!("\n{nonce} end\n").bytes());
    let block = STANDARD.encode(block);
    format!("{nonce} begin\n{block}\n{nonce} end\n").into_bytes()
}
