//! The texts of user agents that this worker has read: they are stored once for all sessions.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Texts of user agents, by digest.
#[derive(Default)]
pub(in crate::store) struct UserAgents(Mutex<HashMap<u64, String>>);

impl UserAgents {
    /// More than any installation has; a worker that sees more of them forgets all and reads them again.
    const KEPT: usize = 1_000;

    pub fn get(&self, digest: u64) -> Option<String> {
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
