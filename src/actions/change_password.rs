//! Changing a password: ends every session of the account except the one that asks, and gives that one a new token.
//!
//! So a copy of the old token becomes worthless. The limits of logins hold here too: the session may be a stolen one.

use super::attempt::{Attempt, TooManyAttempts, Verdict};
use super::{Actor, Context, Refusal};
use crate::password::gate::Turn;
use crate::password::rules::{self, WeakPassword};
use crate::password::{GateError, Origin};
use crate::store::{Account, PasswordSet, SessionToken, StoreError};

/// The current password and the new one.
pub struct PasswordChange {
    /// The current one.
    pub current: String,
    /// The new one.
    pub new: String,
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordError {
    /// The new password is not acceptable.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// The current password is wrong.
    #[error("the current password is wrong")]
    Wrong,
    /// The account has no password, or none that would log it in.
    #[error("this account cannot log in with a password")]
    Off,
    /// The account is gone.
    #[error("there is no such account")]
    NoAccount,
    /// The password was changed elsewhere while this change was under way.
    #[error("the password was changed elsewhere at the same time")]
    Overtaken,
    /// The limits refused it.
    #[error(transparent)]
    Limited(#[from] TooManyAttempts),
    /// The password could not be hashed.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Result<T> = std::result::Result<T, ChangePasswordError>;

/// The outcome of a change.
pub struct Changed {
    /// The new token of the session that asked; none if the session ended while the password was changed.
    pub token: Option<SessionToken>,
    generation: u64,
}

/// Replaces the actor's password, ends its other sessions, and renews the token of its own.
///
/// # Errors
/// [`ChangePasswordError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn change_password(context: &Context, actor: Actor, change: PasswordChange) -> Result<Changed> {
    rules::check(&change.new, actor.username())?;
    if change.new == change.current {
        return Err(WeakPassword::Unchanged.into());
    }
    let outcome = attempt(context, &actor, change).await;
    if let Err(refused @ (ChangePasswordError::Wrong | ChangePasswordError::Limited(_))) = &outcome {
        let (account, reason) = (Some(actor.username.clone()), refused.to_string());
        context.note_refusal(Refusal { what: "password.refused", actor, account, reason }).await;
    }
    outcome
}

async fn attempt(context: &Context, actor: &Actor, change: PasswordChange) -> Result<Changed> {
    // Every client has an address; a change without one is rate-limited under the unspecified address.
    let ip = actor.address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
    let account = account(context, actor).await?;
    let generation = Some(account.generation);
    let attempt = Attempt::begin::<ChangePasswordError>(context, actor.username(), generation, ip).await?;
    // A session of the account counts as much as a known address.
    let turn = turn(context, &change).await;
    let (task, actor) = (context.clone(), actor.clone());
    let action = async move {
        let outcome = match turn {
            Ok(turn) => replace(&task, &actor, &change, account, turn).await,
            Err(refused) => Err(refused),
        };
        let verdict = |outcome: &Result<Changed>| match outcome {
            Ok(changed) => Verdict::Right { generation: changed.generation },
            Err(ChangePasswordError::Wrong) => Verdict::Wrong,
            Err(_) => Verdict::Unknown,
        };
        attempt.settle(outcome, verdict).await
    };
    context.complete(action).await
}

/// The account as it is now.
async fn account(context: &Context, actor: &Actor) -> Result<Account> {
    let account = context.store.account(&actor.username).await?;
    let account =
        account.filter(|account| account.owner.id == actor.account).ok_or(ChangePasswordError::NoAccount)?;
    let off = account.provider.is_some() || !context.password_login.admits(actor.username());
    if off { Err(ChangePasswordError::Off) } else { Ok(account) }
}

/// The right to hash.
async fn turn(context: &Context, change: &PasswordChange) -> Result<Turn> {
    if change.current.len() > rules::MAX_BYTES {
        return Err(ChangePasswordError::Wrong);
    }
    Ok(context.gate.enter(Origin::Known).await?)
}

async fn replace(
    context: &Context,
    actor: &Actor,
    change: &PasswordChange,
    account: Account,
    turn: Turn,
) -> Result<Changed> {
    if !turn.verify(&change.current, Some(&account.password_hash)).await? {
        return Err(ChangePasswordError::Wrong);
    }
    let hash = context.gate.hash(&change.new).await?;
    let token = SessionToken::fresh(account.owner.id)?;
    let renewed = token.id();
    let (store, renewal) = (&context.store, actor.session.as_ref().map(|kept| (kept, &renewed)));
    let record = actor.record("password.change");
    let set = store.change_password(&account, &hash, renewal, &record).await;
    let set = context.note_unconfirmed(record, set).await?;
    if set == PasswordSet::Overtaken {
        return Err(ChangePasswordError::Overtaken);
    }
    // If another revocation came in between, the generation is a later one, and this address counts as unknown: the safe side.
    let generation = account.generation + 1;
    Ok(Changed { token: (set == PasswordSet::Renewed).then_some(token), generation })
}
