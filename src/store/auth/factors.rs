//! Second factors of accounts: set up, changed and removed by their owner, and used by a login that waits for one.
//!
//! They are fields of the account's hash: the secret of an app, which every worker must be able to read, the last step of it that was
//! accepted, and the hashes of recovery codes. Each change is one script with its audit entry, and is confirmed by the replicas as a
//! new password is.
//!
//! A login whose password was right waits for five minutes under the hash of a secret (`once.rs`), of which the client has the text. It
//! names the account and its generation: whatever ends all sessions of the account ends it too.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::account_fields::Account;
use super::account_id::{AccountId, Owner};
use super::near_cache::{Ended, Revocation};
use super::once::{OnceHash, OnceKind, OnceSecret};
use super::username::Username;
use crate::domain::second_factor::{AppSecret, RECOVERY_BYTES, RECOVERY_CODES, RecoveryCode, SECRET_BYTES};
use crate::store::{AuditRecord, Result, SessionId, Store, StoreError, random, scripts};

/// How long a login waits for its second factor.
pub const WAITS_FOR: Duration = Duration::from_secs(300);
/// How many wrong codes end it.
const MAX_WRONG: u8 = 5;
/// How long the secret of an app is kept until its first code is entered.
pub const PROPOSED_FOR: Duration = Duration::from_secs(600);

/// A login whose password was right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingLogin {
    #[serde(rename = "u")]
    username: String,
    #[serde(rename = "a")]
    account: AccountId,
    #[serde(rename = "g")]
    generation: u64,
}

impl WaitingLogin {
    /// A login to this account, of this generation.
    #[must_use]
    pub fn of(owner: &Owner, generation: u64) -> Self {
        Self { username: owner.username.as_str().to_owned(), account: owner.id, generation }
    }

    /// Whose account it is.
    ///
    /// # Errors
    /// If the stored name cannot be that of an account.
    pub fn owner(&self) -> Result<Owner> {
        let username = Username::parse(&self.username);
        let username = username.map_err(|_| StoreError::corrupt("a waiting login has no name".to_owned()))?;
        Ok(Owner { username, id: self.account })
    }

    /// The generation of the account when the password was checked.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// Who sets up a factor.
#[derive(Debug, Clone, Copy)]
pub enum Asks<'a> {
    /// A session.
    Session(&'a SessionId),
    /// A login that waits for this, under this hash.
    Login(&'a OnceHash, &'a WaitingLogin),
}

impl Asks<'_> {
    /// Under which hash what is being set up is kept: the secret of an app, the challenge of a passkey.
    #[must_use]
    pub fn hash(&self) -> OnceHash {
        match self {
            Self::Session(id) => OnceHash::of_session(id),
            Self::Login(hash, _) => **hash,
        }
    }

    /// For the scripts: what it is, and of which generation.
    pub(super) fn kind(&self) -> (&'static str, u64) {
        match self {
            Self::Session(_) => ("session", 0),
            Self::Login(_, login) => ("login", login.generation),
        }
    }
}

/// What fits a code that was typed.
#[derive(Debug, Clone)]
pub enum Fits {
    /// A step of this app.
    App(AppSecretText, u64),
    /// Perhaps one of the recovery codes: this is its hash.
    Recovery(String),
    /// Nothing.
    Nothing,
}

/// The secret of an app as it is stored. Not printed.
#[derive(Clone)]
pub struct AppSecretText(secrecy::SecretString);

impl std::fmt::Debug for AppSecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the secret of an app")
    }
}

impl From<&AppSecret> for AppSecretText {
    fn from(secret: &AppSecret) -> Self {
        Self(secret.base32())
    }
}

/// The outcome of using a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactorUse {
    /// It was right, and is used up; so is the login that waited.
    Accepted,
    /// It was wrong, or was used before.
    Wrong,
    /// The same, and there were too many: the login is over.
    LastWrong,
    /// The login does not wait any more: it was finished, or five minutes have passed, or all sessions of the account have ended.
    Over,
}

/// The outcome of a change of factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactorChange {
    /// It is made.
    Done,
    /// The session or login that asked has ended, or another change came first.
    Overtaken,
    /// There is no such factor.
    Nothing,
}

impl Store {
    /// Has a login wait for its second factor; the secret by which it continues.
    ///
    /// # Errors
    /// See [`StoreError`], here and below.
    pub async fn keep_waiting_login(&self, login: &WaitingLogin) -> Result<OnceSecret> {
        let secret = OnceSecret::fresh()?;
        // The number of wrong codes, which the script counts.
        let mut value = vec![b'0'];
        value.extend(rmp_serde::to_vec_named(login)?);
        self.keep_once(OnceKind::Login, &secret.hash(), &value, WAITS_FOR).await?;
        Ok(secret)
    }

    /// The login that waits under this hash, if it still does.
    pub async fn waiting_login(&self, hash: &OnceHash) -> Result<Option<WaitingLogin>> {
        let value = self.see_once(OnceKind::Login, hash).await?;
        Ok(value.as_deref().and_then(|value| value.get(1..)).map(rmp_serde::from_slice).transpose()?)
    }

