//! The login, which leads back to the page that the user wanted, and the logout.

use std::net::IpAddr;

use askama::Template;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::form::{Errors, Field, StrangersForm};
use super::kept::Kept;
use super::message::{Message, done, is_own, see_other};
use super::page::{Page, Whole};
use super::shell::Shell;
use super::words::sentence;
use super::{login_factor, login_factor_new};
use crate::actions::log_in::{Login, LoginError};
use crate::actions::{Actor, log_in, log_out, set_up};
use crate::config::PasswordLogin;
use crate::domain::Timestamp;
use crate::http::auth::address::CallerAddress;
use crate::http::auth::caller::{AwaitRevocation, Caller};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::extract::Query;
use crate::http::state::AppState;
use crate::store::{LoginOrigin, SessionId, SessionToken, UNDO_FOR, Username};

/// The path of the login that leads back to `here`.
#[must_use]
pub fn path(here: &str, ended: bool) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if here != "/" {
        query.append_pair("next", here);
    }
    if ended {
        query.append_pair("ended", "1");
    }
    let query = query.finish();
    if query.is_empty() { "/login".to_owned() } else { format!("/login?{query}") }
}

/// The path of the login after one that waited too long for its second factor.
#[must_use]
pub(super) fn over(next: &str) -> String {
    let path = path(&own(next), false);
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}over=1")
}

/// Where the login leads to, and why it is shown.
#[derive(Deserialize, Default)]
pub struct Wanted {
    #[serde(default)]
    next: String,
    ended: Option<String>,
    out: Option<String>,
    /// Whether the form for the password is shown where it is not for everybody.
    password: Option<String>,
    over: Option<String>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    shell: Shell,
    next: String,
    goal: String,
    ended: bool,
    out: bool,
    /// Whether a login has waited too long for its second factor, or was tried with too many wrong codes.
    over: bool,
    limited: Option<Limited>,
    /// Whether one can log in with a passkey alone.
    passkeys: bool,
    /// Why it was refused.
    passkey_error: Option<String>,
    /// A form that was sent after its session had ended.
    kept: Option<Kept>,
    /// The single sign-on.
    provider: Option<ProviderLink>,
    /// Whether the form for the password is shown, or only a link to it.
    password_form: bool,
    name: Field,
    password: Field,
}

/// The link to the provider of identities.
struct ProviderLink {
    name: String,
    href: String,
    away: bool,
}

impl ProviderLink {
    fn of(state: &AppState, next: &str) -> Option<Self> {
        let provider = state.provider.as_ref()?;
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let href = if next == "/" { "/login/sso".to_owned() } else { format!("/login/sso?{query}") };
        Some(Self { name: provider.name().to_owned(), href, away: !provider.is_there() })
    }
}

struct Limited {
    until: Timestamp,
    whose: &'static str,
}

impl LoginPage {
    fn new(state: &AppState, shell: Shell, next: &str, name: &str, errors: &Errors) -> Self {
        let next = own(next);
        Self {
            provider: ProviderLink::of(state, &next),
            password_form: true,
            shell,
            goal: goal(&next),
            next,
            ended: false,
            out: false,
            over: false,
            limited: None,
            passkeys: state.passkeys.ready().is_ok(),
            passkey_error: None,
            kept: None,
            name: Field::text("username", "Name")
                .value(name)
                .with(errors)
                .attribute("autocomplete", "username")
                .attribute("autocapitalize", "none")
                .attribute("spellcheck", "false")
                .attribute("maxlength", "200"),
            password: Field::password("password", "Password")
                .with(errors)
                .attribute("autocomplete", "current-password"),
        }
    }
}

/// The login page for a form whose session has ended: it keeps what was typed.
#[must_use]
pub fn with_form(state: &AppState, shell: Shell, kept: Kept) -> Response {
    let page = LoginPage::new(state, shell, &kept.back, Username::ADMIN, &Errors::default());
    let page = LoginPage { ended: true, kept: Some(kept), ..page };
    let mut response = Page::new(page).status(StatusCode::UNAUTHORIZED).into_response();
    response.extensions_mut().insert(Whole);
    response
}

