//! States whose bytes were decoded already.
//!
//! ```text
//! bytes from Redis ─▶ those of the read before? ─┬─ yes ─▶ what they were decoded to
//!                                                └─ no ──▶ decode, and keep both
//! ```
//!
//! Each read asks Redis, and nothing here says how a server is: it says what the bytes mean that Redis has just sent. A probe
//! changes them each [`crate::settings::Settings::probe_interval`], and a page of all servers reads them at each look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::document;
use crate::domain::{ServerName, ServerState};
use crate::store::Result;

/// Bytes that are kept; what was decoded from them is a few times as much. With more, all is forgotten and begun again.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What was decoded, and from which bytes.
#[derive(Default)]
pub(in crate::store) struct DecodedStates(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    states: HashMap<ServerName, (Vec<u8>, Arc<ServerState>)>,
    bytes: usize,
}

impl DecodedStates {
    /// The state of that server that these bytes are.
    pub(super) fn read(&self, name: &ServerName, bytes: Vec<u8>) -> Result<Arc<ServerState>> {
        if let Some((known, state)) = self.kept().states.get(name)
            && *known == bytes
        {
            return Ok(Arc::clone(state));
        }
        let state = Arc::new(document::decode(&bytes)?);
        self.kept().keep(name, bytes, &state);
        Ok(state)
    }

    /// Nothing in there panics half way.
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, name: &ServerName, bytes: Vec<u8>, state: &Arc<ServerState>) {
        if self.bytes + bytes.len() > MAX_BYTES {
            *self = Self::default();
        }
        self.bytes += bytes.len();
        let before = self.states.insert(name.clone(), (bytes, Arc::clone(state)));
        self.bytes -= before.map_or(0, |(bytes, _)| bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Condition;

    fn name(text: &str) -> ServerName {
        ServerName::parse(text).unwrap()
    }

    fn bytes(condition: Condition, version: &str) -> Vec<u8> {
        let mut state = ServerState::default();
        state.status.condition = condition;
        state.status.version = Some(version.to_owned());
        document::encode(&state).unwrap()
    }

    #[test]
    fn what_redis_has_now_counts_and_never_what_was_decoded_before() {
        let decoded = DecodedStates::default();
        let read = |server: &str, bytes| decoded.read(&name(server), bytes).unwrap();
        let first = read("web-1", bytes(Condition::Up, "1"));
        assert!(Arc::ptr_eq(&first, &read("web-1", bytes(Condition::Up, "1"))), "the same bytes");
        assert_eq!(read("web-1", bytes(Condition::Down, "1")).status.condition, Condition::Down);
        assert_eq!(read("web-2", bytes(Condition::Busy, "1")).status.condition, Condition::Busy);
        assert_eq!(read("web-1", bytes(Condition::Up, "1")).status.condition, Condition::Up);
        assert!(decoded.read(&name("web-1"), vec![0xc1]).is_err(), "each time");
        assert!(decoded.read(&name("web-1"), vec![0xc1]).is_err());
    }

    #[test]
    fn no_more_bytes_are_kept_than_there_is_room_for() {
        let decoded = DecodedStates::default();
        let long = "1".repeat(MAX_BYTES / 10);
        for round in 0..30 {
            decoded.read(&name(&format!("web-{}", round % 15)), bytes(Condition::Up, &long)).unwrap();
            let kept = decoded.kept();
            assert!(kept.bytes <= MAX_BYTES, "{}", kept.bytes);
            assert_eq!(kept.bytes, kept.states.values().map(|(bytes, _)| bytes.len()).sum::<usize>());
        }
    }
}
