//! All mistakes of an inventory, each with its place.

use std::fmt;
use std::ops::Range;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line and column, from 1; absent when the whole file is meant.
    pub at: Option<(usize, usize)>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// All problems of one file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InventoryErrors {
    /// The file's name as given.
    pub file: String,
    /// In the order of their places.
    pub problems: Vec<Problem>,
}

impl InventoryErrors {
    /// For a text that nobody wrote into a file.
    #[must_use]
    pub fn without_places(mut self) -> Self {
        for problem in &mut self.problems {
            problem.at = None;
        }
        self
    }
}

impl fmt::Display for InventoryErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            match problem.at {
                Some((line, column)) => {
                    write!(f, "{}:{line}:{column}: {}", self.file, problem.what)?
                }
                None => write!(f, "{}: {}", self.file, problem.what)?,
            }
            if let Some(help) = &problem.help {
                write!(f, "\n  hint: {help}")?;
            }
        }
        Ok(())
    }
}

/// Collects problems with byte ranges and turns them into lines and columns at the end.
pub(super) struct Problems<'a> {
    text: &'a str,
    found: Vec<(usize, Problem)>,
}

/// Limit of reported problems.
pub(super) const MAX_MISTAKES: usize = 50;

impl<'a> Problems<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            found: Vec::new(),
        }
    }

    pub fn add(
        &mut self,
        span: Option<Range<usize>>,
        what: impl Into<String>,
        help: Option<String>,
    ) {
        if self.found.len() < MAX_MISTAKES {
            let start = span.as_ref().map_or(0, |span| span.start);
            let at = span.map(|span| self.place(span.start));
            // A newline in a key or value must not start a line that looks like a message of its
            // own.
            let line = |text: &str| crate::spec::shown(text).replace('\n', "\\n");
            self.found.push((
                start,
                Problem {
                    at,
                    what: line(&what.into()),
                    help: help.map(|help| line(&help)),
                },
            ));
        }
    }

    /// Line and column of the start of a span, for later checks.
    pub fn spot(&self, span: Option<&Range<usize>>) -> Option<(usize, usize)> {
        span.map(|span| self.place(span.start))
    }

    /// Line and column of a byte, columns in characters.
    fn place(&self, at: usize) -> (usize, usize) {
        let at = (0..=at.min(self.text.len()))
            .rev()
            .find(|at| self.text.is_char_boundary(*at))
            .unwrap_or(0);
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |rest| rest.chars().count())
            + 1;
        (line, column)
    }

    pub fn finish<T>(mut self, file: &str, value: Option<T>) -> Result<T, InventoryErrors> {
        self.found.sort_by_key(|(start, _)| *start);
        let problems: Vec<Problem> = self.found.into_iter().map(|(_, problem)| problem).collect();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(InventoryErrors {
                file: file.to_owned(),
                problems,
            }),
        }
    }
}
