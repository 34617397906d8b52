//! Sessions: who is logged in, on every worker.
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::accounts::Username;
use super::{Page, Result, Store};
use crate::domain::Timestamp;

/// What a client shows to prove its session: 256 random bits. Never stored, never printed.
#[derive(Clone)]
pub struct SessionToken([u8; 32]);

/// The SHA-256 of a token: names a session in Redis and to users, and cannot log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 32]);

impl SessionToken {
    /// Reads the text of a cookie or a bearer token; `None` for anything that is no token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
    }

    /// The text for the cookie.
    #[must_use]
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The session this token proves.
    #[must_use]
    pub fn id(&self) -> SessionId {
        SessionId(Sha256::digest(self.0).into())
    }
}

impl SessionId {
    /// Reads an id from a URL; `None` for anything that is no id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// A session that Redis said is alive.
#[derive(Debug, Clone)]
pub struct LiveSession {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub username: Username,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was last used, as exactly as touches are written.
    pub last_seen_at: Timestamp,
    /// When it ends if it is not used.
    pub idle_expires_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
    /// The address that logged in.
    pub ip: IpAddr,
    /// Names the stored user agent text.
    pub(super) agent: u64,
}

/// A session with the text of its user agent, for showing.
#[derive(Debug, Clone)]
pub struct SessionDetails {
    /// The session.
    pub session: LiveSession,
    /// The `User-Agent` that logged in, at most 256 bytes of it.
    pub user_agent: String,
}

/// Where a login comes from.
#[derive(Debug, Clone)]
pub struct LoginOrigin {
    /// The client's address.
    pub ip: IpAddr,
    /// Its `User-Agent`.
    pub user_agent: String,
}

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub struct SessionLife {
    /// Without a request.
    pub idle: Duration,
    /// In any case.
    pub absolute: Duration,
}

impl Store {
    /// Begins a session, unless the user's generation is no more `generation` (all sessions were revoked, or the
    /// password was changed, since the account was read): then `None`, and the caller reads the account again.
    pub async fn begin_session(
        &self,
        _username: &Username,
        _generation: u64,
        _origin: &LoginOrigin,
        _life: SessionLife,
    ) -> Result<Option<(SessionToken, SessionDetails)>> {
        todo!()
    }

    /// Whether the session lives: one read. Touches it when the last touch is old enough.
    pub async fn check_session(
        &self,
        _token: &SessionToken,
        _life: SessionLife,
    ) -> Result<Option<LiveSession>> {
        todo!()
    }

    /// Adds the text of the user agent.
    pub async fn session_details(&self, _session: LiveSession) -> Result<SessionDetails> {
        todo!()
    }

    /// The user's live sessions.
    pub async fn list_sessions(
        &self,
        _username: &Username,
        _cursor: Option<&str>,
        _limit: usize,
        _life: SessionLife,
    ) -> Result<Page<SessionDetails>> {
        todo!()
    }

    /// Ends a session of this user; `false` if there is no such session of this user.
    pub async fn end_session(&self, _username: &Username, _id: &SessionId) -> Result<bool> {
        todo!()
    }

    /// Ends all sessions of this user but `keep`.
    pub async fn end_all_sessions(&self, _username: &Username, _keep: Option<&SessionId>) -> Result<()> {
        todo!()
    }
}
