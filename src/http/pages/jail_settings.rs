//! Forms that change the settings of a jail and its never-banned list, until the next reload or for good.

use axum::extract::State;
use axum::response::Response;

use super::form::{Errors, Form};
use super::jail;
use super::jail_asked::Typed;
use super::jail_fields::wanted;
use super::jail_switches::{Outcome, answer, refused};
use super::jail_words::{back_to, in_words, numbers, typed};
use super::message::{Message, done, see_other};
use super::search::jail_path;
use super::shell::Visitor;
use crate::actions::change_jail::{change_settings, ignore};
use crate::domain::jail::{MAX_IGNORED, Network};
use crate::domain::{JailChangeId, JailChangeKind, JailSettings, UndoId};
use crate::http::api::jails::JailView;
use crate::http::auth::allowed::require;
use crate::http::auth::permissions::Right;
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;

/// Changes settings.
pub async fn change(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((server, jail)): Path<(String, String)>,
    form: Form,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let names = ["bantime", "maxretry", "findtime"];
    let (settings, changed) = match wanted(&form) {
        Ok(wanted) => wanted,
        Err(errors) => {
            return jail::refused(&state, visitor, target, Typed::of(&form, &names, errors, "settings"))
                .await;
        }
    };
    let path = jail_path(&target.server, &target.jail);
    let to = format!("{path}?part=settings");
    if settings.is_empty() {
        let message = Message::wait("Nothing was changed.").and("Each value is as it was.");
        return Ok(done(&state, &visitor.actor, &to, message).await);
    }
    let persistent = form.text("persistent") == "yes";
    let id = JailChangeId::of(rand::random());
    let (undo, after) = (UndoId::from(&id), settings.clone());
    let change = {
        let (context, actor, target, id) = (state.clone(), visitor.actor.clone(), target.clone(), id.clone());
        async move {
            let view = change_settings(&context, actor, target, settings, persistent, id).await?;
            serde_json::to_value(JailView::new(view, None)).map_err(Problem::internal)
        }
    };
    let named = format!("{} on {}", target.jail, target.server);
    let message = match answer(&state, &visitor.actor, &target, (JailChangeKind::Settings, id), change).await
    {
        Ok(Outcome::Running(page)) => return Ok(see_other(&page)),
        Ok(Outcome::Done(_)) => {
            let before = changed.iter().map(|(name, _, before)| (*name, before.parse().ok()));
            let before: Vec<(&str, Option<i64>)> = before.collect();
            let until = if persistent { "for good" } else { "until the next reload" };
            set(&named, &numbers(&after), until).undo_of(
                &undo,
                back_to(&before),
                &to,
                visitor.shell.clock.now,
            )
        }
        Err(problem) => refused(&format!("{named} was not changed"), &problem),
    };
    Ok(done(&state, &visitor.actor, &to, message).await)
}

/// The message that settings of a jail were set; `until` says for how long, or "as before".
#[must_use]
pub fn set(named: &str, values: &[(&str, i64)], until: &str) -> Message {
    let words: Vec<String> = values.iter().map(|(name, value)| in_words(name, *value)).collect();
    Message::ok(if words.is_empty() {
        format!("{named}: its never-banned list is {until}.")
    } else {
        format!("{named}: {}, {until}.", words.join(", "))
    })
}

/// Adds a network to the never-banned list, or removes it.
pub async fn never_ban(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((server, jail)): Path<(String, String)>,
    form: Form,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let removing = form.has("remove");
    let text = form.text(if removing { "remove" } else { "network" });
    let Some(network) = Network::parse(text) else {
        let sentence = match text {
            "" => "Type an address or a network.".to_owned(),
            text => format!("{} is not an address or network.", typed(text)),
        };
        let errors = Errors::one("network", sentence);
        return jail::refused(&state, visitor, target, Typed::of(&form, &["network"], errors, "settings"))
            .await;
    };
    let persistent = removing || form.text("persistent") == "yes";
    if removing {
        require(&state, &visitor.actor, Right::ChangeJail)?;
    } else if persistent {
        require(&state, &visitor.actor, Right::NeverBanForGood)?;
    }
    let left = if removing { Some(without(&target, network).await?) } else { None };
    let kind = if removing { JailChangeKind::Settings } else { JailChangeKind::Ignore };
    let id = JailChangeId::of(rand::random());
    let undo = UndoId::from(&id);
    let change = {
        let (context, actor, target, id) = (state.clone(), visitor.actor.clone(), target.clone(), id.clone());
        async move {
            let view = match left {
                Some(ignoreip) => {
                    let settings = JailSettings { ignoreip: Some(ignoreip), ..JailSettings::default() };
                    change_settings(&context, actor, target, settings, persistent, id).await?
                }
                None => ignore(&context, actor, target, network, persistent, id).await?,
            };
            serde_json::to_value(JailView::new(view, None)).map_err(Problem::internal)
        }
    };
    let path = jail_path(&target.server, &target.jail);
    let named = format!("{} on {}", target.jail, target.server);
    let (to, now) = (format!("{path}?part=settings"), visitor.shell.clock.now);
    let message = match answer(&state, &visitor.actor, &target, (kind, id), change).await {
        Ok(Outcome::Running(page)) => return Ok(see_other(&page)),
        Ok(Outcome::Done(_)) if removing => {
            may_be_banned(network, &named).undo_of(&undo, "Put it back on the list", &to, now)
        }
        Ok(Outcome::Done(_)) => {
            let until = if persistent { "for good" } else { "until the next reload" };
            Message::ok(format!("{network} is never banned in {named}, {until}.")).undo_of(
                &undo,
                "Take it off the list",
                &to,
                now,
            )
        }
        Err(problem) => refused(&format!("The never-banned list of {named} was not changed"), &problem),
    };
    Ok(done(&state, &visitor.actor, &to, message).await)
}

/// The message that a network is off a never-banned list.
#[must_use]
pub fn may_be_banned(network: Network, named: &str) -> Message {
    Message::ok(format!("{network} may be banned in {named} again."))
}

/// The never-banned list of a jail without one entry.
async fn without(target: &crate::actions::JailTarget, network: Network) -> Result<Vec<Network>> {
    let view = target.agent.jail_view(&target.jail).await?.ok_or_else(|| Problem::not_found("jail"))?;
    let list: Option<Vec<Network>> = view.ignoreip.iter().map(|entry| Network::parse(entry)).collect();
    let list = list.filter(|list| list.len() <= MAX_IGNORED);
    let mut list = list.ok_or_else(|| {
        Problem::invalid(
            "the list contains host names, which bangui does not rewrite: change \
             `ignoreip` in fail2ban's files, then reload the jail",
        )
    })?;
    list.retain(|entry| *entry != network);
    Ok(list)
}
