//! The second factors of the user's own account: set up, replaced and removed here, after the password (`confirm.rs`).

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use secrecy::ExposeSecret as _;

use super::form::{Errors, Field, Form};
use super::message::{Message, done};
use super::page::Page;
use super::qr::Qr;
use super::shell::{Shell, Visitor};
use super::{confirm, once};
use crate::actions::second_factor::{self, FactorError};
use crate::domain::Timestamp;
use crate::domain::second_factor::{RECOVERY_CODES, RecoveryCode, TypedCode};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::Result;
use crate::http::state::AppState;
use crate::store::StoredPasskey;

/// This page.
pub(super) const PATH: &str = "/account/factors";
/// Between recovery codes that are handed over.
const BETWEEN: char = '.';

#[derive(Template)]
#[template(path = "account_factors.html")]
struct FactorsPage {
    shell: Shell,
    /// Since when there is an app.
    app: Option<Timestamp>,
    proposed: Option<Proposed>,
    codes_left: usize,
    codes_made: usize,
    /// Recovery codes that were just made.
    codes: Vec<String>,
    passkeys: Vec<StoredPasskey>,
    /// Why there can be no passkeys here.
    no_passkeys: Option<String>,
    name: Field,
    code: Field,
}

struct Proposed {
    secret: String,
    qr: Option<Qr>,
}

/// The factors, and what is being set up.
pub async fn show(
    State(state): State<AppState>,
    visitor: Visitor,
    cookie: CookieKind,
    headers: HeaderMap,
) -> Result<Response> {
    let is_code = |text: &&str| matches!(TypedCode::parse(text), Some(TypedCode::Recovery(_)));
    let handed = once::find(&headers).unwrap_or_default();
    let codes: Vec<String> =
        handed.split(BETWEEN).filter(is_code).take(RECOVERY_CODES).map(str::to_owned).collect();
    let shown = !codes.is_empty();
    let page = page(&state, visitor, codes, &Errors::default()).await?;
    let mut response = Page::new(page).into_response();
    if shown {
        once::remove(&mut response, cookie, PATH);
    }
    Ok(response)
}

async fn page(
    state: &AppState,
    visitor: Visitor,
    codes: Vec<String>,
    errors: &Errors,
) -> Result<FactorsPage> {
    let factors = second_factor::list(state, &visitor.actor).await?;
    let proposed = second_factor::proposed_app(state, &visitor.actor).await?;
    let proposed = proposed.map(|secret| Proposed {
        qr: Qr::of(secret.uri(&state.issuer(), visitor.actor.username()).expose_secret()),
        secret: secret.base32().expose_secret().to_owned(),
    });
    Ok(FactorsPage {
        app: factors.app.map(|app| app.since),
        proposed,
        codes_left: factors.recovery_codes,
        codes_made: RECOVERY_CODES,
        codes,
        passkeys: factors.passkeys,
        no_passkeys: state.passkeys.ready().err().map(|why| why.to_string()),
        name: Field::text("name", "Name")
            .hint("The device that has it, such as laptop.")
            .attribute("autocomplete", "off")
            .attribute("maxlength", "64")
            .attribute("required", "required"),
        code: Field::text("code", "Code that the app shows")
            .with(errors)
            .hint("Six digits.")
            .attribute("autocomplete", "one-time-code")
            .attribute("inputmode", "numeric")
            .attribute("maxlength", "10")
            .attribute("required", "required"),
        shell: visitor.shell,
    })
}

/// Leads to the page, which shows these codes once.
pub(super) async fn hand_over(
    state: &AppState,
    visitor: &Visitor,
    cookie: CookieKind,
    message: Message,
    codes: &[RecoveryCode],
) -> Response {
    let mut response = done(state, &visitor.actor, PATH, message).await;
    let codes: Vec<String> = codes.iter().map(RecoveryCode::shown).collect();
    once::hand_over(&mut response, cookie, PATH, &codes.join(&BETWEEN.to_string()));
    response
}

/// Proposes the secret of an app.
pub async fn propose_app(State(state): State<AppState>, visitor: Visitor, form: Form) -> Result<Response> {
    match second_factor::propose_app(&state, &visitor.actor).await {
        Ok(_) => {
            let message = Message::wait("One step is left.").and("Enter the first code of the app.");
            Ok(done(&state, &visitor.actor, PATH, message).await)
        }
        Err(FactorError::Unconfirmed(_)) => confirm::ask(visitor, "Set up an authenticator app", PATH, &form),
        Err(error) => Err(error.into()),
    }
}

/// Sets up the app with its first code.
pub async fn set_app(
    State(state): State<AppState>,
    visitor: Visitor,
    cookie: CookieKind,
    form: Form,
) -> Result<Response> {
    match second_factor::set_app(&state, visitor.actor.clone(), form.raw("code").to_owned()).await {
        Ok(codes) => {
            let message = Message::ok("The app is set up.")
                .and("From now on the password alone is not enough to log in.");
            Ok(hand_over(&state, &visitor, cookie, message, &codes).await)
        }
        Err(FactorError::WrongCode) => {
            let says = "This is not the code that the app shows now. Is the clock of the device right?";
            let errors = Errors::one("code", says);
            let page = page(&state, visitor, Vec::new(), &errors).await?;
            Ok(Page::refused(page, errors).status(StatusCode::UNPROCESSABLE_ENTITY).into_response())
        }
        Err(FactorError::NoProposal) => {
            let message =
                Message::bad("Nothing was set up.").and("It took longer than ten minutes: begin again.");
            Ok(done(&state, &visitor.actor, PATH, message).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes the app.
pub async fn remove_app(State(state): State<AppState>, visitor: Visitor, form: Form) -> Result<Response> {
    let message = match second_factor::remove_app(&state, visitor.actor.clone()).await {
        Ok(()) => Message::ok("The app is removed.").and("Its codes no longer work."),
        Err(FactorError::Unknown) => Message::ok("The app was removed before."),
        Err(FactorError::Unconfirmed(_)) => {
            return confirm::ask(visitor, "Remove the authenticator app", PATH, &form);
        }
        Err(error) => return Err(error.into()),
    };
    Ok(done(&state, &visitor.actor, PATH, message).await)
}

/// Makes new recovery codes.
pub async fn renew_recovery_codes(
    State(state): State<AppState>,
    visitor: Visitor,
    cookie: CookieKind,
    form: Form,
) -> Result<Response> {
    match second_factor::renew_recovery_codes(&state, visitor.actor.clone()).await {
        Ok(codes) => {
            let message = Message::ok("The recovery codes are made.").and("They are shown below, only now.");
            Ok(hand_over(&state, &visitor, cookie, message, &codes).await)
        }
        Err(FactorError::Unconfirmed(_)) => confirm::ask(visitor, "Make new recovery codes", PATH, &form),
        Err(error) => Err(error.into()),
    }
}
