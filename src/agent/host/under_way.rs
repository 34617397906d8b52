//! The rollback that is under way, or has just ended: a caller that asks again gets its outcome, and does not start another.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::error::ChangeError;
use crate::agent::wire;
use crate::domain::JailName;

/// How long the outcome of a rollback is kept for callers whose answer was that it is still under way.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// A rollback that is under way, or has just ended.
#[derive(Debug)]
pub(in crate::agent) struct Rollback {
    pub(super) jail: JailName,
    /// When it ended, and how; nothing while it is under way.
    pub(super) outcome: watch::Receiver<Option<(Instant, Outcome)>>,
}

/// How a rollback ended.
pub(super) type Outcome = Result<wire::RolledBack, ChangeError>;

impl Rollback {
    /// Whether its outcome answers a request that comes now.
    pub(super) fn answers(&self, jail: &JailName) -> bool {
        let ended = self.outcome.borrow().as_ref().map(|(at, _)| *at);
        // A rollback that was cut off has no outcome.
        let lives = ended.is_some() || self.outcome.has_changed().is_ok();
        self.jail == *jail && lives && ended.is_none_or(|at| at.elapsed() < KEPT_FOR)
    }
}
