//! The settings in force, in one place, and the channel that signals their changes.
//!
//! The value is in an `ArcSwap` and nowhere else; the watch channel carries only the revision. So a reader takes no lock,
//! and waiting code receives the settings as an argument, instead of reading them while it holds the channel's lock: a second
//! read of that lock by the same thread would deadlock with a writer that waits for the first.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Bootstrap, Effective, Overrides, Settings};

/// The newest settings, shared by all parts of a worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Live {
    bootstrap: Arc<Bootstrap>,
    current: Arc<ArcSwap<Effective>>,
    revision: Arc<watch::Sender<u64>>,
}

impl Live {
    /// Starts with the settings from the configuration.
    #[must_use]
    pub fn new(bootstrap: Bootstrap) -> Self {
        let first = bootstrap.with(&Overrides::new(), 0);
        Self {
            revision: Arc::new(watch::Sender::new(first.revision)),
            current: Arc::new(ArcSwap::from_pointee(first)),
            bootstrap: Arc::new(bootstrap),
        }
    }

    /// The settings now. Read them at each use; do not keep them.
    #[must_use]
    pub fn now(&self) -> Arc<Effective> {
        self.current.load_full()
    }

    /// The settings without any override.
    #[must_use]
    pub fn bootstrap(&self) -> &Bootstrap {
        &self.bootstrap
    }

    /// Applies the stored overrides. Returns whether anything changed.
    pub fn replace(&self, overrides: &Overrides, revision: u64) -> bool {
        let new = self.bootstrap.with(overrides, revision);
        // Under the channel's lock, so that concurrent changes are stored in the order in which they are signalled.
        self.revision.send_if_modified(|current| {
            // Compare values, not revisions: a Redis that lost its data counts revisions from 1 again.
            let changed = **self.current.load() != new;
            if changed {
                *current = new.revision;
                self.current.store(Arc::new(new));
            }
            changed
        })
    }

    /// Follows every change from now on.
    #[must_use]
    pub fn watch(&self) -> Watcher {
        Watcher { bell: self.revision.subscribe(), live: self.clone() }
    }
}

/// One follower of the settings. It sees the newest ones, not each one between.
#[derive(Debug)]
pub struct Watcher {
    live: Live,
    bell: watch::Receiver<u64>,
}

impl Watcher {
    /// The settings now; [`Self::changed`] waits for the ones after these.
    pub fn current(&mut self) -> Arc<Effective> {
        // Mark as seen before reading: a change in between is signalled again, and none is missed.
        self.bell.mark_unchanged();
        self.live.now()
    }

    /// Waits for settings other than those last seen here, and returns them.
    pub async fn changed(&mut self) -> Arc<Effective> {
        if self.bell.changed().await.is_err() {
            // Unreachable: `self.live` holds the sender.
            std::future::pending::<()>().await;
        }
        self.current()
    }

    /// Waits until the settings meet `condition`, and returns them; at once if they do already.
    pub async fn until(&mut self, condition: impl Fn(&Settings) -> bool) -> Arc<Effective> {
        let mut now = self.current();
        while !condition(&now.settings) {
            now = self.changed().await;
        }
        now
    }
}
