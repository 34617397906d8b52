//! One ban job, from its claim to its end.
//!
//! ```text
//! claim ─▶ fence the agent ─▶ claim still valid? ─▶ up to 25 addresses, save, up to 25, save ... ─▶ end
//! ```
//!
//! The fence comes first: after it, whatever an earlier claim sent has finished, and anything it may still send is refused. The claim is
//! checked after the fence: a worker that was paused before fencing, while the job was cancelled and the agent restarted, must
//! not start. Each command carries the epoch and the agent's incarnation; a command whose answer was lost is sent again by the
//! worker that resumes the job, which bans nobody twice.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::BanJobs;
use crate::actions::ban_batches::{self, Batches};
use crate::actions::ban_jobs;
use crate::agent::client::{AgentClient, AgentError, BanResult, JobEpoch, JobKey, RefusedKind};
use crate::domain::ban_job::pause_after_trouble;
use crate::domain::{BanAction, BanJobProgress, BanJobState, Network};
use crate::store::BanJobClaim;
use crate::store::jobs::ban_jobs::CLAIM_TTL;

/// How many times a restarted agent is fenced again before the job is released for a while.
const FENCES: usize = 3;

/// The maximum number of addresses of a job that are recorded for the event stream.
const NOTED: usize = 200;

/// Why the work on a claim ended.
enum WorkEnd {
    /// Every address was tried.
    Done,
    /// The job is cancelled, and the agent knows it.
    Cancelled,
    /// No worker can carry it out.
    Failed(String),
    /// The agent could not carry it out now.
    Trouble(String),
    /// Another worker has a newer claim, or Redis does not answer.
    Lost,
    /// This worker shuts down.
    Stopped,
}

impl From<AgentError> for WorkEnd {
    fn from(error: AgentError) -> Self {
        match error {
            // If the reason is a newer claim, the release shows it.
            AgentError::Refused { kind: RefusedKind::Stale { .. }, reason } => Self::Trouble(reason),
            AgentError::Refused { reason, .. } => Self::Failed(reason),
            error => Self::Trouble(error.to_string()),
        }
    }
}

impl BanJobs {
    /// Works on a job until it ends, the claim is lost, or `stop`.
    pub(super) async fn work(&self, claim: BanJobClaim, stop: &CancellationToken) {
        tracing::info!(
            job.id = %claim.id, job.epoch = claim.epoch, server.name = %claim.server, jail.name = %claim.jail,
            "claimed ban job {}: {} of {} addresses are done", claim.id, claim.progress.done, claim.progress.asked
        );
        let mut progress = claim.progress;
        let end = tokio::select! {
            () = stop.cancelled() => WorkEnd::Stopped,
            () = self.lost(&claim) => WorkEnd::Lost,
            end = self.carry_on(&claim, &mut progress) => end,
        };
        self.conclude(&claim, progress, end).await;
    }

    /// Renews the claim; returns when it is lost.
    async fn lost(&self, claim: &BanJobClaim) {
        loop {
            let wait = CLAIM_TTL.mul_f64(rand::rng().random_range(0.25..0.35));
            sleep(wait).await;
            match self.store.renew_ban_job(claim).await {
                Ok(true) => {}
                Ok(false) => return,
                // The claim may expire; then another worker gets a higher epoch, and this one is fenced off.
                Err(error) => tracing::debug!(error = %error, "failed to renew a claim: retrying"),
            }
        }
    }

