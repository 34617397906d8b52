//! What happened on a server, newest first: its events of the last hour, and what people did there.

use chrono::TimeDelta;

use crate::actions::ban::REST_IN_A_JOB;
use crate::domain::{ServerName, Timestamp};
use crate::http::error::Result;
use crate::http::state::AppState;
use crate::store::{AuditEntry, BEGUN, StoredEvent};

/// The number of audit entries that are read.
const ENTRIES: usize = 200;
/// The number of events, of all servers, that are read.
const EVENTS: usize = 1_000;
/// The maximum number of items that are shown.
const MAX_SHOWN: usize = 12;

/// One thing that happened.
#[derive(Debug)]
pub struct Happened {
    /// When.
    pub at: Timestamp,
    /// What happened, as a sentence without a full stop.
    pub text: String,
}

/// What people did on a server, and what happened there, the newest first.
///
/// # Errors
/// If Redis fails.
pub async fn happened(state: &AppState, server: &ServerName, audit: bool) -> Result<Vec<Happened>> {
    let mut entries = if audit { state.store.audit_page(None, ENTRIES).await?.items } else { Vec::new() };
    let below = format!("{server}/");
    entries.retain(|entry| {
        entry.target.as_deref().is_some_and(|target| target == server.as_str() || target.starts_with(&below))
    });
    let since = state.store.about_now() - TimeDelta::hours(1);
    let events = state.store.latest_events_of(server, since, EVENTS).await?;
    let mut all: Vec<Happened> = events.iter().map(described).collect();
    let done = entries.iter().filter(|entry| entry.outcome != BEGUN && entry.at >= since);
    all.extend(done.map(|entry| Happened { at: entry.at, text: deed(entry, &below) }));
    all.sort_by_key(|item| std::cmp::Reverse(item.at));
    all.truncate(MAX_SHOWN);
    Ok(all)
}

fn described(event: &StoredEvent) -> Happened {
    let fact = |name: &str| event.facts[name].as_str().unwrap_or_default().to_owned();
    let jail = fact("jail");
    let whom = match event.facts["more"].as_u64() {
        Some(1) => "1 more address".to_owned(),
        Some(more) => format!("{more} more addresses"),
        None => fact("ip"),
    };
    let text = match event.kind.as_str() {
        "server.came_online" => "fail2ban answers".to_owned(),
        "server.went_offline" => format!("fail2ban does not answer: {}", fact("reason")),
        "server.degraded" => {
            let missing = event.facts["missing"].as_array().map(Vec::as_slice).unwrap_or_default();
            let names: Vec<&str> = missing.iter().filter_map(|name| name.as_str()).collect();
            format!("lost {}: degraded", names.join(", "))
        }
        "recovery.pending" => format!("went down or lost jails after {jail} was switched on"),
        "recovery.resolved" => format!("recovered after {jail} was switched on"),
        "recovery.cleared" => format!("the warning about {jail} is gone: dismissed, or {jail} rolled back"),
        "activation.recorded" => format!("{jail} is about to be switched on"),
        "ban.added" => format!("{whom} banned in {jail}"),
        "ban.removed" => format!("{whom} unbanned in {jail}"),
        "server.added" => format!("agent discovered at {}", fact("address")),
        "server.removed" => "agent gone for ten minutes: removed".to_owned(),
        other => other.to_owned(),
    };
    Happened { at: event.id.at(), text }
}

fn deed(entry: &AuditEntry, below: &str) -> String {
    let target = entry.target.as_deref().unwrap_or_default();
    let about = target.strip_prefix(below).unwrap_or(target);
    let (who, outcome) = (&entry.username, &entry.outcome);
    let (did, to) = match entry.what.as_str() {
        "jail.activate" => ("switched on", "switch on"),
        "jail.deactivate" => ("switched off", "switch off"),
        "jail.settings" => ("changed settings of", "change settings of"),
        "jail.ignore" => ("changed the never-banned list of", "change the never-banned list of"),
        "ban.add" => ("banned in", "ban in"),
        "ban.remove" => ("unbanned in", "unban in"),
        "ban.remove_all" => ("unbanned all in", "unban all in"),
        "recovery.roll_back" => ("rolled back", "roll back"),
        "recovery.clear" => ("dismissed the warning about", "dismiss the warning about"),
        "undo" => ("undid a change of", "undo a change of"),
        "ban_job.begin" => ("began a ban job in", "begin a ban job in"),
        "ban_job.cancel" => ("cancelled a ban job in", "cancel a ban job in"),
        "ban_job.end" => return format!("a ban job of {who} ended in {about}: {outcome}"),
        other => return format!("{who}: {other} {about}: {outcome}"),
    };
    match outcome.as_str() {
        "done" | "queued" | "asked" => format!("{who} {did} {about}"),
        REST_IN_A_JOB => format!("{who} began to {to} {about}: {outcome}"),
        _ => format!("{who} tried to {to} {about}: {outcome}"),
    }
}
