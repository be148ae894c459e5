//! Which form a run is shown in, and with which colours.

use std::str::FromStr;

/// The form in which events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One line per host, redrawn in place; on a terminal only.
    Live,
    /// Whole lines, each with the host before it.
    Plain,
    /// One JSON object a line.
    Json,
}

/// A word that is not a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an output form: it is one of live, plain, json")]
pub struct ModeError(pub String);

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        Self::ALL
            .into_iter()
            .find(|m| m.as_str() == text)
            .ok_or_else(|| ModeError(text.to_owned()))
    }
}

impl Mode {
    /// All forms, the default of a terminal first.
    pub const ALL: [Self; 3] = [Self::Live, Self::Plain, Self::Json];

    /// The word of the option.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Plain => "plain",
            Self::Json => "json",
        }
    }

    /// The form that fits: what was asked for, else live on a terminal that a person watches. `CI`, `NO_COLOR` and `TERM=dumb` make it
    /// plain; a live view that was asked for still needs a terminal that can move its cursor.
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

/// How text is dressed, chosen once at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Colours on stderr (live view, plain lines).
    pub colour: bool,
    /// Colours on stdout (ending, status, plan).
    pub out_colour: bool,
    /// Width of the ending; the terminal's, or 160 without one, when absent.
    pub columns: Option<usize>,
}

impl Options {
    /// Colours only on terminals, and not with `CI`, `NO_COLOR` or `TERM=dumb`; `COLUMNS` sets the width.
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

    /// The width of what goes to stdout.
    #[must_use]
    pub fn width(&self) -> usize {
        let terminal = || {
            console::Term::stdout()
                .size_checked()
                .map(|(_, columns)| usize::from(columns))
                .filter(|c| *c > 0)
        };
        self.columns.or_else(terminal).unwrap_or(160)
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
        assert_eq!(Mode::choose(None, true, env(&[term])), Mode::Live);
        assert_eq!(Mode::choose(None, false, env(&[term])), Mode::Plain);
        assert_eq!(
            Mode::choose(None, true, env(&[term, ("CI", "true")])),
            Mode::Plain
        );
        assert_eq!(
            Mode::choose(None, true, env(&[term, ("NO_COLOR", "1")])),
            Mode::Plain
        );
        assert_eq!(
            Mode::choose(None, true, env(&[term, ("NO_COLOR", "")])),
            Mode::Live
        );
        assert_eq!(
            Mode::choose(None, true, env(&[("TERM", "dumb")])),
            Mode::Plain
        );
        assert_eq!(Mode::choose(None, true, env(&[])), Mode::Plain);
    }

    #[test]
    fn what_was_asked_for_wins_where_it_can() {
        let term = ("TERM", "xterm");
        assert_eq!(
            Mode::choose(
                Some(Mode::Live),
                true,
                env(&[term, ("CI", "1"), ("NO_COLOR", "1")])
            ),
            Mode::Live
        );
        assert_eq!(
            Mode::choose(Some(Mode::Live), false, env(&[term])),
            Mode::Plain
        );
        assert_eq!(
            Mode::choose(Some(Mode::Live), true, env(&[("TERM", "dumb")])),
            Mode::Plain
        );
        assert_eq!(
            Mode::choose(Some(Mode::Plain), true, env(&[term])),
            Mode::Plain
        );
        assert_eq!(
            Mode::choose(Some(Mode::Json), true, env(&[term])),
            Mode::Json
        );
        assert_eq!("json".parse(), Ok(Mode::Json));
        assert!("yaml".parse::<Mode>().is_err());
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