    async fn carry_on(&self, claim: &BanJobClaim, progress: &mut BanJobProgress) -> WorkEnd {
        let Some(agent) = self.agents.get(&claim.server) else {
            return WorkEnd::Failed(format!("no server {} is configured or discovered", claim.server));
        };
        let job = match self.fence(claim, &agent).await {
            Ok(job) => job,
            Err(end) => return end,
        };
        if claim.state == BanJobState::Cancelling {
            return WorkEnd::Cancelled;
        }
        if claim.order == BanAction::Unknown {
            return WorkEnd::Trouble(
                "the job comes from a newer version of bangui, which must carry it out".to_owned(),
            );
        }
        let ips = match self.addresses(claim, &agent, progress).await {
            Ok(ips) => ips,
            Err(end) => return end,
        };
        let mut work = Work { jobs: self, claim, agent: &agent, job, progress };
        if let Err(end) = ban_batches::run(&mut work, &ips).await {
            return end;
        }
        // As the last fence left it.
        let job = work.job;
        self.lift_others(claim, &agent, job, progress).await
    }

    /// Lifts bans that are not of addresses, which only the agent can name: the rest of "unban all".
    async fn lift_others(
        &self,
        claim: &BanJobClaim,
        agent: &AgentClient,
        job: JobEpoch,
        progress: &mut BanJobProgress,
    ) -> WorkEnd {
        let others = progress.asked.saturating_sub(progress.done);
        if claim.order != BanAction::UnbanAll || others == 0 {
            return WorkEnd::Done;
        }
        let mut lifted = 0;
        // Each call lifts as many as there is time for.
        while lifted < others {
            match agent.unban_all(&claim.jail, Some(job.clone())).await {
                Ok(step) => {
                    lifted += step.unbanned;
                    if step.unbanned == 0 || step.remaining == 0 {
                        break;
                    }
                }
                Err(error) => return error.into(),
            }
        }
        let lifted = lifted.min(others);
        progress.done += others;
        progress.changed += lifted;
        progress.failed += others - lifted;
        match Self::insist(|| self.store.note_ban_job(claim, *progress, &[], &[])).await {
            Some(true) => WorkEnd::Done,
            _ => WorkEnd::Lost,
        }
    }

    /// Raises the agent's epoch, then checks that the claim is still valid. Returns what each command must carry.
    async fn fence(&self, claim: &BanJobClaim, agent: &AgentClient) -> Result<JobEpoch, WorkEnd> {
        let key = JobKey::parse(claim.id.as_str()).map_err(WorkEnd::Failed)?;
        let owner = Some(self.worker.as_str().to_owned());
        let job = JobEpoch { key, epoch: claim.epoch, incarnation: None, owner };
        let fenced = agent.fence(&job).await.inspect_err(|error| {
            // Makes the next claim greater than the epoch that the agent knows.
            if let AgentError::Refused { kind: RefusedKind::Stale { known: Some(known) }, .. } = error {
                self.store.see_epoch(*known);
            }
        })?;
        match Self::insist(|| self.store.renew_ban_job(claim)).await {
            Some(true) => Ok(JobEpoch { incarnation: fenced.incarnation, ..job }),
            _ => Err(WorkEnd::Lost),
        }
    }

    /// The addresses that are not tried yet.
    async fn addresses(
        &self,
        claim: &BanJobClaim,
        agent: &AgentClient,
        progress: &mut BanJobProgress,
    ) -> Result<Vec<Network>, WorkEnd> {
        if claim.order == BanAction::UnbanAll {
            let list = agent.bans(&claim.jail).await?;
            progress.asked = progress.done + list.bans.len() + list.others;
            return Ok(list.bans.into_iter().map(|ban| ban.0).collect());
        }
        let ips = Self::insist(|| self.store.ban_job_ips(&claim.id)).await.ok_or(WorkEnd::Lost)?;
        Ok(ips.into_iter().skip(progress.done).collect())
    }

