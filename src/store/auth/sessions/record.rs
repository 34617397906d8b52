//! A session as it is stored, and as it is handed out.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::api_grant::ApiGrant;
use super::document::Document;
use super::token::{Proof, ProofKind};
use crate::domain::Timestamp;
use crate::domain::access::{Access, Role};
use crate::store::auth::account_id::{AccountId, Owner};
use crate::store::connection::clock::{micros, moment};
use crate::store::{Result, SessionId, StoreError, Username};

/// A session that Redis said is alive.
#[derive(Debug, Clone)]
pub struct LiveSession {
    /// Its id.
    pub id: SessionId,
    /// The user it belongs to.
    pub username: Username,
    /// Which account of that name.
    pub account: AccountId,
    /// What the user may do.
    pub access: Access,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was last touched: use is recorded only every so often ([`SessionLife::touch_every`]).
    pub last_seen_at: Timestamp,
    /// When it ends if it is not used.
    pub idle_expires_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
    /// The address that logged in.
    pub ip: IpAddr,
    /// What it is limited to, if it is a token for programs and no session.
    pub api_token: Option<ApiGrant>,
    /// Names the stored user agent text.
    pub(in crate::store) agent: u64,
    /// The answer that shows it, kept beside what was decoded; none where that is not kept.
    pub(in crate::store) shown: Option<Arc<Shown>>,
}

impl LiveSession {
    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner { username: self.username.clone(), id: self.account }
    }

    /// Where a check looks for it.
    #[must_use]
    pub fn proof(&self) -> Proof {
        let kind = if self.api_token.is_some() { ProofKind::ApiToken } else { ProofKind::Session };
        Proof { id: self.id, account: self.account, kind }
    }

    /// The bytes that show this session: those that an earlier request has kept beside it, or else those that `show` makes.
    ///
    /// # Errors
    /// Those of `show`.
    pub async fn shown<E>(
        self,
        show: impl AsyncFnOnce(Self) -> std::result::Result<Vec<u8>, E>,
    ) -> std::result::Result<Bytes, E> {
        // Nothing else that is shown changes, except the time of the last touch, and a touch makes a new entry of the cache.
        let ends = (self.idle_expires_at, self.expires_at);
        let kept = self.shown.clone();
        if let Some((of, bytes)) = kept.as_ref().and_then(|kept| kept.0.get())
            && *of == ends
        {
            return Ok(bytes.clone());
        }
        // On the heap: most requests do not get here.
        let bytes = Bytes::from(Box::pin(show(self)).await?);
        if let Some(kept) = kept {
            // An error means that another request was quicker, or that the settings of session lives have changed.
            let _ = kept.0.set((ends, bytes.clone()));
        }
        Ok(bytes)
    }
}

/// What shows a session, with the ends that it shows.
#[derive(Debug, Default)]
pub(in crate::store) struct Shown(OnceLock<((Timestamp, Timestamp), Bytes)>);

/// A session that is in use is touched at least this often.
const MAX_TOUCH_INTERVAL: Duration = Duration::from_secs(60);
/// The same of a token for programs, whose last use is shown to the hour.
pub(in crate::store) const API_TOUCH_INTERVAL: Duration = Duration::from_secs(3_600);
/// Longer than any token for programs lives: it has no idle timeout.
const API_IDLE: Duration = Duration::from_secs(400 * 86_400);

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub struct SessionLife {
    /// Without a request.
    pub idle: Duration,
    /// In any case.
    pub absolute: Duration,
}

/// The value of a session key: `seen` and `generation` as big-endian 64-bit numbers, which scripts patch in place,
/// then the document (`document.rs`).
#[derive(Clone)]
pub(in crate::store) struct Record {
    pub(in crate::store) seen: i64,
    pub generation: u64,
    pub(in crate::store) document: Document,
}

impl Record {
    pub(in crate::store) fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend_from_slice(&self.seen.to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        self.document.encode_to(&mut bytes)?;
        Ok(bytes)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let corrupt = || StoreError::corrupt("a session is shorter than its header".to_owned());
        let (seen, generation, document) = Self::split(bytes).ok_or_else(corrupt)?;
        Ok(Self { seen, generation, document: Document::decode(document)? })
    }

    fn split(bytes: &[u8]) -> Option<(i64, u64, &[u8])> {
        let (seen, rest) = bytes.split_first_chunk::<8>()?;
        let (generation, document) = rest.split_first_chunk::<8>()?;
        Some((i64::from_be_bytes(*seen), u64::from_be_bytes(*generation), document))
    }

