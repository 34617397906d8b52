//! The running change of a jail, step by step, and its last refused change: parts of a jail in the API.

use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;
use crate::domain::StepTime;
use crate::store::{RefusedChange, RunningChange};

/// A step of a change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangeStep)]
pub struct ChangeStepView {
    /// `lock` (waits for its turn), `save`, `test`, `write`, `load`, `verify`, or `undo`.
    step: &'static str,
    /// How long it took, or has taken so far, in milliseconds on the agent's clock.
    ms: u64,
    /// Whether the change is at this step.
    running: bool,
}

impl From<StepTime> for ChangeStepView {
    fn from(StepTime { step, ms, running }: StepTime) -> Self {
        Self { step: step.as_str(), ms, running }
    }
}

/// A change of a jail that is running.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunningChange)]
pub struct RunningChangeView {
    /// Its id: if the change takes longer than 30 s, `/api/v1/jail-changes/{id}` shows it.
    id: String,
    /// `activate`, `deactivate`, `settings` or `ignore`.
    change: &'static str,
    /// Who asked for it.
    username: String,
    began_at: Time,
    /// False if the worker that waits for it has fallen silent: the agent completes the change or undoes it.
    followed: bool,
    /// The steps that the agent has taken, the current one last; empty if its version does not report steps.
    steps: Vec<ChangeStepView>,
}

impl From<RunningChange> for RunningChangeView {
    fn from(change: RunningChange) -> Self {
        let RunningChange { id, noted, began_at, is_alive } = change;
        Self {
            id: id.to_string(),
            change: noted.kind.as_str(),
            username: noted.username,
            began_at: began_at.into(),
            followed: is_alive,
            steps: noted.steps.into_iter().map(ChangeStepView::from).collect(),
        }
    }
}

/// The last change of a jail that was refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefusedChange)]
pub struct RefusedChangeView {
    /// `activate`, `deactivate`, `settings` or `ignore`.
    change: &'static str,
    /// Who asked for it.
    username: String,
    at: Time,
    /// Why, in the words of fail2ban or its agent; cut after 8 KiB.
    reason: String,
    /// The steps that were taken, the last of which was refused or undid the change.
    steps: Vec<ChangeStepView>,
}

impl From<RefusedChange> for RefusedChangeView {
    fn from(change: RefusedChange) -> Self {
        let RefusedChange { noted, at, words } = change;
        Self {
            change: noted.kind.as_str(),
            username: noted.username,
            at: at.into(),
            reason: words,
            steps: noted.steps.into_iter().map(ChangeStepView::from).collect(),
        }
    }
}
