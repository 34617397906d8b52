//! A login with a passkey: alone, or as the second factor of a login whose password was right (`finish_login.rs`).
//!
//! ```text
//! begin ─▶ a challenge, kept for five minutes ─▶ the browser signs ─▶ finish, at any worker ─▶ taken once ─▶ checked ─▶ a session
//! ```
//!
//! Alone, a passkey says whose it is. A signature cannot be guessed, so what is limited is how many challenges an address may ask for:
//! each is an attempt of it. A counter that goes back, as that of a copied passkey does, is refused.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use webauthn_rs::prelude::{DiscoverableAuthentication, PublicKeyCredential, WebauthnError};

use super::attempt::{TooManyAttempts, remember};
use super::finish_login::{self, FinishError};
use super::open_session::{LoggedIn, Opening, open_session, replace};
use super::passkeys::{key_of, to_json, user_handle, words};
use super::relying_party::CEREMONY_FOR;
use super::{Context, set_up};
use crate::store::{
    Account, FactorUse, LoginOrigin, OnceHash, OnceKind, OnceSecret, PasskeyId, Proof, StoreError,
    StoredPasskey, Username,
};

/// How often a login is tried if the account's passkeys are changed at the same time.
const MAX_TRIES: usize = 3;

type Result<T> = std::result::Result<T, FinishError>;

/// What is kept between the beginning and the end.
#[derive(Serialize, Deserialize)]
struct Ceremony {
    /// The hash of the login that waits for it; none if the passkey stands alone.
    waiting: Option<Vec<u8>>,
    state: DiscoverableAuthentication,
}

/// A challenge.
pub struct Challenge {
    /// By which the ceremony ends.
    pub ceremony: OnceSecret,
    /// The options for the browser.
    pub options: Value,
}

/// Begins a login with a passkey, for the login that waits under this secret, or for none.
///
/// # Errors
/// [`FinishError`].
pub async fn begin(context: &Context, ip: IpAddr, waiting: Option<&str>) -> Result<Challenge> {
    let webauthn = context.passkeys.ready()?;
    let limits = context.login_limits();
    if let Some((limit, retry_after)) = context.store.admit_attempt(ip, limits).await? {
        return Err(TooManyAttempts::counted(&context.store, limit, retry_after).await.into());
    }
    let refused = |error: WebauthnError| FinishError::Passkey(words(&error));
    let (options, state) = webauthn.start_discoverable_authentication().map_err(refused)?;
    let mut options = to_json(&options)?;
    // A button asks for it, not a field.
    if let Some(options) = options.as_object_mut() {
        options.remove("mediation");
    }
    let waiting = match waiting {
        Some(secret) => {
            let (hash, _, account) = finish_login::find(context, secret).await?;
            options["publicKey"]["allowCredentials"] = known(&account)?;
            Some(hash.as_bytes().to_vec())
        }
        None => None,
    };
    let ceremony = OnceSecret::fresh()?;
    let kept = to_json(&Ceremony { waiting, state })?.to_string();
    context.store.keep_once(OnceKind::PasskeyLogin, &ceremony.hash(), kept.as_bytes(), CEREMONY_FOR).await?;
    Ok(Challenge { ceremony, options })
}

/// The passkeys of an account, for a browser: also of those that cannot log in without a name.
fn known(account: &Account) -> std::result::Result<Value, StoreError> {
    let of = |stored: &StoredPasskey| {
        let id = URL_SAFE_NO_PAD.encode(key_of(stored)?.cred_id());
        Ok(json!({ "type": "public-key", "id": id }))
    };
    account.factors.passkeys.iter().map(of).collect()
}

/// The end of a ceremony.
pub struct Signed {
    /// The secret of its beginning.
    pub ceremony: String,
    /// What the browser has signed.
    pub credential: Value,
    /// Where it comes from.
    pub origin: LoginOrigin,
    /// The session that the browser has already.
    pub replaces: Option<Proof>,
}

/// Checks what was signed, and begins a session.
///
/// # Errors
/// [`FinishError`]; each one is counted and logged, as a success is.
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn finish(context: &Context, signed: Signed) -> Result<LoggedIn> {
    let task = context.clone();
    let action = async move {
        let mut known = None;
        let outcome = attempt(&task, &signed, &mut known).await;
        finish_login::report(&task, signed.origin.ip, known, outcome.as_ref().map(drop)).await;
        outcome
    };
    context.complete(action).await
}

