//! The login, which leads back to the page that the user wanted, and the logout.

use askama::Template;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::form::{Errors, Field};
use super::kept::Kept;
use super::login_factor_new::Waiting;
use super::login_form::LoginForm;
use super::login_paths::{goal, over, own};
use super::message::see_other;
use super::page::{Page, Whole};
use super::shell::Shell;
use super::words::sentence;
use super::{login_factor, login_factor_new};
use crate::actions::log_in::{Login, LoginError};
use crate::actions::{Actor, log_in, log_out, set_up};
use crate::config::PasswordLogin;
use crate::domain::Timestamp;
use crate::http::auth::caller::{AwaitRevocation, Caller};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::extract::Query;
use crate::http::state::AppState;
use crate::store::{LoginOrigin, Username};

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

/// The link to the identity provider.
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

impl LoginPage {
    /// Whether a form is kept while the user logs in at the provider.
    fn is_kept_there(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.stored().is_some())
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

/// The answer to a login that is over: the password again, with what is kept.
pub(super) fn again(state: &AppState, shell: Shell, sent: LoginForm) -> Response {
    let next = over(sent.next());
    sent.kept.map_or_else(|| see_other(&next), |kept| with_form(state, shell, kept))
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
    Page::refused(page, Errors::one("credential", says)).into_response()
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
pub async fn log_in(State(state): State<AppState>, shell: Shell, sent: LoginForm) -> Result<Response> {
    let (username, password) = (sent.form.text("username").to_owned(), sent.form.raw("password").to_owned());
    let login = Login { username, password, origin: sent.origin.clone(), replaces: sent.replaces };
    let page = |shell, errors: &Errors| {
        let page = LoginPage::new(&state, shell, sent.next(), sent.form.text("username"), errors);
        LoginPage { ended: sent.kept.is_some(), kept: sent.kept.clone(), ..page }
    };
    match log_in::log_in(&state, login).await {
        Ok(log_in::LoggedIn { token, .. }) => Ok(sent.logged_in(&state, &token, shell.clock.now).await),
        Err(LoginError::SecondFactor(waits)) if waits.must_set_up => {
            let next = own(sent.next());
            let waiting = Waiting { login: waits.secret.reveal(), next: &next, name: "", kept: sent.kept };
            login_factor_new::page(&state, shell, waiting, Errors::default()).await
        }
        Err(LoginError::SecondFactor(waits)) => {
            let next = own(sent.next());
            Ok(login_factor::ask(shell, &waits, &next, sent.kept))
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
            let whose = match limited.limit {
                crate::store::Limit::Account => "with this name",
                crate::store::Limit::Address => "from your address",
                crate::store::Limit::Site => "from your network",
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
