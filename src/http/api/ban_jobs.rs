//! Ban jobs: shown and cancelled here, and carried out by any free worker (`crate::jobs::bans`).

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::sessions::{List, PageQuery};
use super::time::Time;
use crate::actions::Actor;
use crate::actions::ban_jobs::{CancelError, cancel as cancel_job};
use crate::domain::ban_job::by_reason;
use crate::domain::{BanJobId, JailName, ServerName};
use crate::http::auth::allowed::require_cancel;
use crate::http::auth::caller::Caller;
use crate::http::error::{Problem, Result};
use crate::http::extract::{Path, Query};
use crate::http::query::{cursor_of_list, digits};
use crate::http::state::AppState;
use crate::store::BanJobView;

/// A large ban or unban.
#[derive(Serialize, ToSchema)]
pub struct BanJob {
    id: String,
    #[schema(value_type = String)]
    server: ServerName,
    #[schema(value_type = String)]
    jail: JailName,
    /// `ban`, `unban` or `unban_all`; `unknown` if only a newer version of bangui knows it.
    order: &'static str,
    /// `queued`, `running`, `cancelling` (the agent has not been informed yet), `cancelled`, `done` or `failed`; `unknown` as
    /// for `order`.
    state: &'static str,
    /// Number of addresses; for `unban_all` 0 until it has begun.
    asked: usize,
    /// Number of addresses tried so far.
    done: usize,
    /// Number of these whose state changed.
    changed: usize,
    /// Number of these that are not as requested.
    failed: usize,
    /// Up to 100 of the failed ones.
    failures: Vec<BanJobFailure>,
    /// The number of failures by reason, the most frequent first.
    failures_by_reason: Vec<FailureReason>,
    /// Who asked for it.
    username: String,
    created_at: Time,
    started_at: Option<Time>,
    finished_at: Option<Time>,
    /// Why it waits for the agent, or why it failed.
    reason: Option<String>,
}

/// An address that is not as requested.
#[derive(Serialize, ToSchema)]
pub struct BanJobFailure {
    ip: String,
    reason: String,
}

/// A reason, and how many addresses failed for it.
#[derive(Serialize, ToSchema)]
pub struct FailureReason {
    reason: String,
    count: usize,
}

impl From<BanJobView> for BanJob {
    fn from(view: BanJobView) -> Self {
        let listed = view.failures.iter().map(|(_, reason)| reason.as_str());
        let groups = by_reason(view.order, view.progress.failed, listed).into_iter();
        let failures = view.failures.into_iter().map(|(ip, reason)| BanJobFailure { ip, reason });
        Self {
            id: view.id.to_string(),
            server: view.server,
            jail: view.jail,
            order: view.order.as_str(),
            state: view.state.as_str(),
            asked: view.progress.asked,
            done: view.progress.done,
            changed: view.progress.changed,
            failed: view.progress.failed,
            failures: failures.collect(),
            failures_by_reason: groups.map(|(reason, count)| FailureReason { reason, count }).collect(),
            username: view.username,
            created_at: view.created_at.into(),
            started_at: view.started_at.map(Time),
            finished_at: view.finished_at.map(Time),
            reason: view.reason,
        }
    }
}

/// The id of the job that this request enqueues, if it enqueues one.
#[derive(Debug, Clone)]
pub struct Name(pub BanJobId);

impl FromRequestParts<AppState> for Name {
    type Rejection = Problem;

    /// A request with an `Idempotency-Key` that is run again gets the same job, not another.
    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self> {
        let given = parts.extensions.get::<Self>().cloned();
        Ok(given.unwrap_or_else(|| Self(BanJobId::of(rand::random()))))
    }
}

/// 202 with the enqueued job and its location.
pub fn accepted(view: BanJobView) -> Response {
    let location = format!("/api/v1/ban-jobs/{}", view.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], axum::Json(BanJob::from(view))).into_response()
}

fn parse(id: &str) -> Result<BanJobId> {
    Ok(BanJobId::parse(id).ok_or(CancelError::Unknown)?)
}

/// The ban jobs, newest first: the open ones, and those that ended within a day.
#[utoipa::path(get, path = "/api/v1/ban-jobs", tag = "bans",
    params(
        ("cursor" = Option<String>, Query, pattern = r"^[0-9]{1,15}$", description = "The `next_cursor` of the previous page"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Number of items; 50 by default")
    ),
    responses((status = 200, body = List<BanJob>)))]
pub async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<List<BanJob>>> {
    let limit = page.limit()?;
    let cursor = cursor_of_list(page.cursor.as_deref(), digits)?;
    let page = state.jobs_reached(&caller.session.access, cursor, limit).await?;
    let items = page.items.into_iter().map(BanJob::from).collect();
    Ok(axum::Json(List { items, next_cursor: page.next_cursor }))
}

/// One ban job with its progress.
#[utoipa::path(get, path = "/api/v1/ban-jobs/{id}", tag = "bans", params(("id" = String, Path)),
    responses((status = 200, body = BanJob)))]
pub async fn show(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<BanJob>> {
    let view = state.store.ban_job(&parse(&id)?).await?;
    let view = view.filter(|view| caller.session.access.reaches(&view.server));
    Ok(axum::Json(view.ok_or(CancelError::Unknown)?.into()))
}

/// Cancels a ban job: once this is answered, no further address is banned or unbanned by it. What it has done stays.
///
/// Operators may cancel their own jobs, admins all.
#[utoipa::path(post, path = "/api/v1/ban-jobs/{id}/cancel", tag = "bans", params(("id" = String, Path)),
    responses((status = 200, body = BanJob), (status = 409, description = "The job has already ended"),
        (status = 502, description = "The job is stopped, but its agent could not be informed yet")))]
pub async fn cancel(
    State(state): State<AppState>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<axum::Json<BanJob>> {
    let id = parse(&id)?;
    require_cancel(&state, &actor, &id).await?;
    Ok(axum::Json(cancel_job(&state, actor, id).await?.into()))
}
