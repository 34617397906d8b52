//! `/openapi.json`, and `/docs`, a page that shows it. The page is three files of our own, and its policy lets it load
//! nothing else: it works without the internet, and nobody learns who reads it.

use axum::http::{HeaderName, HeaderValue, header};

use super::openapi;

/// The page loads its own script and style, and asks for the document.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

type File = ([(HeaderName, HeaderValue); 2], &'static str);

fn file(kind: &'static str, text: &'static str) -> File {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    (headers, text)
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operation", security(()), responses((status = 200, body = Object)))]
pub async fn document() -> File {
    file("application/json", openapi::text())
}

/// A page that shows this document.
#[utoipa::path(get, path = "/docs", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "text/html")))]
pub async fn page() -> File {
    file("text/html; charset=utf-8", include_str!("docs/page.html"))
}

/// The script of the page.
#[utoipa::path(get, path = "/docs/page.js", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "text/javascript")))]
pub async fn script() -> File {
    file("text/javascript; charset=utf-8", include_str!("docs/page.js"))
}

/// The style of the page.
#[utoipa::path(get, path = "/docs/page.css", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "text/css")))]
pub async fn style() -> File {
    file("text/css; charset=utf-8", include_str!("docs/page.css"))
}
