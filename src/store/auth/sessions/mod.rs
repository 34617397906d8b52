//! Sessions: who is logged in, on every worker.
//!
//! A token is 256 random bits; Redis holds only its SHA-256, so that a copy of Redis cannot log in. A session is one
//! key, whose time to live is its idle timeout, cut at its absolute end. It carries its user's *generation*: revoking
//! all sessions raises the user's, and every older session has ended at once, however many there are, a login in flight
//! included. A check is therefore one `MGET` of the session and the generation, and nothing else (`checks.rs`): a token names the
//! account whose generation that is, and the session must agree.
//!
//! No session is ever written as a whole after it was begun: scripts patch its header in place, and none of them
//! recreates a session that is gone. So a logout cannot be undone by a slower request.

pub mod api_grant;
pub(in crate::store) mod checks;
mod confirmation;
pub(in crate::store) mod document;
pub(in crate::store) mod list;
pub(in crate::store) mod record;
pub mod token;
pub(in crate::store) mod user_agents;

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};

use self::document::Document;
use self::record::{Kept, LiveSession, Record, SessionLife};
use self::token::Proof;
use super::account_id::Owner;
use super::near_cache::{Ended, Revocation};
use crate::domain::access::Access;
use crate::store::connection::clock::{micros, millis};
use crate::store::{AuditRecord, Result, SessionId, SessionToken, Store, scripts};

/// A session with the text of its user agent, for showing.
#[derive(Debug, Clone)]
pub struct SessionDetails {
    /// The session.
    pub session: LiveSession,
    /// The `User-Agent` that logged in, at most 256 bytes of it.
    pub user_agent: String,
    /// Why only its id and its last use could be read; `None` if all of it could.
    pub error: Option<String>,
}

/// The answer to a check.
#[derive(Debug)]
pub struct Checked {
    /// The session, if it is alive.
    pub session: Option<LiveSession>,
    /// Whether this worker's near cache knew it.
    pub near: bool,
}

/// Where a login comes from.
#[derive(Debug, Clone)]
pub struct LoginOrigin {
    /// The client's address.
    pub ip: IpAddr,
    /// Its `User-Agent`.
    pub user_agent: String,
}

