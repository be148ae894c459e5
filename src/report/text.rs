//! Columns, wrapping and numbers of shown text.

use std::time::Duration;

use indicatif::DecimalBytes;

use unicode_width::UnicodeWidthChar;

use crate::event::escape;
use crate::spec::Remedy;

/// One line of escaped text: newlines and runs of blanks become one blank.
pub(super) fn clean(text: &str) -> String {
    let escaped = escape(text);
    let words: Vec<_> = escaped
        .split(['\n', ' '])
        .filter(|w| !w.is_empty())
        .collect();
    words.join(" ")
}

/// Escaped lines of a text; blanks stay.
pub(super) fn lines(text: &str) -> Vec<String> {
    escape(text)
        .trim_end_matches('\n')
        .split('\n')
        .map(str::to_owned)
        .collect()
}

/// Columns of a character. The sum is never less than what a terminal uses for the text.
pub(super) fn columns(c: char) -> usize {
    c.width().unwrap_or(1)
}

/// Columns of a text.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// The text cut to `max` columns; the last one is an ellipsis when something was cut.
pub(super) fn truncate(text: &str, max: usize) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    match max {
        0 => String::new(),
        _ => format!("{}…", truncate_plain(text, max - 1)),
    }
}

/// The text cut to `max` columns.
pub(super) fn truncate_plain(text: &str, max: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += columns(*c);
        used <= max
    };
    text.chars().take_while(fits).collect()
}

/// The text padded with blanks to `to` columns.
pub(super) fn pad(text: &str, to: usize) -> String {
    let mut out = text.to_owned();
    out.extend(std::iter::repeat_n(' ', to.saturating_sub(width(text))));
    out
}

/// Wraps one line at blanks, and inside a word that is longer than a line, after `first` on the
/// first line and `rest` on the others.
pub(super) fn wrap(text: &str, max: usize, first: &str, rest: &str) -> Vec<String> {
    let max = max.max(1);
    let fit = |prefix: &str| {
        if width(prefix) + 8 <= max {
            prefix.to_owned()
        } else {
            String::new()
        }
    };
    let (first, rest) = (fit(first), fit(rest));
    let mut out = Vec::new();
    let mut line = first.clone();
    let mut used = width(&line);
    let mut empty = true;
    for word in text.split(' ') {
        let blank = usize::from(!empty);
        if !empty && used + blank + width(word) > max {
            out.push(std::mem::replace(&mut line, rest.clone()));
            used = width(&line);
        } else if !empty {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            let (c, w) = if columns(c) > max {
                ('?', 1)
            } else {
                (c, columns(c))
            };
            if used + w > max {
                out.push(std::mem::replace(&mut line, rest.clone()));
                used = width(&line);
            }
            line.push(c);
            used += w;
        }
        empty = false;
    }
    out.push(line);
    out
}

/// `0.8 s`, `41 s`, `2 min 05 s`, `1 h 02 min`.
pub(super) fn duration(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..=9 => format!("{}.{} s", s, d.subsec_millis() / 100),
        10..=59 => format!("{s} s"),
        60..=3599 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// Milliseconds as [`duration`].
pub(super) fn millis(ms: u64) -> String {
    duration(Duration::from_millis(ms))
}

/// A remedy as a line of its own.
pub(super) fn hint(remedy: &Remedy) -> String {
    format!("hint: {}", clean(&remedy.to_string()))
}

/// `34.25 MB of 120.00 MB`, `34.25 MB`.
pub(super) fn bytes(done: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{} of {}", DecimalBytes(done), DecimalBytes(total)),
        None => DecimalBytes(done).to_string(),
    }
}

/// `1 host`, `2 hosts`.
pub(super) fn count(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

/// `m1, m2, m3 and 5 more`.
pub(super) fn names<'a>(items: impl IntoIterator<Item = &'a str>, shown: usize) -> String {
    let items: Vec<_> = items.into_iter().collect();
    match items.len().saturating_sub(shown) {
        0 => items.join(", "),
        more => format!("{} and {more} more", items[..shown].join(", ")),
    }
}

/// Faults of one service that are shown; JSON has all of them.
const MAX_FAULTS: usize = 20;

/// The first faults, and how many more there are: each host may have its own.
pub(super) fn first_faults(faults: &[String]) -> Vec<String> {
    match faults.len().saturating_sub(MAX_FAULTS) {
        // A line that says "1 more" is no shorter.
        0 | 1 => faults.iter().map(|fault| clean(fault)).collect(),
        more => {
            let first = faults[..MAX_FAULTS].iter().map(|fault| clean(fault));
            first.chain([format!("… and {more} more")]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_faults_are_counted() {
        let faults = |n: usize| (0..n).map(|n| format!("s{n}\nfails")).collect::<Vec<_>>();
        assert_eq!(first_faults(&faults(21)).len(), 21);
        let shown = first_faults(&faults(200));
        assert_eq!((shown.len(), shown[0].as_str()), (21, "s0 fails"));
        assert_eq!(shown[20], "… and 180 more");
    }

    #[test]
    fn cuts_by_columns_not_by_characters() {
        assert_eq!(truncate("ab", 2), "ab");
        assert_eq!(truncate("abc", 2), "a…");
        assert_eq!(truncate("日本語", 5), "日本…");
        assert_eq!(truncate("日本語", 4), "日…");
        assert_eq!(truncate("abc", 0), "");
        assert_eq!(pad("日", 4), "日  ");
    }

    #[test]
    fn wraps_at_blanks_and_inside_long_words() {
        assert_eq!(wrap("one two three", 9, "", "  "), ["one two", "three"]);
        assert_eq!(
            wrap("one two three", 12, "- ", "  "),
            ["- one two", "  three"]
        );
        assert_eq!(wrap("abcdefghij", 4, "", ""), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("", 4, "", ""), [""]);
        assert_eq!(wrap("日本", 1, "", ""), ["?", "?"]);
    }

    #[test]
    fn numbers_as_people_read_them() {
        let shown = |s: f64| duration(Duration::from_secs_f64(s));
        assert_eq!(
            [shown(0.85), shown(41.9), shown(125.0), shown(3725.0)],
            ["0.8 s", "41 s", "2 min 05 s", "1 h 02 min"]
        );
        assert_eq!(
            bytes(34_250_000, Some(120_000_000)),
            "34.25 MB of 120.00 MB"
        );
        assert_eq!(names(["a", "b", "c"], 2), "a, b and 1 more");
        assert_eq!(names(["a", "b"], 2), "a, b");
        assert_eq!(clean("a\n  b\x1b[m"), "a b\\x1b[m");
    }
}