async fn attempt(context: &Context, signed: &Signed, known: &mut Option<Username>) -> Result<LoggedIn> {
    context.passkeys.ready()?;
    let hash = OnceSecret::parse(&signed.ceremony).ok_or(FinishError::Over)?.hash();
    let kept = context.store.take_once(OnceKind::PasskeyLogin, &hash).await?.ok_or(FinishError::Over)?;
    let Ceremony { waiting, state } = serde_json::from_slice(&kept).map_err(|_| FinishError::Over)?;
    let waiting = waiting.map(<[u8; 32]>::try_from).transpose().map_err(|_| FinishError::Over)?;
    let waiting = waiting.map(OnceHash::from_bytes);
    let credential: PublicKeyCredential = serde_json::from_value(signed.credential.clone())
        .map_err(|_| FinishError::Passkey("it is not what a browser sends".to_owned()))?;
    let id = PasskeyId::of(credential.get_credential_id());
    for _ in 0..MAX_TRIES {
        let account = match &waiting {
            Some(hash) => finish_login::find_by_hash(context, hash).await?.1,
            None => owner(context, &id, &credential, known).await?,
        };
        *known = Some(account.owner.username.clone());
        if account.standing.disabled {
            return Err(FinishError::Passkey("the account is disabled".to_owned()));
        }
        // Whose groups decide comes by the provider, which knows them: a passkey does not.
        if account.provider.is_some() || !context.password_login.admits(account.owner.username.as_str()) {
            return Err(FinishError::Passkey(
                "the account is of single sign-on, or passwords and passkeys are switched off for it"
                    .to_owned(),
            ));
        }
        let passkeys = checked(context, &account, &id, &credential, &state)?;
        match context.store.use_passkey(&account, &passkeys, waiting.as_ref()).await? {
            FactorUse::Accepted => return begin_session(context, signed, &account).await,
            FactorUse::Over | FactorUse::LastWrong => return Err(FinishError::Over),
            FactorUse::Wrong => {}
        }
    }
    Err(FinishError::Over)
}

/// Whose passkey it is, by what it says and by what is known about it.
async fn owner(
    context: &Context,
    id: &PasskeyId,
    credential: &PublicKeyCredential,
    known: &mut Option<Username>,
) -> Result<Account> {
    let unknown = || FinishError::Passkey("no account has it".to_owned());
    let Some(name) = context.store.passkey_owner(id).await? else {
        if !set_up::is_complete(context).await? {
            return Err(FinishError::Over);
        }
        return Err(unknown());
    };
    let account = context.store.account(&name).await?.ok_or_else(unknown)?;
    *known = Some(account.owner.username.clone());
    let says = context.passkeys.ready()?.identify_discoverable_authentication(credential);
    let is_own = says.is_ok_and(|(handle, _)| handle == user_handle(&account.owner));
    if is_own { Ok(account) } else { Err(unknown()) }
}

/// The passkeys of the account after this use of one of them.
fn checked(
    context: &Context,
    account: &Account,
    id: &PasskeyId,
    credential: &PublicKeyCredential,
    state: &DiscoverableAuthentication,
) -> Result<Vec<StoredPasskey>> {
    let mut passkeys = account.factors.passkeys.clone();
    let stored = passkeys.iter_mut().find(|stored| stored.id == *id);
    let stored = stored.ok_or_else(|| FinishError::Passkey("the account does not have it".to_owned()))?;
    let mut key = key_of(stored)?;
    let used =
        context.passkeys.ready()?.finish_discoverable_authentication_v2(credential, state.clone(), &key);
    let used = used.map_err(|error| match error {
        WebauthnError::CredentialPossibleCompromise => FinishError::Copied,
        error => FinishError::Passkey(words(&error)),
    })?;
    if !used.user_verified() {
        return Err(FinishError::Passkey("its user was not verified".to_owned()));
    }
    if key.update_credential(&used) == Some(true) {
        stored.key = to_json(&key)?;
    }
    stored.used = Some(context.store.about_now());
    Ok(passkeys)
}

async fn begin_session(context: &Context, signed: &Signed, account: &Account) -> Result<LoggedIn> {
    let opening = Opening {
        owner: &account.owner,
        access: &account.standing.access,
        generation: account.generation,
        factor: Some("passkey"),
        origin: &signed.origin,
    };
    // All sessions were ended since the account was read.
    let begun = open_session(context, opening).await?.ok_or(FinishError::Over)?;
    replace(context, &signed.origin, signed.replaces.as_ref(), &begun.details).await?;
    let name = account.owner.username.as_str();
    remember(&context.store, name, signed.origin.ip, account.generation).await;
    Ok(begun)
}
