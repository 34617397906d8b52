//! The pages of a login that must set up a second factor: the QR code of an app, a passkey, and the recovery codes (`login_set_up.rs` has the
//! step).
//!
//! Only a script can have the browser make a passkey: without one, the page offers the app alone.

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
    /// Whether it may be a passkey.
    passkeys: bool,
    /// How the passkey is called.
    name: Field,
    passkey_error: Option<String>,
}

/// A login that must set up a second factor.
pub struct Waiting<'a> {
    /// The secret by which it continues.
    pub login: &'a str,
    /// The page that it leads to.
    pub next: &'a str,
    /// The name that was typed for a passkey.
    pub name: &'a str,
    /// A form that is kept over it.
    pub kept: Option<Kept>,
}

/// The page that shows the secret of an app, in answer to the password; or again, with the error of a code (`code`) or of a passkey
/// (`credential`).
pub async fn page(state: &AppState, mut shell: Shell, sent: Waiting<'_>, errors: Errors) -> Result<Response> {
    let proposed = set_up_at_login::propose(state, sent.login).await?;
    let uri = proposed.secret.uri(&state.issuer(), proposed.username.as_str());
    // The forms around the page lead back to the login: this page is not to be had by its address.
    "/login".clone_into(&mut shell.here);
    let page = NewFactorPage {
        shell,
        next: sent.next.to_owned(),
        login: sent.login.to_owned(),
        kept: sent.kept,
        qr: Qr::of(uri.expose_secret()),
        secret: proposed.secret.base32().expose_secret().to_owned(),
        code: Field::text("code", "Code that the app shows")
            .with(&errors)
            .hint("Six digits.")
            .attribute("autocomplete", "one-time-code")
            .attribute("inputmode", "numeric")
            .attribute("maxlength", "10")
            .attribute("required", "required"),
        passkeys: state.passkeys.ready().is_ok(),
        name: Field::text("name", "Name of the passkey")
            .value(sent.name)
            .hint("The device that has it, such as laptop.")
            .attribute("autocomplete", "off")
            .attribute("maxlength", "64")
            .attribute("required", "required"),
        passkey_error: errors.of("credential").map(str::to_owned),
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
    /// What was set up: `app` or `passkey`.
    pub factor: &'static str,
    /// The recovery codes.
    pub codes: Vec<String>,
    /// The page that the login leads to.
    pub to: String,
}
