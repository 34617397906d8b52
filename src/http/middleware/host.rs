//! Whether a request is for a host of this installation (DNS rebinding).
//!
//! Another site can let its own name resolve to a worker's address; then its pages have the same origin as the worker: in the browser
//! of a user who can reach the worker, they can read and change whatever needs no session, and guess passwords. Such a
//! request names the other site in `Host`, which no page can change.
//!
//! | the request | answer |
//! |---|---|
//! | for `/healthz` and `/readyz`, which show nothing worth stealing, and which probes request by a pod's address | let through |
//! | has two `Host` headers, an invalid one, or none in HTTP/1.1 | 400 |
//! | names a host of `BANGUI_PUBLIC_URL` or `BANGUI_ALLOWED_HOSTS`, with any port | let through |
//! | at a worker that listens on loopback: names a loopback address or `localhost` | let through |
//! | at a worker that listens beyond loopback, with neither variable set | let through; the worker warns at its start |
//! | HTTP/1.0 without a host, so not from a browser | let through |
//! | any other | 421 |
//!
//! `X-Forwarded-Host` is always ignored. In the absolute form of a request line the host of the URI counts as well.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::http::uri::Authority;
use axum::http::{HeaderValue, Request, StatusCode, Version, header};
use url::Url;

use crate::http::error::{Problem, Result};

/// The hosts that requests may be for.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts {
    /// As written in the header, without the port.
    names: Vec<String>,
    /// Whether the worker listens on loopback, so that loopback names are its own.
    loopback: bool,
    /// The first header that was let through. Nearly every request has the same one, and need not be parsed.
    usual: Arc<OnceLock<HeaderValue>>,
}

impl AllowedHosts {
    /// The hosts of the configuration, for a worker that is bound to this address.
    #[must_use]
    pub fn new(allowed: &[String], public_url: Option<&Url>, bound: IpAddr) -> Self {
        let public = public_url.and_then(Url::host_str).map(str::to_owned);
        Self {
            names: allowed.iter().cloned().chain(public).collect(),
            loopback: bound.to_canonical().is_loopback(),
            usual: Arc::default(),
        }
    }

    /// 400 or 421 for a request that is not for one of them.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<()> {
        let mut lines = request.headers().get_all(header::HOST).iter();
        let line = lines.next();
        if lines.next().is_some() {
            return Err(Problem::malformed("the request has more than one `Host` header"));
        }
        if matches!(request.uri().path(), "/healthz" | "/readyz") {
            return Ok(());
        }
        if request.uri().authority().is_none() && line.is_some() && line == self.usual.get() {
            return Ok(());
        }
        let unreadable = || Problem::malformed("the header `Host` names no host");
        let authority = line.map(|line| Authority::try_from(line.as_bytes())).transpose();
        let authority = authority.map_err(|_| unreadable())?;
        if authority.as_ref().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(unreadable());
        }
        if authority.is_none() && request.version() == Version::HTTP_11 {
            return Err(Problem::malformed("the request has no header `Host`"));
        }
        let named = request.uri().authority().into_iter().chain(authority.as_ref());
        if let Some(host) = named.map(Authority::host).find(|host| !self.allow(host)) {
            return Err(misdirected(host));
        }
        // An error means that there is a usual one.
        let _ = line.map(|line| self.usual.set(line.clone()));
        Ok(())
    }

    fn allow(&self, host: &str) -> bool {
        if self.names.is_empty() && !self.loopback {
            return true;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host)) || self.loopback && is_loopback(host)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_address = address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    is_address || host.eq_ignore_ascii_case("localhost")
}

