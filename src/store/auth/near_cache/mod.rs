//! A near cache of sessions with no stale window: leases after Gray and Cheriton (SOSP 1989).
//!
//! ```text
//! holder:  subscribe ─▶ join ─▶ renew every 500 ms, carrying the number it has applied ─▶ ... ─▶ leave
//! revoker: one script (end, number, publish, who holds?) ─▶ each holder confirmed, or a whole lease passed ─▶ answer
//! ```
//!
//! `state.rs` has the rules of a holder and `wait.rs` those of a revoker, both pure; `holder.rs` and `revoke.rs` are the tasks
//! that live by them. Every worker revokes, whatever its own setting. `model.rs` lets all of it happen in any order.
//!
//! * No two clocks are compared, and Redis's clock decides nothing: a holder counts its lease from before its request, a revoker
//!   waits from after its script's answer, each on its own boot-time clock. A holder stays listed until it leaves or somebody has
//!   waited a whole lease for it.
//! * Renewals and revocations travel on one connection (RESP3), so that a link that swallows the one swallows the other. If
//!   only messages are stuck, the number in the renewal reveals it.
//! * A renewal that a revocation has overtaken is refused, but the cache may answer for what is left of the lease: the message is
//!   on its way, and the next renewal follows it. Otherwise every logout would empty the caches of all other workers.
//! * A revoker reads confirmations from the list of holders, again and again, instead of listening for them: there is nothing
//!   to lose, and `bangui reset-password` needs no subscription.
//! * The *incarnation* names one memory of Redis: its `run_id` and something random. A Redis that was restarted, emptied or
//!   replaced by a replica gets another one, and is *unsettled* until somebody has waited a whole lease since: until then it may
//!   have forgotten holders that still answer, so every revocation waits a whole lease. Each worker waits
//!   for that lease whenever it has connected, so that a logout seldom has to.
//!
//! Redis may also come back with what it had a moment before, holders missing. So a holder that is absent has left only if Redis
//! still has the incarnation and the number that the revoker was given: whatever came before these is there too.
//!
//! What breaks it: a machine whose boot-time clock stops while others keep running (a virtual machine frozen by its host). And
//! a version of bangui without this module revokes without notifying the holders: the cache must be off while such a version
//! runs in the same cluster.

#[cfg(test)]
mod acts;
mod entries;
mod holder;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_tests;
mod revoke;
mod shared_wait;
mod state;
mod wait;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::sessions::record::Kept;
use crate::store::{SessionId, boot_now};
pub(in crate::store) use revoke::{Ended, Revocation};
pub(in crate::store) use shared_wait::SharedWait;
pub(in crate::store) use state::{LEASE, MARGIN, Mark};

/// This worker's cache.
#[derive(Default)]
pub(in crate::store) struct NearCache {
    state: Mutex<state::Cache<SessionId, Kept>>,
    /// How long an entry is trusted, in ms; 0 while the cache is off.
    ttl: AtomicU64,
    id: Mutex<Option<String>>,
}

impl state::OfAccount for Kept {
    fn is_of(&self, account: &str) -> bool {
        self.account().as_str() == account
    }
}

impl NearCache {
    /// The session, if it may be answered from here.
    pub fn get(&self, id: &SessionId) -> Option<Kept> {
        let state = self.lock();
        state.get(id, boot_now())
    }

    /// The mark to take before a read is sent, with the incarnation of Redis to read from; none while the cache is off or holds no
    /// lease.
    pub fn mark(&self) -> Option<(Mark, Arc<str>)> {
        let state = self.lock();
        state.mark(boot_now())
    }

    /// Keeps what was read after `mark`, at most for the time that the session had `left` then.
    pub fn fill(&self, mark: Mark, id: SessionId, kept: Kept, left: Duration) {
        let ttl = Duration::from_millis(self.ttl.load(Ordering::Relaxed));
        let mut state = self.lock();
        state.fill(mark, id, kept, left.min(ttl), boot_now());
    }

    fn lock(&self) -> MutexGuard<'_, state::Cache<SessionId, Kept>> {
        // No code panics while it holds this lock, so a poisoned one guards whole data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self) -> MutexGuard<'_, Option<String>> {
        self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a field of the hash of holders is one: its random id.
pub(in crate::store) fn is_holder(field: &str) -> bool {
    field.len() == 32
}
