//! The schedule of jobs, which outlives every leader: when each is due, when it ran, how it ended.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::Timestamp;
use crate::store::connection::clock::{millis, moment};
use crate::store::{Fence, Result, Store, scripts};

/// Every job there is. A new one goes in here and into `scheduler/jobs.rs`.
pub const NAMES: &[&str] = &["probe", "discover", "remove-silent-workers"];

/// Whether a job must run now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobTurn {
    /// It has begun: run it. The run after this one is due after `next`.
    Begun {
        /// Until the next run.
        next: Duration,
    },
    /// It is due after `wait`.
    NotDue {
        /// Until the next run.
        wait: Duration,
    },
}

impl Store {
    /// Begins a run of this job if it is due. `attempt` stays the same until an answer has come, so that asking again after a
    /// lost answer still returns that the run has begun.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Fenced`] if the lease is lost; the other cases as described there, here and below.
    pub async fn begin_job(
        &self,
        fence: &Fence,
        name: &'static str,
        interval: Duration,
        attempt: u64,
    ) -> Result<JobTurn> {
        let call = scripts::JOB_BEGIN
            .call()
            .key(self.keys.lease())
            .key(self.keys.job(name))
            .arg(fence.as_str())
            .arg(millis(interval))
            .arg(attempt);
        let (begun, wait): (bool, u64) = self.shared.call(&call).await?;
        let wait = Duration::from_millis(wait);
        Ok(if begun { JobTurn::Begun { next: wait } } else { JobTurn::NotDue { wait } })
    }

    /// Records how a run ended.
    pub async fn end_job(&self, fence: &Fence, name: &'static str, outcome: &str) -> Result<()> {
        let call = scripts::JOB_END
            .call()
            .key(self.keys.lease())
            .key(self.keys.job(name))
            .arg(fence.as_str())
            .arg(outcome);
        self.shared.call(&call).await
    }
}

/// A scheduled job.
#[derive(Debug, Clone)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// Its interval.
    pub interval_seconds: u64,
    /// How many times it was started.
    pub runs: u64,
    /// The latest start.
    pub last_started_at: Option<Timestamp>,
    /// The latest end.
    pub last_finished_at: Option<Timestamp>,
    /// `ok`, `interrupted`, or what went wrong.
    pub last_outcome: Option<String>,
    /// The next start.
    pub next_due_at: Option<Timestamp>,
}

impl JobView {
    /// Reads the fields of a job's hash; `None` for a job that never ran.
    pub(in crate::store) fn from_stored(name: &str, fields: HashMap<String, String>) -> Option<Self> {
        let number = |field: &str| fields.get(field)?.parse::<i64>().ok();
        let at = |field: &str| -> Option<Timestamp> { Some(moment(number(field)?.saturating_mul(1000))) };
        Some(Self {
            name: name.to_owned(),
            interval_seconds: number("interval")?.unsigned_abs() / 1000,
            runs: number("runs")?.unsigned_abs(),
            last_started_at: at("last_started_at"),
            last_finished_at: at("last_finished_at"),
            last_outcome: fields.get("last_outcome").cloned(),
            next_due_at: at("next_due_at"),
        })
    }
}
