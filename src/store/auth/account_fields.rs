//! An account: what its hash holds, and how it is read.

use super::account_id::{AccountId, Owner};
use super::provider_user::ProviderUser;
use super::username::Username;
use crate::domain::Timestamp;
use crate::domain::access::{Access, Role, ServerPattern};
use crate::store::connection::clock::moment;
use crate::store::{Result, StoreError};

/// What a login is checked against.
#[derive(Clone)]
pub struct Account {
    /// Which account it is.
    pub owner: Owner,
    /// The password's argon2id hash in PHC form.
    pub password_hash: String,
    /// What it may do, and whether it may do anything.
    pub standing: AccountStanding,
    /// Counts revocations of all sessions: a session of an older generation has ended.
    pub generation: u64,
    /// Counts revocations of all tokens for programs.
    pub token_generation: u64,
    /// When it was created; none if version 0.2 did it.
    pub created_at: Option<Timestamp>,
    /// Who invited its user; none for the admin.
    pub created_by: Option<String>,
    /// The user of a provider whose account it is: then it has no password.
    pub provider: Option<ProviderUser>,
}

impl Account {
    /// The hash that a password is checked against; none if it has no password, which costs as much to find out.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        self.provider.is_none().then_some(self.password_hash.as_str())
    }
}

/// What an account may do, and whether it may do anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountStanding {
    /// What a session of it may do.
    pub access: Access,
    /// Whether it is disabled: it has no sessions and cannot log in.
    pub disabled: bool,
}

impl AccountStanding {
    /// Role, servers and disabling, as the account's hash has them.
    pub(super) fn fields(&self) -> [String; 3] {
        let disabled = if self.disabled { "1" } else { "" };
        [self.access.role.as_str().to_owned(), servers_text(&self.access.servers), disabled.to_owned()]
    }

    /// Whether it may do everything, on all servers.
    #[must_use]
    pub fn may_do_everything(&self) -> bool {
        !self.disabled && self.access.is_everything()
    }

    fn of(
        role: Option<&str>,
        servers: Option<&str>,
        disabled: Option<&str>,
    ) -> std::result::Result<Self, String> {
        let access = access_of(role.unwrap_or(Role::Admin.as_str()), servers.unwrap_or_default())?;
        Ok(Self { access, disabled: disabled.is_some() })
    }
}

/// Patterns as the account's hash has them: no pattern has a comma.
pub(super) fn servers_text(servers: &[ServerPattern]) -> String {
    servers.iter().map(ServerPattern::as_str).collect::<Vec<_>>().join(",")
}

/// Reads a role and servers that were stored.
pub(super) fn access_of(role: &str, servers: &str) -> std::result::Result<Access, String> {
    let role = Role::ALL.into_iter().find(|known| known.as_str() == role);
    let role = role.ok_or_else(|| "its role is one that this version does not know".to_owned())?;
    let servers = servers.split(',').filter(|pattern| !pattern.is_empty()).map(ServerPattern::parse);
    let servers = servers.collect::<std::result::Result<_, _>>().map_err(|error| error.to_string())?;
    Ok(Access { role, servers })
}

/// The fields of an account's hash that are read.
pub(super) const FIELDS: [&str; 10] = [
    "id",
    "password_hash",
    "role",
    "servers",
    "disabled",
    "created_at",
    "created_by",
    "unconfirmed",
    "issuer",
    "subject",
];
/// Where the mark of what the replicas have not confirmed is among them.
pub(super) const UNCONFIRMED: usize = 7;

/// What was read of an account's hash, in the order of [`FIELDS`].
pub(super) struct Fields(pub(super) Vec<Option<String>>);

impl Fields {
    pub(super) fn get(&self, n: usize) -> Option<&str> {
        self.0.get(n)?.as_deref()
    }

    fn provider(&self) -> Option<ProviderUser> {
        Some(ProviderUser { issuer: self.get(8)?.to_owned(), subject: self.get(9)?.to_owned() })
    }

    /// The account with these generations; none where there is none.
    pub(super) fn account(
        &self,
        username: &Username,
        generation: Option<u64>,
        token_generation: Option<u64>,
    ) -> Result<Option<Account>> {
        let Some(password_hash) = self.get(1) else { return Ok(None) };
        let corrupt = |what: String| StoreError::corrupt(format!("the account `{username}`: {what}"));
        Ok(Some(Account {
            owner: Owner {
                username: username.clone(),
                id: self.get(0).map_or(Ok(AccountId::ADMIN), parse_id)?,
            },
            password_hash: password_hash.to_owned(),
            standing: AccountStanding::of(self.get(2), self.get(3), self.get(4)).map_err(corrupt)?,
            generation: generation.unwrap_or_default(),
            token_generation: token_generation.unwrap_or_default(),
            created_at: self.get(5).and_then(|at| Some(moment(at.parse().ok()?))),
            created_by: self.get(6).map(str::to_owned),
            provider: self.provider(),
        }))
    }
}

/// Reads an id that was stored.
pub(super) fn parse_id(text: &str) -> Result<AccountId> {
    AccountId::parse(text).ok_or_else(|| StoreError::corrupt("an account has an id that is none".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_version_0_2_wrote_is_an_admin_of_all_servers() {
        let fields = |fields: [Option<&str>; 10]| Fields(fields.map(|text| text.map(str::to_owned)).to_vec());
        let written = fields([None, Some("hash"), None, None, None, None, None, None, None, None]);
        let account = written.account(&Username::admin(), Some(3), None).unwrap().unwrap();
        assert_eq!(account.owner, Owner::admin());
        assert!(account.standing.may_do_everything());
        assert_eq!((account.generation, account.token_generation), (3, 0));
    }

    #[test]
    fn a_standing_is_read_as_it_was_written() {
        let patterns = ["web-*", "db-1"].map(|text| ServerPattern::parse(text).unwrap());
        for servers in [Vec::new(), patterns.to_vec()] {
            for (role, disabled) in [(Role::Viewer, false), (Role::Operator, true), (Role::Admin, false)] {
                let standing =
                    AccountStanding { access: Access { role, servers: servers.clone() }, disabled };
                let [role, servers, disabled] = standing.fields();
                let disabled = Some(disabled.as_str()).filter(|text| !text.is_empty());
                assert_eq!(AccountStanding::of(Some(&role), Some(&servers), disabled).unwrap(), standing);
            }
        }
        assert!(
            AccountStanding::of(Some("owner"), None, None).is_err(),
            "a role of a newer version is not guessed"
        );
    }
}
