//! A login with a passkey, from a page: `passkey.js` has it signed, and the form brings what was signed, with what is kept over the login.

use axum::extract::State;
use axum::response::Response;

use super::login::{again, refused};
use super::login_form::LoginForm;
use super::shell::Shell;
use super::words::sentence;
use crate::actions::finish_login::FinishError;
use crate::actions::log_in_with_passkey::{self, Signed};
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;

/// Checks what was signed, and logs in.
pub async fn finish(State(state): State<AppState>, shell: Shell, sent: LoginForm) -> Result<Response> {
    // What is no JSON is nothing that was signed.
    let credential = serde_json::from_str(sent.form.raw("credential")).unwrap_or_default();
    let ceremony = sent.form.raw("ceremony").to_owned();
    let signed = Signed { ceremony, credential, origin: sent.origin.clone(), replaces: sent.replaces };
    match log_in_with_passkey::finish(&state, signed).await {
        Ok(begun) => Ok(sent.logged_in(&state, &begun.token, shell.clock.now).await),
        Err(FinishError::Store(error)) => Err(error.into()),
        // The password was right, but that was too long ago.
        Err(FinishError::Over) if !sent.secret().is_empty() => Ok(again(&state, shell, sent)),
        // The login page, whose form says why.
        Err(error) => {
            let problem = Problem::from(error);
            let next = sent.next().to_owned();
            Ok(refused(&state, shell, &next, sent.kept, &sentence(problem.detail())))
        }
    }
}
