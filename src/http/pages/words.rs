//! Words of the API as words of a page.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use askama::filters::{Html, HtmlSafe, escape};

/// A text with names between backticks, as markup: it is escaped, then each pair of backticks becomes `<code>`.
///
/// Pages show the texts of problems and findings through this. Scripts have the same in `dock.js`.
#[derive(Debug, Clone, Copy)]
pub struct Coded<'a>(pub &'a str);

impl HtmlSafe for Coded<'_> {}

impl fmt::Display for Coded<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.split('`').enumerate().peekable();
        while let Some((n, part)) = parts.next() {
            let part = escape(part, Html).map_err(|_| fmt::Error)?;
            match (n % 2 == 1, parts.peek().is_some()) {
                (false, _) => write!(out, "{part}")?,
                (true, true) => write!(out, "<code>{part}</code>")?,
                // A last backtick without a partner is an ordinary character.
                (true, false) => write!(out, "`{part}")?,
            }
        }
        Ok(())
    }
}

/// A detail of a problem document as a sentence of a page.
#[must_use]
pub fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let rest = letters.as_str();
    let end = if detail.ends_with(['.', '?', ':']) { "" } else { "." };
    format!("{first}{rest}{end}")
}

/// A text whose characters can all be seen: marks that turn its direction, and others without a shape, as their numbers. Without
/// that a sentence such as "Line 2: 203.0.113.7 is not an address" cannot be understood.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    let unseen = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if !text.contains(unseen) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if unseen(letter) {
            let _ = write!(seen, "[U+{:04X}]", u32::from(letter));
        } else {
            seen.push(letter);
        }
    }
    Cow::Owned(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_shape_is_shown_by_its_number() {
        assert_eq!(visible("203.0.113.7, ä ا"), "203.0.113.7, ä ا");
        assert_eq!(visible("\u{202e}203.0.113.7\u{feff}"), "[U+202E]203.0.113.7[U+FEFF]");
        assert_eq!(visible("a\u{200b}b\tc"), "a[U+200B]b[U+0009]c");
    }

    #[test]
    fn a_detail_becomes_a_sentence() {
        assert_eq!(sentence("there is no such server"), "There is no such server.");
        assert_eq!(sentence("Redis refused. Retry."), "Redis refused. Retry.");
        assert_eq!((sentence(""), sentence("ä")), (".".to_owned(), "Ä.".to_owned()));
    }

    #[test]
    fn what_is_between_backticks_is_code_and_markup_stays_text() {
        let coded = |text: &str| Coded(text).to_string();
        assert_eq!(
            coded("run `bangui agent`, then `bangui check`"),
            "run <code>bangui agent</code>, then <code>bangui check</code>"
        );
        assert_eq!(coded("`<b>` & <i>"), "<code>&#60;b&#62;</code> &#38; &#60;i&#62;");
        assert_eq!(coded("`</code><script>`"), "<code>&#60;/code&#62;&#60;script&#62;</code>");
        assert_eq!(coded("`a` and a lone ` stays"), "<code>a</code> and a lone ` stays");
        assert_eq!((coded("plain"), coded("")), ("plain".to_owned(), String::new()));
    }
}
