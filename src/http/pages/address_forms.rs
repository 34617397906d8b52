//! Forms about an address in several jails at once: unban, ban, never ban. The message has the outcome for each jail.
//!
//! A form names a jail by `place` (`server/jail`), or by `by` (`network server/jail`) if a network that contains the address is banned.

use std::collections::BTreeMap;

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
use crate::domain::access::Access;
use crate::domain::jail::Network;
use crate::domain::{BanJobId, JailChangeId, JailName};
use crate::http::api::bans::address;
use crate::http::auth::allowed::require;
use crate::http::auth::permissions::Right;
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;

/// Agents that are asked at once.
const MAX_CONCURRENT: usize = 8;
/// The maximum number of jails that a message names.
const MAX_NAMED: usize = 5;

/// What to do in each jail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Ban { force: bool },
    Unban,
    NeverBan { persistent: bool },
}

/// Unbans the address in the jails that the form names.
pub async fn unban(
    state: State<AppState>,
    visitor: Visitor,
    ip: Path<String>,
    form: Form,
) -> Result<Response> {
    everywhere(state, visitor, ip, form, Deed::Unban).await
}

/// Bans the address in the jails that the form names.
pub async fn ban(state: State<AppState>, visitor: Visitor, ip: Path<String>, form: Form) -> Result<Response> {
    let force = form.has("force");
    everywhere(state, visitor, ip, form, Deed::Ban { force }).await
}

/// Adds the address to the never-banned lists of the jails that the form names.
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
    if deed == (Deed::NeverBan { persistent: true }) {
        require(&state, &visitor.actor, Right::NeverBanForGood)?;
    }
    let targets = targets(&state, &visitor.actor.access, &form, ip)?;
    if targets.is_empty() {
        let message = Message::bad("Nothing was changed.").and("No jail was chosen: tick one or more.");
        return Ok(done(&state, &visitor.actor, &path, message).await);
    }
    let tried = stream::iter(targets.into_iter().map(|(place, (target, networks))| {
        let (state, actor) = (state.clone(), visitor.actor.clone());
        async move {
            let named = format!("{} on {}", target.jail, target.server);
            let outcome = one(&state, actor, target, ip, networks, deed).await;
            (place, named, outcome)
        }
    }));
    let mut outcomes: Vec<_> = tried.buffer_unordered(MAX_CONCURRENT).collect().await;
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    let message = outcome_message(ip, &path, deed, outcomes, &visitor);
    Ok(done(&state, &visitor.actor, &path, message).await)
}

/// The jails that the form names, each with the addresses or networks to change there.
type Targets = BTreeMap<String, (JailTarget, Vec<Network>)>;

fn targets(state: &AppState, access: &Access, form: &Form, ip: Network) -> Result<Targets> {
    let mut all = Targets::new();
    for named in form.all("place").map(|place| Ok((place, ip))).chain(form.all("by").map(|by| around(by, ip)))
    {
        let (place, network) = named?;
        let (server, jail) = place
            .split_once('/')
            .ok_or_else(|| Problem::malformed("a jail must be named as `server/jail`"))?;
        let jail = JailName::parse(jail).map_err(|_| UnknownTarget::Jail)?;
        let target = state.server_of(access, server)?.jail(jail);
        let (_, networks) = all.entry(place.to_owned()).or_insert_with(|| (target, Vec::new()));
        if !networks.contains(&network) {
            networks.push(network);
        }
        if all.len() > MAX_JAILS {
            return Err(Problem::invalid(format!(
                "at most {MAX_JAILS} jails can be changed at once; nothing was changed"
            )));
        }
    }
    Ok(all)
}

/// A jail, and the network in it that is banned and contains the address.
fn around(by: &str, ip: Network) -> Result<(&str, Network)> {
    let malformed =
        || Problem::malformed("`by` must be `NETWORK SERVER/JAIL`, with a network that contains the address");
    let (network, place) = by.split_once(' ').ok_or_else(malformed)?;
    let network = Network::parse(network).filter(|network| network.net().contains(&ip.net()));
    Ok((place, network.ok_or_else(malformed)?))
}

/// The outcome for one jail.
#[derive(Default)]
struct Outcome {
    /// The addresses and networks whose state changed.
    changed: Vec<Network>,
    /// Why it was not done, or not completely.
    failed: Option<String>,
}

