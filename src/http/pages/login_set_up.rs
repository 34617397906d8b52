//! The second step of a login that must set up a second factor: the first code of an app, or a passkey that `passkey.js` has the browser make
//! (`login_factor_new.rs` has the pages).

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use super::form::Errors;
use super::login::again;
use super::login_factor_new::{CodesPage, Waiting, page};
use super::login_form::LoginForm;
use super::page::Page;
use super::shell::Shell;
use super::words::sentence;
use crate::actions::finish_login::FinishError;
use crate::actions::log_in::LoggedIn;
use crate::actions::set_up_at_login::{self, PasskeyStep};
use crate::domain::second_factor::RecoveryCode;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;

/// Sets up the app, logs in, and shows the recovery codes.
pub async fn set_up(State(state): State<AppState>, shell: Shell, sent: LoginForm) -> Result<Response> {
    match set_up_at_login::set_up(&state, sent.step()).await {
        Ok(done) => Ok(logged_in(&state, shell, sent, "app", done).await),
        Err(FinishError::Wrong) => {
            let says = "This is not the code that the app shows now. Is the clock of the device right?";
            once_more(&state, shell, sent, Errors::one("code", says)).await
        }
        Err(FinishError::Over) => Ok(again(&state, shell, sent)),
        Err(error) => Err(error.into()),
    }
}

/// Sets up the passkey that the browser has made, logs in, and shows the recovery codes.
pub async fn add_passkey(State(state): State<AppState>, shell: Shell, sent: LoginForm) -> Result<Response> {
    let step = PasskeyStep {
        secret: sent.secret().to_owned(),
        name: sent.form.text("name").to_owned(),
        // What is no JSON is nothing that a browser made.
        credential: serde_json::from_str(sent.form.raw("credential")).unwrap_or_default(),
        origin: sent.origin.clone(),
        replaces: sent.replaces,
    };
    match set_up_at_login::add_passkey(&state, step).await {
        Ok(done) => Ok(logged_in(&state, shell, sent, "passkey", done).await),
        Err(error @ (FinishError::NewPasskey(_) | FinishError::NoPasskeys(_))) => {
            let says = sentence(Problem::from(error).detail());
            once_more(&state, shell, sent, Errors::one("credential", says)).await
        }
        Err(FinishError::Over) => Ok(again(&state, shell, sent)),
        Err(error) => Err(error.into()),
    }
}

/// The page again, with what is wrong.
async fn once_more(state: &AppState, shell: Shell, sent: LoginForm, errors: Errors) -> Result<Response> {
    let (login, next, name) = (sent.secret(), sent.next(), sent.form.text("name"));
    page(state, shell, Waiting { login, next, name, kept: sent.kept.clone() }, errors).await
}

/// Instead of being redirected, the browser gets a page with the codes, from which it goes on.
async fn logged_in(
    state: &AppState,
    shell: Shell,
    sent: LoginForm,
    factor: &'static str,
    (begun, codes): (LoggedIn, Vec<RecoveryCode>),
) -> Response {
    let redirect = sent.logged_in(state, &begun.token, shell.clock.now).await;
    let to = redirect.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("/");
    let codes = codes.iter().map(RecoveryCode::shown).collect();
    let mut response = Page::new(CodesPage { shell, factor, codes, to: to.to_owned() }).into_response();
    for cookie in redirect.headers().get_all(header::SET_COOKIE) {
        response.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
    response
}
