//! Confirming the password: a session may then make sensitive changes for five minutes.
//!
//! A stolen session can read everything, but must not be able to shut its owner out: changes of who may do what, or of how long
//! anybody stays logged in, need more than a session. Passwords are tried here under the limits of logins.

use super::attempt::{Attempt, TooManyAttempts, Verdict};
use super::{Actor, Context, Refusal};
use crate::password::gate::Turn;
use crate::password::{GateError, Origin, rules};
use crate::store::{Account, StoreError};

/// A sensitive change was asked for, but the session's user has not confirmed the password within the last five minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password was not confirmed within the last five minutes")]
pub struct ConfirmationRequired;

/// Why a session was not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// The password is wrong.
    #[error("wrong password")]
    Wrong,
    /// The account has no password: its user logs in with the provider.
    #[error("the account has no password")]
    NoPassword,
    /// The session, or its account, has ended.
    #[error("the session has ended")]
    Gone,
    /// The limits refused it.
    #[error(transparent)]
    Limited(#[from] TooManyAttempts),
    /// No password could be checked.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Result<T> = std::result::Result<T, ConfirmError>;

impl Context {
    /// Refuses a sensitive change unless the session is confirmed. The operator of the installation needs no session.
    pub(crate) async fn require_confirmation<E>(&self, actor: &Actor) -> std::result::Result<(), E>
    where
        E: From<ConfirmationRequired> + From<StoreError>,
    {
        match &actor.session {
            Some(session) if !self.store.session_is_confirmed(session).await? => {
                Err(ConfirmationRequired.into())
            }
            _ => Ok(()),
        }
    }
}

/// Checks the password of the actor's account, and confirms the session that asks.
///
/// # Errors
/// [`ConfirmError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn confirm_session(context: &Context, actor: Actor, password: String) -> Result<()> {
    let ip = actor.address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
    let begun = async {
        let account = account(context, &actor).await?;
        let generation = Some(account.generation);
        let attempt = Attempt::begin::<ConfirmError>(context, actor.username(), generation, ip).await?;
        Ok((attempt, turn(context, &password).await.map(|turn| (account, turn))))
    };
    let outcome = match begun.await {
        Ok((attempt, ready)) => {
            let (task, actor) = (context.clone(), actor.clone());
            let action = async move {
                let outcome = match ready {
                    Ok((account, turn)) => confirm(&task, &actor, &password, account, turn).await,
                    Err(refused) => Err(refused),
                };
                let verdict = |outcome: &Result<u64>| match outcome {
                    Ok(generation) => Verdict::Right { generation: *generation },
                    Err(ConfirmError::Wrong) => Verdict::Wrong,
                    Err(_) => Verdict::Unknown,
                };
                attempt.settle(outcome, verdict).await
            };
            context.complete(action).await
        }
        Err(refused) => Err(refused),
    };
    if let Err(refused @ (ConfirmError::Wrong | ConfirmError::Limited(_))) = &outcome {
        let (account, reason) = (Some(actor.username.clone()), refused.to_string());
        context.note_refusal(Refusal { what: "confirmation.refused", actor, account, reason }).await;
    }
    outcome.map(drop)
}

/// The account as it is now.
async fn account(context: &Context, actor: &Actor) -> Result<Account> {
    let account = context.store.account(&actor.username).await?;
    let account = account.filter(|account| account.owner.id == actor.account).ok_or(ConfirmError::Gone)?;
    if account.provider.is_some() { Err(ConfirmError::NoPassword) } else { Ok(account) }
}

/// The right to hash.
async fn turn(context: &Context, password: &str) -> Result<Turn> {
    if password.len() > rules::MAX_BYTES {
        return Err(ConfirmError::Wrong);
    }
    Ok(context.gate.enter(Origin::Known).await?)
}

/// The generation of the account whose password was right.
async fn confirm(
    context: &Context,
    actor: &Actor,
    password: &str,
    account: Account,
    turn: Turn,
) -> Result<u64> {
    if !turn.verify(password, Some(&account.password_hash)).await? {
        return Err(ConfirmError::Wrong);
    }
    let session = actor.session.as_ref().ok_or(ConfirmError::Gone)?;
    if context.store.confirm_session(session, &actor.record("session.confirm")).await? {
        Ok(account.generation)
    } else {
        Err(ConfirmError::Gone)
    }
}
