//! Invitations: made, listed and revoked by admins of all servers, and accepted by whoever has the link.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sessions::List;
use super::time::Time;
use super::users::Servers;
use crate::actions::invite_users::{self, InviteError, NewlyInvited};
use crate::domain::access::{Access, Role, ServerPattern};
use crate::http::auth::actor::Person;
use crate::http::auth::address::CallerAddress;
use crate::http::error::Result;
use crate::http::extract::{Json, Path, STRANGERS_BODY};
use crate::http::state::AppState;
use crate::store::{Invitation, InvitationCode, InvitationId, Username};

/// An invitation as admins see it.
#[derive(Serialize, ToSchema)]
pub struct InvitationView {
    id: String,
    username: String,
    role: Role,
    /// The servers and patterns that the role is for; empty for all servers.
    #[schema(value_type = Vec<String>)]
    servers: Vec<ServerPattern>,
    created_by: String,
    created_at: Time,
    expires_at: Time,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id.to_string(),
            username: invitation.username.to_string(),
            role: invitation.access.role,
            servers: invitation.access.servers,
            created_by: invitation.by.username.to_string(),
            created_at: invitation.created_at.into(),
            expires_at: invitation.expires_at.into(),
        }
    }
}

/// The body of an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationRequest {
    /// 1 to 32 characters of a-z, 0-9, `.`, `_` and `-`, beginning with a letter or a digit.
    #[schema(min_length = 1, max_length = 32, pattern = "^[a-z0-9][a-z0-9._-]{0,31}$")]
    username: String,
    role: Role,
    /// Servers and patterns such as `web-*`; empty for all servers.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    servers: Servers,
}

/// A new invitation, with its secret, which is not shown again.
#[derive(Serialize, ToSchema)]
pub struct InvitationMade {
    invitation: InvitationView,
    /// Works once, for a day.
    code: String,
    /// The path of the page on which the code is used.
    path: String,
}

/// The path of the page of an invitation.
#[must_use]
pub fn path_of(code: &InvitationCode) -> String {
    format!("/invitation/{}", code.reveal())
}

/// Invites a user. The answer has the code, which works once, for a day, and is not shown again. Needs a confirmed password.
#[utoipa::path(post, path = "/api/v1/invitations", tag = "users", request_body = InvitationRequest,
    responses((status = 201, body = InvitationMade),
        (status = 403, description = "Only an admin of all servers may, and no token; or the password was not confirmed within the last five minutes"),
        (status = 409, description = "There is a user of that name, or there are too many invitations, or passwords are switched off")))]
pub async fn invite(
    State(state): State<AppState>,
    Person(actor): Person,
    Json(request): Json<InvitationRequest>,
) -> Result<(StatusCode, axum::Json<InvitationMade>)> {
    let username = Username::parse(&request.username)?;
    let access = Access { role: request.role, servers: request.servers.0 };
    let NewlyInvited { code, invitation } = invite_users::invite(&state, actor, username, access).await?;
    let path = path_of(&code);
    let made = InvitationMade { invitation: invitation.into(), code: code.reveal().to_owned(), path };
    Ok((StatusCode::CREATED, axum::Json(made)))
}

/// The invitations that can be accepted, the newest first.
#[utoipa::path(get, path = "/api/v1/invitations", tag = "users", responses((status = 200, body = List<InvitationView>),
    (status = 403, description = "Only an admin of all servers may, and no token")))]
pub async fn list(
    State(state): State<AppState>,
    Person(actor): Person,
) -> Result<axum::Json<List<InvitationView>>> {
    let invitations = invite_users::list(&state, &actor).await?;
    let items = invitations.into_iter().map(InvitationView::from).collect();
    Ok(axum::Json(List { items, next_cursor: None }))
}

/// Revokes an invitation. Needs a confirmed password.
#[utoipa::path(delete, path = "/api/v1/invitations/{id}", tag = "users", params(("id" = String, Path)),
    responses((status = 204),
        (status = 403, description = "Only an admin of all servers may, and no token; or the password was not confirmed within the last five minutes")))]
pub async fn revoke(
    State(state): State<AppState>,
    Person(actor): Person,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let id = InvitationId::parse(&id).ok_or(InviteError::Unknown)?;
    invite_users::revoke(&state, actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The body of an acceptance.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    code: String,
    /// 12 characters or more, 1,024 bytes at most, and not an easily guessed one.
    #[schema(min_length = 12, max_length = 1024)]
    password: String,
}

/// The account that was created.
#[derive(Serialize, ToSchema)]
pub struct Welcome {
    username: String,
}

/// Sets the password of the account that an invitation is for, which creates the account, once.
#[utoipa::path(post, path = "/api/v1/invitations/accept", tag = "users", security(()), request_body = Acceptance,
    responses((status = 201, body = Welcome), (status = 404, description = "The invitation is not valid: used, revoked or expired"),
        (status = 409, description = "There is a user of that name, or passwords are switched off"), (status = 429, description = "Too many attempts")))]
pub async fn accept(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    Json(Acceptance { code, password }): Json<Acceptance, STRANGERS_BODY>,
) -> Result<(StatusCode, axum::Json<Welcome>)> {
    let username = invite_users::accept(&state, ip, &code, password).await?;
    Ok((StatusCode::CREATED, axum::Json(Welcome { username: username.to_string() })))
}
