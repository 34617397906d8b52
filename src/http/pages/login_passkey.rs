//! A login with a passkey, from a page: `passkey.js` has it signed, and the form brings what was signed, with what is kept over the login.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::form::StrangersForm;
use super::kept::Kept;
use super::login::{logged_in, refused, user_agent};
use super::shell::Shell;
use super::words::sentence;
use crate::actions::finish_login::FinishError;
use crate::actions::log_in_with_passkey::{self, Signed};
use crate::http::auth::address::CallerAddress;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;
use crate::store::LoginOrigin;

/// Checks what was signed, and logs in.
pub async fn finish(
    State(state): State<AppState>,
    shell: Shell,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    form: StrangersForm,
) -> Result<Response> {
    let origin = LoginOrigin { ip, user_agent: user_agent(&headers) };
    let replaces = cookie.session_of_browser(&headers);
    // What is no JSON is nothing that was signed.
    let credential = serde_json::from_str(form.raw("credential")).unwrap_or_default();
    let signed = Signed { ceremony: form.raw("ceremony").to_owned(), credential, origin, replaces };
    // A form that cannot be kept is dropped; the login continues without it.
    let kept = Kept::from_form(&form).ok().flatten();
    let next = form.raw("next");
    match log_in_with_passkey::finish(&state, signed).await {
        Ok(begun) => Ok(logged_in(&state, cookie, (&begun.token, ip), kept, next, shell.clock.now).await),
        Err(FinishError::Store(error)) => Err(error.into()),
        // The login page, whose form says why.
        Err(error) => {
            let problem = Problem::from(error);
            Ok(refused(&state, shell, next, kept, &sentence(problem.detail())))
        }
    }
}
