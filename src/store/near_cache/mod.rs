//! A near cache of sessions with no stale window: leases after Gray and Cheriton (SOSP 1989).
//!
//! ```text
//! holder:  subscribe ─▶ join ─▶ renew each 500 ms, carrying the number it has applied ─▶ ... ─▶ leave
//! revoker: one script (end, number, publish, who holds?) ─▶ each holder confirmed, or a whole lease passed ─▶ answer
//! ```
//!
//! `state.rs` has the rules, pure; `holder.rs` the task that lives by them; `revoke.rs` the other side, which every worker runs
//! whatever its own setting.
//!
//! * Redis's clock judges nothing: a holder counts its lease from before its request, a revoker waits from after its script's
//!   answer, each on its own boot-time clock. A holder stays listed until it leaves or a revoker has waited a lease for it.
//! * Renewals and revocations travel on one connection (RESP3), so that a link that swallows the one swallows the other.
//! * A revoker reads confirmations from the list of holders, again and again, instead of listening for them: there is nothing
//!   to lose, and `bangui reset-password` needs no subscription. A holder that is *absent* from the list has not confirmed.
//! * A renewal that was overtaken by a revocation is not extended but does not empty the cache: the message is on its way
//!   before the answer, and if it is stuck the lease runs out.
//!
//! A version of bangui without this module revokes without telling the holders: the cache must be off while one runs beside.

mod holder;
mod revoke;
mod state;

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::sessions::Record;
use super::{SessionId, boot_now};
pub(super) use revoke::Revocation;
pub(super) use state::Mark;

/// This worker's cache.
#[derive(Default)]
pub(super) struct NearCache {
    state: Mutex<state::Cache<SessionId, Record>>,
    /// How long an entry is trusted, in ms; 0 while the cache is off.
    ttl: AtomicU64,
    id: Mutex<Option<String>>,
}

impl NearCache {
    /// The session, if it may be answered from here.
    pub fn get(&self, id: &SessionId) -> Option<Record> {
        self.lock().get(id, boot_now())
    }

    /// To be noted before a read is sent; none while the cache is off or holds no lease.
    pub fn mark(&self) -> Option<Mark> {
        self.lock().mark(boot_now())
    }

    /// Keeps what was read after `mark`, for as long as the session has `left` at most.
    pub fn fill(&self, mark: Mark, id: SessionId, record: Record, left: Duration) {
        let ttl = Duration::from_millis(self.ttl.load(std::sync::atomic::Ordering::Relaxed));
        let now = boot_now();
        self.lock().fill(mark, id, record, now + left.min(ttl), now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, state::Cache<SessionId, Record>> {
        // Nothing in there panics half way.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
