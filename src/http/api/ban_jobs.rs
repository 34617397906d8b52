//! Ban jobs: put here, carried out by whichever worker is free (`crate::jobs::bans` there), shown and cancelled here.
//!
//! A cancellation is answered once the agent knows of it: from then on no further address is banned or unbanned by the
//! job, whatever worker was paused with a command in its hand. Where the agent cannot be asked, the answer says so.

use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::jail_switch::{Change, to_the_end};
use super::sessions::{List, PageQuery};
use super::time::Time;
use crate::agent::client::{AgentError, RefusedKind};
use crate::agent::wire::{JobEpoch, JobKey};
use crate::domain::{BanJobId, BanJobState, BanOrder, JailName, Network, ServerName, UnreachableKind};
use crate::http::auth::author::Author;
use crate::http::error::{Problem, Result};
use crate::http::extract::{Caller, Path, Query};
use crate::http::state::AppState;
use crate::store::jobs::ban_jobs::MOST_OPEN;
use crate::store::{BanJobClaim, BanJobView, Cancelled, NewBanJob};

/// Addresses that an entry of the audit names; the others are counted.
pub(in crate::http) const NAMED: usize = 25;

/// When to look again whether a job may be put.
const TRY_AGAIN_AFTER: u32 = 10;

/// A large ban or unban.
#[derive(Serialize, ToSchema)]
pub struct BanJob {
    id: String,
    #[schema(value_type = String)]
    server: ServerName,
    #[schema(value_type = String)]
    jail: JailName,
    /// `ban`, `unban` or `unban_all`.
    order: &'static str,
    /// `queued`, `running`, `cancelling` (the agent does not know yet), `cancelled`, `done` or `failed`.
    state: &'static str,
    /// Addresses in all; of `unban_all` 0 until it has begun.
    asked: usize,
    /// Addresses that were tried.
    done: usize,
    /// Of them, those that were seen to change.
    changed: usize,
    /// Of them, those that are not as asked.
    failed: usize,
    /// Up to 100 of those.
    failures: Vec<BanJobFailure>,
    /// Who asked for it.
    username: String,
    created_at: Time,
    started_at: Option<Time>,
    finished_at: Option<Time>,
    /// Why it waits for the agent, or why it failed.
    reason: Option<String>,
}

/// An address that is not as asked.
#[derive(Serialize, ToSchema)]
pub struct BanJobFailure {
    ip: String,
    reason: String,
}

impl From<BanJobView> for BanJob {
    fn from(view: BanJobView) -> Self {
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
            username: view.username,
            created_at: view.created_at.into(),
            started_at: view.started_at.map(Time),
            finished_at: view.finished_at.map(Time),
            reason: view.reason,
        }
    }
}

/// How the job is called that this request puts, if it puts one.
#[derive(Debug, Clone)]
pub struct Name(pub BanJobId);

impl FromRequestParts<AppState> for Name {
    type Rejection = Problem;

    /// A request with an `Idempotency-Key` that is run again puts the same job, not another.
    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self> {
        let given = parts.extensions.get::<Self>().cloned();
        Ok(given.unwrap_or_else(|| Self(BanJobId::of(rand::random()))))
    }
}

/// Puts a job: 202.
pub async fn put(change: &Change, Name(id): Name, order: BanOrder, ips: &[Network]) -> Result<Response> {
    let named: Vec<&Network> = ips.iter().take(NAMED).collect();
    let after = json!({ "job": id.as_str(), "order": order.as_str(), "asked": ips.len(), "ips": named });
    let target = Some(format!("{}/{}", change.server, change.jail));
    let audit = change.author.record("ban_job.begin", target, (Value::Null, after), "queued");
    let (server, jail) = (change.server.clone(), change.jail.clone());
    let store = &change.state.store;
    if !store.create_ban_job(&NewBanJob { id: id.clone(), server, jail, order, ips, audit }).await? {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-ban-jobs",
            "Too many ban jobs are open",
            format!("{MOST_OPEN} ban jobs are not over yet: wait for one of them, or cancel one"),
        )
        .retry_after(TRY_AGAIN_AFTER));
    }
    let job = found(store.ban_job(&id).await?)?;
    let location = format!("/api/v1/ban-jobs/{id}");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], axum::Json(job)).into_response())
}

fn found(view: Option<BanJobView>) -> Result<BanJob> {
    view.map(BanJob::from).ok_or_else(no_such_job)
}

fn no_such_job() -> Problem {
    Problem::not_found("ban job, or it was over more than a day ago")
}

fn parse(id: &str) -> Result<BanJobId> {
    BanJobId::parse(id).ok_or_else(no_such_job)
}

