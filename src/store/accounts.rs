//! Accounts: who may log in. There is one so far, `admin`.
use super::{Result, SessionId, Store};

/// The name of an account that can exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// The one account there is.
    pub const ADMIN: &str = "admin";

    /// The admin.
    #[must_use]
    pub fn admin() -> Self {
        Self(Self::ADMIN.to_owned())
    }

    /// The account of that name; `None` where none can exist.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text == Self::ADMIN).then(Self::admin)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

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
    pub async fn setup_complete(&self) -> Result<bool> {
        todo!()
    }

    /// The cluster's one-time setup code: `fresh`, unless another worker stored one before. `None` after setup.
    pub async fn setup_code(&self, _fresh: &str) -> Result<Option<String>> {
        todo!()
    }

    /// Creates the admin; `false` if there is one already, and nothing changed.
    pub async fn create_admin(&self, _password_hash: &str) -> Result<bool> {
        todo!()
    }

    /// The account, or `None` before setup.
    pub async fn account(&self, _username: &Username) -> Result<Option<Account>> {
        todo!()
    }

    /// Replaces the password if it is still the one that was `verified`, and ends every session but `keep`;
    /// `false` if the password was changed by another meanwhile.
    pub async fn change_password(
        &self,
        _username: &Username,
        _verified: &Account,
        _new_hash: &str,
        _keep: &SessionId,
    ) -> Result<bool> {
        todo!()
    }

    /// Sets the admin's password whatever it was, creating the account if need be, and ends all sessions.
    pub async fn reset_password(&self, _new_hash: &str) -> Result<()> {
        todo!()
    }
}
