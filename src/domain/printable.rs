//! Makes text from outside safe to print on a terminal and in a log of lines: the one place for it.
//!
//! fail2ban, agents and clients choose names and messages. A raw control character in them could clear the screen, rename the
//! window or forge a line of the log (CVE-2003-0063 and the like), and a character that changes the writing direction could show
//! something else than is there. They are written as escapes, in Rust's notation.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character may be printed as it is: it controls no terminal, and does not move or hide what is around it.
fn is_printable(c: char) -> bool {
    let moves_others = matches!(c,
        '\u{61c}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !moves_others
}

/// On one line, with nothing in it that controls a terminal.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// The same for text that may have several lines.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

/// The same for valid JSON, which may contain raw characters that control a terminal: they become JSON escapes.
#[must_use]
pub fn printable_json(text: &str) -> Cow<'_, str> {
    let fits = |c: char| is_printable(c) || c == '\n';
    if text.chars().all(fits) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if fits(c) {
            escaped.push(c);
        } else {
            // All of them are in the first plane. Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        }
    }
    Cow::Owned(escaped)
}

fn escaped(text: &str, is_fine: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(|c| is_printable(c) || is_fine(c)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_printable(c) || is_fine(c) {
            escaped.push(c);
        } else if matches!(c, '\n' | '\r' | '\t') {
            escaped.extend(c.escape_default());
        } else {
            escaped.extend(c.escape_unicode());
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_clears_a_screen_or_forges_a_line() {
        assert_eq!(printable("\u{1b}[2J\u{1b}]0;owned\u{7}"), "\\u{1b}[2J\\u{1b}]0;owned\\u{7}");
        assert_eq!(printable("a jail\nok    redis  answers\r"), "a jail\\nok    redis  answers\\r");
        assert_eq!(printable("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert!(matches!(printable("Jörg's jail ☂ 日本"), Cow::Borrowed(_)));
        assert_eq!(printable_lines("one\n  two\u{1b}"), "one\n  two\\u{1b}");
    }

    #[test]
    fn what_json_allows_and_terminals_obey_is_escaped_and_reads_the_same() {
        let text = "a\u{9b}31m\u{7f}\u{202e}b";
        let json = serde_json::to_string(text).unwrap();
        let printed = printable_json(&json);
        assert!(printed.is_ascii(), "{printed}");
        assert_eq!(serde_json::from_str::<String>(&printed).unwrap(), text);
    }
}
