//! A line of text whose parts have a tone. It is measured and cut before it is coloured, so that
//! colour codes never count as width.

use console::Style;

use super::text;

/// The meaning of a part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tone {
    /// Neutral.
    #[default]
    Normal,
    /// Good.
    Good,
    /// Failed.
    Bad,
    /// In progress, or to be noticed.
    Notice,
    /// Less important.
    Dim,
    /// A heading.
    Strong,
}

impl Tone {
    /// The text in this tone's colour, or unchanged.
    pub(super) fn paint(self, text: &str, colour: bool) -> String {
        let style = match self {
            _ if !colour || text.is_empty() => return text.to_owned(),
            Self::Normal => return text.to_owned(),
            Self::Good => Style::new().green(),
            Self::Bad => Style::new().red(),
            Self::Notice => Style::new().yellow(),
            Self::Dim => Style::new().dim(),
            Self::Strong => Style::new().bold(),
        };
        style.force_styling(true).apply_to(text).to_string()
    }
}

/// A line in parts.
#[derive(Debug, Clone, Default)]
pub(super) struct StyledLine(Vec<(String, Tone)>);

impl StyledLine {
    /// Adds a part.
    pub(super) fn push(&mut self, text: impl Into<String>, tone: Tone) {
        self.0.push((text.into(), tone));
    }

    /// A line with one part.
    pub(super) fn with(text: impl Into<String>, tone: Tone) -> Self {
        Self(vec![(text.into(), tone)])
    }

    /// Width in columns.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(t, _)| text::width(t)).sum()
    }

    /// The line cut to `max` columns, coloured if requested, without trailing blanks.
    pub(super) fn show(&self, max: usize, colour: bool) -> String {
        let mut left = max;
        let mut parts = Vec::new();
        for (i, (text, tone)) in self.0.iter().enumerate() {
            let more: usize = self.0[i + 1..].iter().map(|(t, _)| text::width(t)).sum();
            let w = text::width(text);
            // The ellipsis takes a column of this part when the next part does not fit.
            if w + more > left && w >= left {
                parts.push((
                    format!("{}…", text::truncate_plain(text, left.saturating_sub(1))),
                    *tone,
                ));
                break;
            }
            left -= w;
            parts.push((text.clone(), *tone));
        }
        while let Some((last, _)) = parts.last_mut() {
            last.truncate(last.trim_end_matches(' ').len());
            if !last.is_empty() {
                break;
            }
            parts.pop();
        }
        if max == 0 {
            String::new()
        } else {
            parts
                .iter()
                .map(|(t, tone)| tone.paint(t, colour))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_has_no_width() {
        let mut line = StyledLine::default();
        line.push("abc", Tone::Bad);
        line.push(" defg  ", Tone::Normal);
        assert_eq!(line.width(), 10);
        assert_eq!(line.show(40, false), "abc defg");
        assert_eq!(line.show(6, false), "abc d…");
        assert_eq!(line.show(3, false), "ab…");
        assert_eq!(line.show(6, true), "\x1b[31mabc\x1b[0m d…");
        assert_eq!(line.show(0, false), "");
    }
}
