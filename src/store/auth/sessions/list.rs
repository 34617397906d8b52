//! Showing sessions: pages of them, and the text of the user agent that each began with.
//!
//! Many sessions share a few texts, so each text is stored once, under its digest. A digest always names the same text, so a
//! worker may remember the texts it has read: showing the caller's own session then takes a single read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::checks::parse_generation;
use super::record::Record;
use super::token::{Proof, ProofKind};
use crate::store::auth::account_id::Owner;
use crate::store::{LiveSession, Page, Result, SessionDetails, SessionId, SessionLife, Store, Username};

impl Store {
    /// Adds the text of the user agent.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn session_details(&self, session: LiveSession) -> Result<SessionDetails> {
        if let Some(user_agent) = self.user_agents.get(session.agent) {
            return Ok(SessionDetails { session, user_agent, error: None });
        }
        Ok(Box::pin(self.with_user_agents(vec![session])).await?.remove(0))
    }

    async fn with_user_agents(&self, sessions: Vec<LiveSession>) -> Result<Vec<SessionDetails>> {
        let mut unknown: Vec<u64> = sessions
            .iter()
            .map(|session| session.agent)
            .filter(|agent| self.user_agents.get(*agent).is_none())
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let keys: Vec<String> = unknown.iter().map(|agent| self.keys.user_agent(*agent)).collect();
            let command = redis::cmd("MGET").arg(keys).to_owned();
            let texts: Vec<Option<String>> = self.shared.query_apart("user_agents", &command).await?;
            for (agent, text) in unknown.into_iter().zip(texts) {
                // One that has expired may come back with the next login: its absence is not remembered.
                if let Some(text) = text {
                    self.user_agents.keep(agent, &text);
                }
            }
        }
        Ok(sessions
            .into_iter()
            .map(|session| SessionDetails {
                user_agent: self.user_agents.get(session.agent).unwrap_or_default(),
                session,
                error: None,
            })
            .collect())
    }

    /// The user's live sessions, page by page; newest first within a page. `cursor` comes from the previous
    /// page. A session that is alive throughout is on exactly one page, unless the index is rebuilt between
    /// two pages: then it may appear twice. Keep `limit` the same from page to page.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn list_sessions(
        &self,
        owner: &Owner,
        cursor: Option<SessionsCursor>,
        limit: usize,
        life: SessionLife,
    ) -> Result<Page<SessionDetails>> {
        let from = cursor.unwrap_or_default();
        let mut command = redis::cmd("SSCAN");
        command.arg(self.keys.sessions(&owner.username)).arg(from.scan).arg("COUNT").arg(limit);
        let (scan, members): (u64, Vec<Vec<u8>>) = self.shared.query_apart("session_index", &command).await?;
        let mut ids: Vec<[u8; 32]> = members.into_iter().filter_map(|id| id.try_into().ok()).collect();
        ids.sort_unstable();
        ids.retain(|id| from.after.is_none_or(|after| *id > after));
        // SSCAN may give more than it was asked for: the rest of this step is the next page.
        let next = if ids.len() > limit {
            ids.truncate(limit);
            Some(SessionsCursor { scan: from.scan, after: ids.last().copied() })
        } else {
            (scan != 0).then_some(SessionsCursor { scan, after: None })
        };
        let ids: Vec<SessionId> = ids.into_iter().map(SessionId::from_bytes).collect();
        let (mut sessions, unreadable) = self.live_sessions(owner, &ids, life).await?;
        sessions.sort_by_key(|session| std::cmp::Reverse(session.created_at));
        let mut items = self.with_user_agents(sessions).await?;
        items.extend(unreadable);
        Ok(Page { items, next_cursor: next.as_ref().map(SessionsCursor::text) })
    }

    /// Removes expired sessions from the user's index: a few at random, at each login, so that the index never holds many of them
    /// and nobody waits for a long clean-up. A session that is gone never comes back, so there is no race between the check and the
    /// removal.
    pub(in crate::store) async fn prune_index(&self, username: &Username) -> Result<()> {
        let index = self.keys.sessions(username);
        let command = redis::cmd("SRANDMEMBER").arg(&index).arg(PRUNE_BATCH_SIZE).to_owned();
        let members: Vec<Vec<u8>> = self.shared.query("session_sample", &command).await?;
        let ids: Vec<SessionId> =
            members.into_iter().filter_map(|id| Some(SessionId::from_bytes(id.try_into().ok()?))).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for id in &ids {
            pipeline.cmd("EXISTS").arg(self.keys.session(id));
        }
        let alive: Vec<bool> = self.shared.pipeline("session_sample", &pipeline).await?;
        let gone = ids.iter().zip(alive).filter(|(_, alive)| !alive).map(|(id, _)| &id.as_bytes()[..]);
        let gone: Vec<&[u8]> = gone.collect();
        if !gone.is_empty() {
            let command = redis::cmd("SREM").arg(&index).arg(gone).to_owned();
            self.shared.query::<()>("session_prune", &command).await?;
        }
        Ok(())
    }

    /// Those that are alive, and separately those that cannot be read: they can be ended all the same.
    async fn live_sessions(
        &self,
        owner: &Owner,
        ids: &[SessionId],
        life: SessionLife,
    ) -> Result<(Vec<LiveSession>, Vec<SessionDetails>)> {
        if ids.is_empty() {
            return Ok(Default::default());
        }
        let mut command = redis::cmd("MGET");
        command.arg(self.keys.generation(owner.id));
        for id in ids {
            command.arg(self.keys.session(id));
        }
        let mut values: Vec<Option<Vec<u8>>> = self.shared.query_apart("session_list", &command).await?;
        let generation = values.remove(0).as_deref().and_then(parse_generation);
        let now = self.shared.clock.now_micros();
        let (mut live, mut unreadable) = (Vec::with_capacity(ids.len()), Vec::new());
        for (id, value) in ids.iter().zip(values) {
            let Some(value) = value else { continue };
            let proof = Proof { id: *id, account: owner.id, kind: ProofKind::Session };
            let alive = |record: &Record| record.is_alive(&proof, generation) && !record.is_over(now, life);
            let read = Record::decode(&value).map(|record| Some(record).filter(alive));
            match read.and_then(|record| record.map(|record| record.session(*id, life)).transpose()) {
                Ok(session) => live.extend(session),
                Err(error) => {
                    tracing::warn!(session.id = %id, error = %error, "failed to read a session for the list");
                    let shown = Record::unreadable(&value, generation, (*id, owner), life);
                    let details = |session| SessionDetails {
                        session,
                        user_agent: String::new(),
                        error: Some(error.to_string()),
                    };
                    unreadable.extend(shown.map(details));
                }
            }
        }
        Ok((live, unreadable))
    }
}

/// How many entries of the index a login checks.
const PRUNE_BATCH_SIZE: usize = 16;

/// A place in the index of sessions: a step of the scan, and the last id of it that was shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionsCursor {
    scan: u64,
    after: Option<[u8; 32]>,
}

impl SessionsCursor {
    /// Reads a [`Page::next_cursor`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (scan, after) = bytes.split_first_chunk::<8>()?;
        let after = if after.is_empty() { None } else { Some(after.try_into().ok()?) };
        Some(Self { scan: u64::from_be_bytes(*scan), after })
    }

    fn text(&self) -> String {
        let after = self.after.as_ref().map_or(&[][..], |after| &after[..]);
        URL_SAFE_NO_PAD.encode([&self.scan.to_be_bytes()[..], after].concat())
    }
}