    /// Uses a second factor for the login that waits under this hash.
    pub async fn use_factor(&self, hash: &OnceHash, login: &WaitingLogin, fits: Fits) -> Result<FactorUse> {
        let owner = login.owner()?;
        let (kind, what, step) = match &fits {
            Fits::App(secret, step) => ("app", secret.0.expose_secret(), *step),
            Fits::Recovery(hash) => ("recovery", hash.as_str(), 0),
            Fits::Nothing => ("wrong", "", 0),
        };
        let call = scripts::FACTOR_USE
            .call()
            .key(self.keys.once(OnceKind::Login, hash))
            .key(self.keys.account(&owner.username))
            .key(self.keys.generation(owner.id))
            .arg(login.generation)
            .arg(owner.id.as_str())
            .arg(kind)
            .arg(what)
            .arg(step)
            .arg(MAX_WRONG);
        let used: i64 = self.shared.call_confirmed(&call).await?;
        Ok(match used {
            1 => FactorUse::Accepted,
            -1 => FactorUse::Wrong,
            -2 => FactorUse::LastWrong,
            _ => FactorUse::Over,
        })
    }

    /// Proposes a secret for an app, in place of one that was proposed before.
    pub async fn propose_app(&self, asks: Asks<'_>) -> Result<AppSecret> {
        let secret = AppSecret::of(random::<SECRET_BYTES>()?);
        let text = secret.base32();
        let bytes = text.expose_secret().as_bytes();
        self.keep_once(OnceKind::AppSetup, &asks.hash(), bytes, PROPOSED_FOR).await?;
        Ok(secret)
    }

    /// The secret that is proposed, if there is one.
    pub async fn proposed_app(&self, asks: Asks<'_>) -> Result<Option<AppSecret>> {
        let kept = self.see_once(OnceKind::AppSetup, &asks.hash()).await?;
        Ok(kept.and_then(|kept| AppSecret::parse(std::str::from_utf8(&kept).ok()?)))
    }

    /// Sets up the app whose secret was proposed, and whose first code was that of this `step`, with new recovery codes.
    pub async fn set_app(
        &self,
        owner: &Owner,
        asks: Asks<'_>,
        (secret, step): (&AppSecret, u64),
        audit: &AuditRecord,
    ) -> Result<Option<Vec<RecoveryCode>>> {
        let (codes, mark) = (fresh_codes()?, self.mark()?);
        let call = scripts::FACTOR_SET
            .call()
            .key(self.keys.account(&owner.username))
            .key(self.keys.generation(owner.id))
            .key(self.keys.asks(asks))
            .key(self.keys.once(OnceKind::AppSetup, &asks.hash()));
        let (kind, generation) = asks.kind();
        let call = self
            .with_audit_keys(call, audit.trail)
            .arg(owner.id.as_str())
            .arg(kind)
            .arg(generation)
            .arg(secret.base32().expose_secret())
            .arg(step)
            .arg(hashes(&codes))
            .arg(&mark);
        let set: bool = self.shared.call_confirmed(&self.with_audit(call, audit)).await?;
        if !set {
            return Ok(None);
        }
        audit.log();
        self.clear_mark(&owner.username, &mark).await;
        Ok(Some(codes))
    }

    /// Removes the app of this account.
    pub async fn remove_app(
        &self,
        owner: &Owner,
        session: &SessionId,
        audit: &AuditRecord,
    ) -> Result<FactorChange> {
        self.change_factors(owner, session, ("remove-app", ""), audit).await
    }

    /// Replaces the recovery codes of this account; the new ones.
    pub async fn renew_recovery_codes(
        &self,
        owner: &Owner,
        session: &SessionId,
        audit: &AuditRecord,
    ) -> Result<std::result::Result<Vec<RecoveryCode>, FactorChange>> {
        let codes = fresh_codes()?;
        let changed = self.change_factors(owner, session, ("recovery", &hashes(&codes)), audit).await?;
        Ok(if changed == FactorChange::Done { Ok(codes) } else { Err(changed) })
    }

    async fn change_factors(
        &self,
        owner: &Owner,
        session: &SessionId,
        (what, value): (&str, &str),
        audit: &AuditRecord,
    ) -> Result<FactorChange> {
        let mark = self.mark()?;
        let call = scripts::FACTOR_CHANGE
            .call()
            .key(self.keys.account(&owner.username))
            .key(self.keys.generation(owner.id))
            .key(self.keys.session(session));
        let call = self.with_audit_keys(call, audit.trail);
        let call = call.arg(owner.id.as_str()).arg(what).arg(value).arg(&mark);
        let changed: i64 = self.shared.call_confirmed(&self.with_audit(call, audit)).await?;
        Ok(match changed {
            1 => {
                audit.log();
                self.clear_mark(&owner.username, &mark).await;
                FactorChange::Done
            }
            -1 => FactorChange::Nothing,
            _ => FactorChange::Overtaken,
        })
    }

    /// Removes all second factors of this account, and ends all its sessions; `false` if the account is gone.
    pub async fn remove_factors(&self, account: &Account, audit: &AuditRecord) -> Result<bool> {
        let owner = &account.owner;
        let mark = self.mark()?;
        let ended = self.revoke(owner, Revocation::Factors { mark: &mark }, audit).await?;
        self.clear_mark(&owner.username, &mark).await;
        self.forget_passkeys(owner, &account.factors.passkeys).await;
        Ok(ended != Ended::Nothing)
    }
}

pub(super) fn fresh_codes() -> Result<Vec<RecoveryCode>> {
    (0..RECOVERY_CODES).map(|_| Ok(RecoveryCode::of(random::<RECOVERY_BYTES>()?))).collect()
}

pub(super) fn hashes(codes: &[RecoveryCode]) -> String {
    codes.iter().map(RecoveryCode::hash).collect::<Vec<_>>().join(" ")
}
