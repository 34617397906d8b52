//! Switching a jail on and off; and changes of jails that take longer than a browser waits, which have a page that reloads itself
//! until they end, at any worker.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::form::Form;
use super::jail_steps::{Step, doing, list};
use super::message::{Message, done, is_own, see_other};
use super::page::Page;
use super::search::jail_path;
use super::shell::{Shell, Visitor};
use super::undo_label::label;
use super::words::sentence;
use crate::actions::{Actor, JailTarget, switch_jail};
use crate::domain::{JailChangeId, JailChangeKind, JailChangeState, Timestamp, UndoId};
use crate::http::api::jails::JailSwitched;
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::long_change::{Answered, answered_soon};
use crate::http::state::AppState;
use crate::store::{NewJailChange, UNDO_FOR};

/// Switches a jail, as the form says.
pub async fn switch(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((server, jail)): Path<(String, String)>,
    form: Form,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let on = match form.text("do") {
        "on" => true,
        "off" => false,
        _ => return Err(Problem::malformed("`do` must be `on` or `off`")),
    };
    let word = if on { "on" } else { "off" };
    let kind = if on { JailChangeKind::Activate } else { JailChangeKind::Deactivate };
    let id = JailChangeId::of(rand::random());
    let undo = UndoId::from(&id);
    let change = {
        let (context, actor, target, id) = (state.clone(), visitor.actor.clone(), target.clone(), id.clone());
        async move {
            let switched = match on {
                true => switch_jail::activate(&context, actor, target, id).await?,
                false => switch_jail::deactivate(&context, actor, target, id).await?,
            };
            serde_json::to_value(JailSwitched::from(switched)).map_err(Problem::internal)
        }
    };
    let path = jail_path(&target.server, &target.jail);
    let back = back(&form, &path);
    let jail = format!("{} on {}", target.jail, target.server);
    let message = match answer(&state, &visitor.actor, &target, (kind, id), change).await {
        Ok(Outcome::Running(page)) => return Ok(see_other(&page)),
        Ok(Outcome::Done(switched)) if switched["changed"] == false => {
            Message::ok(format!("{jail} was {word} already."))
        }
        Ok(Outcome::Done(_)) => switched(&target, on, &undo, &back, visitor.shell.clock.now),
        Err(problem) => refused(&format!("{jail} was not switched {word}"), &problem),
    };
    Ok(done(&state, &visitor.actor, &back, message).await)
}

/// The message that a jail was switched.
#[must_use]
pub fn switched(target: &JailTarget, on: bool, undo: &UndoId, back: &str, now: Timestamp) -> Message {
    let (word, label) = if on { ("on", "Switch off again") } else { ("off", "Switch on again") };
    Message::ok(format!("{} on {} was switched {word}.", target.jail, target.server))
        .undo_of(undo, label, back, now)
}

/// The outcome of a change within the time that a browser waits.
pub enum Outcome {
    /// The change is done.
    Done(Value),
    /// The change takes longer: the path of the page that shows it.
    Running(String),
}

/// Waits for a change of a jail as long as a browser should.
///
/// # Errors
/// The refusal of the change.
pub async fn answer(
    state: &AppState,
    actor: &Actor,
    target: &JailTarget,
    (kind, id): (JailChangeKind, JailChangeId),
    change: impl Future<Output = Result<Value>> + Send + 'static,
) -> Result<Outcome> {
    let (server, jail) = (target.server.clone(), target.jail.clone());
    let about = NewJailChange { server, jail, kind, username: actor.username().to_owned() };
    Ok(match answered_soon(state, id, about, change).await? {
        Answered::InTime(value) => Outcome::Done(value),
        Answered::UnderWay(view) => {
            Outcome::Running(format!("{}/changes/{}", jail_path(&target.server, &target.jail), view.id))
        }
    })
}

/// The message of a change that was refused. fail2ban's own words are marked as such, and "nothing was changed" appears only
/// where that is true.
#[must_use]
pub fn refused(what: &str, problem: &Problem) -> Message {
    match problem.name() {
        "configuration-refused" => {
            Message::bad(format!("{what}, and nothing was changed.")).said(problem.detail())
        }
        name if is_open(name, problem.detail()) => {
            let perhaps = match what.split_once(' ') {
                Some((first @ ("Nothing" | "Not" | "The"), rest)) => {
                    format!("{} {rest}", first.to_lowercase())
                }
                _ => what.to_owned(),
            };
            Message::bad(format!("The outcome is not known: perhaps {perhaps}.")).and(format!(
                "{}. {}",
                problem.title(),
                sentence(problem.detail())
            ))
        }
        _ => Message::bad(format!("{what}.")).and(format!(
            "{}. {}",
            problem.title(),
            sentence(problem.detail())
        )),
    }
}

