//! The second step of a login: the code of a second factor (`login_factor.rs` has the page).

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::form::{Errors, StrangersForm};
use super::kept::Kept;
use super::login::{logged_in, over, user_agent, with_form};
use super::login_factor::FactorPage;
use super::message::see_other;
use super::page::Page;
use super::shell::Shell;
use super::words::sentence;
use crate::actions::finish_login::{self, FinishError, SecondStep};
use crate::http::auth::address::CallerAddress;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;
use crate::store::LoginOrigin;

/// Checks the code, and logs in.
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
    let (secret, next) = (form.raw("login").to_owned(), form.raw("next").to_owned());
    let step = SecondStep { secret: secret.clone(), code: form.raw("code").to_owned(), origin, replaces };
    // A form that cannot be kept is dropped; the login continues without it.
    let kept = Kept::from_form(&form).ok().flatten();
    match finish_login::finish(&state, step).await {
        Ok(begun) => Ok(logged_in(&state, cookie, (&begun.token, ip), kept, &next, shell.clock.now).await),
        Err(FinishError::Wrong) => {
            let says = "The code is wrong, or was used before. Each code works once.";
            let errors = Errors::one("code", says);
            let mut page = FactorPage::new(shell, &next, &secret, kept, &errors);
            page.passkeys = state.passkeys.ready().is_ok();
            Ok(Page::refused(page, errors).into_response())
        }
        Err(error @ FinishError::Limited(_)) => {
            let problem = Problem::from(error);
            let errors = Errors::one("code", sentence(problem.detail()));
            let wait = problem.retry_after_seconds().unwrap_or(1);
            let until = shell.clock.now + std::time::Duration::from_secs(wait.into());
            let mut page = FactorPage::new(shell, &next, &secret, kept, &errors);
            page.limited = Some(until);
            let mut response =
                Page::refused(page, errors).status(StatusCode::TOO_MANY_REQUESTS).into_response();
            response.headers_mut().insert(header::RETRY_AFTER, wait.into());
            Ok(response)
        }
        // The password again, with what is kept.
        Err(FinishError::Over | FinishError::LastWrong) => match kept {
            Some(kept) => Ok(with_form(&state, shell, kept)),
            None => Ok(see_other(&over(&next))),
        },
        Err(error) => Err(error.into()),
    }
}