/// The login page after a passkey that was refused.
pub(super) fn refused(
    state: &AppState,
    shell: Shell,
    next: &str,
    kept: Option<Kept>,
    says: &str,
) -> Response {
    let page = LoginPage::new(state, shell, next, Username::ADMIN, &Errors::default());
    let page = LoginPage { ended: kept.is_some(), kept, passkey_error: Some(says.to_owned()), ..page };
    Page::new(page).status(StatusCode::UNPROCESSABLE_ENTITY).into_response()
}

/// The path, if it is one of our pages to go to; else the first page.
pub(super) fn own(next: &str) -> String {
    let leads_on =
        is_own(next) && !["/login", "/logout", "/setup", "/assets"].iter().any(|not| next.starts_with(not));
    if leads_on { next.to_owned() } else { "/".to_owned() }
}

/// The name of a path's page: its last part.
fn goal(next: &str) -> String {
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default().replace('+', "%2B");
    url::form_urlencoded::parse(last.as_bytes()).next().map(|(word, _)| word.into_owned()).unwrap_or_default()
}

/// The form; a user who is logged in already is redirected.
pub async fn show(
    State(state): State<AppState>,
    shell: Shell,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Result<Response> {
    let (mut parts, _) = request.into_parts();
    match Caller::from_request_parts(&mut parts, &state).await {
        Ok(_) => return Ok(see_other(&own(&wanted.next))),
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {}
        Err(problem) => return Err(problem),
    }
    if !set_up::is_complete(&state).await? {
        return Ok(see_other("/setup"));
    }
    let name = match &state.password_login {
        PasswordLogin::On => Username::ADMIN,
        PasswordLogin::Only(username) => username.as_str(),
    };
    let page = LoginPage::new(&state, shell, &wanted.next, name, &Errors::default());
    let password_form = state.password_login == PasswordLogin::On || wanted.password.is_some();
    let (ended, out, over) = (wanted.ended.is_some(), wanted.out.is_some(), wanted.over.is_some());
    Ok(Page::new(LoginPage { ended, out, over, password_form, ..page }).into_response())
}

/// Logs in.
pub async fn log_in(
    State(state): State<AppState>,
    shell: Shell,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    form: StrangersForm,
) -> Result<Response> {
    let (username, password) = (form.text("username").to_owned(), form.raw("password").to_owned());
    let origin = LoginOrigin { ip, user_agent: user_agent(&headers) };
    let replaces = cookie.session_of_browser(&headers);
    let login = Login { username: username.clone(), password, origin, replaces };
    let begun = log_in::log_in(&state, login).await;
    // A form that cannot be kept is dropped; the login continues without it.
    let kept = Kept::from_form(&form).ok().flatten();
    let page = |shell, errors: &Errors| {
        let page = LoginPage::new(&state, shell, form.raw("next"), &username, errors);
        LoginPage { ended: kept.is_some(), kept: kept.clone(), ..page }
    };
    match begun {
        Ok(log_in::LoggedIn { token, .. }) => {
            Ok(logged_in(&state, cookie, (&token, ip), kept, form.raw("next"), shell.clock.now).await)
        }
        Err(LoginError::SecondFactor(waits)) if waits.must_set_up => {
            login_factor_new::ask(&state, shell, waits.secret.reveal(), &own(form.raw("next")), kept).await
        }
        Err(LoginError::SecondFactor(waits)) => {
            Ok(login_factor::ask(shell, &waits, &own(form.raw("next")), kept))
        }
        Err(LoginError::Wrong | LoginError::Disabled) => {
            let errors = Errors::one("password", "The name or the password is wrong.");
            Ok(Page::refused(page(shell, &errors), errors).into_response())
        }
        Err(error @ LoginError::PasswordOff) => {
            let errors = Errors::one("username", sentence(Problem::from(error).detail()));
            Ok(Page::refused(page(shell, &errors), errors).status(StatusCode::FORBIDDEN).into_response())
        }
        Err(LoginError::Limited(limited)) => {
            let wait = limited.retry_after;
            let until = shell.clock.now + wait;
            let whose = if limited.limit == crate::store::Limit::Account {
                "with this name"
            } else {
                "from your address"
            };
            let seconds = wait.as_millis().div_ceil(1000);
            let errors =
                Errors::one("password", format!("Too many attempts {whose}. Try again in {seconds} s."));
            let page =
                LoginPage { limited: Some(Limited { until, whose }), ..page(shell, &Errors::default()) };
            let mut response =
                Page::refused(page, errors).status(StatusCode::TOO_MANY_REQUESTS).into_response();
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, u64::try_from(seconds).unwrap_or(u64::MAX).into());
            Ok(response)
        }
        Err(LoginError::SetupIncomplete) => Ok(see_other("/setup")),
        Err(error) => Err(error.into()),
    }
}

