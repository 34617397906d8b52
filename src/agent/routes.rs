//! The agent's routes about jails and bans: from a request to a typed question, and from its outcome to an answer.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::bans::Order;
use super::change::{ChangeError, Changed, Edit};
use super::desk::Desk;
use super::server::{Deadline, refuse};
use super::wire;
use crate::domain::JailName;

type Answer<T> = Result<Json<T>, Response>;
type Shared = State<Arc<Desk>>;

/// All of them.
pub(super) fn router() -> Router<Arc<Desk>> {
    Router::new()
        .route("/v1/jails/settings", get(all_settings))
        .route("/v1/jails/{jail}/settings", get(settings).patch(set))
        .route("/v1/jails/{jail}/ignore", post(ignore))
        .route("/v1/jails/{jail}/activate", post(activate))
        .route("/v1/jails/{jail}/deactivate", post(deactivate))
        .route("/v1/jails/{jail}/bans", get(bans).post(ban).delete(unban_all))
        .route("/v1/jails/{jail}/unban", post(unban))
        .route("/v1/banned", post(lookup))
        .route("/v1/rollback", post(rollback))
        .route("/v1/fence", post(fence))
}

async fn all_settings(State(desk): Shared, Deadline(deadline): Deadline) -> Answer<wire::JailViews> {
    answer(desk.jail_views(None, deadline).await)
}

async fn settings(
    State(desk): Shared,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
) -> Answer<wire::JailViews> {
    answer(desk.jail_views(Some(&jail), deadline).await)
}

async fn set(
    State(desk): Shared,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
    Body(change): Body<wire::ChangeSettings>,
) -> Answer<wire::JailViews> {
    desk.settings.set(&jail, &change, deadline).await.map_err(|error| refusal(&error))?;
    answer(desk.jail_views(Some(&jail), deadline).await)
}

async fn ignore(
    State(desk): Shared,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
    Body(wire::Ignore { network, persistent }): Body<wire::Ignore>,
) -> Answer<wire::JailViews> {
    desk.settings.ignore(&jail, network, persistent, deadline).await.map_err(|error| refusal(&error))?;
    answer(desk.jail_views(Some(&jail), deadline).await)
}

async fn activate(
    State(desk): Shared,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
) -> Answer<wire::JailChanged> {
    change(&desk, jail, Edit::Activate, deadline).await
}

async fn deactivate(
    State(desk): Shared,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
) -> Answer<wire::JailChanged> {
    change(&desk, jail, Edit::Deactivate, deadline).await
}

async fn change(desk: &Desk, jail: JailName, edit: Edit, deadline: Instant) -> Answer<wire::JailChanged> {
    let changed = desk.changer.change(jail.clone(), edit, deadline).await;
    answer(changed.map(|Changed { active, changed }| wire::JailChanged { jail, active, changed }))
}

async fn bans(State(desk): Shared, Jail(jail): Jail, Deadline(deadline): Deadline) -> Answer<wire::BanList> {
    answer(desk.bans.list(&jail, deadline).await)
}

async fn ban(
    State(desk): Shared,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
    Body(request): Body<wire::BanRequest>,
) -> Answer<wire::BanResults> {
    answer(desk.bans.order(&jail, Order::Ban, &request, deadline).await)
}

async fn unban(
    State(desk): Shared,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
    Body(request): Body<wire::BanRequest>,
) -> Answer<wire::BanResults> {
    answer(desk.bans.order(&jail, Order::Unban, &request, deadline).await)
}

async fn unban_all(
    State(desk): Shared,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
    Body(request): Body<wire::UnbanAll>,
) -> Answer<wire::UnbannedAll> {
    answer(desk.bans.unban_all(&jail, request.job.as_ref(), deadline).await)
}

async fn lookup(
    State(desk): Shared,
    Deadline(deadline): Deadline,
    Body(request): Body<wire::LookupRequest>,
) -> Answer<wire::Lookups> {
    if request.ips.len() > wire::MAX_LOOKUPS {
        let reason =
            format!("a call looks {} addresses up at most, not {}", wire::MAX_LOOKUPS, request.ips.len());
        return Err(refuse(StatusCode::BAD_REQUEST, "request", &reason));
    }
    answer(desk.bans.lookup(&request.ips, deadline).await)
}

async fn rollback(
    State(desk): Shared,
    Deadline(deadline): Deadline,
    Body(wire::Rollback { jail }): Body<wire::Rollback>,
) -> Answer<wire::RolledBack> {
    answer(desk.changer.roll_back(jail, deadline).await)
}

async fn fence(State(desk): Shared, Body(job): Body<wire::JobEpoch>) -> Answer<wire::Fenced> {
    answer(desk.bans.fence(&job).await.map(|()| wire::Fenced {}))
}

fn answer<T>(outcome: Result<T, ChangeError>) -> Answer<T> {
    outcome.map(Json).map_err(|error| refusal(&error))
}

fn refusal(error: &ChangeError) -> Response {
    let (status, kind) = match error {
        ChangeError::Request(_) => (StatusCode::BAD_REQUEST, "request"),
        ChangeError::UnknownJail(_) => (StatusCode::NOT_FOUND, "jail"),
        ChangeError::Stale(_) => (StatusCode::CONFLICT, "stale"),
        ChangeError::Configuration(_) => (StatusCode::UNPROCESSABLE_ENTITY, "configuration"),
        ChangeError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        ChangeError::Down(_) => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        ChangeError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    refuse(status, kind, &error.to_string())
}

/// The jail in the path.
struct Jail(JailName);

impl<S: Send + Sync> FromRequestParts<S> for Jail {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let bad = |reason: &str| refuse(StatusCode::BAD_REQUEST, "request", reason);
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| bad(&rejection.body_text()))?;
        JailName::parse(&name).map(Self).map_err(|error| bad(&error.to_string()))
    }
}

/// A JSON body; the gate has bounded its size where it is told, axum does where it is not.
struct Body<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => {
                let rejection: JsonRejection = rejection;
                Err(refuse(StatusCode::BAD_REQUEST, "request", &rejection.body_text()))
            }
        }
    }
}
