//! Tokens for programs: made by a user for a program that acts in their name, and ended by the user or by an admin.
//!
//! A token never may do more than its owner: not when it is made, and not later, since a change of what the owner may do ends it. A token
//! makes no tokens and manages no users, whatever its role.

use std::time::Duration;

use serde_json::json;

use super::confirm_session::ConfirmationRequired;
use super::manage_users::{NotAnAdmin, access_facts};
use super::{Actor, Context, Refusal};
use crate::domain::Network;
use crate::domain::access::{Access, Role, ServerPattern};
use crate::store::{
    Account, ApiGrant, ApiTokenView, AuditRecord, LiveSession, NewApiToken, Owner, SessionId, SessionToken,
    StoreError, TokenCreated, Username,
};

/// How long a token is valid unless its maker says otherwise.
pub const DEFAULT_DAYS: u16 = 90;
/// How long it may be valid at most.
pub const MAX_DAYS: u16 = 365;
/// The most networks of a token.
pub const MAX_NETWORKS: usize = 20;
/// The most characters of its name.
pub const MAX_NAME: usize = 64;

/// Why a token was not made or ended.
#[derive(Debug, thiserror::Error)]
pub enum ApiTokenError {
    /// The actor may not see or end another user's tokens.
    #[error(transparent)]
    NotAllowed(#[from] NotAnAdmin),
    /// The password was not confirmed.
    #[error(transparent)]
    Unconfirmed(#[from] ConfirmationRequired),
    /// The token would have been allowed more than its owner.
    #[error("a token may not do more than its owner")]
    TooMuch,
    /// Its name, its networks or its life is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// The user has too many.
    #[error("a user may have 50 tokens at most")]
    TooMany,
    /// What the owner may do has changed in between, or the owner is gone.
    #[error("what the owner may do has changed at the same time")]
    Overtaken,
    /// There is no such token, or no such user.
    #[error("there is no such token")]
    Unknown,
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a token shall be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is called.
    pub name: String,
    /// What it may do; none for as much as its owner.
    pub role: Option<Role>,
    /// On which servers; none for those of its owner.
    pub servers: Option<Vec<ServerPattern>>,
    /// Where requests with it may come from; empty for anywhere.
    pub networks: Vec<Network>,
    /// For how many days.
    pub days: u16,
}

/// A token that was made: the secret is not shown again.
pub struct NewlyMade {
    /// The secret.
    pub token: SessionToken,
    /// The rest.
    pub view: ApiTokenView,
}

/// Makes a token of the actor.
///
/// # Errors
/// [`ApiTokenError`].
pub async fn create(context: &Context, actor: Actor, wanted: Wanted) -> Result<NewlyMade, ApiTokenError> {
    check(&wanted)?;
    context.require_confirmation::<ApiTokenError>(&actor).await?;
    let task = context.clone();
    let action = async move {
        let account = task.store.account(&actor.username).await?;
        let account =
            account.filter(|account| account.owner.id == actor.account && !account.standing.disabled);
        let account = account.ok_or(ApiTokenError::Overtaken)?;
        let access = access_of(&wanted, &account)?;
        let address = actor.address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
        let (days, networks) = (wanted.days, wanted.networks.clone());
        let new = NewApiToken {
            grant: ApiGrant { name: wanted.name.clone(), networks: wanted.networks },
            access: access.clone(),
            session: actor.session.ok_or(ApiTokenError::Overtaken)?,
            life: Duration::from_secs(u64::from(days) * 86_400),
            address,
        };
        let mut after = access_facts(&access);
        after["networks"] = json!(networks);
        after["days"] = days.into();
        after["name"] = wanted.name.into();
        let audit = |id: &SessionId| AuditRecord {
            target: Some(id.to_string()),
            after,
            ..actor.record("token.create")
        };
        match task.store.create_api_token(&account, new, audit).await? {
            TokenCreated::Done(token, view) => Ok(NewlyMade { token, view: *view }),
            TokenCreated::Overtaken => Err(ApiTokenError::Overtaken),
            TokenCreated::TooMany => Err(ApiTokenError::TooMany),
        }
    };
    context.complete(action).await
}

fn check(wanted: &Wanted) -> Result<(), ApiTokenError> {
    let name = wanted.name.trim();
    if name.is_empty()
        || name != wanted.name
        || name.chars().count() > MAX_NAME
        || name.chars().any(char::is_control)
    {
        let says = format!("`name` must be 1 to {MAX_NAME} characters, without spaces at its ends");
        return Err(ApiTokenError::Invalid(says));
    }
    if !(1..=MAX_DAYS).contains(&wanted.days) {
        return Err(ApiTokenError::Invalid(format!("`days` must be 1 to {MAX_DAYS}")));
    }
    if wanted.networks.len() > MAX_NETWORKS {
        return Err(ApiTokenError::Invalid(format!("`networks` may have {MAX_NETWORKS} items at most")));
    }
    Ok(())
}

/// What the token may do: no more than its owner.
fn access_of(wanted: &Wanted, account: &Account) -> Result<Access, ApiTokenError> {
    let own = &account.standing.access;
    let role = wanted.role.unwrap_or(own.role);
    let servers = wanted.servers.clone().unwrap_or_else(|| own.servers.clone());
    let access = Access { role, servers };
    if own.covers(&access) { Ok(access) } else { Err(ApiTokenError::TooMuch) }
}

/// Whose tokens are meant: the actor's, or those of another user, whose tokens only an admin may see and end.
async fn owner(context: &Context, actor: &Actor, user: Option<&Username>) -> Result<Owner, ApiTokenError> {
    match user.filter(|user| **user != actor.username) {
        None => Ok(actor.owner()),
        Some(user) => {
            actor.require_admin()?;
            Ok(context.store.account(user).await?.ok_or(ApiTokenError::Unknown)?.owner)
        }
    }
}

/// The tokens of the actor, or of another user.
///
/// # Errors
/// [`ApiTokenError`].
pub async fn list(
    context: &Context,
    actor: &Actor,
    user: Option<&Username>,
) -> Result<Vec<ApiTokenView>, ApiTokenError> {
    let owner = owner(context, actor, user).await?;
    Ok(context.store.api_tokens(&owner).await?)
}

/// Ends a token of the actor, or of another user. This needs no confirmed password: it takes rights away, and nobody is shut out.
///
/// # Errors
/// [`ApiTokenError`].
pub async fn revoke(
    context: &Context,
    actor: Actor,
    user: Option<Username>,
    id: SessionId,
) -> Result<(), ApiTokenError> {
    let owner = owner(context, &actor, user.as_ref()).await?;
    let task = context.clone();
    let action = async move {
        let before = match user {
            Some(_) => json!({ "user": owner.username.as_str() }),
            None => serde_json::Value::Null,
        };
        let record = AuditRecord { target: Some(id.to_string()), before, ..actor.record("token.revoke") };
        let ended = task.store.end_api_token(&owner, &id, &record).await;
        if task.note_unconfirmed(record, ended).await? { Ok(()) } else { Err(ApiTokenError::Unknown) }
    };
    context.complete(action).await
}

/// Records that a token was used from a network that it is not for.
pub async fn note_foreign_network(context: &Context, session: &LiveSession, actor: Actor) {
    let name = session.api_token.as_ref().map_or("", |grant| grant.name.as_str());
    let reason = format!("the token {name:?} may not be used from this network");
    let account = Some(session.username.clone());
    context.note_refusal(Refusal { what: "token.refused", actor, account, reason }).await;
}
