//! Logging in with the identity provider: the link of the login page, the way back, the provider's own logout, and the confirmation of a
//! session whose user has no password.
//!
//! ```text
//! GET /login/sso ─▶ 303 to the provider, a cookie with a secret of this browser
//! GET /login/callback?code&state ─▶ 303 to the page that was wanted, the session's cookie
//! POST /login/backchannel-logout ◀─ the provider itself
//! ```
//!
//! The way there is a link and not a form: the policy of pages lets forms lead to pages of our own only, redirects included. Another site
//! that sends a browser there gets it no further than the login page. A refusal is a page of its own, without the code in it.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::form::StrangersForm;
use super::login_paths::{self, own};
use super::message::{Message, done, see_other};
use super::page::Page;
use super::shell::Shell;
use super::words::{Coded, sentence};
use crate::actions::Actor;
use crate::actions::log_in_with_provider::{Finished, KEPT_FOR, Return, SignOnError, Start, begin, finish};
use crate::actions::log_out_at_provider::log_out_at_provider;
use crate::http::auth::actor::Person;
use crate::http::auth::address::{CallerAddress, login_origin};
use crate::http::auth::cookie::{CookieKind, value};
use crate::http::error::{Problem, Reason, Result};
use crate::http::extract::Query;
use crate::http::state::AppState;
use crate::store::{OnceSecret, SessionId};

/// The secret of this browser, while it is at the provider.
struct BrowserCookie(CookieKind);

impl BrowserCookie {
    fn name(&self) -> &'static str {
        match self.0 {
            CookieKind::Secure => "__Host-bangui-sso",
            CookieKind::Plain => "bangui-sso",
        }
    }

    fn find(&self, headers: &HeaderMap) -> Option<OnceSecret> {
        OnceSecret::parse(value(headers, self.name())?)
    }

    fn set(&self, response: &mut Response, secret: &OnceSecret) {
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

#[derive(Template)]
#[template(path = "login_refused.html")]
struct RefusedPage {
    shell: Shell,
    title: &'static str,
    text: String,
}

impl RefusedPage {
    fn text(&self) -> Coded<'_> {
        Coded(&self.text)
    }
}

/// The page of a refusal, which has nothing of the address that it is shown at.
fn refused(mut shell: Shell, error: SignOnError) -> Response {
    let problem = Problem::from(error);
    "/login".clone_into(&mut shell.here);
    let page = RefusedPage { shell, title: problem.title(), text: sentence(problem.detail()) };
    let mut response = Page::new(page).status(problem.status()).into_response();
    response.extensions_mut().insert(Reason(problem.name()));
    if let Some(seconds) = problem.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Whether a page of another site sends the browser: it gets a page with the link, and the user decides. An image of another site would
/// otherwise use up the login attempts of their address.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    matches!(site, Some("cross-site" | "same-site"))
}

/// Where the login leads to.
#[derive(Deserialize, Default)]
pub struct Wanted {
    #[serde(default)]
    next: String,
}

/// Sends the browser to the provider.
pub async fn start(
    State(state): State<AppState>,
    shell: Shell,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    let next = own(&wanted.next);
    if is_cross_site(&headers) {
        return Ok(see_other(&login_paths::path(&next, false)));
    }
    lead_there(&state, shell, ip, cookie, &headers, next, None).await
}

/// Sends the browser to the provider, to confirm its session.
pub async fn confirm(
    State(state): State<AppState>,
    Person(actor): Person,
    shell: Shell,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    let next = own(&wanted.next);
    if is_cross_site(&headers) {
        return Ok(see_other(&next));
    }
    lead_there(&state, shell, ip, cookie, &headers, next, actor.session).await
}

async fn lead_there(
    state: &AppState,
    shell: Shell,
    ip: std::net::IpAddr,
    cookie: CookieKind,
    headers: &HeaderMap,
    next: String,
    confirms: Option<SessionId>,
) -> Result<Response> {
    let cookie = BrowserCookie(cookie);
    // The same for all tabs of a browser: each has a state of its own.
    let browser = cookie.find(headers).map_or_else(OnceSecret::fresh, Ok)?;
    match begin(state, Start { ip, browser: browser.clone(), next, confirms }).await {
        Ok(url) => {
            let mut response = see_other(url.as_str());
            cookie.set(&mut response, &browser);
            Ok(response)
        }
        Err(SignOnError::SetupIncomplete) => Ok(see_other("/setup")),
        Err(error) => Ok(refused(shell, error)),
    }
}

/// What the provider adds to the address of the way back.
#[derive(Deserialize, Default)]
pub struct Answer {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// The way back.
pub async fn callback(
    State(state): State<AppState>,
    shell: Shell,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    Query(answer): Query<Answer>,
) -> Result<Response> {
    let replaces = cookie.session_of_browser(&headers);
    let back = Return {
        state: answer.state.as_deref().and_then(OnceSecret::parse),
        browser: BrowserCookie(cookie).find(&headers),
        code: answer.code,
        error: answer.error,
        issuer: answer.iss,
        origin: login_origin(ip, &headers),
        replaces,
    };
    match finish(&state, back).await {
        Ok(Finished::LoggedIn { token, next }) => {
            let mut response = see_other(&own(&next));
            response.headers_mut().append(header::SET_COOKIE, cookie.set(&token));
            Ok(response)
        }
        Ok(Finished::Confirmed { next }) => {
            let session = replaces.map(|proof| proof.id);
            let actor = Actor { session, ..Actor::without_session(ip, &state.worker) };
            let message = Message::ok("Confirmed.")
                .and("Nothing has been done so far: send the form once more within five minutes.");
            Ok(done(&state, &actor, &own(&next), message).await)
        }
        Err(SignOnError::SetupIncomplete) => Ok(see_other("/setup")),
        Err(error) => Ok(refused(shell, error)),
    }
}

/// The provider says that a session has ended there.
pub async fn backchannel_logout(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    form: StrangersForm,
) -> Response {
    let ended = log_out_at_provider(&state, ip, form.raw("logout_token").to_owned()).await;
    let mut response = match ended {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => Problem::from(error).into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
