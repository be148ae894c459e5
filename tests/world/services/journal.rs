//! A numbered log of lines on a machine's disk. It is kept in segments, since a file is written as a
//! whole: an append must not cost more the longer the log grows.

use std::fmt::Write as _;

use crate::files::Files;

/// Lines of one segment.
const SEGMENT_LINES: usize = 32;

pub struct Journal {
    files: Files,
    /// Folder and beginning of the names of the segments.
    prefix: String,
    /// The first number of each segment, and its lines.
    segments: Vec<(u64, Vec<(u64, String)>)>,
}

impl Journal {
    /// Reads what is there, in order; `None` when a line has another form.
    pub fn open(files: &Files, dir: &str, name: &str) -> Option<Self> {
        let prefix = format!("{dir}/{name}");
        let mut segments = Vec::new();
        for path in files.below(dir) {
            let Some(first) = path.strip_prefix(&prefix) else {
                continue;
            };
            let first = u64::from_str_radix(first, 16).ok()?;
            let mut lines = Vec::new();
            for line in files.text(&path)?.lines() {
                let (number, text) = line.split_once(' ')?;
                lines.push((u64::from_str_radix(number, 16).ok()?, text.to_owned()));
            }
            segments.push((first, lines));
        }
        segments.sort_by_key(|(first, _)| *first);
        Some(Self {
            files: files.clone(),
            prefix,
            segments,
        })
    }

    pub fn lines(&self) -> impl Iterator<Item = &(u64, String)> {
        self.segments.iter().flat_map(|(_, lines)| lines)
    }

    pub fn append(&mut self, number: u64, line: String) {
        let is_full = |segment: &(u64, Vec<_>)| segment.1.len() >= SEGMENT_LINES;
        if self.segments.last().is_none_or(is_full) {
            self.segments.push((number, Vec::new()));
        }
        if let Some((first, lines)) = self.segments.last_mut() {
            let path = format!("{}{first:x}", self.prefix);
            self.files
                .append(&path, format!("{number:x} {line}\n").as_bytes());
            lines.push((number, line));
        }
    }

    /// Removes every line with a number above `last`.
    pub fn truncate(&mut self, last: u64) {
        while let Some((first, lines)) = self.segments.last_mut() {
            let path = format!("{}{first:x}", self.prefix);
            if *first > last {
                self.files.remove(&path);
                self.segments.pop();
                continue;
            }
            lines.retain(|(number, _)| *number <= last);
            let mut text = String::new();
            for (number, line) in lines {
                let _ = writeln!(text, "{number:x} {line}");
            }
            self.files.write(&path, text, 0o644);
            break;
        }
    }

    pub fn clear(&mut self) {
        for (first, _) in self.segments.drain(..) {
            self.files.remove(&format!("{}{first:x}", self.prefix));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(journal: &Journal) -> Vec<u64> {
        journal.lines().map(|(number, _)| *number).collect()
    }

    #[test]
    fn a_log_outlives_its_program() {
        let files = Files::default();
        let mut journal = Journal::open(&files, "/data", "log.").unwrap();
        for number in 1..=100 {
            journal.append(number, format!("line {number}"));
        }
        journal.truncate(70);
        journal.append(71, "another".into());
        let again = Journal::open(&files, "/data", "log.").unwrap();
        assert_eq!(numbers(&again), (1..=71).collect::<Vec<_>>());
        assert_eq!(again.lines().last().unwrap().1, "another");
        assert!(files.below("/data").len() > 2, "several segments");
        journal.clear();
        let empty = Journal::open(&files, "/data", "log.").unwrap();
        assert_eq!(empty.lines().count(), 0);
    }

    #[test]
    fn a_damaged_log_is_not_read() {
        let files = Files::default();
        files.write("/data/log.1", "1 good\nbad\n", 0o644);
        assert!(Journal::open(&files, "/data", "log.").is_none());
    }
}
