//! Sessions whose bytes were decoded already.
//!
//! ```text
//! bytes from Redis ─▶ those of the check before? ─┬─ yes ─▶ what they were decoded to, with the answer that shows it
//!                                                 └─ no ──▶ decode, and keep both
//! ```
//!
//! Each check asks Redis, and nothing here says that a session is alive: it says what the bytes mean that Redis has just sent.
//! Between two touches they are the same, a minute long. Decoding them, and writing the session as JSON, took longer than
//! the read.

use std::sync::{Mutex, PoisonError};

use super::record::{Kept, Record};
use crate::store::auth::near_cache::entries::Entries;
use crate::store::{Result, SessionId};

/// What was decoded, and from which bytes.
#[derive(Default)]
pub(super) struct Decoded(Mutex<Entries<SessionId, (Vec<u8>, Kept)>>);

impl Decoded {
    /// The sessions that these values of Redis are, in the same order; none where there is no value, or where it is of another
    /// generation than the user's present one.
    pub fn read(
        &self,
        values: impl Iterator<Item = (SessionId, Option<Vec<u8>>)>,
        generation: Option<u64>,
    ) -> Vec<Result<Option<Kept>>> {
        // Nothing in there panics half way.
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |(id, value): (SessionId, Option<Vec<u8>>)| {
            let Some(bytes) = value else {
                entries.remove(&id);
                return Ok(None);
            };
            let kept = match entries.get(&id) {
                Some((known, kept)) if *known == bytes => kept.clone(),
                _ => {
                    let kept = Kept::new(Record::decode(&bytes)?);
                    entries.insert(id, (bytes, kept.clone()));
                    kept
                }
            };
            Ok(Some(kept).filter(|kept| Some(kept.record().generation) == generation))
        };
        values.map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Document;
    use super::*;

    fn id() -> SessionId {
        SessionId::from_bytes([7; 32])
    }

    fn bytes(seen: i64, generation: u64) -> Vec<u8> {
        let document =
            Document { username: "admin".to_owned(), created: 1, expires: 2, ip: "::1".to_owned(), agent: 0 };
        Record { seen, generation, document }.encode().unwrap()
    }

    fn read(decoded: &Decoded, value: Option<Vec<u8>>, generation: u64) -> Option<(i64, u64)> {
        let mut read = decoded.read([(id(), value)].into_iter(), Some(generation));
        let kept = read.pop().unwrap().unwrap();
        kept.map(|kept| (kept.record().seen, kept.record().generation))
    }

    #[test]
    fn what_redis_has_now_counts_and_never_what_was_decoded_before() {
        let decoded = Decoded::default();
        assert_eq!(read(&decoded, Some(bytes(1, 5)), 5), Some((1, 5)));
        assert_eq!(read(&decoded, Some(bytes(1, 5)), 5), Some((1, 5)), "from what was kept");
        assert_eq!(read(&decoded, Some(bytes(2, 5)), 5), Some((2, 5)), "touched");
        assert_eq!(read(&decoded, Some(bytes(2, 5)), 6), None, "all sessions were ended");
        assert_eq!(read(&decoded, None, 5), None, "it was ended");
        assert_eq!(read(&decoded, Some(bytes(2, 6)), 6), Some((2, 6)));
    }

    #[test]
    fn bytes_that_cannot_be_decoded_are_an_error_each_time_and_the_others_are_read() {
        let decoded = Decoded::default();
        let other = SessionId::from_bytes([8; 32]);
        for _ in 0..2 {
            let values = [(id(), Some(vec![0; 9])), (other, Some(bytes(1, 5)))];
            let read = decoded.read(values.into_iter(), Some(5));
            assert!(read[0].is_err());
            assert!(read[1].as_ref().is_ok_and(Option::is_some));
        }
    }
}
