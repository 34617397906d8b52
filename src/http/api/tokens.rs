//! Tokens for programs: made, listed and revoked by their owner; an admin of all servers lists and revokes anybody's.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::sessions::List;
use super::time::Time;
use super::users::Servers;
use crate::actions::api_tokens::{self, ApiTokenError, DEFAULT_DAYS, NewlyMade, Wanted};
use crate::domain::Network;
use crate::domain::access::{Role, ServerPattern};
use crate::http::auth::actor::Person;
use crate::http::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::state::AppState;
use crate::store::{ApiTokenView, SessionId, Username};

/// A token as it is listed: without its secret.
#[derive(Serialize, ToSchema)]
pub struct TokenView {
    #[schema(value_type = String)]
    id: SessionId,
    name: String,
    role: Role,
    /// The servers and patterns that the role is for; empty for all servers.
    #[schema(value_type = Vec<String>)]
    servers: Vec<ServerPattern>,
    /// Where requests with it may come from; empty for anywhere.
    #[schema(value_type = Vec<String>)]
    networks: Vec<Network>,
    created_at: Time,
    /// To the hour; `null` if it was never used.
    last_used_at: Option<Time>,
    expires_at: Time,
}

impl From<ApiTokenView> for TokenView {
    fn from(token: ApiTokenView) -> Self {
        Self {
            id: token.id,
            name: token.grant.name,
            role: token.access.role,
            servers: token.access.servers,
            networks: token.grant.networks,
            created_at: token.created_at.into(),
            last_used_at: token.last_used_at.map(Time::from),
            expires_at: token.expires_at.into(),
        }
    }
}

/// The body of a new token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What it is for, such as `backup`.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// No greater than yours, which is the default.
    #[serde(default)]
    role: Option<Role>,
    /// Servers and patterns among yours, which are the default.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    servers: Option<Servers>,
    /// Addresses and networks that it may be used from; empty for anywhere.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    networks: Vec<Network>,
    /// For how many days it is valid.
    #[serde(default = "default_days")]
    #[schema(minimum = 1, maximum = 365, default = 90)]
    days: u16,
}

fn default_days() -> u16 {
    DEFAULT_DAYS
}

/// A new token, with its secret, which is not shown again.
#[derive(Serialize, ToSchema)]
pub struct TokenMade {
    /// For `Authorization: Bearer`.
    secret: String,
    token: TokenView,
}

/// Makes a token for a program that acts in your name. Its secret is in the answer, and is not shown again. Needs a confirmed password.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "users", request_body = TokenRequest,
    responses((status = 201, body = TokenMade),
        (status = 403, description = "Tokens may not do this; or the password was not confirmed within the last five minutes"),
        (status = 409, description = "You have too many tokens, or your account was changed at the same time")))]
pub async fn create(
    State(state): State<AppState>,
    Person(actor): Person,
    Json(request): Json<TokenRequest>,
) -> Result<(StatusCode, axum::Json<TokenMade>)> {
    let TokenRequest { name, role, servers, networks, days } = request;
    let servers = servers.map(|Servers(servers)| servers);
    let wanted = Wanted { name, role, servers, networks, days };
    let NewlyMade { token, view } = api_tokens::create(&state, actor, wanted).await?;
    Ok((StatusCode::CREATED, axum::Json(TokenMade { secret: token.reveal(), token: view.into() })))
}

/// Whose tokens.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OwnerQuery {
    /// Another user; only an admin of all servers may name one.
    user: Option<String>,
}

impl OwnerQuery {
    fn user(&self) -> std::result::Result<Option<Username>, ApiTokenError> {
        let parse = |user: &String| Username::parse(user).map_err(|_| ApiTokenError::Unknown);
        self.user.as_ref().map(parse).transpose()
    }
}

/// Your tokens, or those of another user, the newest first.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "users", params(OwnerQuery), responses((status = 200, body = List<TokenView>),
    (status = 403, description = "Only an admin of all servers may see those of others; a token may see none"),
    (status = 404, description = "There is no such user")))]
pub async fn list(
    State(state): State<AppState>,
    Person(actor): Person,
    Query(query): Query<OwnerQuery>,
) -> Result<axum::Json<List<TokenView>>> {
    let tokens = api_tokens::list(&state, &actor, query.user()?.as_ref()).await?;
    Ok(axum::Json(List { items: tokens.into_iter().map(TokenView::from).collect(), next_cursor: None }))
}

/// Revokes a token, on every worker at once.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "users", params(("id" = String, Path), OwnerQuery),
    responses((status = 204), (status = 403, description = "Only an admin of all servers may revoke those of others; a token may revoke none")))]
pub async fn revoke(
    State(state): State<AppState>,
    Person(actor): Person,
    Path(id): Path<String>,
    Query(query): Query<OwnerQuery>,
) -> Result<StatusCode> {
    let id = SessionId::parse(&id).ok_or(ApiTokenError::Unknown)?;
    api_tokens::revoke(&state, actor, query.user()?, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
