//! A browser that is to be sent to the provider of identities: where it is, what it leads to, and the secret by which it is known again
//! when it comes back (`login_provider.rs` has the handlers).

use std::net::IpAddr;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::login_paths::own;
use super::page::Page;
use super::shell::Shell;
use crate::actions::log_in_with_provider::KEPT_FOR;
use crate::http::auth::address::CallerAddress;
use crate::http::auth::cookie::{CookieKind, value};
use crate::http::error::{Problem, Result};
use crate::http::extract::Query;
use crate::http::state::AppState;
use crate::store::OnceSecret;

/// The secret of this browser, while it is at the provider.
pub(super) struct BrowserCookie(pub CookieKind);

impl BrowserCookie {
    fn name(&self) -> &'static str {
        match self.0 {
            CookieKind::Secure => "__Host-bangui-sso",
            CookieKind::Plain => "bangui-sso",
        }
    }

    /// The secret, if the browser has one.
    pub fn find(&self, headers: &HeaderMap) -> Option<OnceSecret> {
        OnceSecret::parse(value(headers, self.name())?)
    }

    /// Gives the browser this secret.
    pub fn set(&self, response: &mut Response, secret: &OnceSecret) {
        let secure = if self.0 == CookieKind::Secure { "; Secure" } else { "" };
        let text = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
            self.name(),
            secret.reveal(),
            KEPT_FOR.as_secs()
        );
        // Secrets are base64url, so this is valid; without the cookie, the login is refused on its way back.
        if let Ok(mut cookie) = HeaderValue::from_str(&text) {
            cookie.set_sensitive(true);
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
}

/// Where the login leads to.
#[derive(Deserialize, Default)]
struct Wanted {
    #[serde(default)]
    next: String,
}

/// A browser that is to be sent there.
pub struct Departure {
    pub(super) shell: Shell,
    pub(super) ip: IpAddr,
    pub(super) cookie: BrowserCookie,
    /// The secret that it has already: the same for all its tabs, each of which has a state of its own.
    pub(super) known: Option<OnceSecret>,
    /// The page of ours that it leads to.
    pub(super) next: String,
    /// Whether a page of another site sends the browser: it gets a page with the link, and the user decides. An image of another site
    /// would otherwise use up the login attempts of their address.
    pub(super) is_cross_site: bool,
}

impl FromRequestParts<AppState> for Departure {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        let Query(Wanted { next }) = Query::from_request_parts(parts, state).await?;
        let Ok(CallerAddress(ip)) = CallerAddress::from_request_parts(parts, state).await;
        let Ok(cookie) = CookieKind::from_request_parts(parts, state).await;
        let Ok(shell) = Shell::from_request_parts(parts, state).await;
        let cookie = BrowserCookie(cookie);
        let site = parts.headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
        Ok(Self {
            known: cookie.find(&parts.headers),
            next: own(&next),
            is_cross_site: matches!(site, Some("cross-site" | "same-site")),
            shell,
            ip,
            cookie,
        })
    }
}

#[derive(Template)]
#[template(path = "login_leaving.html")]
struct LeavingPage {
    shell: Shell,
    provider: String,
    url: String,
}

/// The page that leads to the provider, in answer to a form: browsers let no form be redirected to another site.
pub(super) fn leaving(mut shell: Shell, url: &url::Url) -> Response {
    "/login".clone_into(&mut shell.here);
    let provider = shell.provider.clone().unwrap_or_default();
    Page::new(LeavingPage { shell, provider, url: url.to_string() }).into_response()
}
