//! Which sessions belong to which session at an identity provider, so that a logout there ends them here (back-channel logout).
//!
//! A session is noted after it has begun and before anybody gets its token. A logout leaves a mark for the time that a login may take, and
//! then ends what is noted; the note is refused where there is such a mark. So either the note sees the mark, or the logout sees
//! the note, whichever workers they are at: a login in flight does not outlive the logout.

use std::time::Duration;

use super::account_id::{AccountId, Owner};
use super::provider_user::{ProviderUser, pair};
use super::username::Username;
use crate::domain::Timestamp;
use crate::store::connection::clock::millis;
use crate::store::{Result, SessionId, Store, scripts};

/// How long a logout is remembered for logins in flight: longer than a code, a token and a login are valid.
const LOGOUT_KEPT: Duration = Duration::from_secs(1800);
/// The most sessions here of one session there. A browser replaces its own.
const MAX_SESSIONS: usize = 200;

/// What ended at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderSession {
    /// A session.
    Sid {
        /// The provider's issuer.
        issuer: String,
        /// The session's id there.
        sid: String,
    },
    /// Everything of a user.
    User(ProviderUser),
}

impl ProviderSession {
    pub(in crate::store) fn digits(&self) -> String {
        match self {
            Self::Sid { issuer, sid } => format!("sid:{}", pair(issuer, sid)),
            Self::User(user) => format!("sub:{}", user.digits()),
        }
    }
}

/// A session that was noted, and whose it is.
pub type NotedSession = (Owner, SessionId);

fn member(owner: &Owner, session: &SessionId) -> String {
    format!("{}/{}/{session}", owner.id.as_str(), owner.username)
}

fn noted(member: &str) -> Option<NotedSession> {
    let (id, rest) = member.split_once('/')?;
    let (username, session) = rest.split_once('/')?;
    let owner = Owner { username: Username::parse(username).ok()?, id: AccountId::parse(id)? };
    Some((owner, SessionId::parse(session)?))
}

impl Store {
    /// Notes that a session began with a token of the provider's that was issued then. `false` if what it rests on has ended there.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn note_provider_session(
        &self,
        (owner, session): (&Owner, &SessionId),
        user: &ProviderUser,
        sid: Option<&str>,
        issued_at: Timestamp,
        life: Duration,
    ) -> Result<bool> {
        let whole = ProviderSession::User(user.clone());
        let one = sid.map(|sid| ProviderSession::Sid { issuer: user.issuer.clone(), sid: sid.to_owned() });
        let named = one.as_ref().unwrap_or(&whole);
        let call = scripts::PROVIDER_SESSION_NOTE
            .call()
            .key(self.keys.provider_sessions(named))
            .key(self.keys.provider_logout(named))
            .key(self.keys.provider_logout(&whole))
            .arg(member(owner, session))
            .arg(millis(life))
            .arg(MAX_SESSIONS)
            .arg(issued_at.timestamp())
            .arg(if one.is_some() { "1" } else { "" });
        self.shared.call_confirmed(&call).await
    }

    /// Leaves the mark of a logout, and returns the sessions that are noted.
    pub async fn mark_provider_logout(
        &self,
        ended: &ProviderSession,
        issued_at: Timestamp,
    ) -> Result<Vec<NotedSession>> {
        let call = scripts::PROVIDER_LOGOUT
            .call()
            .key(self.keys.provider_sessions(ended))
            .key(self.keys.provider_logout(ended))
            .arg(issued_at.timestamp())
            .arg(millis(LOGOUT_KEPT));
        let members: Vec<String> = self.shared.call_confirmed(&call).await?;
        Ok(members.iter().filter_map(|member| noted(member)).collect())
    }

    /// The sessions of a user whose token named no session there.
    pub async fn sessions_of_no_sid(&self, user: &ProviderUser) -> Result<Vec<NotedSession>> {
        let key = self.keys.provider_sessions(&ProviderSession::User(user.clone()));
        let command = redis::cmd("SMEMBERS").arg(key).to_owned();
        let members: Vec<String> = self.shared.query("provider_sessions", &command).await?;
        Ok(members.iter().filter_map(|member| noted(member)).collect())
    }

    /// Whether a token with which a provider ends sessions was used before.
    pub async fn logout_token_is_used(&self, issuer: &str, id: &str) -> Result<bool> {
        let command = redis::cmd("EXISTS").arg(self.keys.provider_logout_token(issuer, id)).to_owned();
        self.shared.query("logout_token_used", &command).await
    }

    /// Remembers that it was.
    pub async fn remember_logout_token(&self, issuer: &str, id: &str, life: Duration) -> Result<()> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys.provider_logout_token(issuer, id)).arg("").arg("PX").arg(millis(life));
        self.shared.query("logout_token_remember", &command).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SessionToken;

    #[test]
    fn a_noted_session_is_read_as_it_was_written() {
        let owner =
            Owner { username: Username::parse("anna.b").unwrap(), id: AccountId::parse("Anna0001").unwrap() };
        let session = SessionToken::fresh(owner.id).unwrap().id();
        assert_eq!(noted(&member(&owner, &session)), Some((owner, session)));
        for other in ["", "a", "a/b", "a/b/c", "Anna0001/Anna/x"] {
            assert_eq!(noted(other), None, "{other}");
        }
    }
}