    /// Saves the end of the job, or releases the claim.
    async fn conclude(&self, claim: &BanJobClaim, progress: BanJobProgress, end: WorkEnd) {
        let (ending, next) = match end {
            WorkEnd::Done => ("done".to_owned(), Next::Over(BanJobState::Done, None)),
            WorkEnd::Cancelled => ("cancelled".to_owned(), Next::Over(BanJobState::Cancelled, None)),
            WorkEnd::Failed(reason) => {
                (format!("failed: {reason}"), Next::Over(BanJobState::Failed, Some(reason)))
            }
            WorkEnd::Trouble(reason) => {
                let idle = if progress.done == claim.progress.done { claim.idle } else { Duration::ZERO };
                match pause_after_trouble(idle) {
                    Some(pause) => (format!("waits: {reason}"), Next::Again(pause, reason)),
                    None => {
                        let reason = format!("it made no progress for too long: {reason}");
                        (format!("failed: {reason}"), Next::Over(BanJobState::Failed, Some(reason)))
                    }
                }
            }
            WorkEnd::Lost => ("this worker lost its claim".to_owned(), Next::Nothing),
            WorkEnd::Stopped => {
                ("released for another worker".to_owned(), Next::Again(Duration::ZERO, String::new()))
            }
        };
        let saved = match &next {
            Next::Over(state, reason) => {
                let ended =
                    Self::insist(|| ban_jobs::end(&self.store, claim, *state, progress, reason.as_deref()))
                        .await;
                // Shows the new counts soon; otherwise the next sweep does.
                if let Err(error) = self.store.request_probe(&claim.server).await {
                    tracing::debug!(error = %error, "failed to request a probe after a ban job");
                }
                ended
            }
            // A worker that shuts down does not retry: the claim expires.
            Next::Again(pause, why) => self.store.put_ban_job_back(claim, *pause, why).await.ok(),
            Next::Nothing => None,
        };
        tracing::info!(
            job.id = %claim.id, job.epoch = claim.epoch, saved = saved == Some(true),
            "ban job {} after {} of {} addresses: {ending}", claim.id, progress.done, progress.asked
        );
    }
}

/// The batches of a job under a claim.
struct Work<'a> {
    jobs: &'a BanJobs,
    claim: &'a BanJobClaim,
    agent: &'a AgentClient,
    job: JobEpoch,
    progress: &'a mut BanJobProgress,
}

impl Batches for Work<'_> {
    type Error = WorkEnd;

    async fn send(&mut self, batch: &[Network]) -> Result<Vec<BanResult>, WorkEnd> {
        let Self { jobs, claim, agent, .. } = *self;
        for _ in 0..FENCES {
            let job = Some(self.job.clone());
            match ban_batches::command(agent, &claim.jail, claim.order, batch, job).await {
                Ok(results) => return Ok(results),
                Err(AgentError::Refused { kind: RefusedKind::Stale { .. }, reason }) => {
                    tracing::info!(job.id = %claim.id, job.epoch = claim.epoch, "the agent refused a batch of the ban job: {reason}");
                    self.job = jobs.fence(claim, agent).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(WorkEnd::Trouble("the agent kept restarting".to_owned()))
    }

    async fn keep(&mut self, batch: &[Network], results: Vec<BanResult>) -> Result<(), WorkEnd> {
        // Only the addresses of the first batches are named in events.
        if self.progress.done < NOTED {
            let (store, claim) = (&self.jobs.store, self.claim);
            ban_batches::note_changes(store, &claim.server, &claim.jail, claim.order, &results).await;
        }
        let changed: Vec<Network> = results.iter().filter(|one| one.changed).map(|one| one.ip).collect();
        let results: Vec<_> = results.into_iter().map(|one| (one.ip, one.banned, one.changed)).collect();
        let (after, failures) = self.progress.after(self.claim.order, batch.len(), &results);
        *self.progress = after;
        let noted =
            BanJobs::insist(|| self.jobs.store.note_ban_job(self.claim, after, &changed, &failures)).await;
        if noted == Some(true) { Ok(()) } else { Err(WorkEnd::Lost) }
    }
}

/// What happens to the job after the work on a claim.
enum Next {
    Over(BanJobState, Option<String>),
    Again(Duration, String),
    Nothing,
}