/// Whether a refusal leaves open what was done: then a page must not say that it was not.
fn is_open(name: &str, detail: &str) -> bool {
    matches!(name, "change-under-way" | "redis-unavailable" | "not-confirmed")
        || detail.contains("is not known")
}

/// The page of a form, from its field `back`; else this one.
#[must_use]
pub fn back<const LIMIT: usize>(form: &Form<LIMIT>, path: &str) -> String {
    let back = form.text("back");
    if is_own(back) { back.to_owned() } else { path.to_owned() }
}

#[derive(Template)]
#[template(path = "jail_change.html")]
struct ChangePage {
    shell: Shell,
    server: String,
    jail: String,
    path: String,
    doing: &'static str,
    state: JailChangeState,
    steps: Vec<Step>,
    username: String,
    began_at: Timestamp,
    finished_at: Option<Timestamp>,
    /// Why it was not done.
    reason: Option<String>,
    /// For a change that is done: the id of its undo, the label of the button, and until when it is offered.
    undo: Option<(UndoId, String, Timestamp)>,
}

/// The page of a change that takes longer than a browser waits.
pub async fn show(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((server, jail, id)): Path<(String, String, String)>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let unknown = || Problem::not_found("change of this jail, or it ended more than a day ago");
    let id = JailChangeId::parse(&id).ok_or_else(unknown)?;
    let view = state.store.jail_change(&id).await?.ok_or_else(unknown)?;
    if (&view.about.server, &view.about.jail) != (&target.server, &target.jail) {
        return Err(unknown());
    }
    let undo = way_back(
        &state,
        &visitor.shell,
        &id,
        view.finished_at.filter(|_| view.state == JailChangeState::Done),
    )
    .await?;
    let reason = view
        .end
        .filter(|_| view.state != JailChangeState::Done)
        .map(|end| end.document["detail"].as_str().map_or_else(|| end.document.to_string(), str::to_owned));
    let page = ChangePage {
        server: server.clone(),
        path: jail_path(&target.server, &target.jail),
        jail: target.jail.to_string(),
        doing: doing(view.about.kind),
        steps: list(&view.steps),
        state: view.state,
        username: view.about.username,
        began_at: view.began_at,
        finished_at: view.finished_at,
        reason,
        undo,
        shell: visitor.shell,
    };
    Ok(Page::new(page).into_response())
}

/// The undo of a change that ended at this time, if there still is one.
async fn way_back(
    state: &AppState,
    shell: &Shell,
    id: &JailChangeId,
    ended_at: Option<Timestamp>,
) -> Result<Option<(UndoId, String, Timestamp)>> {
    let (Some(ended_at), id) = (ended_at, UndoId::from(id)) else { return Ok(None) };
    let done = state.store.undoable(std::slice::from_ref(&id)).await?.pop().flatten();
    Ok(done
        .as_ref()
        .filter(|done| shell.may_undo(done))
        .and_then(label)
        .map(|label| (id, label, ended_at + UNDO_FOR)))
}

impl ChangePage {
    fn is_running(&self) -> bool {
        self.state == JailChangeState::Running
    }

    /// Whether its refusal leaves open what was done.
    fn is_open(&self) -> bool {
        self.reason.as_deref().is_some_and(|reason| is_open("", reason))
    }

    fn heading(&self) -> String {
        let Self { jail, server, doing, .. } = self;
        match self.state {
            JailChangeState::Running => format!("{jail} on {server} is being {doing}"),
            JailChangeState::Done => format!("{jail} on {server} was {doing}"),
            JailChangeState::Refused => {
                format!("{jail} on {server} was not {doing}, and nothing was changed")
            }
            JailChangeState::Failed if !self.is_open() => format!("{jail} on {server} was not {doing}"),
            JailChangeState::Failed | JailChangeState::NotKnown => {
                format!("It is not known whether {jail} on {server} was {doing}")
            }
        }
    }
}
