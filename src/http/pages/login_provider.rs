//! Logging in with the identity provider: the link of the login page, the way back, the provider's own logout, and the confirmation of a
//! session whose user has no password.
//!
//! ```text
//! GET /login/sso ─▶ 303 to the provider, a cookie with a secret of this browser
//! POST /login/sso with a form that is kept ─▶ a page that leads there, the same cookie
//! GET /login/callback?code&state ─▶ 303 to the page that was wanted, the session's cookie
//! POST /login/backchannel-logout ◀─ the provider itself
//! ```
//!
//! The way there is a link and not a form: the policy of pages lets forms lead to pages of our own only, redirects included. A form that is to
//! be kept waits in Redis with the login, and is offered to the same browser once, for a person to send. Another site that sends a browser
//! there gets it no further than the login page. A refusal is a page of its own, without the code in it.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::confirm::OFFERED_FOR;
use super::form::{Form, StrangersForm};
use super::kept::Kept;
use super::login_departure::{BrowserCookie, Departure, leaving};
use super::login_form::{LoginForm, offered};
use super::login_paths::{self, own};
use super::message::{Message, done, see_other};
use super::page::Page;
use super::shell::Shell;
use super::words::{Coded, sentence};
use crate::actions::Actor;
use crate::actions::log_in_with_provider::{Finished, Return, SignOnError, Start, begin, finish};
use crate::actions::log_out_at_provider::log_out_at_provider;
use crate::http::auth::actor::Person;
use crate::http::auth::address::{CallerAddress, login_origin};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Reason, Result};
use crate::http::extract::Query;
use crate::http::state::AppState;
use crate::store::{OnceSecret, SessionId};

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

/// How the browser is sent there.
enum Way {
    /// By a link.
    Link,
    /// By a form, over which another one is kept.
    Form(Option<Kept>),
}

/// Sends the browser to the provider.
pub async fn start(State(state): State<AppState>, departure: Departure) -> Result<Response> {
    if departure.is_cross_site {
        return Ok(see_other(&login_paths::path(&departure.next, false)));
    }
    lead_there(&state, departure, None, Way::Link).await
}

/// The same with a form whose session has ended: it is kept.
pub async fn start_with_form(
    State(state): State<AppState>,
    departure: Departure,
    sent: LoginForm,
) -> Result<Response> {
    let departure = Departure { next: own(sent.next()), ..departure };
    lead_there(&state, departure, None, Way::Form(sent.kept)).await
}

/// Sends the browser to the provider, to confirm its session.
pub async fn confirm(
    State(state): State<AppState>,
    Person(actor): Person,
    departure: Departure,
) -> Result<Response> {
    if departure.is_cross_site {
        return Ok(see_other(&departure.next));
    }
    lead_there(&state, departure, actor.session, Way::Link).await
}

/// The same with the form that needs it: it is kept.
pub async fn confirm_with_form(
    State(state): State<AppState>,
    Person(actor): Person,
    departure: Departure,
    form: Form,
) -> Result<Response> {
    let kept = Kept::from_form(&form)?;
    let next = kept.as_ref().map_or("/", |kept| &kept.back);
    let departure = Departure { next: own(next), ..departure };
    lead_there(&state, departure, actor.session, Way::Form(kept)).await
}

async fn lead_there(
    state: &AppState,
    departure: Departure,
    confirms: Option<SessionId>,
    way: Way,
) -> Result<Response> {
    let Departure { shell, ip, cookie, known, next, .. } = departure;
    let browser = known.map_or_else(OnceSecret::fresh, Ok)?;
    let form = match &way {
        Way::Form(Some(kept)) => kept.stored(),
        Way::Form(None) | Way::Link => None,
    };
    match begin(state, Start { ip, browser: browser.clone(), next, confirms, form }).await {
        Ok(url) => {
            let mut response = match way {
                Way::Link => see_other(url.as_str()),
                Way::Form(_) => leaving(shell, &url),
            };
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
        Ok(Finished::LoggedIn { token, next, form }) => {
            let mut response = match form.as_deref().and_then(Kept::from_stored) {
                Some(kept) => offered(&state, token.id(), ip, kept, shell.clock.now).await,
                None => see_other(&own(&next)),
            };
            response.headers_mut().append(header::SET_COOKIE, cookie.set(&token));
            Ok(response)
        }
        Ok(Finished::Confirmed { next, form }) => {
            let session = replaces.map(|proof| proof.id);
            let actor = Actor { session, ..Actor::without_session(ip, &state.worker) };
            let message = match form.as_deref().and_then(Kept::from_stored) {
                Some(kept) => {
                    let undo = Some(kept.button(shell.clock.now + OFFERED_FOR));
                    let message = Message::wait("Confirmed.");
                    Message { undo, ..message.and("One step is left: nothing has been done so far.") }
                }
                None => Message::ok("Confirmed.")
                    .and("Nothing has been done so far: send the form once more within five minutes."),
            };
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
