//! Ban jobs: what is asked for, which worker runs it, and how far it is.
//!
//! A job is a hash, with its addresses beside it; each jail has its line of jobs, of which the first may be claimed. A
//! claim is an owner and an epoch, compared inside Redis at every write: a worker that was paused can no longer write to a job
//! that another has taken over or cancelled. A job that is over is kept for a day.

use std::time::Duration;

use super::ban_job_header::BanJobHeader;
use crate::domain::ban_job::MAX_LISTED_FAILURES;
use crate::domain::undo::{MAX_ADDRESSES, UndoId};
use crate::domain::{
    BanAction, BanJobId, BanJobProgress, BanJobState, JailName, Network, OpenBanJob, ServerName,
};
use crate::store::connection::clock::{millis, time_micros};
use crate::store::{AuditRecord, Result, SessionId, Store, Wake, WorkerId, scripts};

/// How long a claim lasts without a renewal: after that another worker continues the job.
pub const CLAIM_TTL: Duration = Duration::from_secs(10);
/// The most jobs that may be open; one more is refused.
pub const MAX_OPEN_JOBS: usize = 50;
/// The most jobs that are listed; an older one is still found by its id.
const MAX_LISTED_JOBS: usize = 1_000;
/// How long a job that is over is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// A ban job to be created.
#[derive(Debug, Clone)]
pub struct NewBanJob<'a> {
    /// The job's id.
    pub id: BanJobId,
    /// The server.
    pub server: ServerName,
    /// The jail.
    pub jail: JailName,
    /// Whether it bans or unbans.
    pub order: BanAction,
    /// The addresses; none for "unban all".
    pub ips: &'a [Network],
    /// What the request has done already.
    pub progress: BanJobProgress,
    /// The addresses that this has changed, for the undo.
    pub changed: &'a [Network],
    /// The audit entry that it was asked for, and by whom.
    pub audit: AuditRecord,
}

/// A job that this worker may continue, until another has a claim or it is cancelled.
#[derive(Debug, Clone)]
pub struct BanJobClaim {
    /// The job's id.
    pub id: BanJobId,
    /// The server.
    pub server: ServerName,
    /// The jail.
    pub jail: JailName,
    /// Whether it bans or unbans.
    pub order: BanAction,
    /// The epoch of this claim; every later claim has a higher one.
    pub epoch: u64,
    /// `Running`, or `Cancelling`: then all that is left to do is to inform the agent.
    pub state: BanJobState,
    /// Where to continue.
    pub progress: BanJobProgress,
    /// How long it has made no progress.
    pub idle: Duration,
    owner: WorkerId,
    about: BanJobHeader,
}

/// The outcome of asking for a cancellation.
#[derive(Debug)]
pub enum Cancelled {
    /// There is no such job.
    Unknown,
    /// It was over already.
    Over(BanJobState),
    /// No worker continues it; the agent must be informed under this claim, unless the job had not `begun`.
    Begun {
        /// The claim.
        claim: Box<BanJobClaim>,
        /// Whether any command was ever sent.
        begun: bool,
    },
}

impl BanJobClaim {
    fn proof(&self) -> String {
        format!("{}|{}", self.owner.as_str(), self.epoch)
    }

    /// Who asked for the job.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.about.username
    }

    /// In which session.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.about.session.as_deref().and_then(SessionId::parse)
    }

    /// From which address.
    #[must_use]
    pub fn address(&self) -> Option<std::net::IpAddr> {
        self.about.address
    }

    /// The worker that has the claim.
    #[must_use]
    pub fn owner(&self) -> &WorkerId {
        &self.owner
    }
}

