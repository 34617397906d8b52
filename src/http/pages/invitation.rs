//! The page of an invitation: whoever has its link sets a password, and is logged in.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::form::{Errors, Field, StrangersForm};
use super::login::log_in_at_once;
use super::page::Page;
use super::shell::Shell;
use super::words::sentence;
use crate::actions::invite_users::{AcceptError, accept};
use crate::http::auth::address::{CallerAddress, login_origin};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;
use crate::password::rules;
use crate::store::{Invitation, InvitationCode};

#[derive(Template)]
#[template(path = "invitation.html")]
struct InvitationPage {
    shell: Shell,
    code: String,
    invitation: Invitation,
    password: Field,
}

/// The invitation of this code; 404 if it is not valid any more.
async fn find(state: &AppState, code: &str) -> Result<Invitation> {
    let code = InvitationCode::parse(code).ok_or(AcceptError::Unknown)?;
    Ok(state.store.invitation(&code.id()).await?.ok_or(AcceptError::Unknown)?)
}

fn page(mut shell: Shell, code: String, invitation: Invitation, errors: &Errors) -> InvitationPage {
    // The path has the secret: no form of the page repeats it.
    "/".clone_into(&mut shell.here);
    let password = Field::password("password", format!("New password for {}", invitation.username))
        .with(errors)
        .hint(format!(
            "{} characters or more. Three or four unrelated words are good.",
            rules::MIN_CHARACTERS
        ))
        .attribute("autocomplete", "new-password")
        .attribute("required", "required");
    InvitationPage { shell, code, invitation, password }
}

/// The form.
pub async fn show(State(state): State<AppState>, shell: Shell, Path(code): Path<String>) -> Result<Response> {
    let invitation = find(&state, &code).await?;
    Ok(Page::new(page(shell, code, invitation, &Errors::default())).into_response())
}

/// Sets the password, and logs in.
pub async fn complete(
    State(state): State<AppState>,
    shell: Shell,
    CallerAddress(ip): CallerAddress,
    cookie: CookieKind,
    headers: HeaderMap,
    Path(code): Path<String>,
    form: StrangersForm,
) -> Result<Response> {
    let password = form.raw("password");
    let (errors, status) = match accept(&state, ip, &code, password.to_owned()).await {
        Ok(username) => {
            let origin = login_origin(ip, &headers);
            return Ok(log_in_at_once(&state, cookie, origin, (username.as_str(), password), "/").await);
        }
        Err(AcceptError::Weak(weak)) => {
            (Errors::one("password", sentence(&weak.to_string())), StatusCode::UNPROCESSABLE_ENTITY)
        }
        Err(error @ AcceptError::Limited(_)) => {
            let problem = Problem::from(error);
            (Errors::one("password", sentence(problem.detail())), StatusCode::TOO_MANY_REQUESTS)
        }
        Err(error) => return Err(error.into()),
    };
    let invitation = find(&state, &code).await?;
    let page = page(shell, code, invitation, &errors);
    Ok(Page::refused(page, errors).status(status).into_response())
}