impl Store {
    /// Begins a session with the entry that `audit` makes of it, unless the user's generation is no longer `generation` (all sessions
    /// were revoked, or the password was changed, after the account was read), or the account has a second factor and none was shown:
    /// then `None`, and the caller reads the account again.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn begin_session(
        &self,
        (owner, access): (&Owner, &Access),
        generation: u64,
        origin: &LoginOrigin,
        life: SessionLife,
        audit: impl FnOnce(&SessionDetails) -> AuditRecord,
    ) -> Result<Option<(SessionToken, SessionDetails)>> {
        self.begin_session_with((owner, access), (generation, None), origin, life, audit).await
    }

    /// The same for a login that has shown this second factor, if any.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn begin_session_with(
        &self,
        (owner, access): (&Owner, &Access),
        (generation, factor): (u64, Option<&str>),
        origin: &LoginOrigin,
        life: SessionLife,
        audit: impl FnOnce(&SessionDetails) -> AuditRecord,
    ) -> Result<Option<(SessionToken, SessionDetails)>> {
        let (username, token) = (&owner.username, SessionToken::fresh(owner.id)?);
        let id = token.id();
        let now = self.shared.clock.now_micros();
        let user_agent = truncated(&origin.user_agent).to_owned();
        let record = Record {
            seen: now,
            generation,
            document: Document {
                username: username.as_str().to_owned(),
                created: now,
                expires: now.saturating_add(micros(life.absolute)),
                ip: origin.ip,
                agent: digest_of(&user_agent),
                role: access.role,
                servers: access.servers.clone(),
                account: owner.id,
                api_token: None,
            },
        };
        let details = SessionDetails { session: record.session(id, life)?, user_agent, error: None };
        let call = scripts::SESSION_BEGIN
            .call()
            .key(self.keys.session(&id))
            .key(self.keys.sessions(username))
            .key(self.keys.generation(owner.id))
            .key(self.keys.user_agent(record.document.agent))
            .key(self.keys.account(username));
        let audit = audit(&details);
        let call = self
            .with_audit_keys(call, audit.trail)
            .arg(generation)
            .arg(record.encode()?)
            .arg(millis(life.idle))
            .arg(record.document.expires / 1000)
            .arg(&id.as_bytes()[..])
            .arg(&details.user_agent)
            .arg(millis(life.absolute))
            .arg(factor.unwrap_or_default());
        let begun: bool = self.shared.call(&self.with_audit(call, &audit)).await?;
        if !begun {
            return Ok(None);
        }
        audit.log();
        if let Err(error) = self.prune_index(username).await {
            tracing::debug!(error = %error, "failed to prune the session index: the next login retries");
        }
        self.user_agents.keep(record.document.agent, &details.user_agent);
        Ok(Some((token, details)))
    }

    /// Whether the session is alive: from the near cache if that may answer, else one read, shared with every check made at the
    /// same moment. Touches it when the last touch is old enough.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`]; a session that has ended is `None`, not an error.
    pub async fn check_session(&self, token: &SessionToken, life: SessionLife) -> Result<Checked> {
        // Before the near cache too: its lease may have been granted by a primary that was superseded.
        self.shared.dialer.trusted()?;
        let (id, account, kind) = (token.id(), token.account(), token.kind());
        let now = self.shared.clock.now_micros();
        if let Some(session) = self.near_cache.get(&id).and_then(|kept| kept.session(id, life, now)) {
            return Ok(Checked { session: Some(session?), near: true });
        }
        // On the heap, so that every handler's future, which is moved more than once, is small where the near cache answers.
        let session = Box::pin(self.read_session(Proof { id, account, kind }, life)).await?;
        Ok(Checked { session, near: false })
    }

    /// Whether a session that was checked is still alive. This does not touch it: a client that only watches is idle.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn session_lives(&self, proof: &Proof, life: SessionLife) -> Result<bool> {
        let record = self.checks.ask(*proof).await?;
        let now = self.shared.clock.now_micros();
        Ok(record.is_some_and(|kept| !kept.record().is_over(now, life)))
    }

    /// What only some checks do is on the heap, so that the others are small.
    async fn read_session(&self, proof: Proof, life: SessionLife) -> Result<Option<LiveSession>> {
        let mark = self.near_cache.mark();
        let (kept, left) = match &mark {
            None => (self.checks.ask(proof).await?, Duration::ZERO),
            Some((_, incarnation)) => Box::pin(self.read_with_life(&proof, incarnation)).await?,
        };
        let Some(kept) = kept else { return Ok(None) };
        let now = self.shared.clock.now_micros();
        let record = kept.record();
        if record.is_over(now, life) {
            return Ok(None);
        }
        let session = kept.live(proof.id, life)?;
        if now - record.seen >= micros(record.touch_every(life)) {
            // What was read is no longer what is stored, so the next request fills.
            Box::pin(self.touch_session(&proof, record, life)).await;
        } else if let Some((mark, _)) = mark {
            self.near_cache.fill(mark, proof.id, kept, left);
        }
        Ok(Some(session))
    }

    /// The session, if it is alive, and how long it lives without a touch: none if this is not the Redis of this incarnation.
    async fn read_with_life(&self, proof: &Proof, incarnation: &str) -> Result<(Option<Kept>, Duration)> {
        let call = scripts::SESSION_READ
            .call()
            .key(self.keys.generation_of(proof.account, proof.kind))
            .key(self.keys.proof(proof))
            .arg(incarnation);
        let (generation, value, left): (Option<u64>, Option<Vec<u8>>, i64) = self.shared.call(&call).await?;
        let record = value.map(|value| Record::decode(&value)).transpose()?;
        let alive = record.filter(|record| record.is_alive(proof, generation));
        Ok((alive.map(Kept::new), Duration::from_millis(u64::try_from(left).unwrap_or(0))))
    }

    /// The session was checked already: a touch that fails makes it expire a little earlier at worst, so it is not an error.
    async fn touch_session(&self, proof: &Proof, record: &Record, life: SessionLife) {
        let call = scripts::SESSION_TOUCH
            .call()
            .key(self.keys.proof(proof))
            .arg(millis(record.idle(life)))
            .arg(record.expires(life) / 1000)
            .arg(micros(record.touch_every(life)));
        if let Err(error) = self.shared.call::<()>(&call).await {
            tracing::debug!(error = %error, "failed to extend a session");
        }
    }

    /// Ends a session of this user; `false` if there is no such session of this user.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn end_session(&self, owner: &Owner, id: &SessionId, audit: &AuditRecord) -> Result<bool> {
        Ok(self.revoke(owner, Revocation::One(id), audit).await? != Ended::Nothing)
    }

    /// Ends a session that was just checked, even if the index has lost it.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn end_checked_session(
        &self,
        owner: &Owner,
        id: &SessionId,
        audit: &AuditRecord,
    ) -> Result<()> {
        self.revoke(owner, Revocation::Known(id), audit).await.map(drop)
    }

    /// Ends all sessions of this user but `keep`.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn end_all_sessions(
        &self,
        owner: &Owner,
        keep: Option<&SessionId>,
        audit: &AuditRecord,
    ) -> Result<()> {
        self.revoke(owner, Revocation::All { keep }, audit).await.map(drop)
    }
}

/// The first 256 bytes, cut between characters.
fn truncated(user_agent: &str) -> &str {
    &user_agent[..user_agent.floor_char_boundary(256)]
}

fn digest_of(user_agent: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(user_agent.as_bytes()).into();
    digest.first_chunk::<8>().copied().map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_is_cut_between_characters() {
        assert_eq!(truncated(&"ä".repeat(200)).len(), 256);
        assert_eq!(truncated(&format!("a{}", "ä".repeat(200))).len(), 255);
    }
}
