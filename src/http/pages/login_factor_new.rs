//! The pages of a login that must set up a second factor: the QR code of an app, and the recovery codes (`login_set_up.rs` has the step).

use askama::Template;
use axum::response::{IntoResponse as _, Response};
use secrecy::ExposeSecret as _;

use super::form::{Errors, Field};
use super::kept::Kept;
use super::page::{Page, Whole};
use super::qr::Qr;
use super::shell::Shell;
use crate::actions::set_up_at_login;
use crate::http::error::Result;
use crate::http::state::AppState;

#[derive(Template)]
#[template(path = "login_factor_new.html")]
struct NewFactorPage {
    shell: Shell,
    next: String,
    /// The secret by which the login continues.
    login: String,
    kept: Option<Kept>,
    secret: String,
    qr: Option<Qr>,
    code: Field,
}

/// The page that shows the secret of the app, in answer to the password.
pub async fn ask(
    state: &AppState,
    shell: Shell,
    login: &str,
    next: &str,
    kept: Option<Kept>,
) -> Result<Response> {
    page(state, shell, login, next, kept, Errors::default()).await
}

/// The same with the error of a code.
pub async fn page(
    state: &AppState,
    mut shell: Shell,
    login: &str,
    next: &str,
    kept: Option<Kept>,
    errors: Errors,
) -> Result<Response> {
    let proposed = set_up_at_login::propose(state, login).await?;
    let uri = proposed.secret.uri(&state.issuer(), proposed.username.as_str());
    // The forms around the page lead back to the login: this page is not to be had by its address.
    "/login".clone_into(&mut shell.here);
    let page = NewFactorPage {
        shell,
        next: next.to_owned(),
        login: login.to_owned(),
        kept,
        qr: Qr::of(uri.expose_secret()),
        secret: proposed.secret.base32().expose_secret().to_owned(),
        code: Field::text("code", "Code that the app shows")
            .with(&errors)
            .hint("Six digits.")
            .attribute("autocomplete", "one-time-code")
            .attribute("inputmode", "numeric")
            .attribute("maxlength", "10")
            .attribute("required", "required"),
    };
    if !errors.is_empty() {
        return Ok(Page::refused(page, errors).into_response());
    }
    let mut response = Page::new(page).into_response();
    response.extensions_mut().insert(Whole);
    Ok(response)
}

/// The page after it: the recovery codes, and where the login leads to.
#[derive(Template)]
#[template(path = "login_codes.html")]
pub struct CodesPage {
    /// The shell.
    pub shell: Shell,
    /// The recovery codes.
    pub codes: Vec<String>,
    /// The page that the login leads to.
    pub to: String,
}