/// The ban jobs, newest first: those that are not over, and those that were over within a day.
#[utoipa::path(get, path = "/api/v1/ban-jobs", tag = "bans",
    params(
        ("cursor" = Option<String>, Query, pattern = r"^[0-9]{1,15}$", description = "The `next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "How many are wanted; 50 else")
    ),
    responses((status = 200, body = List<BanJob>)))]
pub async fn list(
    State(state): State<AppState>,
    _: Caller,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<List<BanJob>>> {
    let limit = page.limit()?;
    let wrong = || Problem::malformed("`cursor` must be the `next_cursor` of the page before");
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let cursor = page.cursor.as_deref().map(|text| number(text).ok_or_else(wrong)).transpose()?;
    let page = state.store.ban_jobs(cursor, limit).await?;
    let items = page.items.into_iter().map(BanJob::from).collect();
    Ok(axum::Json(List { items, next_cursor: page.next_cursor }))
}

/// One ban job with its progress.
#[utoipa::path(get, path = "/api/v1/ban-jobs/{id}", tag = "bans", params(("id" = String, Path)),
    responses((status = 200, body = BanJob)))]
pub async fn show(
    State(state): State<AppState>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<BanJob>> {
    found(state.store.ban_job(&parse(&id)?).await?).map(axum::Json)
}

/// Cancels a ban job: once this is answered, no further address is banned or unbanned by it. What it has done stays.
#[utoipa::path(post, path = "/api/v1/ban-jobs/{id}/cancel", tag = "bans", params(("id" = String, Path)),
    responses((status = 200, body = BanJob), (status = 409, description = "It was done, or had failed, already"),
        (status = 502, description = "No worker goes on with it, but the agent cannot be told yet")))]
pub async fn cancel(
    State(state): State<AppState>,
    author: Author,
    Path(id): Path<String>,
) -> Result<axum::Json<BanJob>> {
    let id = parse(&id)?;
    let job = found(state.store.ban_job(&id).await?)?;
    let target = Some(format!("{}/{}", job.server, job.jail));
    let before = json!({ "job": id.as_str(), "state": job.state, "done": job.done, "asked": job.asked });
    let record = author.record("ban_job.cancel", target, (before, Value::Null), "asked");
    to_the_end(async move {
        match state.store.cancel_ban_job(&id, &state.worker, &record).await? {
            Cancelled::Unknown => return found(None).map(axum::Json),
            Cancelled::Over(BanJobState::Cancelled) => {}
            Cancelled::Over(over) => {
                let detail = format!("the job was {} already: there is nothing to cancel", over.as_str());
                return Err(Problem::conflict("ban-job-over", "The ban job is over", detail));
            }
            Cancelled::Begun { claim, begun } => tell(&state, &claim, begun).await?,
        }
        found(state.store.ban_job(&id).await?).map(axum::Json)
    })
    .await
}

/// Tells the agent that a job is cancelled, and notes that it knows.
async fn tell(state: &AppState, claim: &BanJobClaim, begun: bool) -> Result<()> {
    if begun {
        match fence(state, claim).await {
            // Somebody else cancels it too, under a later claim, or has.
            Err(AgentError::Refused { kind: RefusedKind::Stale { known }, .. }) => {
                state.store.see_epoch(known.unwrap_or_default());
                return Ok(());
            }
            Err(error) => {
                // Whichever worker can reach the agent tells it.
                let why = error.to_string();
                if let Err(error) = state.store.put_ban_job_back(claim, Duration::ZERO, &why).await {
                    tracing::debug!(error = %error, "the claim of a cancellation runs out by itself");
                }
                return Err(Problem::from(error).and(
                    "no worker goes on with the job, and the agent will be told as soon as it can be reached; \
                     until then a command that was on its way, of up to 25 addresses, may still be carried out",
                ));
            }
            Ok(()) => {}
        }
    }
    let progress = state.store.ban_job(&claim.id).await?.map(|view| view.progress).unwrap_or_default();
    state.store.end_ban_job(claim, BanJobState::Cancelled, progress, None).await?;
    if let Err(error) = state.store.request_probe(&claim.server).await {
        tracing::debug!(error = %error, "no probe could be asked for after a change");
    }
    Ok(())
}

async fn fence(state: &AppState, claim: &BanJobClaim) -> std::result::Result<(), AgentError> {
    let unreachable =
        |reason: String| AgentError::Unreachable { kind: UnreachableKind::Network, reason, cause: None };
    let agent = state.agents.get(&claim.server);
    let agent =
        agent.ok_or_else(|| unreachable(format!("this worker knows no server {} any more", claim.server)))?;
    let key = JobKey::parse(claim.id.as_str()).map_err(unreachable)?;
    let owner = Some(state.worker.as_str().to_owned());
    agent.fence(&JobEpoch { key, epoch: claim.epoch, incarnation: None, owner }).await.map(|_| ())
}
