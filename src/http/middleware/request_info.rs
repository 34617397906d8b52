//! The facts about a request that are needed after its handler has consumed it.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::route_metrics::RouteMetrics;
use crate::http::auth::address;
use crate::http::auth::cookie::CookieKind;
use crate::http::pages::refused::Reader;
use crate::http::state::AppState;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The facts about a request that are needed after its handler has consumed it.
pub(super) struct RequestInfo {
    pub id: HeaderValue,
    pub method: &'static str,
    pub safe: bool,
    pub route: Arc<str>,
    pub api: bool,
    pub cookie: CookieKind,
    /// Whether the cookie is the request's proof, not `Authorization`: only then does a refusal remove it. A page of another site can
    /// make a browser send a request without the cookie, and must not log anybody out that way.
    pub cookie_was_shown: bool,
    /// A person at a browser, who is shown a refusal as a page.
    pub reader: Option<Reader>,
}

impl RequestInfo {
    pub(super) fn of(request: &Request, state: &AppState, metrics: &RouteMetrics) -> Self {
        let headers = request.headers();
        let peer = address::peer(request.extensions());
        let cookie = CookieKind::of(state, peer, headers);
        let method = method_label(request.method());
        Self {
            id: request_id(headers),
            method,
            safe: request.method().is_safe(),
            route: metrics.route(request, method),
            api: request.uri().path().starts_with("/api/"),
            reader: Reader::of(request, cookie),
            cookie_was_shown: !headers.contains_key(header::AUTHORIZATION) && cookie.find(headers).is_some(),
            cookie,
        }
    }
}

/// The request's id: the caller's, if it is safe in a log line.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let decent = |id: &&HeaderValue| {
        (1..=128).contains(&id.len())
            && id.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    headers.get(&REQUEST_ID).filter(decent).cloned().unwrap_or_else(|| {
        // As halves: to write 128 bits as one number takes divisions.
        let [high, low] = rand::random::<[u64; 2]>();
        HeaderValue::try_from(format!("{high:016x}{low:016x}"))
            .unwrap_or_else(|_| HeaderValue::from_static("unnamed"))
    })
}

/// Anybody can invent methods, but the values of labels must stay few.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(sent: &str) -> String {
        let headers = [(REQUEST_ID, HeaderValue::from_str(sent).unwrap())].into_iter().collect();
        request_id(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_valid_request_id_is_kept_and_any_other_replaced() {
        assert_eq!(id_for("a.B_9-z"), "a.B_9-z");
        assert_eq!(id_for(&"x".repeat(128)).len(), 128);
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            let id = id_for(bad);
            assert_eq!(id.len(), 32, "{id}");
            assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
        }
        assert_ne!(id_for(""), id_for(""));
    }

    #[test]
    fn an_invented_method_gets_no_label() {
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(method_label(&Method::PUT), "PUT");
    }
}
