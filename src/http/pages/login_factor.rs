//! The page that asks for the second factor, for accounts that have one (`login.rs` has the first step, `login_step.rs` the second).
//!
//! The page is the answer to the password, so that what the login leads to, and a form that was kept over it, go along in hidden fields.
//! So does the secret by which the login continues: it is in no URL, and worthless without a code.

use askama::Template;
use axum::response::{IntoResponse as _, Response};

use super::form::{Errors, Field};
use super::kept::Kept;
use super::login_form::LoginForm;
use super::page::{AsksFactor, Page};
use super::shell::Shell;
use crate::actions::log_in::Waits;
use crate::domain::Timestamp;

#[derive(Template)]
#[template(path = "login_factor.html")]
pub(super) struct FactorPage {
    shell: Shell,
    next: String,
    /// The secret by which the login continues.
    login: String,
    kept: Option<Kept>,
    /// Whether a passkey can be used.
    pub passkeys: bool,
    code: Field,
    /// Until when no code may be tried.
    pub limited: Option<Timestamp>,
}

impl FactorPage {
    fn new(mut shell: Shell, next: &str, login: &str, kept: Option<Kept>, errors: &Errors) -> Self {
        // The forms around the page lead back to the login: this page is not to be had by its address.
        "/login".clone_into(&mut shell.here);
        let code = Field::text("code", "Code of your authenticator app, or a recovery code")
            .with(errors)
            .hint("Six digits. A recovery code has four groups of four characters.")
            .attribute("autocomplete", "one-time-code")
            .attribute("inputmode", "numeric")
            .attribute("autocapitalize", "none")
            .attribute("spellcheck", "false")
            .attribute("maxlength", "64")
            .attribute("required", "required")
            .attribute("autofocus", "autofocus");
        Self {
            shell,
            next: next.to_owned(),
            login: login.to_owned(),
            kept,
            passkeys: false,
            code,
            limited: None,
        }
    }

    /// The page again, with the errors of the code that was sent.
    pub fn of(shell: Shell, sent: LoginForm, errors: &Errors) -> Self {
        let (next, login) = (sent.next().to_owned(), sent.secret().to_owned());
        Self::new(shell, &next, &login, sent.kept, errors)
    }
}

/// The page that asks for the second factor, in answer to the password.
#[must_use]
pub fn ask(shell: Shell, waits: &Waits, next: &str, kept: Option<Kept>) -> Response {
    let mut page = FactorPage::new(shell, next, waits.secret.reveal(), kept, &Errors::default());
    page.passkeys = waits.passkeys;
    let asks = AsksFactor { login: page.login.clone(), passkeys: page.passkeys };
    let mut response = Page::new(page).into_response();
    response.extensions_mut().insert(asks);
    response
}
