//! Showing sessions: pages of them, and the text of the user agent that each began with.
//!
//! Few texts are shared by many sessions, so each is stored once, under its digest. A digest names its text for ever,
//! which is why a worker may remember the ones it has read: showing the caller's own session stays one read.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::sessions::Record;
use super::{LiveSession, Page, Result, SessionDetails, SessionId, SessionLife, Store, Username};

/// Texts of user agents, by digest.
#[derive(Default)]
pub(super) struct UserAgents(Mutex<HashMap<u64, String>>);

impl UserAgents {
    /// More than any installation has; a worker that meets more of them forgets all and reads again.
    const KEPT: usize = 1_000;

    fn get(&self, digest: u64) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned()
    }

    pub fn keep(&self, digest: u64, text: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= Self::KEPT {
            kept.clear();
        }
        kept.insert(digest, text.to_owned());
    }
}

impl Store {
    /// Adds the text of the user agent.
    ///
    /// # Errors
    /// As [`super::StoreError`] tells.
    pub async fn session_details(&self, session: LiveSession) -> Result<SessionDetails> {
        Ok(self.with_user_agents(vec![session]).await?.remove(0))
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
            let texts: Vec<Option<String>> = self.shared.query("user_agents", &command).await?;
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
            })
            .collect())
    }

    /// The user's live sessions, those that last longest first. `cursor` is what the page before gave; one that is
    /// none begins at the start.
    ///
    /// # Errors
    /// As [`super::StoreError`] tells.
    pub async fn list_sessions(
        &self,
        username: &Username,
        cursor: Option<&str>,
        limit: usize,
        life: SessionLife,
    ) -> Result<Page<SessionDetails>> {
        let after = cursor.and_then(Cursor::parse);
        let mut command = redis::cmd("ZREVRANGEBYSCORE");
        command.arg(self.keys.sessions(username));
        match &after {
            Some(cursor) => command.arg(cursor.score),
            None => command.arg("+inf"),
        };
        // A few more than asked for: those of the same millisecond as the cursor are skipped below.
        command.arg("-inf").arg("WITHSCORES").arg("LIMIT").arg(0).arg(limit + 1 + TIES);
        let indexed: Vec<(Vec<u8>, i64)> = self.shared.query("session_index", &command).await?;
        let mut places: Vec<Cursor> = indexed
            .into_iter()
            .filter_map(|(id, score)| Some(Cursor { score, id: id.try_into().ok()? }))
            .filter(|place| {
                after.as_ref().is_none_or(|after| (place.score, place.id) < (after.score, after.id))
            })
            .collect();
        let more = places.len() > limit;
        places.truncate(limit);
        let next_cursor = if more { places.last().map(Cursor::text) } else { None };
        let ids: Vec<SessionId> = places.into_iter().map(|place| SessionId::from_bytes(place.id)).collect();
        let sessions = self.live_sessions(username, &ids, life).await?;
        Ok(Page { items: self.with_user_agents(sessions).await?, next_cursor })
    }

    async fn live_sessions(
        &self,
        username: &Username,
        ids: &[SessionId],
        life: SessionLife,
    ) -> Result<Vec<LiveSession>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        command.arg(self.keys.generation(username));
        for id in ids {
            command.arg(self.keys.session(id));
        }
        let mut values: Vec<Option<Vec<u8>>> = self.shared.query("session_list", &command).await?;
        let generation = values
            .remove(0)
            .and_then(|text| String::from_utf8(text).ok())
            .and_then(|text| text.parse::<u64>().ok());
        let now = self.shared.clock.now_micros();
        let mut live = Vec::with_capacity(ids.len());
        for (id, value) in ids.iter().zip(values) {
            let Some(value) = value else { continue };
            let record = Record::decode(&value)?;
            if Some(record.generation) == generation && !record.is_over(now, life) {
                live.push(record.into_session(*id, life)?);
            }
        }
        Ok(live)
    }
}

/// How many sessions that end in the same millisecond a page can step over.
const TIES: usize = 8;

/// A place in the index of sessions.
struct Cursor {
    score: i64,
    id: [u8; 32],
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (score, id) = bytes.split_first_chunk::<8>()?;
        Some(Self { score: i64::from_be_bytes(*score), id: id.try_into().ok()? })
    }

    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode([&self.score.to_be_bytes()[..], &self.id[..]].concat())
    }
}
