//! Accounts: who may log in.
//!
//! Setup creates `admin`, once in the life of the installation; every other one begins with an invitation
//! (`invitations.rs`), or with the first login of a user of the identity provider (`provider_accounts.rs`).
//!
//! An account is a hash under its name. Version 0.2 knew only `admin` and wrote only its password: an account without a role may do
//! everything, and one without an id is the admin's. `admin` stays, since setup, `BANGUI_ADMIN_PASSWORD` and version 0.2 take it for
//! the installation itself; it can be disabled and get another role.
//!
//! A change of what an account may do, and its end, is one step with the end of its sessions and of its tokens for programs
//! (`revoke.lua`), which also refuses to take the last account away that may do everything.
//!
//! Where replicas must confirm (`BANGUI_REDIS_MIN_REPLICAS`), a new account and a new password carry a mark until they have.
//! A worker that reads an account with that mark first obtains the confirmation, so that nothing that a failover may still undo is
//! used for a login or reported as complete: the worker that wrote it may have answered 503, or may have been killed.

use std::sync::PoisonError;

use super::account_fields::{Account, AccountStanding, FIELDS, Fields, UNCONFIRMED, parse_id};
use super::account_id::{AccountId, Owner};
use super::near_cache::{Ended, Revocation};
use super::username::Username;
use crate::store::{AuditRecord, Page, Result, SessionId, Store, hex, random, scripts};

/// For how long a setup code is valid.
const SETUP_CODE_SECONDS: u32 = 86_400;

