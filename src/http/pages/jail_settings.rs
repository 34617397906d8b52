//! Forms that change the settings of a jail and its never-banned list, now or for good.

use axum::extract::State;
use axum::response::Response;

use super::form::{Errors, Form};
use super::jail;
use super::jail_asked::Typed;
use super::jail_fields::wanted;
use super::jail_switches::{Outcome, answer, refused};
use super::jail_words::{lasting, typed};
use super::message::{Message, done, see_other};
use super::search::jail_path;
use super::shell::Visitor;
use crate::actions::change_jail::{change_settings, ignore};
use crate::domain::jail::{MAX_IGNORED, Network};
use crate::domain::{JailChangeKind, JailSettings};
use crate::http::api::jails::JailView;
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
    let change = {
        let (context, actor, target) = (state.clone(), visitor.actor.clone(), target.clone());
        async move {
            let view = change_settings(&context, actor, target, settings, persistent).await?;
            serde_json::to_value(JailView::new(view, None)).map_err(Problem::internal)
        }
    };
    let named = format!("{} on {}", target.jail, target.server);
    let message = match answer(&state, &visitor.actor, &target, JailChangeKind::Settings, change).await {
        Ok(Outcome::Running(page)) => return Ok(see_other(&page)),
        Ok(Outcome::Done(_)) => {
            let words: Vec<String> = changed.iter().map(|(name, value, _)| in_words(name, value)).collect();
            let until = if persistent { "for good" } else { "until the next reload" };
            let message = Message::ok(format!("{named}: {}, {until}.", words.join(", ")));
            let mut fields: Vec<(&str, &str)> = Vec::new();
            for (name, value, before) in &changed {
                fields.push((name, before));
                fields.push((was(name), value));
            }
            fields.push(("persistent", if persistent { "yes" } else { "no" }));
            // What was not known before cannot be set back.
            if changed.iter().any(|(_, _, before)| before.parse::<i64>().is_err()) {
                message
            } else {
                let label = match &changed[..] {
                    [(name, _, before)] => format!("Set back to {}", value_in_words(name, before)),
                    _ => "Set all back".to_owned(),
                };
                message.undo(label, format!("{path}/settings"), &fields, visitor.shell.clock.now)
            }
        }
        Err(problem) => refused(&format!("{named} was not changed"), &problem),
    };
    Ok(done(&state, &visitor.actor, &to, message).await)
}

fn was(name: &str) -> &'static str {
    match name {
        "bantime" => "was_bantime",
        "findtime" => "was_findtime",
        _ => "was_maxretry",
    }
}

fn in_words(name: &str, value: &str) -> String {
    let value = value_in_words(name, value);
    match name {
        "bantime" => format!("bans for {value}"),
        "findtime" => format!("within {value}"),
        _ => format!("after {value} failures"),
    }
}

fn value_in_words(name: &str, value: &str) -> String {
    match name {
        "maxretry" => value.to_owned(),
        _ => lasting(value.parse().ok()),
    }
}

/// Adds to the never-banned list, or takes off it.
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
    let left = if removing { Some(without(&target, network).await?) } else { None };
    let kind = if removing { JailChangeKind::Settings } else { JailChangeKind::Ignore };
    let change = {
        let (context, actor, target) = (state.clone(), visitor.actor.clone(), target.clone());
        async move {
            let view = match left {
                Some(ignoreip) => {
                    let settings = JailSettings { ignoreip: Some(ignoreip), ..JailSettings::default() };
                    change_settings(&context, actor, target, settings, persistent).await?
                }
                None => ignore(&context, actor, target, network, persistent).await?,
            };
            serde_json::to_value(JailView::new(view, None)).map_err(Problem::internal)
        }
    };
    let path = jail_path(&target.server, &target.jail);
    let named = format!("{} on {}", target.jail, target.server);
    let (action, now) = (format!("{path}/never-ban"), visitor.shell.clock.now);
    let value = network.to_string();
    let message = match answer(&state, &visitor.actor, &target, kind, change).await {
        Ok(Outcome::Running(page)) => return Ok(see_other(&page)),
        Ok(Outcome::Done(_)) if removing => Message::ok(format!("{network} may be banned in {named} again."))
            .undo("Never ban it again", action, &[("network", &value), ("persistent", "yes")], now),
        Ok(Outcome::Done(_)) => {
            let until = if persistent { "for good" } else { "until the next reload" };
            Message::ok(format!("{network} is never banned in {named}, {until}.")).undo(
                "Take it off the list",
                action,
                &[("remove", &value)],
                now,
            )
        }
        Err(problem) => refused(&format!("The never-banned list of {named} was not changed"), &problem),
    };
    Ok(done(&state, &visitor.actor, &format!("{path}?part=settings"), message).await)
}

/// The never-banned list of a jail without one entry.
async fn without(target: &crate::actions::JailTarget, network: Network) -> Result<Vec<Network>> {
    let view = target.agent.jail_view(&target.jail).await?.ok_or_else(|| Problem::not_found("jail"))?;
    let list: Option<Vec<Network>> = view.ignoreip.iter().map(|entry| Network::parse(entry)).collect();
    let list = list.filter(|list| list.len() <= MAX_IGNORED);
    let mut list = list.ok_or_else(|| {
        Problem::invalid(
            "the list has names in it: change `ignoreip` in fail2ban's files, then reload the jail",
        )
    })?;
    list.retain(|entry| *entry != network);
    Ok(list)
}
