//! "Never ban yourself": puts the caller's own address on the never-banned list of every jail that runs.

use axum::extract::State;
use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::form::Form;
use super::jail_switches::back;
use super::marks::counted;
use super::message::{Message, done};
use super::server_list::read;
use super::shell::Visitor;
use crate::actions::JailTarget;
use crate::actions::change_jail::ignore;
use crate::domain::JailChangeId;
use crate::domain::access::Access;
use crate::domain::jail::Network;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;

/// The maximum number of jails: enough for a first run. For more, a configuration file is the better place.
pub const MAX_JAILS: usize = 200;
/// Agents that are asked at once.
const MAX_CONCURRENT: usize = 8;
/// The maximum number of jails that a message names.
const MAX_NAMED: usize = 5;

/// The jails that run on servers that answer.
///
/// # Errors
/// If Redis fails.
pub async fn jails(state: &AppState, access: &Access) -> Result<Vec<JailTarget>> {
    let mut jails = Vec::new();
    for (name, stored) in read(state, access).await? {
        let (Ok(stored), Ok(server)) = (stored, state.server(name.as_str())) else { continue };
        let status = &stored.state.status;
        if status.condition.online() {
            jails.extend(status.jails.keys().map(|jail| server.clone().jail(jail.clone())));
        }
    }
    jails.truncate(MAX_JAILS);
    Ok(jails)
}

/// Adds the caller's address to all these lists, for good, and redirects to the page of the form.
pub async fn never_ban(State(state): State<AppState>, visitor: Visitor, form: Form) -> Result<Response> {
    let address = visitor
        .actor
        .address
        .ok_or_else(|| Problem::malformed("the address of this browser is not known"))?;
    let jails = jails(&state, &visitor.actor.access).await?;
    let total = jails.len() as u64;
    let tried = stream::iter(jails.into_iter().map(|jail| {
        let (context, actor, named) = (state.clone(), visitor.actor.clone(), jail.to_string());
        let id = JailChangeId::of(rand::random());
        async move { (named, ignore(&context, actor, jail, Network::from(address), true, id).await) }
    }));
    let outcomes: Vec<_> = tried.buffer_unordered(MAX_CONCURRENT).collect().await;
    let failed: Vec<String> = outcomes
        .into_iter()
        .filter_map(|(named, outcome)| Some((named, Problem::from(outcome.err()?))))
        .map(|(named, problem)| format!("{named}: {}.", problem.detail().trim_end_matches('.')))
        .collect();
    let right = total - failed.len() as u64;
    let message = match (total, failed.len()) {
        (0, _) => Message::bad("Nothing was changed.").and("No jail runs on a server that answers."),
        (_, 0) => Message::ok(format!("{address} is never banned in {}.", counted(total, "jail"))),
        _ => Message::wait(format!("{address} is never banned in {right} of {}.", counted(total, "jail")))
            .and(failed.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(" ")),
    };
    Ok(done(&state, &visitor.actor, &back(&form, "/setup/next"), message).await)
}
