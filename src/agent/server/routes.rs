//! The agent's routes about jails and bans: from a request to a typed question, and from its outcome to an answer.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::answer::{Deadline, refuse};
use crate::agent::host::bans::Order;
use crate::agent::host::changer::{Changed, Edit};
use crate::agent::host::error::ChangeError;
use crate::agent::host::service::AgentService;
use crate::agent::names::Names;
use crate::agent::refusal::RefusalKind;
use crate::agent::wire;
use crate::domain::{JailChangeId, JailName};

type Answer<T> = Result<Json<T>, ChangeError>;
type Service = State<Arc<AgentService>>;

/// All of them.
pub(in crate::agent) fn router() -> Router<Arc<AgentService>> {
    Router::new()
        .route("/v1/jails/settings", get(all_settings))
        .route("/v1/jails/{jail}/settings", get(settings).patch(set))
        .route("/v1/jails/{jail}/ignore", post(ignore))
        .route("/v1/jails/{jail}/activate", post(activate))
        .route("/v1/jails/{jail}/deactivate", post(deactivate))
        .route("/v1/jails/{jail}/bans", get(bans).post(ban).delete(unban_all))
        .route("/v1/jails/{jail}/unban", post(unban))
        .route("/v1/banned", post(lookup))
        .route("/v1/changes/{id}", get(steps))
        .route("/v1/rollback", post(rollback))
        .route("/v1/fence", post(fence))
}

async fn all_settings(
    State(service): Service,
    Deadline(deadline): Deadline,
    names: Names,
) -> Answer<wire::JailViews> {
    Ok(Json(names.of(service.jail_views(None, deadline).await?)))
}

async fn settings(
    State(service): Service,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
) -> Answer<wire::JailViews> {
    Ok(Json(service.jail_views(Some(&jail), deadline).await?))
}

async fn set(
    State(service): Service,
    Jail(jail): Jail,
    ChangeId(id): ChangeId,
    Deadline(deadline): Deadline,
    Body(change): Body<wire::ChangeSettings>,
) -> Answer<wire::JailViews> {
    if change.persistent {
        jail.changeable()?;
    }
    to_its_end(async move {
        service.settings.set(&jail, &change, id, deadline).await?;
        changed(service.jail_views(Some(&jail), deadline).await)
    })
    .await
}

async fn ignore(
    State(service): Service,
    Jail(jail): Jail,
    ChangeId(id): ChangeId,
    Deadline(deadline): Deadline,
    Body(wire::Ignore { network, persistent }): Body<wire::Ignore>,
) -> Answer<wire::JailViews> {
    if persistent {
        jail.changeable()?;
    }
    to_its_end(async move {
        service.settings.ignore(&jail, network, persistent, id, deadline).await?;
        changed(service.jail_views(Some(&jail), deadline).await)
    })
    .await
}

async fn activate(
    State(service): Service,
    Jail(jail): Jail,
    id: ChangeId,
    Deadline(deadline): Deadline,
) -> Answer<wire::JailChanged> {
    change(&service, jail, Edit::Activate, id, deadline).await
}

async fn deactivate(
    State(service): Service,
    Jail(jail): Jail,
    id: ChangeId,
    Deadline(deadline): Deadline,
) -> Answer<wire::JailChanged> {
    change(&service, jail, Edit::Deactivate, id, deadline).await
}

async fn change(
    service: &AgentService,
    jail: JailName,
    edit: Edit,
    ChangeId(id): ChangeId,
    deadline: Instant,
) -> Answer<wire::JailChanged> {
    jail.changeable()?;
    let changed = service.changer.change(jail.clone(), edit, id, deadline).await;
    Ok(Json(changed.map(|Changed { active, changed }| wire::JailChanged { jail, active, changed })?))
}

async fn steps(State(service): Service, Path(id): Path<String>) -> Answer<wire::ChangeSteps> {
    let id = JailChangeId::parse(&id).ok_or_else(|| ChangeError::Request(wire::BAD_CHANGE.to_owned()))?;
    Ok(Json(wire::ChangeSteps { steps: service.changer.steps.of(&id) }))
}

async fn bans(
    State(service): Service,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
) -> Result<(HeaderMap, Json<wire::BanList>), ChangeError> {
    let (list, tag) = service.bans.tagged_list(&jail, deadline).await?;
    let tag = tag.and_then(|tag| HeaderValue::try_from(tag).ok());
    let name = HeaderName::from_static(wire::LIST_TAG_HEADER);
    Ok((tag.map(|tag| (name, tag)).into_iter().collect(), Json(list)))
}

