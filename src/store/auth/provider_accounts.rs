//! Accounts of users whom an identity provider has authenticated (single sign-on).
//!
//! Such an account is found by issuer and subject, never by its name or an e-mail address: those change hands. The key of that pair holds
//! the account's id and name; it may outlive the account, so the account must have the same pair. Its name is given at the first login,
//! and stays.
//!
//! It has a hash that no password matches ([`crate::password::gate::NOBODY`]): a version that knows of no provider sees an account with
//! a wrong password. `provider_account_create.lua` creates it, once, for the worker that asks first; a name that another account has is
//! never taken over.

use super::account_fields::{Account, servers_text};
use super::account_id::AccountId;
use super::provider_user::ProviderUser;
use super::username::Username;
use crate::domain::access::Access;
use crate::store::{AuditRecord, Result, Store, scripts};

/// An account to be created.
pub struct NewProviderAccount<'a> {
    /// Whose.
    pub user: &'a ProviderUser,
    /// Its name.
    pub username: &'a Username,
    /// What it may do.
    pub access: &'a Access,
    /// A hash that no password matches.
    pub unmatched_hash: &'a str,
}

/// The outcome of creating an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderAccountCreated {
    /// It is created.
    Done,
    /// There is one by now: read it.
    Overtaken,
    /// Another account has the name.
    NameTaken,
}

/// What the key of a pair holds.
fn place(id: AccountId, username: &Username) -> String {
    format!("{}/{username}", id.as_str())
}

impl Store {
    /// The account of a provider's user.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn provider_account(&self, user: &ProviderUser) -> Result<Option<Account>> {
        let (_, account) = self.read_provider_account(user).await?;
        Ok(account)
    }

    /// What the key of the pair holds, and the account.
    async fn read_provider_account(&self, user: &ProviderUser) -> Result<(String, Option<Account>)> {
        let command = redis::cmd("GET").arg(self.keys.provider_account(user)).to_owned();
        let held: Option<String> = self.shared.query("provider_account", &command).await?;
        let held = held.unwrap_or_default();
        let named = held
            .split_once('/')
            .and_then(|(id, name)| Some((AccountId::parse(id)?, Username::parse(name).ok()?)));
        let Some((id, username)) = named else { return Ok((held, None)) };
        let account = self.account(&username).await?;
        let same = |account: &Account| account.owner.id == id && account.provider.as_ref() == Some(user);
        Ok((held, account.filter(same)))
    }

    /// Creates the account of a provider's user.
    pub async fn create_provider_account(
        &self,
        new: NewProviderAccount<'_>,
        audit: &AuditRecord,
    ) -> Result<ProviderAccountCreated> {
        let mark = self.mark()?;
        loop {
            let (held, account) = self.read_provider_account(new.user).await?;
            if account.is_some() {
                return Ok(ProviderAccountCreated::Overtaken);
            }
            let id = AccountId::fresh()?;
            let call = scripts::PROVIDER_ACCOUNT_CREATE
                .call()
                .key(self.keys.provider_account(new.user))
                .key(self.keys.account(new.username))
                .key(self.keys.generation(id))
                .key(self.keys.token_generation(id))
                .key(self.keys.accounts())
                .key(self.keys.admins());
            let call = self
                .with_audit_keys(call, audit.trail)
                .arg(held)
                .arg(place(id, new.username))
                .arg(new.unmatched_hash)
                .arg(id.as_str())
                .arg(&mark)
                .arg(new.username.as_str())
                .arg(new.access.role.as_str())
                .arg(servers_text(&new.access.servers))
                .arg(&new.user.issuer)
                .arg(&new.user.subject);
            let created: i64 = self.shared.call_confirmed(&self.with_audit(call, audit)).await?;
            return Ok(match created {
                1 => {
                    audit.log();
                    self.clear_mark(new.username, &mark).await;
                    ProviderAccountCreated::Done
                }
                -1 => ProviderAccountCreated::NameTaken,
                // Of 47 random bits: one account in many millions meets another.
                -3 => continue,
                _ => ProviderAccountCreated::Overtaken,
            });
        }
    }

    /// Forgets the key of an account that was deleted, unless it is that of another one by now.
    pub(super) async fn forget_provider_account(&self, account: &Account) {
        let Some(user) = &account.provider else { return };
        let held = place(account.owner.id, &account.owner.username);
        let call = scripts::LOCK_RELEASE.call().key(self.keys.provider_account(user)).arg(held);
        if let Err(error) = self.shared.call::<()>(&call).await {
            tracing::debug!(error = %error, "failed to remove the index entry of a deleted account of the provider: that user's next login replaces it");
        }
    }
}
