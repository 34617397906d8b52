//! The session cookie: its two names, how it is set, removed and found.
//!
//! Over TLS it is `__Host-bangui`, which a browser takes only with `Secure`, from this host, for the whole path:
//! no neighbouring subdomain can plant one, so the plain name is ignored there. Without TLS a browser
//! would refuse that name, so it is `bangui`. Both are `HttpOnly` and `SameSite=Lax`: a link from a chat or a mail opens a page
//! that is logged in, and requests that change something are judged by `middleware/origin.rs`, whatever cookie they carry.
//!
//! A worker cannot see whether the browser uses TLS. It assumes so if `BANGUI_PUBLIC_URL` says `https`, or if a
//! trusted proxy says so in `X-Forwarded-Proto`.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};

use super::address;
use crate::http::state::AppState;
use crate::store::{Proof, SessionToken};

/// Which of the two cookies belongs to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieKind {
    /// `__Host-bangui`.
    Secure,
    /// `bangui`.
    Plain,
}

impl CookieKind {
    /// The kind that belongs to this request.
    #[must_use]
    pub fn of(state: &AppState, peer: Option<std::net::IpAddr>, headers: &HeaderMap) -> Self {
        let public = state.public_url().is_some_and(|url| url.scheme() == "https");
        let forwarded = || {
            state.proxies().trust(peer)
                && last_value(headers, "x-forwarded-proto").is_some_and(|v| v.eq_ignore_ascii_case("https"))
        };
        if public || forwarded() { Self::Secure } else { Self::Plain }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Secure => "__Host-bangui",
            Self::Plain => "bangui",
        }
    }

    fn attributes(self) -> &'static str {
        match self {
            Self::Secure => "Path=/; HttpOnly; SameSite=Lax; Secure",
            Self::Plain => "Path=/; HttpOnly; SameSite=Lax",
        }
    }

    /// `Set-Cookie` that gives a browser its session. The cookie lives as long as the browser; Redis decides how long the session is valid.
    #[must_use]
    pub fn set(self, token: &SessionToken) -> HeaderValue {
        header_value(&format!("{}={}; {}", self.name(), token.reveal(), self.attributes()))
    }

    /// `Set-Cookie` that removes it.
    #[must_use]
    pub fn remove(self) -> HeaderValue {
        header_value(&format!("{}=; {}; Max-Age=0", self.name(), self.attributes()))
    }

    /// The value that a request carries under this name, if any.
    #[must_use]
    pub fn find(self, headers: &HeaderMap) -> Option<&str> {
        value(headers, self.name())
    }

    /// The session that a browser already has when it logs in. The cookie of a client that sends `Authorization` is ignored here too.
    #[must_use]
    pub fn session_of_browser(self, headers: &HeaderMap) -> Option<Proof> {
        let token = self.find(headers).filter(|_| !headers.contains_key(header::AUTHORIZATION))?;
        Some(SessionToken::parse(token)?.proof())
    }
}

/// The value of the first cookie of that name.
#[must_use]
pub fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| std::str::from_utf8(line.as_bytes()).unwrap_or_default().split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// A header value. Base64url and the fixed texts above are always valid; if they were not, no cookie is the safe answer.
fn header_value(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// The value that the nearest proxy wrote: the last one, over all lines of that header.
fn last_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next().map(str::trim)
}

impl FromRequestParts<AppState> for CookieKind {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self::of(state, address::peer(&parts.extensions), &parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|l| (header::COOKIE, HeaderValue::from_str(l).unwrap())).collect()
    }

    #[test]
    fn the_cookie_is_found_among_others_and_over_several_lines() {
        assert_eq!(CookieKind::Plain.find(&cookies(&["a=b; bangui=x=; c=d"])), Some("x="));
        assert_eq!(CookieKind::Plain.find(&cookies(&["a=b", "bangui=y"])), Some("y"));
        assert_eq!(CookieKind::Plain.find(&cookies(&["xbangui=y; ;=; bangui"])), None);
        assert_eq!(CookieKind::Plain.find(&HeaderMap::new()), None);
    }

    #[test]
    fn over_tls_a_plain_cookie_counts_for_nothing() {
        let both = cookies(&["bangui=planted; __Host-bangui=own"]);
        assert_eq!(CookieKind::Secure.find(&both), Some("own"));
        assert_eq!(CookieKind::Secure.find(&cookies(&["bangui=planted"])), None);
    }

    #[test]
    fn a_cookie_is_set_and_removed_with_the_same_attributes() {
        let removed = CookieKind::Secure.remove();
        assert_eq!(
            removed.to_str().unwrap(),
            "__Host-bangui=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"
        );
        assert_eq!(
            CookieKind::Plain.remove().to_str().unwrap(),
            "bangui=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
        );
        let token = SessionToken::parse(&"A".repeat(43)).unwrap();
        let set = CookieKind::Plain.set(&token);
        assert!(set.is_sensitive());
        assert!(set.to_str().unwrap().ends_with("; Path=/; HttpOnly; SameSite=Lax"));
    }

    #[test]
    fn the_nearest_proxy_wrote_the_last_value() {
        let mut headers = HeaderMap::new();
        assert_eq!(last_value(&headers, "x-forwarded-proto"), None);
        headers.append("x-forwarded-proto", HeaderValue::from_static("https"));
        headers.append("x-forwarded-proto", HeaderValue::from_static("https, http "));
        assert_eq!(last_value(&headers, "x-forwarded-proto"), Some("http"));
    }
}
