//! Ban jobs: enqueued and cancelled here for users, and ended here for the worker that carries one out (`crate::jobs::bans`).
//!
//! A cancellation is answered once the agent knows of it: from then on the job bans or unbans no further address, even if a
//! paused worker still has a command to send. If the agent does not answer, the answer says so.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Actor, Context, JailTarget};
use crate::agent::client::{AgentError, BanResult, JobEpoch, JobKey, RefusedKind};
use crate::domain::undo::{Deed, UndoId, Undoable};
use crate::domain::{BanAction, BanJobId, BanJobProgress, BanJobState, Network, UnreachableKind};
use crate::store::{AuditRecord, BanJobClaim, BanJobView, Cancelled, NewBanJob, Store, StoreError, Trail};

/// Addresses that an audit entry names; the others are counted.
pub(super) const MAX_NAMED: usize = 25;

/// Why a job was not enqueued.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// As many jobs as allowed are open already.
    #[error("too many ban jobs are open")]
    TooMany,
    /// The job is gone already.
    #[error("there is no such ban job")]
    Gone,
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a job was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// There is no such job, or it ended more than a day ago.
    #[error("there is no such ban job")]
    Unknown,
    /// The job had ended already, without being cancelled.
    #[error("the ban job was already {}", .0.as_str())]
    Over(BanJobState),
    /// No worker continues the job, but the agent does not know yet: a batch in flight may still be carried out.
    #[error("the agent has not been informed of the cancellation yet")]
    AgentUnaware(#[source] AgentError),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Enqueues a job whose progress so far is `done`. If a job with this id exists, returns that job.
pub(super) async fn enqueue(
    context: &Context,
    actor: Actor,
    target: &JailTarget,
    id: BanJobId,
    order: BanAction,
    ips: Vec<Network>,
    done: Vec<BanResult>,
) -> Result<BanJobView, EnqueueError> {
    let named: Vec<&Network> = ips.iter().take(MAX_NAMED).collect();
    let mut after = json!({ "job": id.as_str(), "order": order.as_str(), "asked": ips.len(), "ips": named });
    if !done.is_empty() {
        after["done"] = done.len().into();
    }
    let changed: Vec<Network> = done.iter().filter(|one| one.changed).map(|one| one.ip).collect();
    let results: Vec<_> = done.into_iter().map(|one| (one.ip, one.banned, one.changed)).collect();
    let (progress, _) = BanJobProgress::default().after(order, results.len(), &results);
    let audit = AuditRecord {
        target: Some(target.to_string()),
        after,
        outcome: "queued".to_owned(),
        ..actor.record("ban_job.begin")
    };
    let (store, server, jail) = (context.store.clone(), target.server.clone(), target.jail.clone());
    let action = async move {
        let job =
            NewBanJob { id: id.clone(), server, jail, order, ips: &ips, progress, changed: &changed, audit };
        if !store.create_ban_job(&job).await? {
            return Err(EnqueueError::TooMany);
        }
        store.ban_job(&id).await?.ok_or(EnqueueError::Gone)
    };
    context.complete(action).await
}

/// Cancels a job: once this returns, no further address is banned or unbanned by it. What it has done stays.
///
/// # Errors
/// [`CancelError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", name = "cancel_ban_job", skip_all)]
pub async fn cancel(context: &Context, actor: Actor, id: BanJobId) -> Result<BanJobView, CancelError> {
    let job = context.store.ban_job(&id).await?.ok_or(CancelError::Unknown)?;
    let (state, progress) = (job.state.as_str(), job.progress);
    let record = AuditRecord {
        target: Some(format!("{}/{}", job.server, job.jail)),
        before: json!({ "job": id.as_str(), "state": state, "done": progress.done, "asked": progress.asked }),
        outcome: "asked".to_owned(),
        ..actor.record("ban_job.cancel")
    };
    let task = context.clone();
    let action = async move {
        match task.store.cancel_ban_job(&id, &task.worker, &record).await? {
            Cancelled::Unknown => return Err(CancelError::Unknown),
            Cancelled::Over(BanJobState::Cancelled) => {}
            Cancelled::Over(over) => return Err(CancelError::Over(over)),
            Cancelled::Begun { claim, begun } => inform_agent(&task, &claim, begun).await?,
        }
        task.store.ban_job(&id).await?.ok_or(CancelError::Unknown)
    };
    context.complete(action).await
}

/// Lets the agent know that a job is cancelled, then ends it.
async fn inform_agent(context: &Context, claim: &BanJobClaim, begun: bool) -> Result<(), CancelError> {
    let store = &context.store;
    if begun {
        match fence(context, claim).await {
            Ok(()) => {}
            // Somebody else is cancelling it too, under a later claim, or has done so.
            Err(AgentError::Refused { kind: RefusedKind::Stale { known }, .. }) => {
                store.see_epoch(known.unwrap_or_default());
                return Ok(());
            }
            Err(error) => {
                // Another worker that can reach the agent informs it.
                let why = error.to_string();
                if let Err(error) = store.put_ban_job_back(claim, Duration::ZERO, &why).await {
                    tracing::debug!(error = %error, "failed to release the claim of a cancelled ban job: it expires");
                }
                return Err(CancelError::AgentUnaware(error));
            }
        }
    }
    let progress = store.ban_job(&claim.id).await?.map(|view| view.progress).unwrap_or_default();
    end(store, claim, BanJobState::Cancelled, progress, None).await?;
    context.request_probe_or_log(&claim.server).await;
    Ok(())
}

async fn fence(context: &Context, claim: &BanJobClaim) -> Result<(), AgentError> {
    let unreachable =
        |reason: String| AgentError::Unreachable { kind: UnreachableKind::Network, reason, cause: None };
    let agent = context.agents.get(&claim.server);
    let agent =
        agent.ok_or_else(|| unreachable(format!("this worker no longer has the server {}", claim.server)))?;
    let key = JobKey::parse(claim.id.as_str()).map_err(unreachable)?;
    let owner = Some(context.worker.as_str().to_owned());
    agent.fence(&JobEpoch { key, epoch: claim.epoch, incarnation: None, owner }).await.map(|_| ())
}

/// Ends a job under its claim, with the audit entry in the name of its requester; false if the claim is lost.
///
/// # Errors
/// [`StoreError`].
pub async fn end(
    store: &Store,
    claim: &BanJobClaim,
    end: BanJobState,
    progress: BanJobProgress,
    reason: Option<&str>,
) -> Result<bool, StoreError> {
    let BanJobProgress { asked, done, changed, failed } = progress;
    let after = json!({
        "job": claim.id.as_str(), "order": claim.order.as_str(), "state": end.as_str(),
        "asked": asked, "done": done, "changed": changed, "failed": failed,
    });
    let audit = AuditRecord {
        trail: Trail::Changes,
        username: claim.username().to_owned(),
        session: claim.session(),
        address: claim.address(),
        worker: Some(claim.owner().clone()),
        what: "ban_job.end",
        target: Some(format!("{}/{}", claim.server, claim.jail)),
        before: Value::Null,
        after,
        outcome: reason.unwrap_or(end.as_str()).to_owned(),
        // The two entries have the job's id in common.
        begun: None,
    };
    let ended = store.end_ban_job(claim, end, reason, &audit).await?;
    if ended && changed > 0 {
        keep_undo(store, claim, changed).await;
    }
    Ok(ended)
}

/// Saves the undo of a job: how many addresses it changed. The job itself has saved which, batch by batch.
async fn keep_undo(store: &Store, claim: &BanJobClaim, changed: usize) {
    let done = Undoable {
        username: claim.username().to_owned(),
        server: Some(claim.server.clone()),
        jail: Some(claim.jail.clone()),
        deed: Deed::Bans { banned: claim.order == BanAction::Ban, ips: Vec::new(), changed },
    };
    if let Err(error) = store.keep_undo(&UndoId::from(&claim.id), &done, &format!("job/{}", claim.id)).await {
        tracing::warn!(error = %error, job.id = %claim.id, "failed to save the undo of a ban job: bangui cannot undo it");
    }
}
