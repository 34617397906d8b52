//! Accounts: who may log in. There is one so far, `admin`, made once in the cluster's life by setup.

use super::near_cache::Revocation;
use super::username::Username;
use crate::store::history::audit;
use crate::store::{AuditRecord, Result, SessionId, Store, scripts};

/// What a login is checked against.
#[derive(Clone)]
pub struct Account {
    /// The password's argon2id hash in PHC form.
    pub password_hash: String,
    /// Counts revocations of all sessions: a session of an older generation is dead.
    pub generation: u64,
}

impl Store {
    /// Whether setup was done.
    ///
    /// # Errors
    /// As [`crate::store::StoreError`] tells, here and below.
    pub async fn setup_complete(&self) -> Result<bool> {
        let command = redis::cmd("EXISTS").arg(self.keys.account(&Username::admin())).to_owned();
        self.shared.query("setup_complete", &command).await
    }

    /// The cluster's one-time setup code: `fresh`, unless another worker stored one before. `None` after setup.
    pub async fn setup_code(&self, fresh: &str) -> Result<Option<String>> {
        let call = scripts::SETUP_CODE
            .call()
            .key(self.keys.account(&Username::admin()))
            .key(self.keys.setup_code())
            .arg(fresh);
        self.shared.call(&call).await
    }

    /// Creates the admin; `false` if there is one already, and nothing changed.
    pub async fn create_admin(&self, password_hash: &str, audit: &AuditRecord) -> Result<bool> {
        let admin = Username::admin();
        let call = scripts::ACCOUNT_CREATE
            .call()
            .key(self.keys.account(&admin))
            .key(self.keys.generation(&admin))
            .key(self.keys.setup_code())
            .key(self.keys.audit())
            .arg(password_hash)
            .arg(audit::KEPT);
        self.shared.call(&audit.append_to(call)).await
    }

    /// The account, or `None` before setup.
    pub async fn account(&self, username: &Username) -> Result<Option<Account>> {
        // The generation first: if the password changes between the two reads, the login finds that its generation
        // is an old one, and never the other way round.
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(self.keys.generation(username));
        pipeline.cmd("HGET").arg(self.keys.account(username)).arg("password_hash");
        let (generation, password_hash): (Option<u64>, Option<String>) =
            self.shared.pipeline("account", &pipeline).await?;
        Ok(password_hash
            .map(|password_hash| Account { password_hash, generation: generation.unwrap_or_default() }))
    }

    /// Replaces the password if it is still the one that was `verified`, and ends every session but `keep`;
    /// `false` if the password was changed by another meanwhile.
    pub async fn change_password(
        &self,
        username: &Username,
        verified: &Account,
        new_hash: &str,
        keep: Option<&SessionId>,
        audit: &AuditRecord,
    ) -> Result<bool> {
        let verified = verified.password_hash.as_str();
        self.revoke(username, Revocation::Password { verified, new: new_hash, keep }, audit).await
    }

    /// Sets the admin's password whatever it was, creating the account if need be, and ends all sessions.
    pub async fn reset_password(&self, new_hash: &str, audit: &AuditRecord) -> Result<()> {
        let revocation = Revocation::Password { verified: "", new: new_hash, keep: None };
        self.revoke(&Username::admin(), revocation, audit).await.map(drop)
    }
}
