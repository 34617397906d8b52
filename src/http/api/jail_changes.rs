//! Changes of jails that take longer than 30 s: each can be polled at its own URL, at any worker.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::jails::{JailSwitched, JailView};
use super::rolled_back::RolledBack;
use super::running_changes::ChangeStepView;
use super::time::Time;
use crate::actions::{Actor, JailTarget};
use crate::domain::{JailChangeId, JailChangeKind, JailChangeState, JailName, ServerName};
use crate::http::auth::caller::Caller;
use crate::http::error::{Document, Problem, Result};
use crate::http::extract::Path;
use crate::http::long_change::{Answered, answered_soon};
use crate::http::state::AppState;
use crate::store::{JailChangeView, NewJailChange};

/// A change of a jail that takes longer than 30 s.
#[derive(Serialize, ToSchema)]
pub struct JailChange {
    id: String,
    #[schema(value_type = String)]
    server: ServerName,
    #[schema(value_type = String)]
    jail: JailName,
    /// `activate`, `deactivate`, `settings`, `ignore` or `roll_back`.
    change: &'static str,
    /// `running`, `done`, `refused` (nothing was changed), `failed`, or `not_known`: the worker that waited for the outcome is
    /// gone. The agent completes the change or undoes it: look at the jail.
    state: &'static str,
    /// Who asked for it.
    username: String,
    began_at: Time,
    finished_at: Option<Time>,
    /// The steps that the agent has taken, the current one last; empty before the first step, and if its version does not
    /// report steps.
    steps: Vec<ChangeStepView>,
    /// For a change that is done: the answer that the request would have got.
    #[schema(value_type = Option<JailChangeResult>)]
    result: Option<Value>,
    /// Why the change was refused or failed.
    #[schema(value_type = Option<Document<'static>>)]
    problem: Option<Value>,
}

/// The answer to a change that is done.
#[expect(dead_code, reason = "it is stored as JSON, and this says which")]
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum JailChangeResult {
    /// Of a switch.
    Switched(JailSwitched),
    /// Of a rollback.
    RolledBack(RolledBack),
    /// Of other changes.
    Jail(Box<JailView>),
}

impl From<JailChangeView> for JailChange {
    fn from(view: JailChangeView) -> Self {
        let JailChangeView { id, about, state, began_at, finished_at, steps, end } = view;
        let NewJailChange { server, jail, kind, username } = about;
        let document = end.map(|end| end.document);
        let (result, problem) = match state {
            JailChangeState::Done => (document, None),
            _ => (None, document),
        };
        Self {
            id: id.to_string(),
            server,
            jail,
            change: kind.as_str(),
            state: state.as_str(),
            username,
            began_at: began_at.into(),
            finished_at: finished_at.map(Time),
            steps: steps.into_iter().map(ChangeStepView::from).collect(),
            result,
            problem,
        }
    }
}

/// 200 with the outcome of a change, or 202 with the address where it will be.
pub async fn answer<T: Serialize + Send + 'static>(
    state: &AppState,
    actor: &Actor,
    target: &JailTarget,
    (kind, id): (JailChangeKind, JailChangeId),
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<Response> {
    let (server, jail) = (target.server.clone(), target.jail.clone());
    let about = NewJailChange { server, jail, kind, username: actor.username().to_owned() };
    match answered_soon(state, id, about, change).await? {
        Answered::InTime(shown) => Ok(axum::Json(shown).into_response()),
        Answered::UnderWay(view) => {
            let location = format!("/api/v1/jail-changes/{}", view.id);
            let body = axum::Json(JailChange::from(view));
            Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], body).into_response())
        }
    }
}

/// One change of a jail that took longer than 30 s, kept for a day.
#[utoipa::path(get, path = "/api/v1/jail-changes/{id}", tag = "jails", params(("id" = String, Path)),
    responses((status = 200, body = JailChange)))]
pub async fn show(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<JailChange>> {
    let unknown = || Problem::not_found("jail change, or it ended more than a day ago");
    let id = JailChangeId::parse(&id).ok_or_else(unknown)?;
    let view = state.store.jail_change(&id).await?;
    let view = view.filter(|view| caller.session.access.reaches(&view.about.server));
    Ok(axum::Json(view.ok_or_else(unknown)?.into()))
}
