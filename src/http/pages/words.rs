//! Words of the API as words of a page.

use std::fmt;

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

#[cfg(test)]
mod tests {
    use super::*;

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