    /// What can be shown of a session of `username` whose document cannot be read; none if it has ended.
    pub fn unreadable(
        bytes: &[u8],
        generation: Option<u64>,
        (id, owner): (SessionId, &Owner),
        life: SessionLife,
    ) -> Option<LiveSession> {
        let (seen, of, _) = Self::split(bytes).filter(|(_, of, _)| Some(*of) == generation)?;
        // Nobody acts with it: it is only shown.
        let (generation, username, role) = (of, owner.username.as_str().to_owned(), Role::Viewer);
        let ip = IpAddr::from([0; 4]);
        let expires = seen.saturating_add(micros(life.idle));
        let document = Document {
            username,
            created: 0,
            expires,
            ip,
            agent: 0,
            role,
            servers: Vec::new(),
            account: owner.id,
            api_token: None,
        };
        let life = SessionLife { absolute: Duration::MAX, ..life };
        Self { seen, generation, document }.session(id, life).ok()
    }

    /// Whether it is what `proof` says, alive while its account has this generation: of its sessions, or of its tokens for programs.
    /// An account that has never lost its tokens may have no such number yet.
    pub fn is_alive(&self, proof: &Proof, generation: Option<u64>) -> bool {
        let is_token = self.document.api_token.is_some();
        let generation = if is_token { Some(generation.unwrap_or_default()) } else { generation };
        self.document.account == proof.account
            && is_token == (proof.kind == ProofKind::ApiToken)
            && Some(self.generation) == generation
    }

    /// How much time must lie between two touches.
    pub(super) fn touch_every(&self, life: SessionLife) -> Duration {
        if self.document.api_token.is_some() { API_TOUCH_INTERVAL } else { life.touch_every() }
    }

    /// How long it lives without a touch.
    pub(super) fn idle(&self, life: SessionLife) -> Duration {
        if self.document.api_token.is_some() { API_IDLE } else { life.idle }
    }

    /// Whether it is over because the settings were shortened since it was written; otherwise its key expires by itself. It is
    /// touched less often than it is used, so the idle timeout is extended by the most that may lie between two touches.
    pub fn is_over(&self, now: i64, life: SessionLife) -> bool {
        let idle = self.idle(life) + MAX_TOUCH_INTERVAL;
        now >= self.expires(life) || now >= self.seen.saturating_add(micros(idle))
    }

    /// When it ends in any case. A setting that was lengthened since applies to later logins only.
    pub(super) fn expires(&self, life: SessionLife) -> i64 {
        if self.document.api_token.is_some() {
            return self.document.expires;
        }
        self.document.expires.min(self.document.created.saturating_add(micros(life.absolute)))
    }

    pub fn session(&self, id: SessionId, life: SessionLife) -> Result<LiveSession> {
        let expires = self.expires(life);
        let Document { username, created, ip, agent, role, servers, account, api_token, .. } = &self.document;
        let unreadable = |_| StoreError::corrupt(format!("session {id} has no readable user"));
        Ok(LiveSession {
            id,
            username: Username::parse(username).map_err(unreadable)?,
            account: *account,
            access: Access { role: *role, servers: servers.clone() },
            created_at: moment(*created),
            last_seen_at: moment(self.seen),
            idle_expires_at: moment(expires.min(self.seen.saturating_add(micros(self.idle(life))))),
            expires_at: moment(expires),
            ip: *ip,
            api_token: api_token.clone(),
            agent: *agent,
            shown: None,
        })
    }
}

/// A session that was decoded, for as long as it is kept: in the near cache, or until Redis has other bytes.
#[derive(Clone)]
pub(in crate::store) struct Kept {
    record: Arc<Record>,
    shown: Arc<Shown>,
}

