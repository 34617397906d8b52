//! A secret that a form has made, for the page that comes next: a link of an invitation, a token for programs, recovery codes.
//!
//! It waits in a cookie of the browser, for that one page, and not in Redis as other outcomes do (`message.rs`): nothing that logs in is
//! stored. The page that shows it removes the cookie, so that a reload no longer shows it.

use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use crate::http::auth::cookie::{CookieKind, value};

const NAME: &str = "bangui-once";
/// Longer than a redirect takes.
const SECONDS: u32 = 60;

/// Adds the secret to the answer that leads to the page with this path.
pub fn hand_over(response: &mut Response, kind: CookieKind, path: &str, secret: &str) {
    set(response, kind, &format!("{NAME}={secret}; Path={path}; Max-Age={SECONDS}"));
}

/// The secret that the browser has for this page.
#[must_use]
pub fn find(headers: &HeaderMap) -> Option<&str> {
    value(headers, NAME)
}

/// Removes it, in the answer that shows it.
pub fn remove(response: &mut Response, kind: CookieKind, path: &str) {
    set(response, kind, &format!("{NAME}=; Path={path}; Max-Age=0"));
}

fn set(response: &mut Response, kind: CookieKind, text: &str) {
    let secure = if kind == CookieKind::Secure { "; Secure" } else { "" };
    // Secrets are base64url and base62; if a value were not valid, it is not shown, and another is made.
    if let Ok(mut value) = HeaderValue::from_str(&format!("{text}; HttpOnly; SameSite=Strict{secure}")) {
        value.set_sensitive(true);
        response.headers_mut().append(axum::http::header::SET_COOKIE, value);
    }
}
