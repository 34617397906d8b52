//! Server-sent events, read as they come: bytes in, events out.

/// More than any event of bangui has.
const MAX_BYTES: usize = 1024 * 1024;

/// An event, or a part of one: an id or a time alone has no data.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Received {
    /// The place from which a stream can continue.
    pub id: Option<String>,
    /// Its type.
    pub kind: String,
    /// Its data; empty if it has none.
    pub data: String,
    /// After how many milliseconds to come back when the stream ends.
    pub retry: Option<u64>,
}

/// The stream sent more than any event has, without ending the event.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// What has come and is not a whole event yet.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
    event: Received,
    begun: bool,
}

impl Parser {
    /// The events that these bytes complete, in order.
    ///
    /// # Errors
    /// If there is no end to an event.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Received>, TooLong> {
        self.bytes.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if std::mem::take(&mut self.begun) {
                    events.push(std::mem::take(&mut self.event));
                }
            } else {
                self.field(line);
            }
        }
        if self.bytes.len() + self.event.data.len() > MAX_BYTES { Err(TooLong) } else { Ok(events) }
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.kind),
            "retry" => self.event.retry = value.parse().ok(),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment keeps the connection alive; other fields are ignored.
            _ => return,
        }
        self.begun = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_their_bytes_are_cut() {
        let text = ":\n\nid: 1-0\nretry: 2000\n\n: comment\nid:2-0\r\nevent: a\r\ndata: {\"x\":\ndata:1}\n\nevent: b\ndata: \u{e9}\n\n";
        let expected = [
            Received { id: Some("1-0".into()), retry: Some(2000), ..Received::default() },
            Received { id: Some("2-0".into()), kind: "a".into(), data: "{\"x\":\n1}".into(), retry: None },
            Received { kind: "b".into(), data: "\u{e9}".into(), ..Received::default() },
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let events: Vec<Received> =
                text.as_bytes().chunks(size).flat_map(|bytes| parser.push(bytes).unwrap()).collect();
            assert_eq!(events, expected, "{size} bytes at a time");
        }
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut parser = Parser::default();
        let line = format!("data: {}\n", "x".repeat(1000));
        let ended = (0..2_000).map(|_| parser.push(line.as_bytes())).find(Result::is_err);
        assert_eq!(ended, Some(Err(TooLong)));
        assert_eq!(Parser::default().push(&vec![b'x'; MAX_BYTES + 1]), Err(TooLong));
    }
}
