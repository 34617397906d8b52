//! A client of `GET /api/v1/events`.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::time::timeout;

use super::{Client, SOON};

/// One event as it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Came {
    pub id: Option<String>,
    pub kind: String,
    pub data: Value,
    pub retry: Option<u64>,
}

/// An open stream.
pub struct EventStream {
    response: reqwest::Response,
    text: String,
    /// The place where it begins.
    pub began_at: String,
    /// Comments so far: what keeps the connection alive.
    pub comments: usize,
}

impl EventStream {
    /// Opens one; with `after` it continues after that event.
    pub async fn open(client: &Client, after: Option<&str>) -> Self {
        let mut request = client.request(Method::GET, "/api/v1/events").timeout(Duration::from_secs(120));
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let mut stream = Self { response, text: String::new(), began_at: String::new(), comments: 0 };
        // The first thing that comes is when to come back, and where to continue; from then on nothing is missed.
        let first = stream.next().await.unwrap();
        assert!(first.retry.is_some_and(|ms| (1_000..=3_000).contains(&ms)), "{first:?}");
        stream.began_at = first.id.expect("the place where it begins");
        stream
    }

    /// The next event; none after the end.
    pub async fn next(&mut self) -> Option<Came> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let came = self.parse(&block);
                if came.is_some() {
                    return came;
                }
            }
            let chunk = timeout(SOON, self.response.chunk()).await.expect("an event, or the end");
            // A connection that is cut ends the stream, too.
            self.text.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    fn parse(&mut self, block: &str) -> Option<Came> {
        let mut came = Came::default();
        let mut any = false;
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.comments += 1,
                "id" => came.id = Some(value.to_owned()),
                "event" => came.kind = value.to_owned(),
                "retry" => came.retry = value.parse().ok(),
                "data" => came.data = serde_json::from_str(value).unwrap(),
                other => panic!("a field {other}: {block}"),
            }
            any |= !field.is_empty();
        }
        any.then_some(came)
    }

    /// The next event of this type, skipping others.
    pub async fn until(&mut self, kind: &str) -> Came {
        loop {
            let came = self.next().await.unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if came.kind == kind {
                return came;
            }
        }
    }
}
