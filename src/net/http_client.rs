//! HTTP clients of bangui's own: none takes a proxy from the environment, or follows a redirect.
//!
//! | client | speaks | trusts |
//! |---|---|---|
//! | [`plain`] | HTTP only, on this machine or over a Unix socket | nobody, since there is no TLS |
//! | [`with_tls`] | HTTPS too | the machine's certificate authorities, unless told otherwise |
//!
//! Reading those authorities takes some milliseconds and some hundred kilobytes for each client, and fails on a machine that has none.
//! So whoever needs no TLS takes the plain one.

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;

/// A client that cannot speak TLS.
pub fn plain() -> ClientBuilder {
    with_tls().tls_certs_only([])
}

/// A client that can.
pub fn with_tls() -> ClientBuilder {
    crate::crypto::provide();
    reqwest::Client::builder().no_proxy().redirect(Policy::none())
}

/// A client for this URL.
pub fn of(url: &reqwest::Url) -> ClientBuilder {
    if url.scheme() == "https" { with_tls().https_only(true) } else { plain() }
}
