//! The page of ban jobs: open ones, with their progress and a button to cancel them; failures by reason; ended ones.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::jobs_rows::Row;
use super::marks::count;
use super::message::{Message, done};
use super::page::Page;
use super::paging::Paging;
use super::shell::{Shell, Visitor};
use crate::actions::Actor;
use crate::actions::ban_jobs::{CancelError, cancel as cancel_job};
use crate::domain::{BanJobId, Timestamp};
use crate::http::auth::allowed::{own_since, require_cancel, right_to_cancel};
use crate::http::auth::permissions::Right;
use crate::http::error::Result;
use crate::http::extract::{Path, Query};
use crate::http::query::{cursor_of_page, digits};
use crate::http::state::AppState;

/// The number of jobs on a page.
const PAGE: usize = 50;

/// The page of jobs to show.
#[derive(Deserialize)]
pub struct Wanted {
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct Jobs {
    shell: Shell,
    open: u64,
    ended: usize,
    jobs: Vec<Row>,
    paging: Paging,
    actor: Actor,
    /// Since when jobs under their name are theirs.
    own_since: Timestamp,
}

impl Jobs {
    /// Whether the user may cancel this job: their own, or, as an admin, anybody's.
    fn may_cancel(&self, job: &Row) -> bool {
        job.can_be_cancelled() && self.shell.may(right_to_cancel(&job.view, &self.actor, self.own_since))
    }

    /// The jobs by how much they matter now: a heading, its id, and the jobs.
    fn parts(&self) -> [(&'static str, &'static str, Vec<&Row>); 3] {
        let of = |which: &dyn Fn(&Row) -> bool| self.jobs.iter().filter(|job| which(job)).collect();
        [
            ("Running", "running", of(&Row::is_open)),
            ("Not all done", "failed", of(&Row::has_failed)),
            ("Ended", "ended", of(&|job| !job.is_open() && !job.has_failed())),
        ]
    }
}

/// The jobs.
pub async fn show(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(wanted): Query<Wanted>,
) -> Result<Page<impl Template>> {
    let cursor = cursor_of_page(wanted.cursor.as_deref(), digits)?;
    let access = &visitor.actor.access;
    let page = state.jobs_reached(access, cursor, PAGE).await?;
    let jobs: Vec<Row> = page.items.into_iter().map(|view| Row { view }).collect();
    let paging = Paging {
        says: format!("{} on this page, the newest first", jobs.len()),
        previous: None,
        next: page.next_cursor.map(|cursor| format!("/jobs?cursor={cursor}")),
        size: PAGE,
    };
    let open = state.open_jobs_reached(access).await?;
    let ended = jobs.iter().filter(|job| !job.is_open()).count();
    let open_jobs = jobs.iter().filter(|job| job.is_open()).map(|job| &job.view);
    let own_since = own_since(&state, &visitor.actor, open_jobs).await?;
    let (shell, actor) = (visitor.shell, visitor.actor);
    Ok(Page::new(Jobs { shell, open, ended, jobs, paging, actor, own_since }))
}

/// Cancels what a job has not done yet.
pub async fn cancel(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response> {
    let id = BanJobId::parse(&id).ok_or(CancelError::Unknown)?;
    require_cancel(&state, &visitor.actor, &id).await?;
    let message = match cancel_job(&state, visitor.actor.clone(), id).await {
        Ok(view) => {
            let (tried, asked) = (count(view.progress.done as u64), count(view.progress.asked as u64));
            let row = Row { view };
            Message::ok(format!("Cancelled at {tried} of {asked}."))
                .and(format!("{}.", row.says(&visitor.shell.clock.now)))
        }
        Err(error @ (CancelError::Over(_) | CancelError::AgentUnaware(_))) => Message::refused(&error.into()),
        Err(error) => return Err(error.into()),
    };
    Ok(done(&state, &visitor.actor, "/jobs", message).await)
}
