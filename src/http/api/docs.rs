//! `/openapi.json`, and `/docs`, a page that shows it. The page is three files of our own, and its policy lets it load
//! nothing else: it works without the internet, and nobody learns who reads it.

use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, header};
use utoipa::openapi::OpenApi;

/// The page loads its own script and style, and asks for the document.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The document as text, made once for all requests: anybody may ask for it and not read the answer, and a copy for each would be
/// memory that strangers take.
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

type File<T> = ([(HeaderName, HeaderValue); 2], T);

fn file<T>(kind: &'static str, text: T) -> File<T> {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    (headers, text)
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operation", security(()), responses((status = 200, body = Object)))]
pub async fn document(Extension(document): Extension<Document>) -> File<Bytes> {
    file("application/json", document.0)
}

/// A page that shows this document.
#[utoipa::path(get, path = "/docs", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "text/html")))]
pub async fn page() -> File<&'static str> {
    file("text/html; charset=utf-8", include_str!("docs/page.html"))
}

/// The script of the page.
#[utoipa::path(get, path = "/docs/page.js", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "text/javascript")))]
pub async fn script() -> File<&'static str> {
    file("text/javascript; charset=utf-8", include_str!("docs/page.js"))
}

/// The style of the page.
#[utoipa::path(get, path = "/docs/page.css", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "text/css")))]
pub async fn style() -> File<&'static str> {
    file("text/css; charset=utf-8", include_str!("docs/page.css"))
}
