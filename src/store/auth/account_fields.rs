//! An account: what its hash holds, and how it is read.

use super::account_id::{AccountId, Owner};
use super::provider_user::ProviderUser;
use super::stored_passkey::{self, StoredPasskey};
use super::username::Username;
use crate::domain::Timestamp;
use crate::domain::access::{Access, Role, ServerPattern};
use crate::domain::second_factor::AppSecret;
use crate::store::connection::clock::moment;
use crate::store::{Result, StoreError};

/// What a login is checked against.
#[derive(Clone)]
pub struct Account {
    /// Which account it is.
    pub owner: Owner,
    /// The password's argon2id hash in PHC form.
    pub password_hash: String,
    /// The same as it is stored, by which a change of it sees whether another came first.
    pub stored_hash: String,
    /// What its user shows at a login besides the password.
    pub factors: Factors,
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

/// The second factors of an account.
#[derive(Clone, Default)]
pub struct Factors {
    /// The authenticator app.
    pub app: Option<App>,
    /// How many recovery codes are left.
    pub recovery_codes: usize,
    /// Its passkeys.
    pub passkeys: Vec<StoredPasskey>,
    /// The same as they are stored.
    pub(in crate::store) stored_passkeys: String,
}

/// An authenticator app that is set up.
#[derive(Clone)]
pub struct App {
    /// The secret that it shares with the workers.
    pub secret: AppSecret,
    /// When it was set up.
    pub since: Timestamp,
}

impl Factors {
    /// Whether a login needs one.
    #[must_use]
    pub fn any(&self) -> bool {
        self.app.is_some() || !self.passkeys.is_empty()
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
pub(super) const FIELDS: [&str; 14] = [
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
    "factor_app",
    "factor_app_since",
    "factor_recovery",
    "factor_passkeys",
];
/// The place of `unconfirmed`.
pub(super) const UNCONFIRMED: usize = 7;
/// What the stored hash begins with while the account has a second factor (`scripts/factor_set.lua` writes it): a version that knows
/// no second factors takes the rest for no hash, and every password for a wrong one, instead of logging in without the factor.
const WITH_FACTOR: &str = "factor:";

/// What was read of an account's hash, in the order of [`FIELDS`].
pub(super) struct Fields(pub(super) Vec<Option<String>>);

impl Fields {
    pub(super) fn get(&self, n: usize) -> Option<&str> {
        self.0.get(n)?.as_deref()
    }

    fn provider(&self) -> Option<ProviderUser> {
        Some(ProviderUser { issuer: self.get(8)?.to_owned(), subject: self.get(9)?.to_owned() })
    }

    /// What cannot be read is an error, and never an account without a factor.
    fn factors(&self) -> std::result::Result<Factors, String> {
        let app = |text: &str| {
            let secret = AppSecret::parse(text).ok_or("the secret of its authenticator app is not valid")?;
            let since = self.get(11).and_then(|at| at.parse().ok()).map(moment);
            Ok::<_, String>(App { secret, since: since.unwrap_or_default() })
        };
        Ok(Factors {
            app: self.get(10).map(app).transpose()?,
            recovery_codes: self.get(12).map_or(0, |hashes| hashes.split_ascii_whitespace().count()),
            passkeys: stored_passkey::read(self.get(13))?,
            stored_passkeys: self.get(13).unwrap_or_default().to_owned(),
        })
    }

    /// The account with these generations; none where there is none.
    pub(super) fn account(
        &self,
        username: &Username,
        generation: Option<u64>,
        token_generation: Option<u64>,
    ) -> Result<Option<Account>> {
        let Some(stored_hash) = self.get(1) else { return Ok(None) };
        let corrupt = |what: String| StoreError::corrupt(format!("the account `{username}`: {what}"));
        Ok(Some(Account {
            owner: Owner {
                username: username.clone(),
                id: self.get(0).map_or(Ok(AccountId::ADMIN), parse_id)?,
            },
            password_hash: stored_hash.strip_prefix(WITH_FACTOR).unwrap_or(stored_hash).to_owned(),
            stored_hash: stored_hash.to_owned(),
            factors: self.factors().map_err(corrupt)?,
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
    AccountId::parse(text)
        .ok_or_else(|| StoreError::corrupt("an account has an id that is not valid".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_version_0_2_wrote_is_an_admin_of_all_servers() {
        let mut fields = vec![None; FIELDS.len()];
        fields[1] = Some("hash".to_owned());
        let written = Fields(fields);
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

    #[test]
    fn an_account_with_a_factor_has_no_password_for_a_version_that_knows_none_and_an_unreadable_one_is_an_error()
     {
        let phc = crate::password::hash("correct horse").unwrap();
        let stored = format!("{WITH_FACTOR}{phc}");
        assert!(!crate::password::verify("correct horse", &stored));
        let mut fields = vec![None; FIELDS.len()];
        fields[1] = Some(stored);
        let at = |name: &str| FIELDS.iter().position(|field| *field == name).unwrap();
        fields[at("factor_app")] = Some("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned());
        fields[at("factor_app_since")] = Some("5000000".to_owned());
        fields[at("factor_recovery")] = Some("aa bb".to_owned());
        let account = Fields(fields.clone()).account(&Username::admin(), None, None).unwrap().unwrap();
        assert_eq!(account.password_hash, phc);
        assert!(account.factors.any() && account.factors.recovery_codes == 2);
        assert_eq!(account.factors.app.unwrap().since, moment(5_000_000));
        fields[at("factor_app")] = Some("x".to_owned());
        assert!(Fields(fields).account(&Username::admin(), None, None).is_err());
    }
}
