//! Users: what each may do, disabling, and deleting.
//!
//! Who may do what is decided by users who may do everything on all servers, and confirmed with their password. A change ends all
//! sessions of the account and all its tokens for programs, on every worker, before it is answered; Redis itself refuses to take the
//! last account away that may do everything, whoever else asks at the same moment.

use serde_json::{Value, json};

use super::confirm_session::ConfirmationRequired;
use super::{Actor, Context};
use crate::domain::access::{Access, Role, ServerPattern};
use crate::store::{Account, AccountChanged, AccountStanding, AuditRecord, Page, StoreError, Username};

/// How many times a change is made if the account changes while it is under way.
const MAX_TRIES: usize = 5;

/// Only who may do everything, on all servers, may manage users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only an admin of all servers may manage users")]
pub struct NotAnAdmin;

/// Why a user was not changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The actor may not.
    #[error(transparent)]
    NotAllowed(#[from] NotAnAdmin),
    /// The password was not confirmed.
    #[error(transparent)]
    Unconfirmed(#[from] ConfirmationRequired),
    /// There is no such user.
    #[error("there is no such user")]
    Unknown,
    /// Nobody else may do everything.
    #[error("no other enabled account is an admin of all servers")]
    LastAdmin,
    /// The account `admin` stays.
    #[error("the account `admin` cannot be deleted")]
    Permanent,
    /// The groups of the user at the provider decide what they may do.
    #[error("the user's groups at the single sign-on provider decide what they may do")]
    OfProvider,
    /// Others changed the user again and again.
    #[error("the user was changed by others at the same time")]
    Overtaken,
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What to change of a user; none leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// The role.
    pub role: Option<Role>,
    /// The servers; empty for all of them.
    pub servers: Option<Vec<ServerPattern>>,
    /// Whether the user is disabled.
    pub disabled: Option<bool>,
}

impl UserChange {
    fn of(&self, before: &AccountStanding) -> AccountStanding {
        AccountStanding {
            access: Access {
                role: self.role.unwrap_or(before.access.role),
                servers: self.servers.clone().unwrap_or_else(|| before.access.servers.clone()),
            },
            disabled: self.disabled.unwrap_or(before.disabled),
        }
    }
}

impl Actor {
    /// Fails unless they may do everything, on all servers.
    pub(super) fn require_admin(&self) -> Result<(), NotAnAdmin> {
        let may = self.access.is_everything() && !self.is_program;
        may.then_some(()).ok_or(NotAnAdmin)
    }
}

/// What the audit has of what an account may do.
pub(super) fn access_facts(access: &Access) -> Value {
    let servers: Vec<&str> = access.servers.iter().map(ServerPattern::as_str).collect();
    json!({ "role": access.role, "servers": servers })
}

fn facts(standing: &AccountStanding) -> Value {
    let mut facts = access_facts(&standing.access);
    facts["disabled"] = standing.disabled.into();
    facts
}

/// Users by name, after this one.
///
/// # Errors
/// [`UserError`].
pub async fn list(
    context: &Context,
    actor: &Actor,
    after: Option<&Username>,
    limit: usize,
) -> Result<Page<Account>, UserError> {
    actor.require_admin()?;
    Ok(context.store.accounts(after, limit).await?)
}

/// Changes a user, and returns the user as they are then.
///
/// # Errors
/// [`UserError`].
pub async fn change_user(
    context: &Context,
    actor: Actor,
    username: Username,
    change: UserChange,
) -> Result<Account, UserError> {
    actor.require_admin()?;
    context.require_confirmation::<UserError>(&actor).await?;
    let task = context.clone();
    let action = async move {
        for _ in 0..MAX_TRIES {
            let account = task.store.account(&username).await?.ok_or(UserError::Unknown)?;
            let after = change.of(&account.standing);
            if after == account.standing {
                return Ok(account);
            }
            if account.provider.is_some() && after.access != account.standing.access {
                return Err(UserError::OfProvider);
            }
            let what = match (account.standing.disabled, after.disabled) {
                (false, true) => "user.disable",
                (true, false) => "user.enable",
                _ => "user.change",
            };
            let record = AuditRecord {
                target: Some(username.to_string()),
                before: facts(&account.standing),
                after: facts(&after),
                ..actor.record(what)
            };
            let changed = task.store.change_account(&account, &after, &record).await;
            match task.note_unconfirmed(record, changed).await? {
                AccountChanged::Done => return Ok(Account { standing: after, ..account }),
                AccountChanged::LastAdmin => return Err(UserError::LastAdmin),
                AccountChanged::Overtaken => {}
            }
        }
        Err(UserError::Overtaken)
    };
    context.complete(action).await
}

/// Deletes a user.
///
/// # Errors
/// [`UserError`].
pub async fn delete_user(context: &Context, actor: Actor, username: Username) -> Result<(), UserError> {
    actor.require_admin()?;
    context.require_confirmation::<UserError>(&actor).await?;
    if username.as_str() == Username::ADMIN {
        // Without it, the setup would be open again.
        return Err(UserError::Permanent);
    }
    let task = context.clone();
    let action = async move {
        for _ in 0..MAX_TRIES {
            let account = task.store.account(&username).await?.ok_or(UserError::Unknown)?;
            let record = AuditRecord {
                target: Some(username.to_string()),
                before: facts(&account.standing),
                ..actor.record("user.delete")
            };
            let deleted = task.store.delete_account(&account, &record).await;
            match task.note_unconfirmed(record, deleted).await? {
                AccountChanged::Done => return Ok(()),
                AccountChanged::LastAdmin => return Err(UserError::LastAdmin),
                AccountChanged::Overtaken => {}
            }
        }
        Err(UserError::Overtaken)
    };
    context.complete(action).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_admin_of_all_servers_who_is_no_program_manages_users() {
        let may = |role, servers: &[&str], is_program| {
            let servers = servers.iter().map(|text| ServerPattern::parse(text).unwrap()).collect();
            let access = Access { role, servers };
            Actor { access, is_program, ..Actor::operator() }.require_admin().is_ok()
        };
        assert!(may(Role::Admin, &[], false));
        assert!(!may(Role::Admin, &[], true) && !may(Role::Admin, &["*"], false));
        assert!(!may(Role::Operator, &[], false) && !may(Role::Viewer, &[], false));
    }
}
