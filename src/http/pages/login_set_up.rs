//! The second step of a login that must set up a second factor: the first code of the app (`login_factor_new.rs` has the pages).

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::form::{Errors, StrangersForm};
use super::kept::Kept;
use super::login::{logged_in, over, user_agent, with_form};
use super::login_factor_new::{CodesPage, page};
use super::message::see_other;
use super::page::Page;
use super::shell::Shell;
use crate::actions::finish_login::{FinishError, SecondStep};
use crate::actions::set_up_at_login;
use crate::domain::second_factor::RecoveryCode;
use crate::http::auth::address::CallerAddress;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::Result;
use crate::http::state::AppState;
use crate::store::LoginOrigin;

/// Sets up the app, logs in, and shows the recovery codes.
pub async fn set_up(
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
    match set_up_at_login::set_up(&state, step).await {
        Ok((begun, codes)) => {
            let to = logged_in(&state, cookie, (&begun.token, ip), kept, &next, shell.clock.now).await;
            Ok(with_codes(shell, &to, &codes))
        }
        Err(FinishError::Wrong) => {
            let says = "This is not the code that the app shows now. Is the clock of the device right?";
            page(&state, shell, &secret, &next, kept, Errors::one("code", says)).await
        }
        // The password again, with what is kept.
        Err(FinishError::Over) => match kept {
            Some(kept) => Ok(with_form(&state, shell, kept)),
            None => Ok(see_other(&over(&next))),
        },
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