fn misdirected(host: &str) -> Problem {
    let host: String = host.chars().take(100).collect();
    Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "misdirected-request",
        "The request is for another host",
        format!(
            "this worker does not answer for the host `{host}`; if it is a name of this installation, set \
             BANGUI_PUBLIC_URL or BANGUI_ALLOWED_HOSTS to it"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(hosts: &AllowedHosts, request: axum::http::request::Builder) -> u16 {
        hosts.check(&request.body(()).unwrap()).err().map_or(200, |problem| problem.status().as_u16())
    }

    fn asked(hosts: &AllowedHosts, host: &str) -> u16 {
        status(hosts, Request::get("/api/v1/setup").header("host", host))
    }

    fn hosts(allowed: &[&str], public_url: Option<&str>, bound: &str) -> AllowedHosts {
        let allowed: Vec<String> = allowed.iter().map(|&host| host.to_owned()).collect();
        let public_url = public_url.map(|url| url.parse().unwrap());
        AllowedHosts::new(&allowed, public_url.as_ref(), bound.parse().unwrap())
    }

    #[test]
    fn a_worker_on_loopback_accepts_only_loopback_as_its_host() {
        for bound in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let hosts = hosts(&[], None, bound);
            for host in [
                "localhost",
                "LOCALHOST:8080",
                "127.0.0.1",
                "127.1.2.3:1",
                "[::1]:8080",
                "[::ffff:127.0.0.1]",
            ] {
                assert_eq!(asked(&hosts, host), 200, "{host}");
            }
            for host in [
                "evil.example",
                "evil.example:8080",
                "192.0.2.1",
                "localhost.evil.example",
                "127.0.0.1.evil.example",
                "[2001:db8::1]",
            ] {
                assert_eq!(asked(&hosts, host), 421, "{host}");
            }
        }
    }

    #[test]
    fn beyond_loopback_only_named_hosts_are_accepted_with_any_port() {
        let hosts =
            hosts(&["bangui", "192.0.2.1", "[2001:db8::1]"], Some("https://bangui.example"), "0.0.0.0");
        for host in [
            "bangui",
            "BANGUI.example",
            "bangui.example.",
            "bangui.example:8443",
            "192.0.2.1:80",
            "[2001:db8::1]:80",
        ] {
            assert_eq!(asked(&hosts, host), 200, "{host}");
        }
        for host in [
            "evil.example",
            "bangui.example.evil.example",
            "evil.bangui.example",
            "localhost",
            "127.0.0.1",
            "192.0.2.2",
            "[2001:db8::2]",
        ] {
            assert_eq!(asked(&hosts, host), 421, "{host}");
        }
        let unnamed = self::hosts(&[], None, "0.0.0.0");
        assert_eq!(asked(&unnamed, "evil.example"), 200, "nobody has said what is meant");
    }

    #[test]
    fn behind_a_proxy_on_the_same_host_its_name_and_loopback_are_accepted() {
        let hosts = hosts(&[], Some("https://bangui.example"), "127.0.0.1");
        for (host, answer) in [("bangui.example", 200), ("127.0.0.1:8081", 200), ("evil.example", 421)] {
            assert_eq!(asked(&hosts, host), answer, "{host}");
        }
    }

    #[test]
    fn a_request_names_one_host_that_can_be_read() {
        let hosts = hosts(&[], None, "127.0.0.1");
        let get = || Request::get("/api/v1/setup");
        assert_eq!(status(&hosts, get().header("host", "localhost").header("host", "localhost")), 400);
        for host in ["", "a b", "a/b", "http://localhost", "[::1", "evil@localhost"] {
            assert_eq!(asked(&hosts, host), 400, "{host:?}");
        }
        assert_eq!(status(&hosts, get()), 400, "HTTP/1.1");
        assert_eq!(status(&hosts, get().version(Version::HTTP_10)), 200);
        assert_eq!(status(&hosts, get().version(Version::HTTP_10).header("host", "evil.example")), 421);
        let absolute = |uri: &str| Request::get(uri.to_owned()).header("host", "localhost");
        assert_eq!(status(&hosts, absolute("http://localhost:8080/api/v1/setup")), 200);
        assert_eq!(status(&hosts, absolute("http://evil.example/api/v1/setup")), 421);
    }

    #[test]
    fn the_usual_host_is_let_through_again_and_no_other_with_it() {
        let hosts = hosts(&[], None, "127.0.0.1");
        let absolute = |uri: &str| Request::get(uri.to_owned()).header("host", "localhost");
        assert_eq!(asked(&hosts, "evil.example"), 421, "no usual one yet");
        for _ in 0..2 {
            assert_eq!(asked(&hosts, "localhost"), 200);
            assert_eq!(asked(&hosts, "evil.example"), 421);
            assert_eq!(status(&hosts, absolute("http://evil.example/api/v1/setup")), 421);
            assert_eq!(status(&hosts, Request::get("/api/v1/setup")), 400, "HTTP/1.1 without a host");
        }
    }

    #[test]
    fn a_probe_may_use_any_address_and_a_forwarded_host_is_ignored() {
        let hosts = hosts(&["bangui.example"], None, "0.0.0.0");
        for path in ["/healthz", "/readyz"] {
            assert_eq!(status(&hosts, Request::get(path).header("host", "10.1.2.3:8080")), 200);
            assert_eq!(status(&hosts, Request::get(path)), 200);
            assert_eq!(status(&hosts, Request::get(path).header("host", "a").header("host", "b")), 400);
        }
        for path in ["/healthz/", "//healthz", "/metrics"] {
            assert_eq!(status(&hosts, Request::get(path).header("host", "evil.example")), 421, "{path}");
        }
        let forwarded =
            Request::get("/").header("host", "evil.example").header("x-forwarded-host", "bangui.example");
        assert_eq!(status(&hosts, forwarded), 421);
        let forwarded =
            Request::get("/").header("host", "bangui.example").header("x-forwarded-host", "evil.example");
        assert_eq!(status(&hosts, forwarded), 200);
    }
}
