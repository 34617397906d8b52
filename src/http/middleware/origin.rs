//! Whether a request that changes something comes from our own pages, and not from a page of another site that makes
//! the user's browser send it (CSRF).
//!
//! This is checked for every unsafe method on every route, so that no new handler can forget it; also without a session,
//! since setup and login are worth forging. The rules are those of OWASP and of Go's `CrossOriginProtection`:
//!
//! | the request carries | it is let through if |
//! |---|---|
//! | `Authorization` | always: a browser adds it to no forged request, and the cookie is then ignored |
//! | `Sec-Fetch-Site` | `same-origin`, or `none` (typed by the user) |
//! | else `Origin` | it is `BANGUI_PUBLIC_URL`, or the request's own `Host` |
//! | neither | always: every browser of recent years sends one of them, so this is curl or the like |
//!
//! `Origin` is still needed: to plain `http://`, except localhost, browsers send no `Sec-Fetch-Site`.

use axum::http::{HeaderMap, Request, StatusCode, header};
use url::Url;

use crate::http::error::{Problem, Result};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// 403 for a request that another site made a browser send.
pub fn check<B>(request: &Request<B>, public_url: Option<&Url>) -> Result<()> {
    let headers = request.headers();
    if request.method().is_safe() || headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    // If a header is there twice, each line must be right: it is not known which one the browser wrote.
    let all = |name: &str, right: &dyn Fn(&str) -> bool| {
        headers.get_all(name).iter().all(|value| value.to_str().is_ok_and(right))
    };
    let ours = if headers.contains_key(SEC_FETCH_SITE) {
        all(SEC_FETCH_SITE, &|site| matches!(site, "same-origin" | "none"))
    } else {
        all("origin", &|origin| is_ours(origin, headers, public_url))
    };
    if ours { Ok(()) } else { Err(cross_site()) }
}

/// Whether an origin is this installation's: scheme, host and port as users type them, if that is configured; else only the
/// request's own `Host`, as a worker cannot see the scheme.
fn is_ours(origin: &str, headers: &HeaderMap, public_url: Option<&Url>) -> bool {
    let Ok(origin) = Url::parse(origin) else { return false };
    if let Some(public) = public_url
        && (public.origin() == origin.origin() || asked(headers, public) == Some(public.origin()))
    {
        return public.origin() == origin.origin();
    }
    // An opaque origin (`null`, `file:`) equals nothing, not even itself.
    asked(headers, &origin) == Some(origin.origin())
}

/// The request's `Host` as an origin with the scheme of `like`, so that the default port may be left out.
fn asked(headers: &HeaderMap, like: &Url) -> Option<url::Origin> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let url = Url::parse(&format!("{}://{host}", like.scheme())).ok()?;
    (url.path() == "/" && url.username().is_empty()).then(|| url.origin())
}

fn cross_site() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "cross-site",
        "The request comes from another site",
        "a page of another site made the browser send this; if it was one of this installation, set \
         BANGUI_PUBLIC_URL to what users type",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Method;

    const HOST: (&str, &str) = ("host", "bangui.lan:8080");

    fn passes(method: Method, headers: &[(&str, &str)], public_url: Option<&str>) -> bool {
        let request = Request::builder().method(method);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let public_url = public_url.map(|url| url.parse().unwrap());
        check(&request.body(()).unwrap(), public_url.as_ref()).is_ok()
    }

    fn post(headers: &[(&str, &str)]) -> bool {
        passes(Method::POST, &[&[HOST], headers].concat(), None)
    }

    #[test]
    fn what_the_browser_says_of_the_site_decides() {
        assert!(post(&[("sec-fetch-site", "same-origin")]));
        assert!(post(&[("sec-fetch-site", "none")]));
        for site in ["cross-site", "same-site", "", "Same-Origin", "same-origin, cross-site", "new-word"] {
            assert!(!post(&[("sec-fetch-site", site)]), "{site}");
        }
        assert!(!post(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]));
        // It takes precedence over the origin, which a proxy may have broken by changing `Host`.
        assert!(post(&[("sec-fetch-site", "same-origin"), ("origin", "https://bangui.example")]));
        assert!(!post(&[("sec-fetch-site", "same-site"), ("origin", "http://bangui.lan:8080")]));
    }

    #[test]
    fn without_sec_fetch_site_the_origin_must_be_the_requested_host() {
        for origin in ["http://bangui.lan:8080", "https://bangui.lan:8080", "http://BANGUI.lan:8080"] {
            assert!(post(&[("origin", origin)]), "{origin}");
        }
        for origin in [
            "http://bangui.lan",
            "http://bangui.lan:8081",
            "http://evil.lan:8080",
            "http://bangui.lan:8080.evil.example",
            "http://bangui.lan.evil.example:8080",
            "http://sub.bangui.lan:8080",
            "null",
            "",
            "bangui.lan:8080",
            "file://bangui.lan:8080",
        ] {
            assert!(!post(&[("origin", origin)]), "{origin}");
        }
        assert!(!post(&[("origin", "http://bangui.lan:8080"), ("origin", "http://evil.example")]));
        assert!(!passes(Method::POST, &[("origin", "http://bangui.lan")], None), "no host at all");
    }

    #[test]
    fn the_usual_port_may_be_left_out_on_either_side() {
        let at = |host: &str, origin: &str| passes(Method::POST, &[("host", host), ("origin", origin)], None);
        assert!(at("b.lan", "http://b.lan"));
        assert!(at("b.lan:80", "http://b.lan"));
        assert!(at("b.lan:443", "https://b.lan"));
        assert!(!at("b.lan:443", "http://b.lan"));
        assert!(at("[::1]:8080", "http://[::1]:8080"));
        assert!(!at("evil@b.lan", "http://b.lan"));
        assert!(!at("b.lan/x", "http://b.lan"));
    }

    #[test]
    fn where_the_public_url_is_known_scheme_and_port_count_too() {
        let at = |host: &str, origin: &str| {
            passes(Method::POST, &[("host", host), ("origin", origin)], Some("https://bangui.example"))
        };
        assert!(at("bangui.example", "https://bangui.example"));
        // A proxy asks under another name.
        assert!(at("worker-1:8080", "https://bangui.example"));
        // Somebody on the way who can write plain http pages of that name.
        assert!(!at("bangui.example", "http://bangui.example"));
        assert!(!at("bangui.example", "https://bangui.example:8443"));
        assert!(!at("worker-1:8080", "http://bangui.example"));
        // Past the proxy.
        assert!(at("worker-1:8080", "http://worker-1:8080"));
    }

    #[test]
    fn requests_that_no_browser_can_forge_pass() {
        assert!(post(&[]));
        assert!(post(&[("authorization", "Bearer x"), ("sec-fetch-site", "cross-site")]));
        assert!(post(&[("authorization", ""), ("origin", "https://evil.example")]));
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(passes(method, &[HOST, ("sec-fetch-site", "cross-site")], None));
        }
        for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::from_bytes(b"BREW").unwrap()] {
            assert!(!passes(method, &[HOST, ("sec-fetch-site", "cross-site")], None));
        }
    }
}
