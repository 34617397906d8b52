//! The keys of accounts, invitations, sessions and tokens for programs (`keys.rs` has the table).

use super::Keys;
use crate::store::auth::account_id::AccountId;
use crate::store::auth::invitations::InvitationId;
use crate::store::auth::provider_sessions::ProviderSession;
use crate::store::auth::provider_user::{ProviderUser, pair};
use crate::store::auth::sessions::token::{Proof, ProofKind};
use crate::store::{Asks, OnceHash, OnceKind, PasskeyId, SessionId, Username};

impl Keys {
    pub(in crate::store) fn account(&self, user: &Username) -> String {
        self.key(&format!("account:{}", user.as_str()))
    }

    /// Counts what ended all sessions of an account.
    pub(in crate::store) fn generation(&self, account: AccountId) -> String {
        [&self.tag, "generation:", account.as_str()].concat()
    }

    /// Counts what ended all tokens for programs of an account.
    pub(in crate::store) fn token_generation(&self, account: AccountId) -> String {
        [&self.tag, "token-generation:", account.as_str()].concat()
    }

    /// What a check compares with the generation of a session or a token for programs.
    pub(in crate::store) fn generation_of(&self, account: AccountId, kind: ProofKind) -> String {
        match kind {
            ProofKind::Session => self.generation(account),
            ProofKind::ApiToken => self.token_generation(account),
        }
    }

    /// The names of all accounts; the admin's may be missing where there is no other.
    pub(in crate::store) fn accounts(&self) -> String {
        self.key("accounts")
    }

    /// The names of all accounts that may do everything, on all servers, except `admin`, whose own key says it.
    pub(in crate::store) fn admins(&self) -> String {
        self.key("admins")
    }

    pub(in crate::store) fn invitation(&self, id: &InvitationId) -> String {
        self.key(&format!("invitation:{id}"))
    }

    pub(in crate::store) fn invitations(&self) -> String {
        self.key("invitations")
    }

    pub(in crate::store) fn api_token(&self, id: &SessionId) -> Vec<u8> {
        let mut key = self.key("api-token:").into_bytes();
        key.extend_from_slice(id.as_bytes());
        key
    }

    /// The tokens for programs of a user.
    pub(in crate::store) fn api_tokens(&self, user: &Username) -> String {
        self.key(&format!("api-tokens:{}", user.as_str()))
    }

    /// A session or a token for programs.
    pub(in crate::store) fn proof(&self, proof: &Proof) -> Vec<u8> {
        match proof.kind {
            ProofKind::Session => self.session(&proof.id),
            ProofKind::ApiToken => self.api_token(&proof.id),
        }
    }

    /// What is kept until it is used once.
    pub(in crate::store) fn once(&self, kind: OnceKind, hash: &OnceHash) -> String {
        self.key(&format!("once:{}:{}", kind.as_str(), hash.digits()))
    }

    /// Who sets up a factor: a session, or a login that waits for that.
    pub(in crate::store) fn asks(&self, asks: Asks<'_>) -> Vec<u8> {
        match asks {
            Asks::Session(id) => self.session(id),
            Asks::Login(hash, _) => self.once(OnceKind::Login, hash).into_bytes(),
        }
    }

    /// The account of a provider's user.
    pub(in crate::store) fn provider_account(&self, user: &ProviderUser) -> String {
        self.key(&format!("provider-account:{}", user.digits()))
    }

    /// The sessions here of a session at a provider.
    pub(in crate::store) fn provider_sessions(&self, named: &ProviderSession) -> String {
        self.key(&format!("provider-sessions:{}", named.digits()))
    }

    /// There for a while after a session, or everything of a user, has ended at a provider.
    pub(in crate::store) fn provider_logout(&self, ended: &ProviderSession) -> String {
        self.key(&format!("provider-logout:{}", ended.digits()))
    }

    /// There once a token with which a provider ends sessions was used.
    pub(in crate::store) fn provider_logout_token(&self, issuer: &str, id: &str) -> String {
        self.key(&format!("provider-logout-token:{}", pair(issuer, id)))
    }

    /// The name of the account whose passkey this is.
    pub(in crate::store) fn passkey(&self, id: &PasskeyId) -> String {
        self.key(&format!("passkey:{}", id.as_str()))
    }

    /// The key has the digest in raw form: 32 bytes instead of 43 for each of many sessions.
    pub(in crate::store) fn session(&self, id: &SessionId) -> Vec<u8> {
        let mut key = self.key("session:").into_bytes();
        key.extend_from_slice(id.as_bytes());
        key
    }

    /// There while the session may make sensitive changes.
    pub(in crate::store) fn confirmed(&self, id: &SessionId) -> Vec<u8> {
        let mut key = self.key("confirmed:").into_bytes();
        key.extend_from_slice(id.as_bytes());
        key
    }

    pub(in crate::store) fn sessions(&self, user: &Username) -> String {
        self.key(&format!("sessions:{}", user.as_str()))
    }
}
