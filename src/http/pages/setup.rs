//! The setup page: takes the code and a password, and logs the user in.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::form::{Errors, Field, StrangersForm};
use super::login::log_in_at_once;
use super::message::see_other;
use super::page::Page;
use super::shell::Shell;
use crate::actions::set_up::{self, Claim, SetupError};
use crate::http::auth::address::{CallerAddress, login_origin};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::Result;
use crate::http::extract::Query;
use crate::http::state::AppState;
use crate::password::rules;
use crate::store::Username;

/// The code, if it is in the query of a link. A code in the fragment (`/setup#code=...`) is in no log; a script puts it into its field.
#[derive(Deserialize)]
pub struct Wanted {
    #[serde(default)]
    code: String,
}

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    shell: Shell,
    came: bool,
    code: Field,
    password: Field,
}

impl SetupPage {
    fn new(shell: Shell, code: &str, errors: &Errors) -> Self {
        Self {
            shell,
            came: !code.is_empty(),
            code: Field::text("code", "Setup code")
                .value(code)
                .with(errors)
                .hint("From the link, a worker's log, or BANGUI_SETUP_TOKEN. It works once.")
                .attribute("class", "mono")
                .attribute("autocomplete", "off")
                .attribute("autocapitalize", "none")
                .attribute("spellcheck", "false")
                .attribute("required", "required"),
            password: Field::password("password", "New password for admin")
                .with(errors)
                .hint(format!(
                    "{} characters or more. Three or four unrelated words are good.",
                    rules::MIN_CHARACTERS
                ))
                .attribute("autocomplete", "new-password")
                .attribute("required", "required"),
        }
    }
}

/// The form; after setup, the login.
pub async fn show(
    State(state): State<AppState>,
    shell: Shell,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    if set_up::is_complete(&state).await? {
        return Ok(see_other("/login"));
    }
    Ok(Page::new(SetupPage::new(shell, &wanted.code, &Errors::default())).into_response())
}

/// Sets the first password, and logs in.
pub async fn complete(
    State(state): State<AppState>,
    shell: Shell,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    form: StrangersForm,
) -> Result<Response> {
    let (code, password) = (form.text("code"), form.raw("password"));
    let claim = Claim { password: password.to_owned(), token: code.to_owned() };
    let (errors, status) = match set_up::set_up(&state, ip, claim).await {
        Ok(()) => {
            let origin = login_origin(ip, &headers);
            let account = (Username::ADMIN, password);
            return Ok(log_in_at_once(&state, cookie, origin, account, "/setup/next").await);
        }
        Err(SetupError::Complete) => return Ok(see_other("/login")),
        Err(SetupError::WrongToken) => {
            let sentence = "This is not the setup code. It is in the link that was printed, in a worker's log, or in \
                 BANGUI_SETUP_TOKEN.";
            (Errors::one("code", sentence), StatusCode::FORBIDDEN)
        }
        Err(SetupError::Weak(weak)) => {
            let sentence = super::words::sentence(&weak.to_string());
            (Errors::one("password", sentence), StatusCode::UNPROCESSABLE_ENTITY)
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Page::refused(SetupPage::new(shell, code, &errors), errors).status(status).into_response())
}
