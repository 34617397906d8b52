//! Switching a jail on and off, and changes of jails that take longer than a browser waits: those have a page that loads itself
//! again until they end, at any worker.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::form::Form;
use super::message::{Message, done, is_own, see_other};
use super::page::Page;
use super::search::jail_path;
use super::shell::{Shell, Visitor};
use super::words::sentence;
use crate::actions::{Actor, JailTarget, switch_jail};
use crate::domain::{JailChangeId, JailChangeKind, JailChangeState, Timestamp};
use crate::http::api::jails::JailSwitched;
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::long_change::{Answered, answered_soon};
use crate::http::state::AppState;
use crate::store::NewJailChange;

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
    let (word, opposite, other) =
        if on { ("on", "off", "Switch off again") } else { ("off", "on", "Switch on again") };
    let kind = if on { JailChangeKind::Activate } else { JailChangeKind::Deactivate };
    let change = {
        let (context, actor, target) = (state.clone(), visitor.actor.clone(), target.clone());
        async move {
            let switched = match on {
                true => switch_jail::activate(&context, actor, target).await?,
                false => switch_jail::deactivate(&context, actor, target).await?,
            };
            serde_json::to_value(JailSwitched::from(switched)).map_err(Problem::internal)
        }
    };
    let path = jail_path(&target.server, &target.jail);
    let back = back(&form, &path);
    let (jail, server) = (&target.jail, &target.server);
    let message = match answer(&state, &visitor.actor, &target, kind, change).await {
        Ok(Outcome::Running(page)) => return Ok(see_other(&page)),
        Ok(Outcome::Done(switched)) if switched["changed"] == false => {
            Message::ok(format!("{jail} on {server} was {word} already."))
        }
        Ok(Outcome::Done(_)) => Message::ok(format!("Switched {jail} {word} on {server}.")).undo(
            other,
            format!("{path}/switch"),
            &[("do", opposite), ("back", &back)],
            visitor.shell.clock.now,
        ),
        Err(problem) => refused(&format!("{jail} was not switched {word} on {server}"), &problem),
    };
    Ok(done(&state, &visitor.actor, &back, message).await)
}

/// What came of a change within the time that a browser waits.
pub enum Outcome {
    /// It is done.
    Done(Value),
    /// It takes longer; the page that shows it.
    Running(String),
}

/// Waits for a change of a jail as long as a browser should.
///
/// # Errors
/// What the change was refused with.
pub async fn answer(
    state: &AppState,
    actor: &Actor,
    target: &JailTarget,
    kind: JailChangeKind,
    change: impl Future<Output = Result<Value>> + Send + 'static,
) -> Result<Outcome> {
    let (server, jail) = (target.server.clone(), target.jail.clone());
    let about = NewJailChange { server, jail, kind, username: actor.username().to_owned() };
    Ok(match answered_soon(state, about, change).await? {
        Answered::InTime(value) => Outcome::Done(value),
        Answered::UnderWay(view) => {
            Outcome::Running(format!("{}/changes/{}", jail_path(&target.server, &target.jail), view.id))
        }
    })
}

/// The message of a change that was refused. What fail2ban says stands as its words, and "nothing was changed" only where that
/// is so.
#[must_use]
pub fn refused(what: &str, problem: &Problem) -> Message {
    match problem.name() {
        "configuration-refused" => {
            Message::bad(format!("{what}, and nothing was changed.")).said(problem.detail())
        }
        _ => Message::bad(format!("{what}.")).and(format!(
            "{}. {}",
            problem.title(),
            sentence(problem.detail())
        )),
    }
}

/// The page that a form was on, as it says itself; else this one.
#[must_use]
pub fn back<const LIMIT: usize>(form: &Form<LIMIT>, path: &str) -> String {
    let back = form.text("back");
    if is_own(back) { back.to_owned() } else { path.to_owned() }
}

#[derive(Template)]
#[template(path = "jail_change.html")]
struct Change {
    shell: Shell,
    server: String,
    jail: String,
    path: String,
    doing: &'static str,
    state: JailChangeState,
    username: String,
    began_at: Timestamp,
    finished_at: Option<Timestamp>,
    /// Why it was not done.
    reason: Option<String>,
}

/// A change that takes long.
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
    let reason = view
        .end
        .filter(|_| view.state != JailChangeState::Done)
        .map(|end| end.document["detail"].as_str().map_or_else(|| end.document.to_string(), str::to_owned));
    let page = Change {
        server: server.clone(),
        path: jail_path(&target.server, &target.jail),
        jail: target.jail.to_string(),
        doing: match view.about.kind {
            JailChangeKind::Activate => "switched on",
            JailChangeKind::Deactivate => "switched off",
            JailChangeKind::RollBack => "rolled back",
            JailChangeKind::Settings | JailChangeKind::Ignore | JailChangeKind::Unknown => "changed",
        },
        state: view.state,
        username: view.about.username,
        began_at: view.began_at,
        finished_at: view.finished_at,
        reason,
        shell: visitor.shell,
    };
    Ok(Page::new(page).into_response())
}

impl Change {
    fn is_running(&self) -> bool {
        self.state == JailChangeState::Running
    }

    fn heading(&self) -> String {
        let Self { jail, server, doing, .. } = self;
        match self.state {
            JailChangeState::Running => format!("{jail} on {server} is being {doing}"),
            JailChangeState::Done => format!("{jail} on {server} was {doing}"),
            JailChangeState::Refused => {
                format!("{jail} on {server} was not {doing}, and nothing was changed")
            }
            JailChangeState::Failed => format!("{jail} on {server} was not {doing}"),
            JailChangeState::NotKnown => format!("It is not known whether {jail} on {server} was {doing}"),
        }
    }
}