impl Kept {
    pub(super) fn new(record: Record) -> Self {
        Self { record: Arc::new(record), shown: Arc::default() }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// The account that it belongs to.
    pub fn account(&self) -> AccountId {
        self.record.document.account
    }

    /// As it is handed out.
    pub(super) fn live(&self, id: SessionId, life: SessionLife) -> Result<LiveSession> {
        let session = self.record.session(id, life)?;
        Ok(LiveSession { shown: Some(Arc::clone(&self.shown)), ..session })
    }

    /// The session, unless it looks expired or is due to be touched: only Redis says that a session is gone.
    pub(super) fn session(&self, id: SessionId, life: SessionLife, now: i64) -> Option<Result<LiveSession>> {
        let record = &self.record;
        if record.is_over(now, life) || now - record.seen >= micros(record.touch_every(life)) {
            return None;
        }
        Some(self.live(id, life))
    }
}

impl SessionLife {
    /// How much time must lie between two touches of a session: `min(60 s, idle / 4)`.
    #[must_use]
    pub fn touch_every(&self) -> Duration {
        MAX_TOUCH_INTERVAL.min(self.idle / 4)
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    const LIFE: SessionLife =
        SessionLife { idle: Duration::from_secs(1800), absolute: Duration::from_secs(43200) };

    #[test]
    fn a_record_of_a_newer_version_is_read_and_a_short_one_is_an_error_not_a_panic() {
        #[derive(Serialize)]
        struct Newer {
            u: &'static str,
            c: i64,
            x: i64,
            ip: &'static str,
            colour: &'static str,
        }
        let newer = Newer { u: "admin", c: 1, x: 2, ip: "::1", colour: "green" };
        let bytes = [&[0; 16][..], &rmp_serde::to_vec_named(&newer).unwrap()].concat();
        let session = Record::decode(&bytes).unwrap().session(SessionId::from_bytes([0; 32]), LIFE).unwrap();
        assert_eq!(session.ip.to_string(), "::1");
        assert_eq!(session.account, AccountId::ADMIN);
        assert_eq!(
            session.access,
            Access::everything(),
            "version 0.2 wrote no role: its only account is the admin's"
        );
        for length in 0..bytes.len() {
            assert!(Record::decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn a_record_is_alive_only_where_its_account_its_kind_and_its_generation_are_those_of_the_proof() {
        let anna = AccountId::parse("Anna0001").unwrap();
        let record = |account, api_token| Record {
            seen: 1,
            generation: 5,
            document: Document {
                username: "anna".to_owned(),
                created: 0,
                expires: 9,
                ip: IpAddr::from([0; 4]),
                agent: 0,
                role: Role::Viewer,
                servers: Vec::new(),
                account,
                api_token,
            },
        };
        let grant = ApiGrant { name: "backup".to_owned(), networks: Vec::new() };
        let (session, token) = (record(anna, None), record(anna, Some(grant)));
        let id = SessionId::from_bytes([0; 32]);
        let proof = |account, kind| Proof { id, account, kind };
        let (of_session, of_token) = (proof(anna, ProofKind::Session), proof(anna, ProofKind::ApiToken));
        assert!(session.is_alive(&of_session, Some(5)) && token.is_alive(&of_token, Some(5)));
        assert!(!session.is_alive(&of_token, Some(5)) && !token.is_alive(&of_session, Some(5)));
        for generation in [None, Some(4), Some(6)] {
            assert!(!session.is_alive(&of_session, generation) && !token.is_alive(&of_token, generation));
        }
        let other = AccountId::parse("Anna0002").unwrap();
        for account in [other, AccountId::ADMIN] {
            assert!(!session.is_alive(&proof(account, ProofKind::Session), Some(5)));
            assert!(!token.is_alive(&proof(account, ProofKind::ApiToken), Some(5)));
        }
        let decoded = Record::decode(&token.encode().unwrap()).unwrap();
        assert_eq!(decoded.document.api_token, token.document.api_token);
        assert!(decoded.is_alive(&of_token, Some(5)));
    }

    #[test]
    fn lives_that_were_shortened_end_sessions_that_were_begun_before() {
        let seconds = |s: i64| s * 1_000_000;
        let document = Document {
            username: "admin".to_owned(),
            created: 0,
            expires: seconds(43_200),
            ip: IpAddr::from([0; 4]),
            agent: 0,
            role: Role::Admin,
            servers: Vec::new(),
            account: AccountId::ADMIN,
            api_token: None,
        };
        let record = Record { seen: seconds(1000), generation: 0, document };
        assert!(!record.is_over(seconds(1000 + 1859), LIFE));
        assert!(record.is_over(seconds(1000 + 1860), LIFE));
        let short = SessionLife { idle: Duration::from_secs(1800), absolute: Duration::from_secs(1500) };
        assert!(!record.is_over(seconds(1499), short));
        assert!(record.is_over(seconds(1500), short));
        // A longer one is for later logins.
        let long = SessionLife { absolute: LIFE.absolute * 2, ..LIFE };
        assert_eq!(record.expires(long), seconds(43_200));
    }

    #[test]
    fn touches_are_a_quarter_of_the_idle_time_apart_and_at_most_a_minute() {
        assert_eq!(LIFE.touch_every(), Duration::from_secs(60));
        assert_eq!(
            SessionLife { idle: Duration::from_secs(8), ..LIFE }.touch_every(),
            Duration::from_secs(2)
        );
    }
}
