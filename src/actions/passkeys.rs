//! Passkeys: added and removed by their owner. A login with one is in `log_in_with_passkey.rs`; one that is added at a login that waits for it,
//! in `set_up_at_login.rs`.
//!
//! The user is verified (a PIN, a finger) at each use, so that a passkey can stand alone.
//!
//! The library is `webauthn-rs`. What it needs between the beginning and the end of a ceremony is kept in Redis for five minutes and
//! taken once, so the two may be at different workers.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use webauthn_rs::prelude::{Passkey, PasskeyRegistration, RegisterPublicKeyCredential, Uuid, WebauthnError};

use super::confirm_session::ConfirmationRequired;
use super::relying_party::{CEREMONY_FOR, NoPasskeys};
use super::{Actor, Context, Refusal};
use crate::domain::second_factor::RecoveryCode;
use crate::store::{
    Account, Asks, AuditRecord, MAX_PASSKEYS, OnceKind, Owner, PasskeyId, PasskeysChanged, SessionId,
    StoreError, StoredPasskey,
};

/// The most characters of a name.
pub const MAX_NAME: usize = 64;

/// Why passkeys were not changed.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// There are none here.
    #[error(transparent)]
    Off(#[from] NoPasskeys),
    /// The password was not confirmed.
    #[error(transparent)]
    Unconfirmed(#[from] ConfirmationRequired),
    /// The name is not acceptable.
    #[error("`name` must be 1 to {MAX_NAME} characters, without spaces at its ends")]
    Name,
    /// The user has too many.
    #[error("a user may have {MAX_PASSKEYS} passkeys at most")]
    TooMany,
    /// No passkey is being added here, or it took too long.
    #[error("no passkey is being added")]
    NoCeremony,
    /// What the browser has sent is not the end of this ceremony.
    #[error("the passkey was refused: {0}")]
    Refused(String),
    /// The passkey is known already.
    #[error("the passkey is known already")]
    Known,
    /// There is no such passkey.
    #[error("there is no such passkey")]
    Unknown,
    /// The account, its passkeys, or the session, were changed or have ended at the same time.
    #[error("the account was changed at the same time")]
    Overtaken,
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A passkey that was added.
pub struct Added {
    /// The passkey as it is stored.
    pub passkey: StoredPasskey,
    /// Recovery codes, if it is the first factor of the account.
    pub codes: Option<Vec<RecoveryCode>>,
}

/// By which authenticators know the account: nothing that says who it is.
pub(super) fn user_handle(owner: &Owner) -> Uuid {
    let digest = Sha256::new().chain_update("bangui passkey\0").chain_update(owner.id.as_str()).finalize();
    Uuid::from_bytes(digest.first_chunk::<16>().copied().unwrap_or_default())
}

/// The key of the library.
pub(super) fn key_of(stored: &StoredPasskey) -> Result<Passkey, StoreError> {
    serde_json::from_value(stored.key.clone())
        .map_err(|error| StoreError::corrupt(format!("a passkey cannot be read: {error}")))
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<Value, StoreError> {
    serde_json::to_value(value)
        .map_err(|error| StoreError::corrupt(format!("a ceremony cannot be written: {error}")))
}

/// In words for the audit. It has nothing of what was sent.
pub(super) fn words(error: &WebauthnError) -> String {
    error.to_string()
}

async fn account(context: &Context, actor: &Actor) -> Result<Account, PasskeyError> {
    let account = context.store.account(&actor.username).await?;
    account.filter(|account| account.owner.id == actor.account).ok_or(PasskeyError::Overtaken)
}

fn session(actor: &Actor) -> Result<&SessionId, PasskeyError> {
    actor.session.as_ref().ok_or(PasskeyError::Overtaken)
}

/// Begins to add a passkey to the actor's account: the options for the browser.
///
/// # Errors
/// [`PasskeyError`].
pub async fn begin(context: &Context, actor: &Actor) -> Result<Value, PasskeyError> {
    context.passkeys.ready()?;
    context.require_confirmation::<PasskeyError>(actor).await?;
    let account = account(context, actor).await?;
    begin_for(context, &account, Asks::Session(session(actor)?)).await
}

/// Begins to add a passkey to this account, for whoever asks.
pub(super) async fn begin_for(
    context: &Context,
    account: &Account,
    asks: Asks<'_>,
) -> Result<Value, PasskeyError> {
    let webauthn = context.passkeys.ready()?;
    let passkeys = &account.factors.passkeys;
    if passkeys.len() >= MAX_PASSKEYS {
        return Err(PasskeyError::TooMany);
    }
    let known = passkeys.iter().map(|stored| Ok(key_of(stored)?.cred_id().clone()));
    let known = known.collect::<Result<Vec<_>, StoreError>>()?;
    let name = account.owner.username.as_str();
    let (options, state) = webauthn
        .start_passkey_registration(user_handle(&account.owner), name, name, Some(known))
        .map_err(|error| PasskeyError::Refused(words(&error)))?;
    let state = to_json(&state)?.to_string();
    context.store.keep_once(OnceKind::PasskeySetup, &asks.hash(), state.as_bytes(), CEREMONY_FOR).await?;
    let mut options = to_json(&options)?;
    // So that it can log in without a name, where the authenticator has room for that.
    options["publicKey"]["authenticatorSelection"]["residentKey"] = json!("preferred");
    Ok(options)
}

fn check_name(name: &str) -> Result<(), PasskeyError> {
    let length = name.chars().count();
    let fits = (1..=MAX_NAME).contains(&length) && name.trim() == name && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(PasskeyError::Name) }
}

/// Adds the passkey that the browser has made.
///
/// # Errors
/// [`PasskeyError`].
pub async fn add(
    context: &Context,
    actor: Actor,
    name: String,
    credential: Value,
) -> Result<Added, PasskeyError> {
    check_name(&name)?;
    let task = context.clone();
    let action = async move {
        let outcome = register_own(&task, &actor, name, credential).await;
        if let Err(refused @ PasskeyError::Refused(_)) = &outcome {
            let (account, reason) = (Some(actor.username.clone()), refused.to_string());
            task.note_refusal(Refusal { what: "factor.refused", actor, account, reason }).await;
        }
        outcome
    };
    context.complete(action).await
}

async fn register_own(
    context: &Context,
    actor: &Actor,
    name: String,
    credential: Value,
) -> Result<Added, PasskeyError> {
    let account = account(context, actor).await?;
    register(context, &account, Asks::Session(session(actor)?), actor, (name, credential)).await
}

/// Adds the passkey that the browser has made to this account, for whoever asks, who is the actor for the audit.
pub(super) async fn register(
    context: &Context,
    account: &Account,
    asks: Asks<'_>,
    actor: &Actor,
    (name, credential): (String, Value),
) -> Result<Added, PasskeyError> {
    check_name(&name)?;
    let webauthn = context.passkeys.ready()?;
    let state = context.store.take_once(OnceKind::PasskeySetup, &asks.hash()).await?;
    let state = state.ok_or(PasskeyError::NoCeremony)?;
    let state: PasskeyRegistration = serde_json::from_slice(&state).map_err(|_| PasskeyError::NoCeremony)?;
    let credential: RegisterPublicKeyCredential = serde_json::from_value(credential)
        .map_err(|_| PasskeyError::Refused("it is not what a browser sends".to_owned()))?;
    let key = webauthn
        .finish_passkey_registration(&credential, &state)
        .map_err(|error| PasskeyError::Refused(words(&error)))?;
    let id = PasskeyId::of(key.cred_id());
    let since = context.store.about_now();
    let key = to_json(&key)?;
    let passkey = StoredPasskey { id: id.clone(), name, since, used: None, key, unknown: Default::default() };
    forget_stale(context, &id).await?;
    let mut passkeys = account.factors.passkeys.clone();
    passkeys.push(passkey.clone());
    let record = AuditRecord {
        target: Some(id.as_str().to_owned()),
        after: json!({ "name": passkey.name }),
        ..actor.record("factor.add_passkey")
    };
    let changed = context.store.change_passkeys(account, asks, &passkeys, &id, &record).await;
    match context.note_unconfirmed(record, changed).await? {
        PasskeysChanged::Done(codes) => Ok(Added { passkey, codes }),
        PasskeysChanged::Known => Err(PasskeyError::Known),
        PasskeysChanged::Overtaken => Err(PasskeyError::Overtaken),
    }
}

/// What leads from a passkey to an account that has lost it would keep it from being added again.
async fn forget_stale(context: &Context, id: &PasskeyId) -> Result<(), StoreError> {
    let Some(name) = context.store.passkey_owner(id).await? else { return Ok(()) };
    let account = context.store.account(&name).await?;
    let has = |account: Account| account.factors.passkeys.iter().any(|passkey| passkey.id == *id);
    if !account.is_some_and(has) {
        context.store.forget_passkey(id).await?;
    }
    Ok(())
}

/// Removes a passkey of the actor's account.
///
/// # Errors
/// [`PasskeyError`].
pub async fn remove(context: &Context, actor: Actor, id: PasskeyId) -> Result<(), PasskeyError> {
    context.require_confirmation::<PasskeyError>(&actor).await?;
    let task = context.clone();
    let action = async move {
        let account = account(&task, &actor).await?;
        let mut passkeys = account.factors.passkeys.clone();
        let found = passkeys.iter().position(|passkey| passkey.id == id).ok_or(PasskeyError::Unknown)?;
        let removed = passkeys.remove(found);
        let record = AuditRecord {
            target: Some(id.as_str().to_owned()),
            before: json!({ "name": removed.name }),
            ..actor.record("factor.remove_passkey")
        };
        let asks = Asks::Session(session(&actor)?);
        let changed = task.store.change_passkeys(&account, asks, &passkeys, &id, &record).await;
        match task.note_unconfirmed(record, changed).await? {
            PasskeysChanged::Done(_) => Ok(()),
            PasskeysChanged::Known | PasskeysChanged::Overtaken => Err(PasskeyError::Overtaken),
        }
    };
    context.complete(action).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::AccountId;

    #[test]
    fn a_name_is_short_and_plain_and_a_user_handle_says_nothing() {
        assert!(check_name("yubikey 5").is_ok());
        for wrong in ["", " x", "x\n", &"x".repeat(65)] {
            assert!(check_name(wrong).is_err(), "{wrong:?}");
        }
        let anna =
            Owner { username: crate::store::Username::admin(), id: AccountId::parse("Anna0001").unwrap() };
        assert_ne!(user_handle(&anna), user_handle(&Owner::admin()));
        assert!(!user_handle(&anna).to_string().contains("Anna"));
    }
}
