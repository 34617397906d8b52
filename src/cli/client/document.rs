//! An answer of the API: as it came, for scripts, and as JSON, to be shown and acted on.

use reqwest::StatusCode;
use serde_json::Value;

use crate::domain::printable::printable_json;

/// An answer.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its status.
    pub status: StatusCode,
    /// As it came.
    pub text: String,
    /// As JSON; `null` if it is empty.
    pub value: Value,
}

impl Document {
    /// On one line, unchanged except that characters which control a terminal become JSON escapes. A document that the server sent
    /// on several lines is serialized again.
    #[must_use]
    pub fn line(&self) -> String {
        let text = self.text.trim();
        let rewritten =
            if text.chars().any(char::is_control) { self.value.to_string() } else { text.to_owned() };
        printable_json(&rewritten).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        let value = serde_json::from_str(text).unwrap();
        Document { status: StatusCode::OK, text: text.to_owned(), value }.line()
    }

    #[test]
    fn a_document_is_printed_as_it_came_and_without_what_a_terminal_obeys() {
        assert_eq!(line("{\"b\":1,\"a\":1.50}\n"), "{\"b\":1,\"a\":1.50}");
        let hostile = line("{\"a\":\r\n\t\"\u{9b}31m\u{202e}\"}");
        assert_eq!(hostile, "{\"a\":\"\\u009b31m\\u202e\"}");
    }
}
