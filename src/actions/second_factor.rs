//! Setting up, changing and removing second factors, by their owner.
//!
//! Each change needs the password, confirmed within the last five minutes: a stolen session must not be able to add a factor that shuts
//! its owner out, or to remove one. It changes nothing about sessions that have begun. Nothing of a factor but the names is in the audit.

use serde_json::json;

use super::confirm_session::ConfirmationRequired;
use super::{Actor, Context, Refusal};
use crate::domain::Timestamp;
use crate::domain::second_factor::{AppSecret, RecoveryCode, TypedCode};
use crate::store::{Asks, AuditRecord, FactorChange, Factors, SessionId, StoreError};

/// Why second factors were not changed.
#[derive(Debug, thiserror::Error)]
pub enum FactorError {
    /// The password was not confirmed.
    #[error(transparent)]
    Unconfirmed(#[from] ConfirmationRequired),
    /// The code is not one of the app that is being set up.
    #[error("wrong first code")]
    WrongCode,
    /// No app is being set up, or it took too long.
    #[error("no app is being set up")]
    NoProposal,
    /// The account has no such factor.
    #[error("there is no such second factor")]
    Unknown,
    /// The account, or the session, was changed or has ended at the same time.
    #[error("the account was changed at the same time")]
    Overtaken,
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Result<T> = std::result::Result<T, FactorError>;

/// The factors of the actor's account.
///
/// # Errors
/// [`FactorError`].
pub async fn list(context: &Context, actor: &Actor) -> Result<Factors> {
    let account = context.store.account(&actor.username).await?;
    let account = account.filter(|account| account.owner.id == actor.account);
    Ok(account.ok_or(FactorError::Overtaken)?.factors)
}

fn session(actor: &Actor) -> Result<&SessionId> {
    actor.session.as_ref().ok_or(FactorError::Overtaken)
}

/// Proposes the secret of an app: it is set up once [`set_app`] gets its first code.
///
/// # Errors
/// [`FactorError`].
pub async fn propose_app(context: &Context, actor: &Actor) -> Result<AppSecret> {
    context.require_confirmation::<FactorError>(actor).await?;
    Ok(context.store.propose_app(Asks::Session(session(actor)?)).await?)
}

/// The secret that is proposed to this session.
///
/// # Errors
/// [`FactorError`].
pub async fn proposed_app(context: &Context, actor: &Actor) -> Result<Option<AppSecret>> {
    Ok(context.store.proposed_app(Asks::Session(session(actor)?)).await?)
}

/// The step of a first code.
pub(super) fn first_step(secret: &AppSecret, code: &str, now: Timestamp) -> Option<u64> {
    match TypedCode::parse(code)? {
        TypedCode::App(code) => secret.step_of(&code, now),
        TypedCode::Recovery(_) => None,
    }
}

/// Sets up the proposed app, in place of the one before; the new recovery codes, which are not shown again.
///
/// # Errors
/// [`FactorError`].
pub async fn set_app(context: &Context, actor: Actor, code: String) -> Result<Vec<RecoveryCode>> {
    let secret = proposed_app(context, &actor).await?.ok_or(FactorError::NoProposal)?;
    let Some(step) = first_step(&secret, &code, context.store.about_now()) else {
        let (account, reason) = (Some(actor.username.clone()), FactorError::WrongCode.to_string());
        context.note_refusal(Refusal { what: "factor.refused", actor, account, reason }).await;
        return Err(FactorError::WrongCode);
    };
    let task = context.clone();
    let action = async move {
        let session = session(&actor)?;
        let record = actor.record("factor.set_app");
        let set = task.store.set_app(&actor.owner(), Asks::Session(session), (&secret, step), &record).await;
        task.note_unconfirmed(record, set).await?.ok_or(FactorError::Overtaken)
    };
    context.complete(action).await
}

/// Removes the app.
///
/// # Errors
/// [`FactorError`].
pub async fn remove_app(context: &Context, actor: Actor) -> Result<()> {
    context.require_confirmation::<FactorError>(&actor).await?;
    let task = context.clone();
    let action = async move {
        let record = actor.record("factor.remove_app");
        let changed = task.store.remove_app(&actor.owner(), session(&actor)?, &record).await;
        done(task.note_unconfirmed(record, changed).await?)
    };
    context.complete(action).await
}

/// Replaces the recovery codes; the new ones, which are not shown again.
///
/// # Errors
/// [`FactorError`].
pub async fn renew_recovery_codes(context: &Context, actor: Actor) -> Result<Vec<RecoveryCode>> {
    context.require_confirmation::<FactorError>(&actor).await?;
    let task = context.clone();
    let action = async move {
        let codes = crate::domain::second_factor::RECOVERY_CODES;
        let record =
            AuditRecord { after: json!({ "codes": codes }), ..actor.record("factor.renew_recovery_codes") };
        let renewed = task.store.renew_recovery_codes(&actor.owner(), session(&actor)?, &record).await;
        match task.note_unconfirmed(record, renewed).await? {
            Ok(codes) => Ok(codes),
            Err(changed) => Err(done(changed).err().unwrap_or(FactorError::Overtaken)),
        }
    };
    context.complete(action).await
}

pub(super) fn done(changed: FactorChange) -> Result<()> {
    match changed {
        FactorChange::Done => Ok(()),
        FactorChange::Nothing => Err(FactorError::Unknown),
        FactorChange::Overtaken => Err(FactorError::Overtaken),
    }
}
