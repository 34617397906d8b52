//! The setup of a new installation: the first password, once, for somebody who can prove that the installation is theirs.
//!
//! The proof is `BANGUI_SETUP_TOKEN`, or else a code that the first worker makes, all workers share through Redis, and each
//! logs; after a day another code replaces it. A wrong proof costs its address an attempt, from the same limit as a login, and is
//! logged. Redis alone decides which of several simultaneous claims wins.
//! `BANGUI_ADMIN_PASSWORD` takes the same once-only step when a worker starts.

use std::net::IpAddr;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::attempt::TooManyAttempts;
use super::{Actor, Context, Refusal};
use crate::password::gate::Turn;
use crate::password::rules::{self, WeakPassword};
use crate::password::{self, GateError, Origin};
use crate::store::{Store, StoreError, Username};

/// The first password, with the proof.
pub struct Claim {
    /// The password.
    pub password: String,
    /// The proof: `BANGUI_SETUP_TOKEN` or the code.
    pub token: String,
}

/// Why setup was not completed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// It was completed before.
    #[error("setup is already complete")]
    Complete,
    /// The proof is wrong.
    #[error("wrong setup code")]
    WrongToken,
    /// The address has tried too often.
    #[error(transparent)]
    Limited(#[from] TooManyAttempts),
    /// The password is not acceptable.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// The password could not be hashed.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether the first password has been set. If not, this logs the setup code.
///
/// # Errors
/// [`StoreError`].
pub async fn is_complete(context: &Context) -> Result<bool, StoreError> {
    let complete = has_account(context).await?;
    if !complete {
        log_code(context).await;
    }
    Ok(complete)
}

async fn has_account(context: &Context) -> Result<bool, StoreError> {
    Ok(context.admin_is_provisioned || context.store.setup_complete().await?)
}

/// Logs the setup code that is valid now: Redis may have lost the account, and with it the code that was logged before.
pub(super) async fn log_code(context: &Context) {
    if let Err(error) = expected_token(context).await {
        tracing::debug!(error = %error, "failed to look up the setup code");
    }
}

/// Sets the first password, once in the life of an installation. Runs to completion once begun: a client that hangs up has
/// still used the attempt.
///
/// # Errors
/// [`SetupError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn set_up(context: &Context, address: IpAddr, claim: Claim) -> Result<(), SetupError> {
    let task = context.clone();
    context.complete(async move { attempt(&task, address, &claim).await }).await
}

async fn attempt(context: &Context, address: IpAddr, claim: &Claim) -> Result<(), SetupError> {
    if has_account(context).await? {
        return Err(SetupError::Complete);
    }
    prove(context, address, &claim.token).await?;
    rules::check(&claim.password, Username::ADMIN)?;
    let turn = context.gate.enter(Origin::Known).await;
    // Another claim may have won while this one waited: then there is nothing left to hash.
    if has_account(context).await? {
        return Err(SetupError::Complete);
    }
    create(context, address, claim, turn?).await
}

/// Checks the proof; a wrong one uses up an attempt of its address.
async fn prove(context: &Context, address: IpAddr, token: &str) -> Result<(), SetupError> {
    let limits = context.login_limits();
    if let Some((limit, retry_after)) = context.store.admit_attempt(address, limits).await? {
        let limited = TooManyAttempts::counted(&context.store, limit, retry_after).await;
        note_refusal(context, address, limited.to_string()).await;
        return Err(limited.into());
    }
    if !same_secret(token, &expected_token(context).await?) {
        note_refusal(context, address, "wrong setup code".to_owned()).await;
        return Err(SetupError::WrongToken);
    }
    if let Err(error) = context.store.give_back_attempt(address, limits).await {
        tracing::debug!(error = %error, "failed to give back the login attempt of a setup: it counts against the login limit");
    }
    Ok(())
}

async fn note_refusal(context: &Context, address: IpAddr, reason: String) {
    let actor = Actor::without_session(address, &context.worker);
    context.note_refusal(Refusal { what: "setup.refused", actor, account: None, reason }).await;
}

async fn create(context: &Context, address: IpAddr, claim: &Claim, turn: Turn) -> Result<(), SetupError> {
    let hash = turn.hash(&claim.password).await?;
    let record = Actor::without_session(address, &context.worker).record("setup.complete");
    let created = context.store.create_admin(&hash, &record).await;
    if !context.note_unconfirmed(record, created).await? {
        return Err(SetupError::Complete);
    }
    tracing::info!("setup is complete: the account `admin` has its password");
    Ok(())
}

/// The outcome of provisioning the admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provisioned {
    /// The account was created.
    Created,
    /// The account exists, with this password.
    Unchanged,
    /// The account exists, with another password, which stays.
    Different,
}

/// Why the admin was not provisioned.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The password could not be hashed.
    #[error("failed to hash the password")]
    Hash(#[source] anyhow::Error),
    /// There is no account yet, and the password is not acceptable.
    #[error("{0}")]
    Weak(#[from] WeakPassword),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates the admin with this password unless there is one: the same once-only step as setup, which never overwrites.
///
/// # Errors
/// [`ProvisionError`].
pub async fn provision(store: &Store, password: &SecretString) -> Result<Provisioned, ProvisionError> {
    let account = store.account(&Username::admin()).await?;
    let password = password.clone();
    let ended = |error: tokio::task::JoinError| ProvisionError::Hash(error.into());
    if let Some(account) = account {
        let verify = move || password::verify(password.expose_secret(), &account.password_hash);
        let same = tokio::task::spawn_blocking(verify).await.map_err(ended)?;
        return Ok(if same { Provisioned::Unchanged } else { Provisioned::Different });
    }
    rules::check(password.expose_secret(), Username::ADMIN)?;
    let hash = tokio::task::spawn_blocking(move || password::hash(password.expose_secret()));
    let hash = hash.await.map_err(ended)?.map_err(ProvisionError::Hash)?;
    let created = store.create_admin(&hash, &Actor::operator().record("setup.complete")).await?;
    Ok(if created { Provisioned::Created } else { Provisioned::Unchanged })
}

/// The cluster's one-time setup code, made by the first worker that asks; none after setup.
///
/// # Errors
/// [`StoreError`].
pub async fn setup_code(store: &Store) -> Result<Option<String>, StoreError> {
    store.setup_code(&fresh_code()).await
}

/// 128 random bits as a setup code, in groups that can be typed.
fn fresh_code() -> String {
    let digits = format!("{:032x}", rand::random::<u128>());
    let groups: Vec<&str> = (0..8).filter_map(|i| digits.get(i * 4..i * 4 + 4)).collect();
    groups.join("-")
}

async fn expected_token(context: &Context) -> Result<String, SetupError> {
    match &context.setup_token {
        Some(token) => Ok(token.expose_secret().to_owned()),
        None => setup_code(&context.store).await?.ok_or(SetupError::Complete),
    }
}

/// Compares digests, so that the time it takes shows neither content nor length.
fn same_secret(shown: &str, expected: &str) -> bool {
    Sha256::digest(shown).ct_eq(&Sha256::digest(expected)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_code_has_128_bits_in_groups() {
        let code = fresh_code();
        assert_eq!(code.len(), 39);
        assert_ne!(code, fresh_code());
        assert!(same_secret(&code, &code.clone()));
        assert!(!same_secret(&code, ""));
        assert!(!same_secret(&code, &code[..38]));
    }
}
