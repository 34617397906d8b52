//! How a worker waits for the lease, and watches the leader if no other worker does.
//!
//! ```text
//! wait ──▶ read the lease ──▶ nobody watches? claim the watch ──▶ look at the leader, four times a second ──missed twice──▶ deserted
//!  ▲             │
//!  └─────────────┴── until "released" comes, or the lease has expired ──▶ may be free
//! ```
//!
//! While the holder keeps renewing, a worker that does not watch reads the lease once per TTL (at least every 5 s), so that many
//! waiting workers cost Redis little.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{Instant, sleep_until};

use crate::domain::succession::{Step, Watch};
use crate::store::{HeldTerm, Lease, Result, Store, Wake};

/// How often the watcher renews its claim: a few times before another worker may claim the watch.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);
/// A worker that does not watch checks at least this often that another one does, even if the lease lasts longer.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// Why the wait has ended.
#[derive(Debug)]
pub enum Opening {
    /// The lease was released, has expired, or could not be read.
    MayBeFree,
    /// It is held for a leader whose process is gone.
    Deserted(HeldTerm),
}

/// A worker that waits. It is kept between attempts: what was seen of the holder counts for as long as it holds the lease.
#[derive(Default)]
pub struct Standby {
    holder: Option<HeldTerm>,
    watch: Watch,
    /// When to look and when to renew the claim, if this worker is the watcher.
    watching: Option<Watching>,
}

#[derive(Clone, Copy)]
struct Watching {
    look_at: Instant,
    claim_at: Instant,
}

impl Standby {
    /// Waits until the lease may be available.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn wait(&mut self, lease: &mut Lease, store: &Store) -> Result<Opening> {
        let mut read_at = Instant::now();
        loop {
            if Instant::now() >= read_at {
                let Some(held) = lease.held().await? else { return Ok(Opening::MayBeFree) };
                read_at = Instant::now() + held.remaining.min(lease.ttl()).min(READ_INTERVAL) + jitter();
                self.is_held_for(held.term);
                if self.watching.is_none() && !held.watched {
                    self.claim(lease).await;
                }
            }
            if self.watching.is_some_and(|watching| Instant::now() >= watching.claim_at) {
                self.claim(lease).await;
            }
            if self.watching.is_some_and(|watching| Instant::now() >= watching.look_at)
                && let Some(opening) = self.look(lease).await?
            {
                return Ok(opening);
            }
            let next = self
                .watching
                .map_or(read_at, |Watching { look_at, claim_at }| read_at.min(look_at).min(claim_at));
            tokio::select! {
                // All waiting workers are woken and ask at once: the first one wins, the others find it held.
                () = store.woken(Wake::LeaseReleased) => return Ok(Opening::MayBeFree),
                () = sleep_until(next) => {}
            }
        }
    }

    fn is_held_for(&mut self, term: HeldTerm) {
        if self.holder.as_ref() != Some(&term) {
            self.holder = Some(term);
            self.watch.forget();
        }
    }

    /// Becomes or stays the watcher, unless another worker is.
    async fn claim(&mut self, lease: &mut Lease) {
        // Without an answer it stays what it was: two watchers do no harm. (A Redis that refuses writes refuses this one too.)
        let mine = lease.claim_watch().await.unwrap_or_else(|error| {
            tracing::debug!(error = %error, "failed to claim the watch over the leader: retrying");
            self.watching.is_some()
        });
        let claim_at = Instant::now() + CLAIM_INTERVAL;
        self.watching = mine.then(|| {
            let look_at = self.watching.map_or_else(Instant::now, |watching| watching.look_at);
            Watching { look_at, claim_at }
        });
    }

    /// One look at the leader, and when the next one is due.
    async fn look(&mut self, lease: &mut Lease) -> Result<Option<Opening>> {
        let Some(term) = self.holder.clone() else { return Ok(Some(Opening::MayBeFree)) };
        let step = if lease.is_present(&term).await? {
            self.watch.present(lease.connection_number())
        } else {
            match lease.held().await? {
                Some(held) if held.term == term => {
                    self.watch.missing(lease.connection_number(), held.remaining)
                }
                _ => return Ok(Some(Opening::MayBeFree)),
            }
        };
        match step {
            Step::TakeOver => {
                self.watch.forget();
                Ok(Some(Opening::Deserted(term)))
            }
            Step::Look(after) => {
                if let Some(watching) = &mut self.watching {
                    watching.look_at = Instant::now() + after;
                }
                Ok(None)
            }
        }
    }
}

/// A random delay, so that many waiting workers do not ask at the same instant.
pub fn jitter() -> Duration {
    Duration::from_millis(rand::rng().random_range(0..100))
}
