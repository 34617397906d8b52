//! Enforces the table of permissions (`permissions.rs`), in two places:
//!
//! | judged | where | refused with |
//! |---|---|---|
//! | the route, and the server in its path | [`check`], with every session check (`caller.rs`) | 403 `not-allowed`; 404 for a server that the account is not for, whether there is one or not |
//! | what the body asks for, whose job it is, what is undone | [`require`], in a handler | 403 `not-allowed` |
//!
//! [`check`] runs before the body is read and before a stored answer is replayed (`middleware/idempotency.rs`). Lists leave out what an
//! account is not for: see [`crate::actions::reach`]. A refused change is an entry of the audit, folded as other refusals are.

use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::address;
use super::permissions::{self, About, Right, Who};
use crate::actions::ban_jobs::CancelError;
use crate::actions::{Actor, Refusal, UnknownTarget};
use crate::domain::access::{Access, Role};
use crate::domain::{BanJobId, Timestamp};
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;
use crate::store::{BanJobView, LiveSession};

/// Whether this session may send this request, as far as its route decides.
///
/// # Errors
/// 403 if its role may not; 404 if the path names a server that its account is not for.
pub async fn check(parts: &mut Parts, state: &AppState, session: &LiveSession) -> Result<()> {
    let access = &session.access;
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let row = permissions::find(parts.method.as_str(), route);
    // A route without a row is for nobody else.
    let right = row.map_or(Right::Settings, |row| row.right);
    if !right.of(access) {
        name_in_log(session);
        if !parts.method.is_safe() {
            note(state, &actor(parts, state, session), right);
        }
        return Err(not_allowed(right, access));
    }
    if row.is_some_and(|row| row.about == About::Server) {
        reach(parts, state, access).await?;
    }
    Ok(())
}

/// Whether the account is for the server in the path. Without asking whether there is one: the answer is the same.
async fn reach(parts: &mut Parts, state: &AppState, access: &Access) -> Result<()> {
    let unknown = || Problem::from(UnknownTarget::Server);
    let named = RawPathParams::from_request_parts(parts, state).await.map_err(|_| unknown())?;
    let server = named.iter().find(|(name, _)| *name == "server").map(|(_, server)| server);
    if server.is_some_and(|server| access.reaches_named(server)) { Ok(()) } else { Err(unknown()) }
}

/// Whether they have a right that more than the route decides about; the refusal goes into the audit.
///
/// # Errors
/// 403.
pub fn require(state: &AppState, actor: &Actor, right: Right) -> Result<()> {
    if right.of(&actor.access) {
        return Ok(());
    }
    note(state, actor, right);
    Err(not_allowed(right, &actor.access))
}

/// Whether they may cancel this job: their own, or, as an admin, anybody's. Of a server that their account is not for, there is none.
///
/// # Errors
/// 403, or 404.
pub async fn require_cancel(state: &AppState, actor: &Actor, id: &BanJobId) -> Result<()> {
    if actor.access.is_everything() {
        return Ok(());
    }
    let job = state.store.ban_job(id).await?.filter(|job| actor.access.reaches(&job.server));
    let job = job.ok_or(CancelError::Unknown)?;
    let since = own_since(state, actor, [&job]).await?;
    require(state, actor, right_to_cancel(&job, actor, since))
}

/// Since when jobs under the actor's name are theirs: a deleted account may have had the same name. It is read only if one of these jobs
/// depends on it.
///
/// # Errors
/// If Redis fails.
pub async fn own_since<'a>(
    state: &AppState,
    actor: &Actor,
    jobs: impl IntoIterator<Item = &'a BanJobView>,
) -> Result<Timestamp> {
    if actor.access.is_everything() || !jobs.into_iter().any(|job| job.username == actor.username()) {
        return Ok(Timestamp::MIN_UTC);
    }
    let account = state.store.account(&actor.username).await?;
    Ok(account.map_or(Timestamp::MAX_UTC, |account| account.created_at.unwrap_or(Timestamp::MIN_UTC)))
}

/// The right that cancelling this job takes, where jobs under the actor's name are theirs since then.
#[must_use]
pub fn right_to_cancel(job: &BanJobView, actor: &Actor, since: Timestamp) -> Right {
    let own = job.username == actor.username() && since <= job.created_at;
    if own { Right::CancelJob } else { Right::CancelAnyJob }
}

fn not_allowed(right: Right, access: &Access) -> Problem {
    let bound = if right.who() == Who::AdminOfAll && access.role == Role::Admin {
        let patterns: Vec<&str> = access.servers.iter().map(|pattern| pattern.as_str()).collect();
        format!("your account is for {} only", patterns.join(", "))
    } else {
        format!("your role is {}", access.role)
    };
    let detail = format!(
        "only {} may {}, and {bound}; nothing was changed. An admin, or with single sign-on your groups, decides what your account \
         may do; for a token, make another one that may do more",
        right.who(),
        right.words()
    );
    let needed = match right.who() {
        Who::Role(role) => role,
        Who::Everybody | Who::LoggedIn => Role::Viewer,
        Who::AdminOfAll => Role::Admin,
    };
    Problem::new(StatusCode::FORBIDDEN, "not-allowed", "Your account may not do this", detail)
        .with("needed_role", needed.as_str())
}

/// Records the refusal in the audit; the answer does not wait for Redis.
fn note(state: &AppState, actor: &Actor, right: Right) {
    let reason = format!("the role {} may not {}", actor.access.role, right.words());
    let account = Some(actor.username.clone());
    let refusal = Refusal { what: "request.not_allowed", actor: actor.clone(), account, reason };
    let task = state.clone();
    state.in_flight.spawn(async move { task.note_refusal(refusal).await });
}

fn actor(parts: &Parts, state: &AppState, session: &LiveSession) -> Actor {
    Actor::of_session(session, address::of(&parts.extensions, &parts.headers, state), &state.worker)
}

/// The line of the refusal in the access log says whose it was.
pub(super) fn name_in_log(session: &LiveSession) {
    let span = tracing::Span::current();
    span.record("user.name", session.username.as_str());
    span.record("session.id", session.id.to_string().get(..8).unwrap_or_default());
}
