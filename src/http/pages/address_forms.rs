//! Forms about an address in several jails at once: unban, ban, never ban. What came of each jail is in the message.

use axum::extract::State;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};

use super::address::{MAX_JAILS, own_path};
use super::form::Form;
use super::marks::counted;
use super::message::{Message, done};
use super::shell::Visitor;
use super::words::sentence;
use crate::actions::ban::{self, AddressOutcome, BanOutcome};
use crate::actions::change_jail::ignore;
use crate::actions::{Actor, JailTarget, UnknownTarget};
use crate::domain::jail::Network;
use crate::domain::{BanJobId, JailName};
use crate::http::api::bans::address;
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;

/// Agents are asked side by side.
const MAX_CONCURRENT: usize = 8;
/// Jails that are named one by one.
const MAX_NAMED: usize = 5;

/// What to do in each jail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Ban { force: bool },
    Unban,
    NeverBan { persistent: bool },
}

/// Unbans it in the jails that the form names.
pub async fn unban(
    state: State<AppState>,
    visitor: Visitor,
    ip: Path<String>,
    form: Form,
) -> Result<Response> {
    everywhere(state, visitor, ip, form, Deed::Unban).await
}

/// Bans it in them.
pub async fn ban(state: State<AppState>, visitor: Visitor, ip: Path<String>, form: Form) -> Result<Response> {
    let force = form.has("force");
    everywhere(state, visitor, ip, form, Deed::Ban { force }).await
}

/// Never bans it in them.
pub async fn never_ban(
    state: State<AppState>,
    visitor: Visitor,
    ip: Path<String>,
    form: Form,
) -> Result<Response> {
    let persistent = form.text("persistent") == "yes";
    everywhere(state, visitor, ip, form, Deed::NeverBan { persistent }).await
}

async fn everywhere(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(ip): Path<String>,
    form: Form,
    deed: Deed,
) -> Result<Response> {
    let ip = address(&ip)?;
    let path = own_path(ip)?;
    let targets = targets(&state, &form)?;
    if targets.is_empty() {
        let message = Message::bad("Nothing was changed.").and("No jail was chosen: tick one or more.");
        return Ok(done(&state, &visitor.actor, &path, message).await);
    }
    let tried = stream::iter(targets.into_iter().map(|(place, target)| {
        let (state, actor) = (state.clone(), visitor.actor.clone());
        async move {
            let named = format!("{} on {}", target.jail, target.server);
            (place, named, one(&state, actor, target, ip, deed).await)
        }
    }));
    let mut outcomes: Vec<_> = tried.buffer_unordered(MAX_CONCURRENT).collect().await;
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    let message = told(ip, &path, deed, outcomes, &visitor);
    Ok(done(&state, &visitor.actor, &path, message).await)
}

/// The jails that the form names.
fn targets(state: &AppState, form: &Form) -> Result<Vec<(String, JailTarget)>> {
    let mut all = Vec::new();
    for place in form.all("place") {
        let (server, jail) =
            place.split_once('/').ok_or_else(|| Problem::malformed("`place` must be a server and a jail"))?;
        let jail = JailName::parse(jail).map_err(|_| UnknownTarget::Jail)?;
        all.push((place.to_owned(), state.server(server)?.jail(jail)));
        if all.len() > MAX_JAILS {
            return Err(Problem::invalid(format!(
                "{MAX_JAILS} jails at once are allowed; nothing was changed"
            )));
        }
    }
    Ok(all)
}

/// Does it in one jail: whether that changed anything, or why it was not done.
async fn one(
    state: &AppState,
    actor: Actor,
    target: JailTarget,
    ip: Network,
    deed: Deed,
) -> std::result::Result<bool, String> {
    let words = |problem: Problem| sentence(problem.detail());
    let id = BanJobId::of(rand::random());
    let (outcome, wanted) = match deed {
        Deed::Ban { force } => (ban::ban(state, actor, target, vec![ip], force, id).await, true),
        Deed::Unban => (ban::unban(state, actor, target, vec![ip], id).await, false),
        Deed::NeverBan { persistent } => {
            let ignored = ignore(state, actor, target, ip, persistent).await;
            return ignored.map(|_| true).map_err(|error| words(error.into()));
        }
    };
    match outcome.map_err(|error| words(error.into()))? {
        BanOutcome::Job(_) => Ok(true),
        BanOutcome::AtOnce(outcomes) => match outcomes.into_iter().next() {
            Some(AddressOutcome::Known(result)) if result.banned == wanted => Ok(result.changed),
            Some(AddressOutcome::Known(_)) if wanted => {
                Err("The jail does not ban it: it may be on its never-banned list.".to_owned())
            }
            Some(AddressOutcome::Known(_)) => Err("It is still banned there.".to_owned()),
            Some(AddressOutcome::Unknown { reason, .. }) => Err(sentence(&reason)),
            None => Err("fail2ban said nothing of it.".to_owned()),
        },
    }
}

fn told(
    ip: Network,
    path: &str,
    deed: Deed,
    outcomes: Vec<(String, String, std::result::Result<bool, String>)>,
    visitor: &Visitor,
) -> Message {
    let total = outcomes.len();
    let right: Vec<_> = outcomes.iter().filter(|(.., outcome)| outcome.is_ok()).collect();
    let changed: Vec<&str> =
        outcomes.iter().filter(|(.., outcome)| *outcome == Ok(true)).map(|(place, ..)| &**place).collect();
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|(_, named, outcome)| Some(format!("{named}: {}", outcome.as_ref().err()?)))
        .collect();
    let verb = match deed {
        Deed::Ban { .. } => "is banned",
        Deed::Unban => "is unbanned",
        Deed::NeverBan { persistent: true } => "is never banned",
        Deed::NeverBan { persistent: false } => "is never banned, until the next reload,",
    };
    let title = match (&right[..], total) {
        ([(_, named, _)], 1) => format!("{ip} {verb} in {named}."),
        ([], _) => format!("Nothing was changed for {ip}."),
        (right, total) if right.len() == total => {
            format!("{ip} {verb} in {}.", counted(total as u64, "jail"))
        }
        (right, total) => format!("{ip} {verb} in {} of {}.", right.len(), counted(total as u64, "jail")),
    };
    let message = match (failed.is_empty(), right.is_empty()) {
        (true, _) => Message::ok(title),
        (false, false) => Message::wait(title),
        (false, true) => Message::bad(title),
    };
    let mut text = failed.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(" ");
    if failed.len() > MAX_NAMED {
        text.push_str(&format!(" And {} more.", failed.len() - MAX_NAMED));
    }
    let message = message.and(text);
    let (label, action) = match deed {
        Deed::Ban { .. } => ("Unban it again", "unban"),
        Deed::Unban => ("Ban it again", "ban"),
        Deed::NeverBan { .. } => return message,
    };
    if changed.is_empty() {
        return message;
    }
    let fields: Vec<(&str, &str)> = changed.iter().map(|place| ("place", *place)).collect();
    message.undo(label, format!("{path}/{action}"), &fields, visitor.shell.clock.now)
}
