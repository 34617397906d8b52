//! The answer that every peer gives.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

/// What is in the file.
#[derive(Deserialize)]
struct Written {
    headers: Vec<(String, String)>,
    body: String,
}

/// Made once, cloned for each request.
#[derive(Clone)]
pub struct Answer {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// From the file `PEER_ANSWER`, or two bytes.
    pub fn read() -> Self {
        let Ok(path) = std::env::var("PEER_ANSWER") else {
            return Self { headers: HeaderMap::new(), body: Bytes::from_static(b"ok") };
        };
        let text = std::fs::read_to_string(&path).expect("the file of the answer");
        let Written { headers, body } = serde_json::from_str(&text).expect("headers and a body");
        let headers = headers.into_iter().map(|(name, value)| {
            let name = HeaderName::try_from(name).expect("a header's name");
            (name, HeaderValue::try_from(value).expect("a header's value"))
        });
        Self { headers: headers.collect(), body: body.into() }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body.into());
        *response.headers_mut() = self.headers;
        response
    }
}
