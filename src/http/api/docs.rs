//! `/openapi.json`, and `/docs`, a page that shows it and tries requests in the session.
//!
//! The page is Swagger UI, whose files are in the binary. It works without the internet, and nobody learns who reads it. Its looser
//! policy (it writes styles into its elements) applies to this page alone. `docs/start.js` and `docs/look.css` give it what a screen
//! reader, a keyboard and weak eyes need.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

use crate::http::error::Problem;
use crate::http::extract::Path;

/// The page loads its own scripts and styles, and sends requests to this worker; nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// The policy for everything but the page.
const NOTHING: HeaderValue =
    HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'");

const PAGE: &str = include_str!("docs/page.html");
/// The files of ours that the page loads: name, type and text.
const OURS: [(&str, &str, &str); 2] = [
    ("look.css", "text/css", include_str!("docs/look.css")),
    ("start.js", "text/javascript", include_str!("docs/start.js")),
];
/// Those of Swagger UI. It has more: pages for logins elsewhere, which nobody needs here.
const FILES: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

/// The document as text, made once for all requests: anybody may ask for it and not read the answer, so a copy for each request would
/// let strangers use up memory.
#[derive(Clone)]
pub struct Document(Bytes);

impl Document {
    /// The text of this document.
    #[must_use]
    pub fn new(document: OpenApi) -> Self {
        let text = document.to_pretty_json();
        Self(text.unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")).into())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

type Typed<T> = ([(HeaderName, HeaderValue); 2], T);

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operation", security(()), responses((status = 200, body = Object)))]
pub async fn document(Extension(document): Extension<Document>) -> Typed<Bytes> {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CONTENT_SECURITY_POLICY, NOTHING),
    ];
    (headers, document.0)
}

/// A page that shows this document and can send requests.
#[utoipa::path(get, path = "/docs", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "text/html")))]
pub async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, PAGE).into_response()
}

/// A file that the page loads.
pub async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let (kind, bytes) = match OURS.into_iter().find(|(ours, ..)| *ours == name) {
        Some((_, kind, text)) => (HeaderValue::from_static(kind), text.as_bytes().to_vec()),
        None => served(FILES.into_iter().find(|known| *known == name).ok_or_else(Problem::no_route)?)?,
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        // Another version may have other files under these names.
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    ];
    Ok((headers, bytes).into_response())
}

/// A file of Swagger UI: its type and bytes.
fn served(name: &str) -> Result<(HeaderValue, Vec<u8>), Problem> {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::from("/openapi.json")));
    let file = file.map_err(|error| Problem::internal(error.to_string()))?.ok_or_else(Problem::no_route)?;
    let kind =
        HeaderValue::try_from(file.content_type).map_err(|error| Problem::internal(error.to_string()))?;
    Ok((kind, file.bytes.into_owned()))
}
