//! A second factor that is set up at the login, where the role of the account needs one and it has none.
//!
//! The right password leads here, and the first code of the new app, or the new passkey, is the second step.
//!
//! An account that has a factor never gets here with the password alone: the scripts that set the factor refuse it.

use serde_json::Value;

use super::finish_login::{FinishError, SecondStep, find, report};
use super::open_session::{LoggedIn, Opening, open_session, replace, without_session};
use super::second_factor::first_step;
use super::{Context, attempt, passkeys};
use crate::domain::second_factor::{AppSecret, RecoveryCode};
use crate::store::{Account, Asks, LoginOrigin, OnceHash, Proof, Username, WaitingLogin};

type Result<T> = std::result::Result<T, FinishError>;

/// A login that waits until its account has a factor.
async fn without_factor(context: &Context, secret: &str) -> Result<(OnceHash, WaitingLogin, Account)> {
    let found = find(context, secret).await?;
    if found.2.factors.any() { Err(FinishError::Over) } else { Ok(found) }
}

/// A secret for an app, and whose it is.
pub struct Proposed {
    /// The secret.
    pub secret: AppSecret,
    /// The name of the account.
    pub username: Username,
}

/// The secret of an app for a login that waits: the one that was proposed before, or a new one.
///
/// # Errors
/// [`FinishError`].
pub async fn propose(context: &Context, secret: &str) -> Result<Proposed> {
    let (hash, login, account) = without_factor(context, secret).await?;
    let asks = Asks::Login(&hash, &login);
    let secret = match context.store.proposed_app(asks).await? {
        Some(secret) => secret,
        None => context.store.propose_app(asks).await?,
    };
    Ok(Proposed { secret, username: account.owner.username })
}

/// Sets up the app with its first code, and begins the session; the recovery codes, which are not shown again.
///
/// # Errors
/// [`FinishError`]; each one is counted and logged here, as a success is.
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn set_up(context: &Context, step: SecondStep) -> Result<(LoggedIn, Vec<RecoveryCode>)> {
    let task = context.clone();
    let action = async move {
        let mut known = None;
        let outcome = first(&task, &step, &mut known).await;
        report(&task, step.origin.ip, known, outcome.as_ref().map(drop)).await;
        outcome
    };
    context.complete(action).await
}

async fn first(
    context: &Context,
    step: &SecondStep,
    known: &mut Option<Username>,
) -> Result<(LoggedIn, Vec<RecoveryCode>)> {
    let (hash, login, account) = without_factor(context, &step.secret).await?;
    let owner = &account.owner;
    *known = Some(owner.username.clone());
    let asks = Asks::Login(&hash, &login);
    let secret = context.store.proposed_app(asks).await?.ok_or(FinishError::Over)?;
    let first = first_step(&secret, &step.code, context.store.about_now()).ok_or(FinishError::Wrong)?;
    let record = without_session(context, &step.origin, owner).record("factor.set_app");
    let set = context.store.set_app(owner, asks, (&secret, first), &record).await;
    let codes = context.note_unconfirmed(record, set).await?.ok_or(FinishError::Over)?;
    let arrival = (&step.origin, step.replaces.as_ref());
    Ok((begin_session(context, &account, &login, "app", arrival).await?, codes))
}

/// Begins to set up a passkey for a login that waits: the options for the browser.
///
/// # Errors
/// [`FinishError`].
pub async fn begin_passkey(context: &Context, secret: &str) -> Result<Value> {
    let (hash, login, account) = without_factor(context, secret).await?;
    Ok(passkeys::begin_for(context, &account, Asks::Login(&hash, &login)).await?)
}

/// A passkey that a browser has made for a login that waits.
pub struct PasskeyStep {
    /// By which the login continues.
    pub secret: String,
    /// What its user calls it.
    pub name: String,
    /// What the browser has made.
    pub credential: Value,
    /// Where it comes from.
    pub origin: LoginOrigin,
    /// The session that the browser has already.
    pub replaces: Option<Proof>,
}

/// Sets up the passkey, and begins the session; the recovery codes, which are not shown again.
///
/// # Errors
/// [`FinishError`]; each one is counted and logged here, as a success is.
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn add_passkey(context: &Context, step: PasskeyStep) -> Result<(LoggedIn, Vec<RecoveryCode>)> {
    let task = context.clone();
    let action = async move {
        let (ip, mut known) = (step.origin.ip, None);
        let outcome = register(&task, step, &mut known).await;
        report(&task, ip, known, outcome.as_ref().map(drop)).await;
        outcome
    };
    context.complete(action).await
}

async fn register(
    context: &Context,
    step: PasskeyStep,
    known: &mut Option<Username>,
) -> Result<(LoggedIn, Vec<RecoveryCode>)> {
    let (hash, login, account) = without_factor(context, &step.secret).await?;
    *known = Some(account.owner.username.clone());
    let actor = without_session(context, &step.origin, &account.owner);
    let made = (step.name, step.credential);
    let added = passkeys::register(context, &account, Asks::Login(&hash, &login), &actor, made).await?;
    let arrival = (&step.origin, step.replaces.as_ref());
    let begun = begin_session(context, &account, &login, "passkey", arrival).await?;
    Ok((begun, added.codes.unwrap_or_default()))
}

/// Begins the session of a login whose account has a factor now.
async fn begin_session(
    context: &Context,
    account: &Account,
    login: &WaitingLogin,
    factor: &'static str,
    (origin, older): (&LoginOrigin, Option<&Proof>),
) -> Result<LoggedIn> {
    let opening = Opening {
        owner: &account.owner,
        access: &account.standing.access,
        generation: login.generation(),
        factor: Some(factor),
        origin,
    };
    let begun = open_session(context, opening).await?.ok_or(FinishError::Over)?;
    replace(context, origin, older, &begun.details).await?;
    attempt::remember(&context.store, account.owner.username.as_str(), origin.ip, login.generation()).await;
    Ok(begun)
}
