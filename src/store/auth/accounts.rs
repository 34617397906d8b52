//! Accounts: who may log in. There is one so far, `admin`, which setup creates once in the life of the installation.
//!
//! Where replicas must confirm (`BANGUI_REDIS_MIN_REPLICAS`), a new account and a new password carry a mark until they have.
//! A worker that reads an account with that mark first obtains the confirmation, so that nothing that a failover may still undo is
//! used for a login or reported as complete: the worker that wrote it may have answered 503, or may have been killed.

use std::sync::PoisonError;

use super::near_cache::{Ended, Revocation};
use super::username::Username;
use crate::domain::access::Access;
use crate::store::{AuditRecord, Result, SessionId, Store, hex, random, scripts};

/// For how long a setup code is valid.
const SETUP_CODE_SECONDS: u32 = 86_400;

/// What a login is checked against.
#[derive(Clone)]
pub struct Account {
    /// The password's argon2id hash in PHC form.
    pub password_hash: String,
    /// What a session of it may do.
    pub access: Access,
    /// Counts revocations of all sessions: a session of an older generation has ended.
    pub generation: u64,
}

/// The outcome of changing a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordSet {
    /// It is set, and the session that asked continues under its new token.
    Renewed,
    /// It is set, and the session that asked had ended.
    Set,
    /// Another one was set in between, and this one was not.
    Overtaken,
}

impl Store {
    /// Whether setup was done.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn setup_complete(&self) -> Result<bool> {
        Ok(self.account(&Username::admin()).await?.is_some())
    }

    /// The cluster's one-time setup code: `fresh`, unless another worker stored one within the last day. `None` after setup. A
    /// code that this worker has not logged yet is logged, whatever the reason for the call: the one before has expired, or
    /// Redis has lost it.
    pub async fn setup_code(&self, fresh: &str) -> Result<Option<String>> {
        let call = scripts::SETUP_CODE
            .call()
            .key(self.keys.account(&Username::admin()))
            .key(self.keys.setup_code())
            .arg(fresh)
            .arg(SETUP_CODE_SECONDS);
        let code: Option<String> = self.shared.call(&call).await?;
        if let Some(code) = &code {
            let mut logged = self.logged_setup_code.lock().unwrap_or_else(PoisonError::into_inner);
            if logged.as_ref() != Some(code) {
                tracing::warn!(
                    setup.code = code,
                    "nobody can log in yet: open /setup and enter the code of this line, which works once"
                );
                *logged = Some(code.clone());
            }
        }
        Ok(code)
    }

    /// Creates the admin; `false` if there is one already, and nothing changed.
    pub async fn create_admin(&self, password_hash: &str, audit: &AuditRecord) -> Result<bool> {
        let (admin, mark) = (Username::admin(), self.mark()?);
        let call = scripts::ACCOUNT_CREATE
            .call()
            .key(self.keys.account(&admin))
            .key(self.keys.generation(&admin))
            .key(self.keys.setup_code());
        let call = self.with_audit_keys(call, audit.trail).arg(password_hash).arg(&mark);
        let created = self.shared.call_confirmed(&self.with_audit(call, audit)).await?;
        if created {
            audit.log();
            self.clear_mark(&admin, &mark).await;
        } else {
            // Another worker created it, and it may be unconfirmed: reading it obtains the confirmation.
            self.account(&admin).await?;
        }
        Ok(created)
    }

    /// The mark of a change that the replicas must confirm; empty if they are not asked to.
    fn mark(&self) -> Result<String> {
        Ok(if self.shared.confirms() { hex(&random::<16>()?) } else { String::new() })
    }

    /// Clears this mark. Call this once the replicas have confirmed the write that carries it.
    async fn clear_mark(&self, username: &Username, mark: &str) {
        if mark.is_empty() {
            return;
        }
        let call = scripts::ACCOUNT_CONFIRM.call().key(self.keys.account(username)).arg(mark).arg("done");
        if let Err(error) = self.shared.call::<()>(&call).await {
            tracing::debug!(error = %error, "failed to mark an account as confirmed: the next login retries");
        }
    }

    /// Has the replicas confirm what carries this mark.
    async fn confirm_account(&self, username: &Username, mark: &str) -> Result<()> {
        let call = scripts::ACCOUNT_CONFIRM.call().key(self.keys.account(username)).arg(mark).arg("again");
        self.shared.call_confirmed::<()>(&call).await?;
        self.clear_mark(username, mark).await;
        Ok(())
    }

    /// The account, or `None` before setup. Fails with [`crate::store::StoreError::Unconfirmed`] if the replicas still do not confirm
    /// an earlier change of the account.
    pub async fn account(&self, username: &Username) -> Result<Option<Account>> {
        // The generation first: if the password changes between the two reads, the login finds that its generation
        // is an old one, and never the other way round.
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(self.keys.generation(username));
        pipeline.cmd("HMGET").arg(self.keys.account(username)).arg(&["password_hash", "unconfirmed"]);
        type Answer = (Option<u64>, (Option<String>, Option<String>));
        let (generation, (password_hash, mark)): Answer = self.shared.pipeline("account", &pipeline).await?;
        if let Some(mark) = mark.filter(|_| self.shared.confirms()) {
            self.confirm_account(username, &mark).await?;
        }
        Ok(password_hash.map(|password_hash| Account {
            password_hash,
            access: Access::everything(),
            generation: generation.unwrap_or_default(),
        }))
    }

    /// Replaces the password if it is still the one that was `verified`, and ends every session but that of `renewal`, which
    /// continues under another token.
    pub async fn change_password(
        &self,
        username: &Username,
        verified: &Account,
        new_hash: &str,
        renewal: Option<(&SessionId, &SessionId)>,
        audit: &AuditRecord,
    ) -> Result<PasswordSet> {
        let ended =
            self.set_password(username, verified.password_hash.as_str(), new_hash, renewal, audit).await?;
        Ok(match ended {
            Ended::Nothing => PasswordSet::Overtaken,
            Ended::AllButOne => PasswordSet::Renewed,
            Ended::Done => PasswordSet::Set,
        })
    }

    async fn set_password(
        &self,
        username: &Username,
        verified: &str,
        new: &str,
        renewal: Option<(&SessionId, &SessionId)>,
        audit: &AuditRecord,
    ) -> Result<Ended> {
        let mark = self.mark()?;
        let password = Revocation::Password { verified, new, mark: &mark, renewal };
        let ended = self.revoke(username, password, audit).await?;
        self.clear_mark(username, &mark).await;
        Ok(ended)
    }

    /// Sets the admin's password whatever it was, creating the account if need be, and ends all sessions.
    pub async fn reset_password(&self, new_hash: &str, audit: &AuditRecord) -> Result<()> {
        self.set_password(&Username::admin(), "", new_hash, None, audit).await.map(drop)
    }
}
