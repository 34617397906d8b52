//! The second step of a login: the code of a second factor (`login_factor.rs` has the page).

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::form::Errors;
use super::login::again;
use super::login_factor::FactorPage;
use super::login_form::LoginForm;
use super::page::Page;
use super::shell::Shell;
use super::words::sentence;
use crate::actions::finish_login::{self, FinishError};
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;

/// Checks the code, and logs in.
pub async fn finish(State(state): State<AppState>, shell: Shell, sent: LoginForm) -> Result<Response> {
    match finish_login::finish(&state, sent.step()).await {
        Ok(begun) => Ok(sent.logged_in(&state, &begun.token, shell.clock.now).await),
        Err(FinishError::Wrong) => {
            let says = "The code is wrong, or was used before. Each code works once.";
            let errors = Errors::one("code", says);
            let mut page = FactorPage::of(shell, sent, &errors);
            page.passkeys = state.passkeys.ready().is_ok();
            Ok(Page::refused(page, errors).into_response())
        }
        Err(error @ FinishError::Limited(_)) => {
            let problem = Problem::from(error);
            let errors = Errors::one("code", sentence(problem.detail()));
            let wait = problem.retry_after_seconds().unwrap_or(1);
            let until = shell.clock.now + std::time::Duration::from_secs(wait.into());
            let mut page = FactorPage::of(shell, sent, &errors);
            page.limited = Some(until);
            let mut response =
                Page::refused(page, errors).status(StatusCode::TOO_MANY_REQUESTS).into_response();
            response.headers_mut().insert(header::RETRY_AFTER, wait.into());
            Ok(response)
        }
        Err(FinishError::Over | FinishError::LastWrong) => Ok(again(&state, shell, sent)),
        Err(error) => Err(error.into()),
    }
}