/// The outcome of a change of what an account may do, or of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountChanged {
    /// It is made, and holds on every worker.
    Done,
    /// The account was changed in between, or is gone, and this change was not made.
    Overtaken,
    /// It was not made: nobody else may do everything.
    LastAdmin,
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
            .key(self.keys.generation(AccountId::ADMIN))
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
    pub(super) fn mark(&self) -> Result<String> {
        Ok(if self.shared.confirms() { hex(&random::<16>()?) } else { String::new() })
    }

    /// Clears this mark. Call this once the replicas have confirmed the write that carries it.
    pub(super) async fn clear_mark(&self, username: &Username, mark: &str) {
        if mark.is_empty() {
            return;
        }
        let call = scripts::ACCOUNT_CONFIRM.call().key(self.keys.account(username)).arg(mark).arg("done");
        if let Err(error) = self.shared.call::<()>(&call).await {
            tracing::debug!(error = %error, "failed to mark an account as confirmed by the replicas: the next login retries");
        }
    }

    /// Has the replicas confirm what carries this mark.
    async fn confirm_account(&self, username: &Username, mark: &str) -> Result<()> {
        let call = scripts::ACCOUNT_CONFIRM.call().key(self.keys.account(username)).arg(mark).arg("again");
        self.shared.call_confirmed::<()>(&call).await?;
        self.clear_mark(username, mark).await;
        Ok(())
    }

    /// The account of that name, if there is one. Fails with [`crate::store::StoreError::Unconfirmed`] if the replicas still do not
    /// confirm an earlier change of the account.
    ///
    /// Any name but `admin` takes two round trips, whether there is such an account or not.
    pub async fn account(&self, username: &Username) -> Result<Option<Account>> {
        let mut id = AccountId::ADMIN;
        if username.as_str() != Username::ADMIN {
            let command = redis::cmd("HGET").arg(self.keys.account(username)).arg("id").to_owned();
            let read: Option<String> = self.shared.query("account_id", &command).await?;
            // An id that no account has, where there is none: for the second round trip.
            id = read.map_or_else(AccountId::fresh, |text| parse_id(&text))?;
        }
        // The generations first: if the password changes between the reads, the login finds that its generation
        // is an old one, and never the other way round.
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(self.keys.generation(id)).cmd("GET").arg(self.keys.token_generation(id));
        pipeline.cmd("HMGET").arg(self.keys.account(username)).arg(&FIELDS);
        type Answer = (Option<u64>, Option<u64>, Vec<Option<String>>);
        let (generation, token_generation, fields): Answer =
            self.shared.pipeline("account", &pipeline).await?;
        let fields = Fields(fields);
        if let Some(mark) = fields.get(UNCONFIRMED).filter(|_| self.shared.confirms()) {
            self.confirm_account(username, mark).await?;
        }
        let account = fields.account(username, generation, token_generation)?;
        // Deleted between the two round trips, and perhaps created again: its generation was not read.
        Ok(account.filter(|account| account.owner.id == id))
    }

    /// Accounts by name, after this one, without their generations.
    pub async fn accounts(&self, after: Option<&Username>, limit: usize) -> Result<Page<Account>> {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({}", after.as_str()));
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(self.keys.accounts()).arg(from).arg("+").arg("LIMIT").arg(0).arg(limit + 1);
        let mut names: Vec<String> = self.shared.query_apart("accounts", &command).await?;
        if names.is_empty() && after.is_none() {
            // Nobody was ever invited.
            names.push(Username::ADMIN.to_owned());
        }
        let more = names.len() > limit;
        names.truncate(limit);
        let names: Vec<Username> = names.iter().filter_map(|name| Username::parse(name).ok()).collect();
        let next_cursor = names.last().filter(|_| more).map(|name| name.as_str().to_owned());
        let mut pipeline = redis::pipe();
        for name in &names {
            pipeline.cmd("HMGET").arg(self.keys.account(name)).arg(&FIELDS);
        }
        let read: Vec<Vec<Option<String>>> = if names.is_empty() {
            Vec::new()
        } else {
            self.shared.pipeline_apart("accounts", &pipeline).await?
        };
        let read = names.iter().zip(read).map(|(name, fields)| Fields(fields).account(name, None, None));
        let items = read.filter_map(Result::transpose).collect::<Result<_>>()?;
        Ok(Page { items, next_cursor })
    }

    /// Gives an account another access, or disables it, if what it may do is still what was read. Its sessions and its tokens for
    /// programs end.
    pub async fn change_account(
        &self,
        account: &Account,
        after: &AccountStanding,
        audit: &AuditRecord,
    ) -> Result<AccountChanged> {
        let mark = self.mark()?;
        let change = Revocation::Access { before: &account.standing, after, mark: &mark };
        let changed = self.end_with_tokens(&account.owner, change, audit).await?;
        self.clear_mark(&account.owner.username, &mark).await;
        Ok(changed)
    }

    /// Deletes an account, if what it may do is still what was read, with its sessions and its tokens for programs.
    pub async fn delete_account(&self, account: &Account, audit: &AuditRecord) -> Result<AccountChanged> {
        let end = Revocation::Account { before: &account.standing };
        let deleted = self.end_with_tokens(&account.owner, end, audit).await?;
        if deleted == AccountChanged::Done {
            self.forget_provider_account(account).await;
            self.forget_passkeys(&account.owner, &account.factors.passkeys).await;
        }
        Ok(deleted)
    }

    async fn end_with_tokens(
        &self,
        owner: &Owner,
        revocation: Revocation<'_>,
        audit: &AuditRecord,
    ) -> Result<AccountChanged> {
        let tokens = self.keys.api_tokens(&owner.username);
        let command = redis::cmd("SMEMBERS").arg(&tokens).to_owned();
        let tokens: Vec<Vec<u8>> = self.shared.query("api_token_index", &command).await?;
        let ended = self.revoke(owner, revocation, audit).await?;
        if matches!(ended, Ended::Done | Ended::AllButOne) {
            self.remove_dead_tokens(tokens).await;
        }
        Ok(match ended {
            Ended::Done | Ended::AllButOne => AccountChanged::Done,
            Ended::Nothing => AccountChanged::Overtaken,
            Ended::LastAdmin => AccountChanged::LastAdmin,
        })
    }

    /// Replaces the password if it is still the one that was `verified`, and ends every session but that of `renewal`, which
    /// continues under another token.
    pub async fn change_password(
        &self,
        verified: &Account,
        new_hash: &str,
        renewal: Option<(&SessionId, &SessionId)>,
        audit: &AuditRecord,
    ) -> Result<PasswordSet> {
        let ended =
            self.set_password(&verified.owner, &verified.stored_hash, new_hash, renewal, audit).await?;
        Ok(match ended {
            Ended::Nothing | Ended::LastAdmin => PasswordSet::Overtaken,
            Ended::AllButOne => PasswordSet::Renewed,
            Ended::Done => PasswordSet::Set,
        })
    }

    async fn set_password(
        &self,
        owner: &Owner,
        verified: &str,
        new: &str,
        renewal: Option<(&SessionId, &SessionId)>,
        audit: &AuditRecord,
    ) -> Result<Ended> {
        let mark = self.mark()?;
        let password = Revocation::Password { verified, new, mark: &mark, renewal };
        let ended = self.revoke(owner, password, audit).await?;
        self.clear_mark(&owner.username, &mark).await;
        Ok(ended)
    }

    /// Sets the password of this account whatever it was, and ends all its sessions; creates the admin's account if need be. `false` if
    /// there is no such account any more.
    pub async fn reset_password(&self, owner: &Owner, new_hash: &str, audit: &AuditRecord) -> Result<bool> {
        Ok(self.set_password(owner, "", new_hash, None, audit).await? != Ended::Nothing)
    }
}