/// Makes the change in one jail.
async fn one(
    state: &AppState,
    actor: Actor,
    target: JailTarget,
    ip: Network,
    networks: Vec<Network>,
    deed: Deed,
) -> Outcome {
    let failed =
        |problem: Problem| Outcome { failed: Some(sentence(problem.detail())), ..Outcome::default() };
    let id = BanJobId::of(rand::random());
    let (outcome, wanted) = match deed {
        Deed::Ban { force } => (ban::ban(state, actor, target, networks.clone(), force, id).await, true),
        Deed::Unban => (ban::unban(state, actor, target, networks.clone(), id).await, false),
        Deed::NeverBan { persistent } => {
            let change = JailChangeId::of(rand::random());
            let ignored = ignore(state, actor.clone(), target.clone(), ip, persistent, change).await;
            // That unbans only the address itself, not networks that contain it.
            let around: Vec<_> = networks.iter().copied().filter(|network| *network != ip).collect();
            match ignored {
                Err(error) => return failed(error.into()),
                Ok(_) if around.is_empty() => return Outcome::default(),
                Ok(_) => (ban::unban(state, actor, target, around, id).await, false),
            }
        }
    };
    match outcome {
        Err(error) => failed(error.into()),
        Ok(BanOutcome::Job(_)) => Outcome { changed: networks, failed: None },
        Ok(BanOutcome::AtOnce(outcomes)) if outcomes.is_empty() => {
            Outcome { failed: Some("fail2ban reported no outcome for it.".to_owned()), ..Outcome::default() }
        }
        Ok(BanOutcome::AtOnce(outcomes)) => {
            let mut all = Outcome::default();
            for outcome in outcomes {
                match outcome {
                    AddressOutcome::Known(result) if result.banned == wanted => {
                        all.changed.extend(result.changed.then_some(result.ip));
                    }
                    AddressOutcome::Known(_) if wanted => {
                        all.failed =
                            Some("The jail does not ban it: it may be on its never-banned list.".to_owned());
                    }
                    AddressOutcome::Known(result) => {
                        all.failed = Some(format!("{} is still banned there.", result.ip));
                    }
                    AddressOutcome::Unknown { reason, .. } => all.failed = Some(sentence(&reason)),
                }
            }
            all
        }
    }
}

fn outcome_message(
    ip: Network,
    path: &str,
    deed: Deed,
    outcomes: Vec<(String, String, Outcome)>,
    visitor: &Visitor,
) -> Message {
    let total = outcomes.len();
    let right: Vec<_> = outcomes.iter().filter(|(.., outcome)| outcome.failed.is_none()).collect();
    let changed = |(place, _, outcome): &(String, String, Outcome)| {
        outcome.changed.iter().map(|network| format!("{network} {place}")).collect::<Vec<_>>()
    };
    let changed: Vec<String> = outcomes.iter().flat_map(changed).collect();
    let mut around: Vec<Network> = outcomes
        .iter()
        .flat_map(|(.., outcome)| &outcome.changed)
        .copied()
        .filter(|network| *network != ip)
        .collect();
    around.sort_unstable();
    around.dedup();
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|(_, named, outcome)| Some(format!("{named}: {}", outcome.failed.as_ref()?)))
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
    if !around.is_empty() {
        let networks = around.iter().map(Network::to_string).collect::<Vec<_>>().join(" and ");
        let what = if matches!(deed, Deed::Ban { .. }) { "banned" } else { "unbanned" };
        let contain = match around.len() {
            1 => "which contains it, is",
            _ => "which contain it, are",
        };
        text = format!("{networks}, {contain} {what} as a whole. {text}");
    }
    let message = message.and(text.trim_end());
    let (label, action) = match deed {
        Deed::Ban { .. } => ("Unban it", "unban"),
        Deed::Unban => ("Ban it again", "ban"),
        Deed::NeverBan { .. } => return message,
    };
    if changed.is_empty() {
        return message;
    }
    let fields: Vec<(&str, &str)> = changed.iter().map(|place| ("by", &**place)).collect();
    message.undo(label, format!("{path}/{action}"), &fields, visitor.shell.clock.now)
}
