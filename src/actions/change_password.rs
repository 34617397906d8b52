//! Changing a password, which ends every session of the account but the one that asks. Somebody with a session is limited in
//! trying passwords as somebody who logs in is: the session may be a stolen one.

use super::attempt::{Attempt, TooManyAttempts, Verdict};
use super::{Actor, Context};
use crate::password::gate::Turn;
use crate::password::rules::{self, WrongLength};
use crate::password::{GateError, Origin};
use crate::store::{Account, StoreError};

/// The password that is, and the one that shall be.
pub struct PasswordChange {
    /// The current one.
    pub current: String,
    /// The new one.
    pub new: String,
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordError {
    /// The new one is not acceptable.
    #[error(transparent)]
    Length(#[from] WrongLength),
    /// The current one is another.
    #[error("the current password is wrong")]
    Wrong,
    /// The account is gone.
    #[error("there is no such account")]
    NoAccount,
    /// It was changed by somebody else while this change was under way.
    #[error("the password was changed by somebody else")]
    Overtaken,
    /// The limits refused it.
    #[error(transparent)]
    Limited(#[from] TooManyAttempts),
    /// No password could be hashed.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Redis did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Result<T> = std::result::Result<T, ChangePasswordError>;

/// Replaces the actor's password, and ends its other sessions.
///
/// # Errors
/// [`ChangePasswordError`].
pub async fn change_password(context: &Context, actor: Actor, change: PasswordChange) -> Result<()> {
    rules::check(&change.new)?;
    // Whoever asks has an address; a change without one is limited as one from nowhere.
    let ip = actor.address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
    let attempt = Attempt::begin::<ChangePasswordError>(context, actor.username(), ip).await?;
    // A session of the account is worth as much as a known address.
    let ready = ready(context, &actor, &change).await;
    let task = context.clone();
    let action = async move {
        let outcome = match ready {
            Ok((account, turn)) => replace(&task, &actor, &change, account, turn).await,
            Err(refused) => Err(refused),
        };
        let verdict = |outcome: &Result<()>| match outcome {
            Ok(()) => Verdict::Right,
            Err(ChangePasswordError::Wrong) => Verdict::Wrong,
            Err(_) => Verdict::Unknown,
        };
        attempt.settle(outcome, verdict).await
    };
    context.complete(action).await
}

/// The account as it is now, and the right to hash.
async fn ready(context: &Context, actor: &Actor, change: &PasswordChange) -> Result<(Account, Turn)> {
    let account = context.store.account(&actor.username).await?.ok_or(ChangePasswordError::NoAccount)?;
    if change.current.len() > *rules::LENGTH.end() {
        return Err(ChangePasswordError::Wrong);
    }
    Ok((account, context.gate.enter(Origin::Known).await?))
}

async fn replace(
    context: &Context,
    actor: &Actor,
    change: &PasswordChange,
    account: Account,
    turn: Turn,
) -> Result<()> {
    if !turn.verify(&change.current, Some(&account.password_hash)).await? {
        return Err(ChangePasswordError::Wrong);
    }
    let hash = context.gate.hash(&change.new).await?;
    let (store, keep) = (&context.store, actor.session.as_ref());
    let record = actor.record("password.change");
    let changed = store.change_password(&actor.username, &account, &hash, keep, &record).await;
    if !context.note_unconfirmed(record, changed).await? {
        return Err(ChangePasswordError::Overtaken);
    }
    tracing::info!("changed the password of `{}` and ended its other sessions", actor.username());
    Ok(())
}
