//! Passkeys of accounts (`stored_passkey.rs` has what is stored of one).
//!
//! All passkeys of an account are one field of its hash, which is compared with what was read at each change and each use. Beside it, the
//! SHA-256 of each passkey's own id leads to the name of the account, for a login with nothing but a passkey.

use super::account_fields::Account;
use super::account_id::Owner;
use super::factors::{Asks, FactorUse, fresh_codes, hashes};
use super::once::{OnceHash, OnceKind};
use super::stored_passkey::{PasskeyId, StoredPasskey, written};
use super::username::Username;
use crate::domain::second_factor::RecoveryCode;
use crate::store::{AuditRecord, Result, Store, scripts};

/// The outcome of adding or removing a passkey.
pub enum PasskeysChanged {
    /// It is done; the recovery codes, if it was the first factor.
    Done(Option<Vec<RecoveryCode>>),
    /// Whoever asks has ended, or the passkeys were changed by somebody else.
    Overtaken,
    /// The passkey is known already.
    Known,
}

impl Store {
    /// Writes the passkeys of this account, to which `changed` is added, or from which it is removed.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn change_passkeys(
        &self,
        account: &Account,
        asks: Asks<'_>,
        passkeys: &[StoredPasskey],
        changed: &PasskeyId,
        audit: &AuditRecord,
    ) -> Result<PasskeysChanged> {
        let (owner, codes, mark) = (&account.owner, fresh_codes()?, self.mark()?);
        let is_added = passkeys.iter().any(|passkey| passkey.id == *changed);
        let call = scripts::PASSKEYS_CHANGE
            .call()
            .key(self.keys.account(&owner.username))
            .key(self.keys.generation(owner.id))
            .key(self.keys.asks(asks))
            .key(self.keys.passkey(changed));
        let (kind, generation) = asks.kind();
        let call = self
            .with_audit_keys(call, audit.trail)
            .arg(owner.id.as_str())
            .arg(kind)
            .arg(generation)
            .arg(&account.factors.stored_passkeys)
            .arg(written(passkeys)?)
            .arg(if is_added { owner.username.as_str() } else { "" })
            .arg(hashes(&codes))
            .arg(&mark);
        let done: i64 = self.shared.call_confirmed(&self.with_audit(call, audit)).await?;
        if done > 0 {
            audit.log();
            self.clear_mark(&owner.username, &mark).await;
        }
        Ok(match done {
            1 => PasskeysChanged::Done(None),
            2 => PasskeysChanged::Done(Some(codes)),
            -1 => PasskeysChanged::Known,
            _ => PasskeysChanged::Overtaken,
        })
    }

    /// Whose passkey this is, or was.
    pub async fn passkey_owner(&self, id: &PasskeyId) -> Result<Option<Username>> {
        let command = redis::cmd("GET").arg(self.keys.passkey(id)).to_owned();
        let name: Option<String> = self.shared.query("passkey_owner", &command).await?;
        Ok(name.and_then(|name| Username::parse(&name).ok()))
    }

    /// Uses a passkey for a login, and for the one that waits under this hash; [`FactorUse::Wrong`] if the passkeys were changed since the
    /// account was read.
    pub async fn use_passkey(
        &self,
        account: &Account,
        passkeys: &[StoredPasskey],
        waiting: Option<&OnceHash>,
    ) -> Result<FactorUse> {
        let owner = &account.owner;
        let call = scripts::PASSKEY_USE
            .call()
            .key(self.keys.account(&owner.username))
            .key(self.keys.generation(owner.id));
        let call = match waiting {
            Some(hash) => call.key(self.keys.once(OnceKind::Login, hash)),
            None => call,
        };
        let call = call
            .arg(owner.id.as_str())
            .arg(account.generation)
            .arg(&account.factors.stored_passkeys)
            .arg(written(passkeys)?);
        let used: i64 = self.shared.call_confirmed(&call).await?;
        Ok(match used {
            1 => FactorUse::Accepted,
            -1 => FactorUse::Wrong,
            _ => FactorUse::Over,
        })
    }

    /// Forgets whose passkey this was.
    pub async fn forget_passkey(&self, id: &PasskeyId) -> Result<()> {
        let command = redis::cmd("DEL").arg(self.keys.passkey(id)).to_owned();
        self.shared.query("passkey_forget", &command).await
    }

    /// Forgets whose these passkeys were, of an account that has none any more. They would only lie there: what counts is the account.
    pub(super) async fn forget_passkeys(&self, owner: &Owner, passkeys: &[StoredPasskey]) {
        if passkeys.is_empty() {
            return;
        }
        let mut command = redis::cmd("UNLINK");
        for passkey in passkeys {
            command.arg(self.keys.passkey(&passkey.id));
        }
        if let Err(error) = self.shared.query::<()>("passkey_forget", &command).await {
            tracing::debug!(error = %error, "failed to remove the index entries of the passkeys of {}", owner.username);
        }
    }
}