async fn ban(
    State(service): Service,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
    Body(request): Body<wire::BanRequest>,
) -> Answer<wire::BanResults> {
    to_its_end(async move { service.bans.order(&jail, Order::Ban, &request, deadline).await }).await
}

async fn unban(
    State(service): Service,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
    Body(request): Body<wire::BanRequest>,
) -> Answer<wire::BanResults> {
    to_its_end(async move { service.bans.order(&jail, Order::Unban, &request, deadline).await }).await
}

async fn unban_all(
    State(service): Service,
    Jail(jail): Jail,
    Deadline(deadline): Deadline,
    Body(request): Body<wire::UnbanAll>,
) -> Answer<wire::UnbannedAll> {
    to_its_end(async move { service.bans.unban_all(&jail, request.job.as_ref(), deadline).await }).await
}

async fn lookup(
    State(service): Service,
    Deadline(deadline): Deadline,
    names: Names,
    Body(request): Body<wire::LookupRequest>,
) -> Answer<wire::Lookups> {
    if request.ips.len() > wire::MAX_LOOKUPS {
        let reason = format!(
            "a call may look up at most {} addresses, this one has {}",
            wire::MAX_LOOKUPS,
            request.ips.len()
        );
        return Err(ChangeError::Request(reason));
    }
    Ok(Json(names.of(service.look_up(&request, deadline).await?)))
}

async fn rollback(
    State(service): Service,
    Deadline(deadline): Deadline,
    names: Names,
    Body(wire::Rollback { jail }): Body<wire::Rollback>,
) -> Answer<wire::RolledBack> {
    jail.changeable()?;
    Ok(Json(names.of(service.changer.roll_back(jail, deadline).await?)))
}

async fn fence(
    State(service): Service,
    Deadline(deadline): Deadline,
    Body(job): Body<wire::JobEpoch>,
) -> Answer<wire::Fenced> {
    Ok(Json(service.bans.fence(&job, deadline).await?))
}

/// The jail after a change was made. If it cannot be read, asking for the change again shows it once fail2ban answers.
fn changed(view: Result<wire::JailViews, ChangeError>) -> Result<wire::JailViews, ChangeError> {
    view.map_err(|error| match error {
        ChangeError::Busy(reason) => {
            ChangeError::UnderWay(format!("the change was made, but then this failed: {reason}"))
        }
        error => ChangeError::Unsettled(format!("the change was made, but then this failed: {error}")),
    })
}

/// Completes what was begun even if the caller hangs up: a command may be on its way to fail2ban, and what comes after it (its
/// verification, the next command) must wait for it.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ChangeError>> + Send + 'static,
) -> Answer<T> {
    let ended = tokio::spawn(work.in_current_span()).await;
    let cut = |_| Err(ChangeError::Unsettled("the request was cut off: the agent is stopping".into()));
    ended.unwrap_or_else(cut).map(Json)
}

/// The id that the caller gave its change, to ask for its steps.
struct ChangeId(Option<JailChangeId>);

impl<S: Sync> FromRequestParts<S> for ChangeId {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let Some(value) = parts.headers.get(wire::CHANGE_HEADER) else { return Ok(Self(None)) };
        let id = value.to_str().ok().and_then(JailChangeId::parse);
        id.map(|id| Self(Some(id))).ok_or_else(|| refuse(RefusalKind::Request, wire::BAD_CHANGE))
    }
}

/// The jail in the path.
struct Jail(JailName);

impl<S: Send + Sync> FromRequestParts<S> for Jail {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let bad = |reason: &str| refuse(RefusalKind::Request, reason);
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| bad(&rejection.body_text()))?;
        JailName::from_segment(&name).map(Self).map_err(|error| bad(&error.to_string()))
    }
}

/// A JSON body. The gate bounds its size if the request declares one, axum if not.
struct Body<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => {
                let rejection: JsonRejection = rejection;
                Err(refuse(RefusalKind::Request, &rejection.body_text()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_was_made_and_cannot_be_shown_is_not_answered_as_if_nothing_was_changed() {
        let said = |error: ChangeError| changed(Err(error)).unwrap_err();
        let busy = said(ChangeError::Busy("slow".to_owned()));
        assert!(matches!(&busy, ChangeError::UnderWay(words) if words.contains("was made")), "{busy}");
        let down = said(ChangeError::Down("no socket".to_owned()));
        assert!(matches!(&down, ChangeError::Unsettled(words) if words.contains("was made")), "{down}");
    }
}
