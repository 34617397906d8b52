//! Lifting all bans of a jail: at once if it has few, as the last probe counted them, otherwise as a job.

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::ban::BanError;
use super::ban_jobs::enqueue;
use super::host_change::HostChange;
use super::{Actor, Context, JailTarget};
use crate::agent::client::AgentError;
use crate::domain::ban_job::{JOB_ABOVE, MAX_JOB_ADDRESSES};
use crate::domain::undo::{Deed, UndoId};
use crate::domain::{BanAction, BanJobId, Network};
use crate::store::BanJobView;

/// After this the agent is not asked again.
const AT_ONCE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// How long to wait for the list of the bans to lift.
const LIST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// The outcome of lifting all bans.
#[derive(Debug)]
pub enum UnbanAllOutcome {
    /// It was done at once, as far as there was time.
    AtOnce {
        /// Bans that are lifted.
        unbanned: usize,
        /// Bans that are left.
        remaining: usize,
    },
    /// A job does it.
    Job(Box<BanJobView>),
}

/// Why bans were not lifted, or not all.
#[derive(Debug, thiserror::Error)]
pub enum UnbanAllError {
    /// The agent refused or did not answer; some bans may be lifted.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The job was not enqueued.
    #[error(transparent)]
    Ban(#[from] BanError),
}

/// Lifts all bans of a jail. `job` is the id of the job, if one is needed.
///
/// # Errors
/// [`UnbanAllError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn unban_all(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    job: BanJobId,
) -> Result<UnbanAllOutcome, UnbanAllError> {
    let stored = context.store.server(&target.server).await.map_err(BanError::from)?;
    let counts = stored.state.status.jails.get(&target.jail);
    if counts.is_some_and(|counts| counts.currently_banned > JOB_ABOVE as u64) {
        let enqueued =
            enqueue(context, actor, &target, job, BanAction::UnbanAll, Vec::new(), Vec::new()).await;
        return Ok(UnbanAllOutcome::Job(Box::new(enqueued.map_err(BanError::from)?)));
    }
    let task = context.clone();
    context.complete(at_once(task, actor, target, UndoId::from(&job))).await
}

async fn at_once(
    context: Context,
    actor: Actor,
    target: JailTarget,
    id: UndoId,
) -> Result<UnbanAllOutcome, UnbanAllError> {
    let wanted = json!({ "ips": "all" });
    let change = HostChange::begin(context, actor, target, "ban.remove_all", wanted).await;
    let change = change.map_err(BanError::from)?;
    // Without the list all bans are still lifted, but the change cannot be undone.
    let listed = timeout(LIST_TIMEOUT, change.target.agent.bans(&change.target.jail)).await;
    let listed = listed.ok().and_then(Result::ok).map(|list| list.bans).unwrap_or_default();
    let ips: Vec<Network> = listed.into_iter().map(|ban| ban.0).collect();
    let (begun, mut unbanned) = (Instant::now(), 0);
    let outcome = loop {
        match change.target.agent.unban_all(&change.target.jail, None).await {
            Ok(step) => {
                unbanned += step.unbanned;
                if step.remaining == 0 || step.unbanned == 0 || begun.elapsed() > AT_ONCE_TIMEOUT {
                    break Ok(UnbanAllOutcome::AtOnce { unbanned, remaining: step.remaining });
                }
            }
            Err(error) => break Err(error),
        }
    };
    let result = outcome.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned());
    let entry = change.end((Value::Null, json!({ "unbanned": unbanned })), result).await;
    if unbanned > 0 && (1..=MAX_JOB_ADDRESSES).contains(&ips.len()) {
        let deed = Deed::Bans { banned: false, ips, changed: unbanned };
        change.keep_undo(&id, deed, entry).await;
    }
    change.request_probe().await;
    Ok(outcome?)
}
