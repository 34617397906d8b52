//! Log lines with nothing in them that a terminal obeys, whatever names and messages are logged (`domain/printable.rs`).
//!
//! As text each field is made printable before it becomes part of the line, so that the line's own end and colours stay. The
//! JSON writer escapes control characters itself; what JSON allows raw is escaped on its way out.

use std::fmt;
use std::io::{self, Write};

use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::domain::printable::{printable, printable_json};

/// How the fields of a line of text are written: the message, then each with its name.
pub fn text_fields() -> impl for<'a> FormatFields<'a> + 'static {
    debug_fn(|writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let value = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", printable(&value)),
            name => write!(writer, "{name}={}", printable(&value)),
        }
    })
    .delimited(" ")
}

/// Standard error, for lines of JSON.
pub struct JsonLines;

impl Write for JsonLines {
    /// A whole line at once, as the subscriber writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        io::stderr().lock().write_all(printable_json(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_who_is_named_in_a_log_of_text_clears_the_screen_or_forges_a_line() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .fmt_fields(text_fields())
            .with_writer(move || writer.clone())
            .finish();
        let hostile = "sshd\u{1b}[2J\n2026-01-01T00:00:00Z  INFO bangui: all is well\r\u{9b}";
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("request", jail.name = hostile);
            let _in_it = span.enter();
            tracing::warn!(error = %hostile, quoted = hostile, count = 7, "jail {hostile} is gone");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let body = text.strip_suffix('\n').unwrap();
        assert!(!body.contains(char::is_control), "{body:?}");
        assert!(body.contains("jail sshd\\u{1b}[2J\\n2026") && body.contains("count=7"), "{body}");
        assert!(body.contains("error=sshd\\u{1b}[2J"), "{body}");
    }
}
