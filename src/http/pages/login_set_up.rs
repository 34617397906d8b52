//! The second step of a login that must set up a second factor: the first code of the app (`login_factor_new.rs` has the pages).

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::form::Errors;
use super::login::again;
use super::login_factor_new::{CodesPage, page};
use super::login_form::LoginForm;
use super::page::Page;
use super::shell::Shell;
use crate::actions::finish_login::FinishError;
use crate::actions::set_up_at_login;
use crate::domain::second_factor::RecoveryCode;
use crate::http::error::Result;
use crate::http::state::AppState;

/// Sets up the app, logs in, and shows the recovery codes.
pub async fn set_up(State(state): State<AppState>, shell: Shell, sent: LoginForm) -> Result<Response> {
    match set_up_at_login::set_up(&state, sent.step()).await {
        Ok((begun, codes)) => {
            let to = sent.logged_in(&state, &begun.token, shell.clock.now).await;
            Ok(with_codes(shell, &to, &codes))
        }
        Err(FinishError::Wrong) => {
            let says = "This is not the code that the app shows now. Is the clock of the device right?";
            let (next, secret) = (sent.next().to_owned(), sent.secret().to_owned());
            page(&state, shell, &secret, &next, sent.kept, Errors::one("code", says)).await
        }
        Err(FinishError::Over) => Ok(again(&state, shell, sent)),
        Err(error) => Err(error.into()),
    }
}

/// Instead of being redirected, the browser gets a page with the codes, from which it goes on.
fn with_codes(shell: Shell, redirect: &Response, codes: &[RecoveryCode]) -> Response {
    let to = redirect.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("/");
    let codes = codes.iter().map(RecoveryCode::shown).collect();
    let mut response = Page::new(CodesPage { shell, codes, to: to.to_owned() }).into_response();
    for cookie in redirect.headers().get_all(header::SET_COOKIE) {
        response.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
    debug_assert_eq!(response.status(), StatusCode::OK);
    response
}
