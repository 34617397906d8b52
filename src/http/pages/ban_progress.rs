//! A ban job on the page of its jail: its progress, the failures by reason, and the button to cancel it.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;

use super::form::Form;
use super::jail_switches::{back, refused};
use super::marks::{count, counted};
use super::message::{Message, done};
use super::search::jail_path;
use super::shell::Visitor;
use super::undo_label::label;
use crate::actions::ban_jobs::{CancelError, cancel};
use crate::domain::{BanAction, BanJobId, BanJobState, JailName, ServerName, Timestamp, UndoId};
use crate::http::auth::allowed::{own_since, require_cancel, right_to_cancel};
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;
use crate::store::{BanJobView, UNDO_FOR};

/// The number of jobs that are searched for one of this jail.
const LOOKED_THROUGH: usize = 100;
/// The maximum number of reasons that are shown.
const MAX_REASONS: usize = 5;

/// A job as a page shows it.
pub struct Progress {
    /// Its id.
    pub id: String,
    /// What it does.
    pub title: String,
    /// Whether it is still running.
    pub open: bool,
    /// Whether the user may cancel it.
    pub may_cancel: bool,
    /// The number of addresses that were tried.
    pub tried: usize,
    /// The number of all its addresses.
    pub asked: usize,
    /// Its progress in numbers.
    pub says: String,
    /// The failures, by reason.
    pub reasons: Vec<String>,
    /// Who asked for it.
    pub username: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Why it waits or failed.
    pub reason: Option<String>,
    /// For a job that has ended: the label of the undo button, and until when it is offered.
    pub undo: Option<(String, Timestamp)>,
}

impl Progress {
    /// The job with that id if it is one of this jail, else the newest open job of the jail.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn of(
        state: &AppState,
        server: &ServerName,
        jail: &JailName,
        id: &str,
        visitor: &Visitor,
    ) -> Result<Option<Self>> {
        let here = |view: &BanJobView| view.server == *server && view.jail == *jail;
        if let Some(id) = BanJobId::parse(id)
            && let Some(view) = state.store.ban_job(&id).await?.filter(here)
        {
            return Self::over(state, view, visitor).await.map(Some);
        }
        let jobs = state.store.ban_jobs(None, LOOKED_THROUGH).await?.items;
        match jobs.into_iter().find(|view| here(view) && !view.state.is_over()) {
            Some(view) => Self::new(state, view, visitor).await.map(Some),
            None => Ok(None),
        }
    }

    /// The job with its undo, if it has ended and can still be undone.
    async fn over(state: &AppState, view: BanJobView, visitor: &Visitor) -> Result<Self> {
        let until = view.finished_at.map(|at| at + UNDO_FOR);
        let id = UndoId::from(&view.id);
        let progress = Self::new(state, view, visitor).await?;
        let Some(until) = until.filter(|_| !progress.open) else { return Ok(progress) };
        let done = state.store.undoable(&[id]).await?.pop().flatten();
        let undo = done.as_ref().filter(|done| visitor.shell.may_undo(done));
        let undo = undo.and_then(label).map(|label| (label, until));
        Ok(Self { undo, ..progress })
    }

    async fn new(state: &AppState, view: BanJobView, visitor: &Visitor) -> Result<Self> {
        let open = (!view.state.is_over()).then_some(&view);
        let since = own_since(state, &visitor.actor, open).await?;
        let may_cancel = visitor.shell.may(right_to_cancel(&view, &visitor.actor, since));
        let progress = view.progress;
        let (verb, done) = match view.order {
            BanAction::Ban => ("Banning", "banned"),
            BanAction::Unban | BanAction::UnbanAll => ("Unbanning", "unbanned"),
            BanAction::Unknown => ("Working on", "changed"),
        };
        let number = |number: usize| count(number as u64);
        let whom = match progress.asked {
            0 => "all addresses".to_owned(),
            1 => "1 address".to_owned(),
            asked => format!("{} addresses", number(asked)),
        };
        let how = match view.state {
            BanJobState::Queued => ": waiting",
            BanJobState::Running | BanJobState::Unknown => "",
            BanJobState::Cancelling => ": being cancelled",
            BanJobState::Cancelled => ": cancelled",
            BanJobState::Done => ": done",
            BanJobState::Failed => ": failed",
        };
        let same = progress.done.saturating_sub(progress.changed + progress.failed);
        let mut by_reason: BTreeMap<String, u64> = BTreeMap::new();
        for (_, reason) in view.failures {
            *by_reason.entry(reason).or_default() += 1;
        }
        let mut reasons: Vec<_> = by_reason.into_iter().collect();
        reasons.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        Ok(Self {
            id: view.id.to_string(),
            title: format!("{verb} {whom}{how}"),
            open: !view.state.is_over(),
            may_cancel,
            tried: progress.done,
            asked: progress.asked,
            says: format!(
                "{} of {} tried, {} {done}, {} already {done}, {} not {done}",
                number(progress.done),
                number(progress.asked),
                number(progress.changed),
                number(same),
                number(progress.failed)
            ),
            reasons: reasons
                .into_iter()
                .take(MAX_REASONS)
                .map(|(reason, times)| {
                    format!("{}: {reason}", counted(times, "address").replace("addresss", "addresses"))
                })
                .collect(),
            username: view.username,
            created_at: view.created_at,
            reason: view.reason,
            undo: None,
        })
    }
}

/// Cancels a job of this jail.
pub async fn cancel_job(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((server, jail)): Path<(String, String)>,
    form: Form,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let id = BanJobId::parse(form.text("job")).ok_or(CancelError::Unknown)?;
    let job = state.store.ban_job(&id).await?.ok_or(CancelError::Unknown)?;
    if (&job.server, &job.jail) != (&target.server, &target.jail) {
        return Err(Problem::from(CancelError::Unknown));
    }
    require_cancel(&state, &visitor.actor, &id).await?;
    let message = match cancel(&state, visitor.actor.clone(), id.clone()).await {
        Ok(job) => Message::ok(format!(
            "Cancelled at {} of {}.",
            count(job.progress.done as u64),
            count(job.progress.asked as u64)
        ))
        .and("What was done stays done."),
        // The job is stopped: only its agent has yet to hear of it.
        Err(error @ CancelError::AgentUnaware(_)) => Message::refused(&error.into()),
        Err(error) => refused("The job was not cancelled", &error.into()),
    };
    let path = format!("{}?job={id}", jail_path(&target.server, &target.jail));
    Ok(done(&state, &visitor.actor, &back(&form, &path), message).await)
}
