//! Users: listing them, changing what they may do, disabling and deleting them. For admins of all servers.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sessions::{List, PageQuery};
use super::time::Time;
use crate::actions::manage_users::{self, UserChange, UserError};
use crate::domain::access::{Role, ServerPattern};
use crate::http::auth::actor::Person;
use crate::http::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::query::cursor_of_list;
use crate::http::state::AppState;
use crate::store::{Account, Username};

/// A user as admins see them.
#[derive(Serialize, ToSchema)]
pub struct UserView {
    username: String,
    role: Role,
    /// The servers and patterns that the role is for; empty for all servers.
    #[schema(value_type = Vec<String>)]
    servers: Vec<ServerPattern>,
    /// Whether the user has no sessions and cannot log in.
    disabled: bool,
    /// `null` if an earlier version created the account.
    created_at: Option<Time>,
    /// Who invited the user; `null` for `admin` and for users of single sign-on.
    created_by: Option<String>,
    /// The issuer of the provider with which the user logs in; `null` for a user with a password.
    provider: Option<String>,
    /// The user's second factors; `null` for a user of the provider, which asks for its own.
    second_factor: Option<SecondFactors>,
}

/// Which second factors a user has.
#[derive(Serialize, ToSchema)]
pub struct SecondFactors {
    /// Whether there is an authenticator app.
    app: bool,
    /// How many passkeys there are.
    passkeys: usize,
}

impl From<Account> for UserView {
    fn from(account: Account) -> Self {
        let standing = account.standing;
        let factors = account.factors;
        let factors = SecondFactors { app: factors.app.is_some(), passkeys: factors.passkeys.len() };
        Self {
            second_factor: account.provider.is_none().then_some(factors),
            username: account.owner.username.to_string(),
            role: standing.access.role,
            servers: standing.access.servers,
            disabled: standing.disabled,
            created_at: account.created_at.map(Time::from),
            created_by: account.created_by,
            provider: account.provider.map(|user| user.issuer),
        }
    }
}

/// The users, by name, in pages.
#[utoipa::path(get, path = "/api/v1/users", tag = "users",
    params(
        ("cursor" = Option<String>, Query, pattern = r"^[a-z0-9][a-z0-9._-]{0,31}$", description = "The `next_cursor` of the previous page"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Number of items; 50 by default")
    ),
    responses((status = 200, body = List<UserView>),
    (status = 403, description = "Only an admin of all servers may, and no token")))]
pub async fn list(
    State(state): State<AppState>,
    Person(actor): Person,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<List<UserView>>> {
    let limit = page.limit()?;
    let after = cursor_of_list(page.cursor.as_deref(), |cursor| Username::parse(cursor).ok())?;
    let page = manage_users::list(&state, &actor, after.as_ref(), limit).await?;
    let items = page.items.into_iter().map(UserView::from).collect();
    Ok(axum::Json(List { items, next_cursor: page.next_cursor }))
}

/// The body of a change of a user. What is missing stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    #[serde(default)]
    role: Option<Role>,
    /// Servers and patterns such as `web-*`; empty for all servers.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    servers: Option<Servers>,
    #[serde(default)]
    disabled: Option<bool>,
}

/// Servers and patterns, not too many.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Vec<ServerPattern>")]
pub struct Servers(pub(in crate::http) Vec<ServerPattern>);

/// The most servers and patterns of an account or a token.
pub const MAX_SERVERS: usize = 50;

impl TryFrom<Vec<ServerPattern>> for Servers {
    type Error = String;
    fn try_from(mut servers: Vec<ServerPattern>) -> std::result::Result<Self, String> {
        servers.sort_unstable();
        servers.dedup();
        if servers.len() > MAX_SERVERS {
            return Err(format!("there may be {MAX_SERVERS} servers and patterns at most: use `*`"));
        }
        Ok(Self(servers))
    }
}

/// Changes what a user may do, or disables them. It ends all sessions of the user and all their tokens, on every worker. Needs a
/// confirmed password.
#[utoipa::path(patch, path = "/api/v1/users/{name}", tag = "users", params(("name" = String, Path)), request_body = UserPatch,
    responses((status = 200, body = UserView),
        (status = 403, description = "Only an admin of all servers may, and no token; or the password was not confirmed within the last five minutes"),
        (status = 409, description = "No other user would be an admin of all servers, or the user's groups at the provider decide, or the user was changed at the same time")))]
pub async fn change(
    State(state): State<AppState>,
    Person(actor): Person,
    Path(name): Path<String>,
    Json(patch): Json<UserPatch>,
) -> Result<axum::Json<UserView>> {
    let username = Username::parse(&name).map_err(|_| UserError::Unknown)?;
    let change = UserChange {
        role: patch.role,
        servers: patch.servers.map(|Servers(servers)| servers),
        disabled: patch.disabled,
    };
    Ok(axum::Json(manage_users::change_user(&state, actor, username, change).await?.into()))
}

/// Deletes a user, with all sessions and tokens, on every worker. Needs a confirmed password. The account `admin` can only be disabled.
#[utoipa::path(delete, path = "/api/v1/users/{name}", tag = "users", params(("name" = String, Path)),
    responses((status = 204),
        (status = 403, description = "Only an admin of all servers may, and no token; or the password was not confirmed within the last five minutes"),
        (status = 409, description = "No other user would be an admin of all servers, or it is the account `admin`")))]
pub async fn delete(
    State(state): State<AppState>,
    Person(actor): Person,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let username = Username::parse(&name).map_err(|_| UserError::Unknown)?;
    manage_users::delete_user(&state, actor, username).await?;
    Ok(StatusCode::NO_CONTENT)
}