/// The answer to a login that has succeeded: the session's cookie, and the page that it leads to.
pub(super) async fn logged_in(
    state: &AppState,
    cookie: CookieKind,
    (token, ip): (&SessionToken, IpAddr),
    kept: Option<Kept>,
    next: &str,
    now: Timestamp,
) -> Response {
    let mut response = match kept {
        Some(kept) => offered(state, token.id(), ip, kept, now).await,
        None => see_other(&own(next)),
    };
    response.headers_mut().insert(header::SET_COOKIE, cookie.set(token));
    response
}

/// Logs in with a password that was just set, and redirects to that page. The password stays set: if this login is refused, the
/// login page says why.
pub(super) async fn log_in_at_once(
    state: &AppState,
    cookie: CookieKind,
    origin: LoginOrigin,
    (username, password): (&str, &str),
    to: &str,
) -> Response {
    let (username, password) = (username.to_owned(), password.to_owned());
    let login = Login { username, password, origin, replaces: None };
    let Ok(log_in::LoggedIn { token, .. }) = log_in::log_in(state, login).await else {
        return see_other("/login");
    };
    let mut response = see_other(to);
    response.headers_mut().insert(header::SET_COOKIE, cookie.set(&token));
    response
}

/// Redirects to the page of the kept form, with a message whose button sends it.
async fn offered(state: &AppState, session: SessionId, ip: IpAddr, kept: Kept, now: Timestamp) -> Response {
    let actor = Actor { session: Some(session), ..Actor::without_session(ip, &state.worker) };
    let back = own(&kept.back);
    let message = Message::wait("Logged in again.").and("What you typed is kept, and nothing was sent yet.");
    let message = Message { undo: Some(kept.button(now + UNDO_FOR)), ..message };
    done(state, &actor, &back, message).await
}

/// Logs out, on every worker at once. If the session is already gone, that is a success too.
pub async fn log_out(
    State(state): State<AppState>,
    cookie: CookieKind,
    request: Request,
) -> Result<Response> {
    let (mut parts, _) = request.into_parts();
    match AwaitRevocation::<Actor>::from_request_parts(&mut parts, &state).await {
        Ok(AwaitRevocation(actor)) => log_out::log_out(&state, actor).await?,
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {}
        Err(problem) => return Err(problem),
    }
    Ok(logged_out(cookie))
}

/// The login page after a logout, without the cookie.
#[must_use]
pub fn logged_out(cookie: CookieKind) -> Response {
    let mut response = see_other("/login?out=1");
    response.headers_mut().insert(header::SET_COOKIE, cookie.remove());
    response
}

/// The browser's user agent.
#[must_use]
pub fn user_agent(headers: &HeaderMap) -> String {
    let bytes = headers.get(header::USER_AGENT).map_or(&[][..], |value| value.as_bytes());
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_only_to_pages_of_our_own() {
        assert_eq!(own("/addresses/203.0.113.77?m=1"), "/addresses/203.0.113.77?m=1");
        for elsewhere in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/logout",
            "/login?next=/",
            "javascript:1",
        ] {
            assert_eq!(own(elsewhere), "/", "{elsewhere}");
        }
        assert_eq!(path("/", false), "/login");
        assert_eq!(path("/servers/a?x=1&y=2", true), "/login?next=%2Fservers%2Fa%3Fx%3D1%26y%3D2&ended=1");
    }

    #[test]
    fn the_goal_is_named_by_the_last_part_of_its_path() {
        assert_eq!(goal("/addresses/203.0.113.0%2F24?x=1"), "203.0.113.0/24");
        assert_eq!(goal("/"), "");
    }
}
