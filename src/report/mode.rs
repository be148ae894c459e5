//! The output format of a run, and its colours.

use std::str::FromStr;

use super::writer::output_columns;
use crate::env::Terminal;

/// The format of a run's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// One line per host, redrawn in place; on a terminal only.
    Live,
    /// Whole lines, each starting with the host.
    Plain,
    /// One JSON object per line.
    Json,
}

/// An unknown output format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("output format must be live, plain or json, got {0:?}")]
pub struct OutputModeError(pub String);

impl FromStr for OutputMode {
    type Err = OutputModeError;

    fn from_str(text: &str) -> Result<Self, OutputModeError> {
        Self::ALL
            .into_iter()
            .find(|m| m.as_str() == text)
            .ok_or_else(|| OutputModeError(text.to_owned()))
    }
}

impl OutputMode {
    /// All formats, the default of a terminal first.
    pub const ALL: [Self; 3] = [Self::Live, Self::Plain, Self::Json];

    /// The value of `--output`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Plain => "plain",
            Self::Json => "json",
        }
    }

    /// The format to use: the requested one, else live on a terminal. `CI`, `NO_COLOR` and
    /// `TERM=dumb` select plain; a requested live view still needs a terminal that can move its
    /// cursor.
    #[must_use]
    pub fn choose(
        flag: Option<Self>,
        stderr_terminal: bool,
        env: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let can = stderr_terminal && !dumb(&env);
        match flag {
            Some(Self::Live) if can => Self::Live,
            Some(Self::Json) => Self::Json,
            None if can && !set(&env, "CI") && !set(&env, "NO_COLOR") => Self::Live,
            _ => Self::Plain,
        }
    }
}

/// Colours and width, chosen once at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Colours on stderr (live view, plain lines).
    pub colour: bool,
    /// Colours on stdout (ending, status, plan).
    pub out_colour: bool,
    /// Width of the text on stdout; when absent 160.
    pub columns: Option<usize>,
}

impl Options {
    /// Colours only on terminals, and not with `CI`, `NO_COLOR` or `TERM=dumb`; `COLUMNS` sets the
    /// width.
    #[must_use]
    pub fn choose(
        stdout_terminal: bool,
        stderr_terminal: bool,
        env: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let wanted = !set(&env, "NO_COLOR") && !set(&env, "CI") && !dumb(&env);
        let columns = env("COLUMNS")
            .and_then(|c| c.parse().ok())
            .filter(|c| *c > 0);
        Self {
            colour: wanted && stderr_terminal,
            out_colour: wanted && stdout_terminal,
            columns,
        }
    }

    /// These, with the width that the terminal behind stdout has now, unless `COLUMNS` set it.
    #[must_use]
    pub fn on(self, terminal: &dyn Terminal) -> Self {
        let columns = self.columns.or_else(|| output_columns(terminal));
        Self { columns, ..self }
    }

    /// Width of the text on stdout.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.unwrap_or(160)
    }
}

fn set(env: &impl Fn(&str) -> Option<String>, name: &str) -> bool {
    env(name).is_some_and(|v| !v.is_empty())
}

fn dumb(env: &impl Fn(&str) -> Option<String>) -> bool {
    env("TERM").is_none_or(|t| t.is_empty() || t == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| {
            pairs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        }
    }

    #[test]
    fn live_only_for_a_watched_terminal() {
        let term = ("TERM", "xterm");
        assert_eq!(
            OutputMode::choose(None, true, env(&[term])),
            OutputMode::Live
        );
        assert_eq!(
            OutputMode::choose(None, false, env(&[term])),
            OutputMode::Plain
        );
        assert_eq!(
            OutputMode::choose(None, true, env(&[term, ("CI", "true")])),
            OutputMode::Plain
        );
        assert_eq!(
            OutputMode::choose(None, true, env(&[term, ("NO_COLOR", "1")])),
            OutputMode::Plain
        );
        assert_eq!(
            OutputMode::choose(None, true, env(&[term, ("NO_COLOR", "")])),
            OutputMode::Live
        );
        assert_eq!(
            OutputMode::choose(None, true, env(&[("TERM", "dumb")])),
            OutputMode::Plain
        );
        assert_eq!(OutputMode::choose(None, true, env(&[])), OutputMode::Plain);
    }

    #[test]
    fn what_was_asked_for_wins_where_it_can() {
        let term = ("TERM", "xterm");
        assert_eq!(
            OutputMode::choose(
                Some(OutputMode::Live),
                true,
                env(&[term, ("CI", "1"), ("NO_COLOR", "1")])
            ),
            OutputMode::Live
        );
        assert_eq!(
            OutputMode::choose(Some(OutputMode::Live), false, env(&[term])),
            OutputMode::Plain
        );
        assert_eq!(
            OutputMode::choose(Some(OutputMode::Live), true, env(&[("TERM", "dumb")])),
            OutputMode::Plain
        );
        assert_eq!(
            OutputMode::choose(Some(OutputMode::Plain), true, env(&[term])),
            OutputMode::Plain
        );
        assert_eq!(
            OutputMode::choose(Some(OutputMode::Json), true, env(&[term])),
            OutputMode::Json
        );
        assert_eq!("json".parse(), Ok(OutputMode::Json));
        assert!("yaml".parse::<OutputMode>().is_err());
    }

    #[test]
    fn colours_only_where_wanted() {
        let term = ("TERM", "xterm");
        let o = Options::choose(false, true, env(&[term, ("COLUMNS", "72")]));
        assert_eq!(
            o,
            Options {
                colour: true,
                out_colour: false,
                columns: Some(72)
            }
        );
        for off in [("NO_COLOR", "1"), ("CI", "1"), ("TERM", "dumb")] {
            let o = Options::choose(true, true, env(&[off, term]));
            assert!(!o.colour && !o.out_colour, "{off:?}");
        }
    }
}
