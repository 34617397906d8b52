//! Log lines without characters that control a terminal, whatever names and messages are logged (`domain/printable.rs`).
//!
//! As text each field is made printable before it becomes part of the line, so that the line's own end and colours stay. The
//! JSON writer escapes control characters itself; what JSON allows raw is escaped on its way out.

use std::fmt;
use std::io::{self, Write};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::{MakeExt as _, RecordFields};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FormatFields, FormattedFields};

use crate::domain::printable::{printable, printable_json};

/// The format of the fields in a line of text: the message, then each field with its name.
pub fn text_fields() -> impl for<'a> FormatFields<'a> + 'static {
    debug_fn(|writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let value = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", printable(&value)),
            name if is_for_traces(name) => Ok(()),
            name => write!(writer, "{name}={}", printable(&value)),
        }
    })
    .delimited(" ")
}

/// Formats the fields of a span as JSON. The subscriber's own formatter sorts them in a map first, and parses its own text again for
/// each field that is added later: too expensive for spans, which every request has although most requests log nothing.
pub struct JsonSpanFields;

impl<'writer> FormatFields<'writer> for JsonSpanFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        writer.write_char('{')?;
        let mut visitor = JsonFields { writer: &mut writer, first: true, written: Ok(()) };
        fields.record(&mut visitor);
        visitor.written?;
        writer.write_char('}')
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let text = &mut current.fields;
        text.pop();
        let mut visitor = JsonFields { first: text.len() <= 1, writer: text, written: Ok(()) };
        fields.record(&mut visitor);
        visitor.written?;
        text.push('}');
        Ok(())
    }
}

/// Whether only the traces show this field of a span (`traces.rs`).
fn is_for_traces(field: &str) -> bool {
    field.starts_with("otel.")
}

/// Writes one field after the other.
struct JsonFields<'a, W> {
    writer: &'a mut W,
    first: bool,
    written: fmt::Result,
}

impl<W: fmt::Write> JsonFields<'_, W> {
    fn write(&mut self, field: &Field, value: &str) {
        if self.written.is_ok() && !is_for_traces(field.name()) {
            self.written = self.try_write(field.name(), value);
        }
    }

    fn try_write(&mut self, name: &str, value: &str) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(',')?;
        }
        write!(self.writer, "\"{name}\":{value}")
    }
}

impl<W: fmt::Write> Visit for JsonFields<'_, W> {
    fn record_str(&mut self, field: &Field, value: &str) {
        let plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
        let quoted = if plain { format!("\"{value}\"") } else { serde_json::Value::from(value).to_string() };
        self.write(field, &quoted);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, &value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, if value { "true" } else { "false" });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
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

    /// The one line of JSON that `log` writes, and its text.
    fn logged(log: impl FnOnce()) -> (serde_json::Value, String) {
        let lines = Lines::default();
        let writer = lines.clone();
        let builder = tracing_subscriber::fmt().with_writer(move || writer.clone()).json();
        let builder = builder.flatten_event(true).with_span_list(false).fmt_fields(JsonSpanFields);
        tracing::subscriber::with_default(builder.finish(), log);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        (serde_json::from_str(&text).unwrap(), text)
    }

    #[test]
    fn the_fields_of_a_span_are_json_also_those_that_come_later_and_hostile_ones() {
        let (line, text) = logged(|| {
            let hostile = "a\"b\\c\u{1b}[2J\n\u{9b}ä";
            let span = tracing::info_span!(
                "request",
                hostile,
                count = 7,
                minus = -1,
                yes = true,
                later = tracing::field::Empty
            );
            let _in_it = span.enter();
            span.record("later", "adm\"in");
            tracing::warn!("gone");
        });
        let expected = serde_json::json!({
            "name": "request", "hostile": "a\"b\\c\u{1b}[2J\n\u{9b}ä", "count": 7, "minus": -1, "yes": true,
            "later": "adm\"in"
        });
        assert_eq!(line["span"], expected, "{text}");
    }

    #[test]
    fn a_span_without_fields_takes_one_later() {
        let (line, text) = logged(|| {
            let span = tracing::info_span!("request", later = tracing::field::Empty);
            let _in_it = span.enter();
            span.record("later", 1);
            tracing::warn!("gone");
        });
        assert_eq!(line["span"], serde_json::json!({ "name": "request", "later": 1 }), "{text}");
    }

    #[test]
    fn no_name_in_a_text_log_clears_the_screen_or_forges_a_line() {
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
