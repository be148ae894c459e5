//! Escapes text before it is shown.

/// Replaces control characters (C0 except newline, DEL, C1), bidirectional and other invisible
/// formatting characters by visible escapes, so that no text from a host or a file can control a
/// terminal. Newlines stay.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push(c),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' | '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_stays() {
        let input: String = (0u32..=0x2100)
            .chain(0xfe00..=0xffff)
            .filter_map(char::from_u32)
            .collect();
        let out = shown(&input);
        assert!(out.chars().all(|c| c == '\n' || !c.is_control()));
        assert!(!out.contains('\u{202e}') && !out.contains('\u{2066}'));
        assert_eq!(shown("\x1b[2J\r"), "\\x1b[2J\\r");
        assert_eq!(shown("grün\nzwei"), "grün\nzwei");
    }
}