impl Store {
    /// Creates a job; false if too many are open. A second call with the same id does nothing.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn create_ban_job(&self, job: &NewBanJob<'_>) -> Result<bool> {
        let about = BanJobHeader {
            server: job.server.clone(),
            jail: job.jail.clone(),
            order: job.order,
            username: job.audit.username.clone(),
            session: job.audit.session.as_ref().map(ToString::to_string),
            address: job.audit.address,
        };
        let ips: Vec<String> = job.ips.iter().map(Network::to_string).collect();
        let call = scripts::BAN_JOB_CREATE
            .call()
            .key(self.keys.ban_jobs_open())
            .key(self.keys.ban_jobs_line(&job.server, &job.jail))
            .key(self.keys.ban_job(&job.id))
            .key(self.keys.ban_job_ips(&job.id))
            .key(self.keys.ban_jobs())
            .key(self.keys.undo_ips(&UndoId::from(&job.id)));
        let BanJobProgress { done, changed, failed, .. } = job.progress;
        let lines: String = job.changed.iter().map(|ip| format!("{ip}\n")).collect();
        let call = self
            .with_audit_keys(call, job.audit.trail)
            .arg(job.id.as_str())
            .arg(rmp_serde::to_vec_named(&about)?)
            .arg(format!("{}/{}", job.server, job.jail))
            .arg(ips.len())
            .arg(ips.join("\n"))
            .arg(MAX_OPEN_JOBS)
            .arg(MAX_LISTED_JOBS)
            .arg(self.keys.wake())
            .arg(done)
            .arg(changed)
            .arg(failed)
            .arg(lines)
            .arg(job.changed.len())
            .arg(KEPT_FOR.as_secs());
        // Up to 20,000 addresses.
        let put = self.shared.call_apart(&self.with_audit(call, &job.audit)).await?;
        if put {
            job.audit.log();
        }
        // This worker need not wait for its own message.
        self.wakes.ring(Wake::BanJob);
        Ok(put)
    }

    /// How many jobs are not over.
    pub async fn count_open_ban_jobs(&self) -> Result<u64> {
        let command = redis::cmd("ZCARD").arg(self.keys.ban_jobs_open()).to_owned();
        self.shared.query("ban_jobs_open", &command).await
    }

    /// The jobs that are not over, in the order in which they were asked for, and Redis's time in milliseconds.
    pub async fn open_ban_jobs(&self) -> Result<(Vec<OpenBanJob>, i64)> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.keys.ban_jobs_open()).arg(0).arg(-1);
        let ids: Vec<String> = self.shared.query("ban_jobs_open", &command).await?;
        let ids: Vec<BanJobId> = ids.iter().filter_map(|id| BanJobId::parse(id)).collect();
        if ids.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let mut pipeline = redis::pipe();
        for id in &ids {
            let fields = ["place", "until", "retry_at", "moved_at", "state", "about"];
            pipeline.cmd("HMGET").arg(self.keys.ban_job(id)).arg(&fields);
        }
        pipeline.cmd("TIME");
        let mut answers: Vec<redis::Value> = self.shared.pipeline("ban_jobs_look", &pipeline).await?;
        let time = answers.pop().unwrap_or(redis::Value::Nil);
        let now = time_micros(redis::from_redis_value(time).map_err(redis::RedisError::from)?) / 1000;
        type Fields =
            (Option<String>, Option<i64>, Option<i64>, Option<i64>, Option<String>, Option<Vec<u8>>);
        let read = |(id, fields): (BanJobId, redis::Value)| {
            let (place, until, retry_at, moved_at, state, about): Fields =
                redis::from_redis_value(fields).ok()?;
            let place = place?;
            let (server, jail) = place.split_once('/')?;
            let free_at = until.unwrap_or_default().max(retry_at.unwrap_or_default());
            let (server, jail) = (ServerName::parse(server).ok()?, JailName::parse(jail).ok()?);
            // To inform the agent of a cancellation it is enough to know the server and the jail.
            let cancelling = state.as_deref() == Some(BanJobState::Cancelling.as_str());
            let order = BanJobHeader::read(about.as_deref()).map_or(BanAction::Unknown, |about| about.order);
            let understood = cancelling || order != BanAction::Unknown;
            let moved_at = moved_at.unwrap_or_default();
            Some(OpenBanJob { id, server, jail, understood, free_at, moved_at })
        };
        Ok((ids.into_iter().zip(answers).filter_map(read).collect(), now))
    }

    /// Claims a job; none if another worker has, or if it is no longer the first in its line.
    pub async fn claim_ban_job(&self, job: &OpenBanJob, owner: &WorkerId) -> Result<Option<BanJobClaim>> {
        let call = scripts::BAN_JOB_CLAIM
            .call()
            .key(self.keys.ban_job(&job.id))
            .key(self.keys.ban_jobs_line(&job.server, &job.jail))
            .arg(job.id.as_str())
            .arg(owner.as_str())
            .arg(millis(CLAIM_TTL))
            .arg(self.greatest_epoch());
        type Taken = (u64, String, usize, usize, usize, usize, u64);
        let Some(taken): Option<Taken> = self.shared.call(&call).await? else { return Ok(None) };
        let (epoch, state, asked, done, changed, failed, idle) = taken;
        self.see_epoch(epoch);
        let claim = self.claim_of(&job.id, owner, epoch, &state).await?;
        let progress = BanJobProgress { asked, done, changed, failed };
        Ok(claim.map(|claim| BanJobClaim { progress, idle: Duration::from_millis(idle), ..claim }))
    }

    async fn claim_of(
        &self,
        id: &BanJobId,
        owner: &WorkerId,
        epoch: u64,
        state: &str,
    ) -> Result<Option<BanJobClaim>> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys.ban_job(id)).arg("about").arg("place");
        type Fields = (Option<Vec<u8>>, Option<String>);
        let (about, place): Fields = self.shared.query("ban_job_about", &command).await?;
        let Some(place) = place else { return Ok(None) };
        let about = BanJobHeader::read(about.as_deref())
            .or_else(|error| BanJobHeader::of_place(&place).ok_or(error))?;
        Ok(Some(BanJobClaim {
            id: id.clone(),
            server: about.server.clone(),
            jail: about.jail.clone(),
            order: about.order,
            epoch,
            state: BanJobState::parse(state).unwrap_or(BanJobState::Unknown),
            progress: BanJobProgress::default(),
            idle: Duration::ZERO,
            owner: owner.clone(),
            about,
        }))
    }

    /// The addresses of a job.
    pub async fn ban_job_ips(&self, id: &BanJobId) -> Result<Vec<Network>> {
        let command = redis::cmd("GET").arg(self.keys.ban_job_ips(id)).to_owned();
        let ips: Option<String> = self.shared.query_apart("ban_job_ips", &command).await?;
        Ok(ips.unwrap_or_default().lines().filter_map(Network::parse).collect())
    }

    /// Renews the claim; false if it is no longer valid.
    pub async fn renew_ban_job(&self, claim: &BanJobClaim) -> Result<bool> {
        self.shared.call(&self.renewal(claim)).await
    }

    fn renewal(&self, claim: &BanJobClaim) -> scripts::Call {
        scripts::BAN_JOB_RENEW
            .call()
            .key(self.keys.ban_job(&claim.id))
            .key(self.keys.ban_job_failures(&claim.id))
            .key(self.keys.undo_ips(&UndoId::from(&claim.id)))
            .arg(claim.proof())
            .arg(claim.state.as_str())
            .arg(millis(CLAIM_TTL))
    }

    /// Saves the job's progress, and which addresses it has changed since the last call; if the claim is lost, saves nothing and
    /// returns false. Harmless to repeat.
    pub async fn note_ban_job(
        &self,
        claim: &BanJobClaim,
        progress: BanJobProgress,
        addresses: &[Network],
        failures: &[(String, &str)],
    ) -> Result<bool> {
        let BanJobProgress { asked, done, changed, failed } = progress;
        let lines: String = addresses.iter().map(|ip| format!("{ip}\n")).collect();
        let call = self.renewal(claim).arg(asked).arg(done).arg(changed).arg(failed).arg(MAX_LISTED_FAILURES);
        let call = call.arg(lines).arg(addresses.len()).arg(MAX_ADDRESSES).arg(KEPT_FOR.as_secs());
        let call = failures.iter().fold(call, |call, (ip, reason)| call.arg(ip).arg(*reason));
        self.shared.call(&call).await
    }

    /// Ends the job, with its audit entry; false if the claim is lost.
    pub async fn end_ban_job(
        &self,
        claim: &BanJobClaim,
        end: BanJobState,
        reason: Option<&str>,
        audit: &AuditRecord,
    ) -> Result<bool> {
        let call = scripts::BAN_JOB_END
            .call()
            .key(self.keys.ban_job(&claim.id))
            .key(self.keys.ban_jobs_open())
            .key(self.keys.ban_jobs_line(&claim.server, &claim.jail))
            .key(self.keys.ban_job_ips(&claim.id))
            .key(self.keys.ban_job_failures(&claim.id));
        let call = self
            .with_audit_keys(call, audit.trail)
            .arg(claim.proof())
            .arg(claim.state.as_str())
            .arg(claim.id.as_str())
            .arg(end.as_str())
            .arg(reason.unwrap_or_default())
            .arg(KEPT_FOR.as_secs())
            .arg(self.keys.wake());
        let ended = self.shared.call(&self.with_audit(call, audit)).await?;
        if ended {
            audit.log();
            metrics::counter!("bangui_ban_jobs_total", "outcome" => end.as_str()).increment(1);
        }
        Ok(ended)
    }

    /// Gives up the claim, so that any worker may claim the job after `pause`; false if it is lost.
    pub async fn put_ban_job_back(&self, claim: &BanJobClaim, pause: Duration, why: &str) -> Result<bool> {
        let call = scripts::BAN_JOB_PUT_BACK
            .call()
            .key(self.keys.ban_job(&claim.id))
            .arg(claim.proof())
            .arg(millis(pause))
            .arg(why)
            .arg(self.keys.wake());
        self.shared.call(&call).await
    }

    /// Takes the job away from the worker that has claimed it.
    pub async fn cancel_ban_job(
        &self,
        id: &BanJobId,
        owner: &WorkerId,
        audit: &AuditRecord,
    ) -> Result<Cancelled> {
        let call = scripts::BAN_JOB_CANCEL.call().key(self.keys.ban_job(id));
        let call = self
            .with_audit_keys(call, audit.trail)
            .arg(owner.as_str())
            .arg(millis(CLAIM_TTL))
            .arg(self.greatest_epoch());
        let answer: Option<(String, u64, bool)> = self.shared.call(&self.with_audit(call, audit)).await?;
        let Some((state, epoch, begun)) = answer else { return Ok(Cancelled::Unknown) };
        self.see_epoch(epoch);
        let Some(claim) = self.claim_of(id, owner, epoch, &state).await? else {
            return Ok(Cancelled::Unknown);
        };
        Ok(match claim.state {
            BanJobState::Cancelling => Cancelled::Begun { claim: Box::new(claim), begun },
            over => Cancelled::Over(over),
        })
    }
}
