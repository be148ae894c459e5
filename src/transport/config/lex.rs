//! Splits a configuration line into words.

const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

fn blank(c: char) -> bool {
    BLANK.contains(&c)
}

/// The lower-case keyword and the rest of the line; `None` for empty lines and comments.
pub(super) fn keyword(line: &str) -> Option<(String, &str)> {
    let line = line
        .trim_end_matches(|c| blank(c) || c == '\u{c}')
        .trim_start_matches(blank);
    let (word, rest) = delimited(line)?;
    if word.is_empty() || word.starts_with('#') {
        return None;
    }
    Some((word.to_ascii_lowercase(), rest))
}

/// The next word up to a blank or one `=`, and the rest. Double quotes keep a word together; there
/// are no escapes.
pub(super) fn delimited(text: &str) -> Option<(&str, &str)> {
    if text.is_empty() {
        return None;
    }
    if let Some(quoted) = text.strip_prefix('"') {
        let (word, rest) = quoted.split_once('"')?;
        return Some((word, after(rest, false)));
    }
    let Some(end) = text.find(|c| blank(c) || c == '=' || c == '"') else {
        return Some((text, ""));
    };
    let (word, rest) = text.split_at(end);
    let equals = rest.starts_with('=');
    // A quote begins the next word without a separator.
    let rest = if rest.starts_with('"') {
        rest
    } else {
        rest.get(1..).unwrap_or_default()
    };
    Some((word, after(rest, equals)))
}

/// Skips blanks, and one `=` if none was skipped yet.
fn after(rest: &str, equals: bool) -> &str {
    let rest = rest.trim_start_matches(blank);
    match rest.strip_prefix('=') {
        Some(more) if !equals => more.trim_start_matches(blank),
        _ => rest,
    }
}

/// The arguments of a line. Both kinds of quotes count; a backslash escapes a quote, a backslash
/// or, outside quotes, a blank; `#` at the start of a word ends the line.
pub(super) fn arguments(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| *c == ' ' || *c == '\t').is_some() {}
        match chars.peek() {
            None | Some('#') => return Ok(words),
            Some(_) => {}
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\\', _) => match chars.peek() {
                    Some(n @ ('\'' | '"' | '\\')) => {
                        word.push(*n);
                        chars.next();
                    }
                    Some(' ') if quote.is_none() => {
                        word.push(' ');
                        chars.next();
                    }
                    _ => word.push('\\'),
                },
                (' ' | '\t', None) => break,
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(q)) if c == q => quote = None,
                (c, _) => word.push(c),
            }
        }
        if quote.is_some() {
            return Err("unclosed quote");
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keywords_are_found_in_every_spelling() {
        for line in [
            "HostName x",
            "  hostname\tx ",
            "HOSTNAME=x",
            "HostName = x",
            "HostName= x\r",
        ] {
            assert_eq!(
                keyword(line),
                Some(("hostname".to_owned(), "x")),
                "{line:?}"
            );
        }
        assert_eq!(
            keyword("\"HostName\" x"),
            Some(("hostname".to_owned(), "x"))
        );
        assert_eq!(
            keyword("ProxyCommand=nc \"a b\""),
            Some(("proxycommand".to_owned(), "nc \"a b\""))
        );
        for line in ["", "  ", "# Host x", "  #x", "\r"] {
            assert_eq!(keyword(line), None, "{line:?}");
        }
    }

    #[test]
    fn arguments_are_split_as_openssh_splits_them() {
        let words = |t: &str| arguments(t).map(|w| w.join("|"));
        assert_eq!(words("a  b\tc"), Ok("a|b|c".to_owned()));
        assert_eq!(words("\"a b\" 'c d' e\\ f"), Ok("a b|c d|e f".to_owned()));
        assert_eq!(words("a\"b c\"d"), Ok("ab cd".to_owned()));
        assert_eq!(words("a # rest"), Ok("a".to_owned()));
        assert_eq!(words("a#b"), Ok("a#b".to_owned()));
        assert_eq!(words("\"a\\\"b\" c\\d"), Ok("a\"b|c\\d".to_owned()));
        assert!(words("\"a").is_err());
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(text in "\\PC{0,60}") {
            let _ = keyword(&text);
            let _ = arguments(&text);
            let mut rest = text.as_str();
            while let Some((_, more)) = delimited(rest) {
                prop_assert!(more.len() < rest.len() || more.is_empty());
                if more.is_empty() { break }
                rest = more;
            }
        }
    }
}
