//! Tokens for programs, on the page of the account: making and revoking them.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::account::account;
use super::confirm;
use super::form::{Errors, Form};
use super::message::{Message, done};
use super::once;
use super::page::Page;
use super::shell::Visitor;
use super::users::{WRONG_ROLE, typed_role, typed_servers};
use super::words::sentence;
use crate::actions::api_tokens::{self, ApiTokenError, Wanted};
use crate::domain::Network;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;
use crate::store::SessionId;

/// The page with the tokens.
const PATH: &str = "/account";

/// Makes a token. Its secret is on the next page, once.
pub async fn create(
    State(state): State<AppState>,
    visitor: Visitor,
    cookie: CookieKind,
    form: Form,
) -> Result<Response> {
    let mut errors = Errors::default();
    let servers = typed_servers(form.text("servers"));
    if servers.is_none() {
        let allowed = "Names of servers or patterns such as web-*, separated by commas, 50 at most. Empty for all of yours.";
        errors.add("servers", allowed);
    }
    let networks = form.text("networks").split([',', ' ']).filter(|text| !text.is_empty());
    let networks: Option<Vec<Network>> = networks.map(Network::parse).collect();
    if networks.is_none() {
        errors.add("networks", "Addresses or networks such as 203.0.113.0/24, separated by commas.");
    }
    let role = typed_role(form.text("role"));
    if role.is_none() {
        errors.add("role", WRONG_ROLE);
    }
    let days = form.text("days").parse().unwrap_or(0);
    if let (Some(servers), Some(networks), Some(_)) = (servers, networks, role) {
        let wanted = Wanted {
            name: form.text("name").to_owned(),
            role,
            servers: Some(servers).filter(|servers| !servers.is_empty()),
            networks,
            days,
        };
        match api_tokens::create(&state, visitor.actor.clone(), wanted).await {
            Ok(made) => {
                let message = Message::ok(format!("The token {} was created.", made.view.grant.name))
                    .and("Its secret is shown below, only now.");
                let mut response = done(&state, &visitor.actor, PATH, message).await;
                once::hand_over(&mut response, cookie, PATH, &made.token.reveal());
                return Ok(response);
            }
            Err(ApiTokenError::Unconfirmed(_)) => {
                return confirm::ask(visitor, "Make a token for a program", PATH, &form);
            }
            Err(ApiTokenError::Invalid(says)) => {
                let field = if says.starts_with("`days`") {
                    "days"
                } else if says.starts_with("`networks`") {
                    "networks"
                } else {
                    "name"
                };
                errors.add(field, sentence(&says));
            }
            Err(error @ (ApiTokenError::TooMuch | ApiTokenError::TooMany)) => {
                let field = if matches!(error, ApiTokenError::TooMuch) { "servers" } else { "name" };
                errors.add(field, sentence(Problem::from(error).detail()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let page = account(&state, visitor, None, None, &form, &errors).await?;
    Ok(Page::refused(page, errors).into_response())
}

/// Revokes a token.
pub async fn revoke(State(state): State<AppState>, visitor: Visitor, form: Form) -> Result<Response> {
    let id = SessionId::parse(form.text("id")).ok_or(ApiTokenError::Unknown)?;
    let message = match api_tokens::revoke(&state, visitor.actor.clone(), None, id).await {
        Ok(()) => Message::ok("The token is revoked.").and("Every worker refuses it from now on."),
        Err(ApiTokenError::Unknown) => Message::ok("That token was revoked or had expired before."),
        Err(error) => return Err(error.into()),
    };
    Ok(done(&state, &visitor.actor, PATH, message).await)
}
