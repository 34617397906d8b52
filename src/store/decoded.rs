//! Values of Redis whose bytes were decoded already.
//!
//! ```text
//! bytes from Redis ─▶ those of the read before? ─┬─ yes ─▶ what they were decoded to
//!                                                └─ no ──▶ decode, and keep both
//! ```
//!
//! Each read asks Redis: this remembers not what Redis has, but what the bytes that it has just sent mean. The bytes of a session
//! stay the same between two touches, and those of a server between two probes; but every check reads the former, and every page of
//! all servers the latter.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Result;

/// What was decoded, and from which bytes.
pub(super) struct Decoded<K, V> {
    room: usize,
    kept: Mutex<Kept<K, V>>,
}

struct Kept<K, V> {
    values: HashMap<K, (Vec<u8>, V)>,
    bytes: usize,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self { values: HashMap::new(), bytes: 0 }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Decoded<K, V> {
    /// Keeps up to this many bytes, and what was decoded from them, which may be a few times as much. If there are more, all are
    /// forgotten.
    pub fn with_room(room: usize) -> Self {
        Self { room, kept: Mutex::default() }
    }

    /// What these bytes of `key` mean.
    pub fn read(&self, key: &K, bytes: Vec<u8>, decode: impl FnOnce(&[u8]) -> Result<V>) -> Result<V> {
        if let Some((known, value)) = self.kept().values.get(key)
            && *known == bytes
        {
            return Ok(value.clone());
        }
        let value = decode(&bytes)?;
        self.keep(key.clone(), bytes, value.clone());
        Ok(value)
    }

    /// There is nothing under `key` any more.
    pub fn forget(&self, key: &K) {
        let mut kept = self.kept();
        let before = kept.values.remove(key);
        kept.bytes -= before.map_or(0, |(bytes, _)| bytes.len());
    }

    fn keep(&self, key: K, bytes: Vec<u8>, value: V) {
        let mut kept = self.kept();
        if kept.bytes + bytes.len() > self.room {
            *kept = Kept::default();
        }
        if bytes.len() > self.room {
            return;
        }
        kept.bytes += bytes.len();
        let before = kept.values.insert(key, (bytes, value));
        kept.bytes -= before.map_or(0, |(bytes, _)| bytes.len());
    }

    /// Nothing in there panics half way.
    fn kept(&self) -> MutexGuard<'_, Kept<K, V>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::StoreError;

    const ROOM: usize = 1_000;

    fn read(decoded: &Decoded<u32, Arc<String>>, key: u32, text: &str) -> Result<Arc<String>> {
        decoded.read(&key, text.as_bytes().to_vec(), |bytes| match bytes {
            b"corrupt" => Err(StoreError::corrupt("it is".to_owned())),
            bytes => Ok(Arc::new(String::from_utf8_lossy(bytes).into_owned())),
        })
    }

    #[test]
    fn what_redis_has_now_counts_and_never_what_was_decoded_before() {
        let decoded = Decoded::with_room(ROOM);
        let now = |key, text: &str| read(&decoded, key, text).unwrap();
        let first = now(1, "up");
        assert!(Arc::ptr_eq(&first, &now(1, "up")), "the same bytes");
        assert_eq!(*now(1, "down"), "down");
        assert_eq!(*now(2, "busy"), "busy");
        assert_eq!(*now(1, "up"), "up");
        decoded.forget(&1);
        assert!(!Arc::ptr_eq(&now(1, "up"), &first));
        assert!(read(&decoded, 1, "corrupt").is_err(), "each time");
        assert!(read(&decoded, 1, "corrupt").is_err());
    }

    #[test]
    fn no_more_bytes_are_kept_than_there_is_room_for() {
        let decoded = Decoded::with_room(ROOM);
        let long = "1".repeat(ROOM / 10);
        for round in 0..30 {
            read(&decoded, round % 15, &format!("{round}{long}")).unwrap();
            if round % 7 == 0 {
                decoded.forget(&(round % 15));
            }
            let kept = decoded.kept();
            assert!(kept.bytes <= ROOM, "{}", kept.bytes);
            assert_eq!(kept.bytes, kept.values.values().map(|(bytes, _)| bytes.len()).sum::<usize>());
        }
        assert_eq!(read(&decoded, 1, &"2".repeat(ROOM + 1)).unwrap().len(), ROOM + 1);
        assert_eq!(decoded.kept().bytes, 0, "what there is no room for is not kept");
    }
}
