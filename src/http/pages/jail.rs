//! The page of a jail: a running job, bans with paging and search, forms to ban, settings, the never-banned list, the whole jail.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::ban_progress::Progress;
use super::form::Field;
use super::jail_asked::{Typed, Wanted};
use super::jail_bans_list::{BanRow, Listed, listed};
use super::jail_fields::{Settings, settings};
use super::jail_never::{NeverBanned, NeverRow};
use super::jail_reads::{LogRow, logs};
use super::jail_steps::{Refused, Running};
use super::marks::{Shown, count};
use super::page::Page;
use super::paging::Paging;
use super::search::jail_path;
use super::server_jails::{JailState, bans_lifted};
use super::shell::{Shell, Visitor};
use crate::actions::JailTarget;
use crate::agent::client::{AgentError, JailView, RefusedKind};
use crate::domain::Timestamp;
use crate::domain::ban_job::MAX_JOB_ADDRESSES;
use crate::domain::findings::lists;
use crate::domain::jail::Network;
use crate::http::auth::permissions::Right;
use crate::http::error::{Problem, Result};
use crate::http::extract::{Path, Query};
use crate::http::query::require_choice;
use crate::http::state::AppState;
use crate::store::StoreError;

/// The parts of the page; narrow screens show one at a time.
const PARTS: [(&str, &str); 4] =
    [("bans", "Bans"), ("ban", "Ban"), ("settings", "Settings"), ("all", "Whole jail")];

/// The most addresses of one form, for the script that checks them.
const MOST: &str = "20000";
const _: () = assert!(MAX_JOB_ADDRESSES == 20_000, "as in `MOST`");

#[derive(Template)]
#[template(path = "jail.html")]
struct Jail {
    shell: Shell,
    server: String,
    name: String,
    path: String,
    part: &'static str,
    shown: Shown,
    runs: bool,
    banned: u64,
    failing: String,
    total: String,
    checked_at: Option<Timestamp>,
    /// Why the agent could not be asked.
    not_asked: Option<String>,
    errors: Vec<String>,
    /// The running change.
    change: Running,
    /// The last refused change.
    refused: Option<Refused>,
    job: Option<Progress>,
    /// Whether the page was opened to follow its job.
    following: bool,
    bans: Vec<BanRow>,
    read_at: Option<Timestamp>,
    /// Why the list is no longer read, and what to do about it.
    unread: Option<(String, String)>,
    q: Field,
    searched: String,
    paging: Paging,
    ips: Field,
    force: bool,
    good: usize,
    lasts: String,
    settings: Settings,
    /// What the next reload does, if the files switch the jail on or off and now it is the other way round.
    from_reload: Option<&'static str>,
    never_banned: NeverBanned,
    network: Field,
    own: Option<String>,
    logs: Vec<LogRow>,
    journal: Vec<String>,
    lifted: String,
}

/// The page of a jail.
pub async fn show(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((server, jail)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    require_choice("part", &wanted.part, PARTS.map(|(part, _)| part))?;
    let target = state.jail(&server, &jail)?;
    Ok(Page::new(jail_page(&state, visitor, target, wanted, &Typed::default()).await?).into_response())
}

/// The page again, with what was typed and an error beside each field that has one.
///
/// # Errors
/// If Redis fails.
pub async fn refused(
    state: &AppState,
    visitor: Visitor,
    target: JailTarget,
    typed: Typed,
) -> Result<Response> {
    let wanted = Wanted { part: typed.part.to_owned(), ..Wanted::default() };
    let page = jail_page(state, visitor, target, wanted, &typed).await?;
    Ok(Page::refused(page, typed.errors).into_response())
}

async fn jail_page(
    state: &AppState,
    visitor: Visitor,
    target: JailTarget,
    wanted: Wanted,
    typed: &Typed,
) -> Result<Jail> {
    let JailTarget { server, agent, jail } = &target;
    let (stored, view, list, job, changes) = tokio::join!(
        state.store.server(server),
        agent.jail_view_within(jail, super::server::PATIENCE),
        listed(state, server, jail, &wanted),
        Progress::of(state, server, jail, &wanted.job, &visitor),
        state.store.changes_of(server),
    );
    let mut changes = changes?;
    let Listed { bans, read_at, paging } = list?;
    let known = match stored {
        Err(StoreError::Corrupt { .. }) => Arc::default(),
        stored => stored?.state,
    };
    let (view, not_asked) = match view {
        Ok(view) => (view, None),
        Err(AgentError::Refused { kind: RefusedKind::Jail, .. }) => (None, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let counts = known.status.jails.get(jail).copied();
    let never_heard_of = view.is_none() && counts.is_none() && !known.expected_jails.contains(jail);
    if never_heard_of && not_asked.is_none() && bans.is_empty() {
        return Err(Problem::not_found("jail"));
    }
    let unread =
        lists::unread(server, &known).into_iter().find(|finding| finding.jail.as_ref() == Some(jail));
    let now = JailState::of(jail, &known, view.as_ref());
    let counts = counts.unwrap_or_default();
    let never_banned = view.as_ref().map(NeverBanned::of).unwrap_or_default();
    let part = PARTS.iter().find(|(part, _)| *part == wanted.part).map_or("bans", |(part, _)| part);
    // Not offered where the list is not known.
    let own = visitor.actor.address.filter(|_| view.is_some());
    let own = own.filter(|own| !never_banned.covers(Network::from(*own)));
    Ok(Jail {
        path: jail_path(server, jail),
        name: jail.to_string(),
        server: server.to_string(),
        part,
        shown: now.shown(),
        runs: now == JailState::Running,
        banned: counts.currently_banned,
        failing: count(counts.currently_failed),
        total: count(counts.total_banned),
        checked_at: known.status.checked_at,
        not_asked,
        errors: view.as_ref().map(|view| view.errors.clone()).unwrap_or_default(),
        change: Running::of(changes.running.remove(jail)),
        refused: changes.refused.remove(jail).map(Refused::from),
        job: job?,
        following: !wanted.job.is_empty() && typed.errors.is_empty(),
        bans,
        read_at,
        unread: unread.map(|finding| (finding.detail, finding.remedy.text)),
        q: Field::text("q", "Address begins with")
            .id("begins")
            .value(&wanted.q)
            .attribute("autocomplete", "off"),
        searched: wanted.q.trim().to_owned(),
        paging,
        ips: Field::lines("ips", "Addresses or networks, one or many", 4)
            .value(typed.get("ips").unwrap_or_default())
            .with(&typed.errors)
            .attribute("data-addresses", MOST)
            .attribute("spellcheck", "false"),
        force: typed.get("force").is_some_and(|force| !force.is_empty()),
        good: typed.good,
        lasts: super::jail_words::lasting(view.as_ref().and_then(|view| view.bantime)),
        settings: settings(view.as_ref(), typed),
        from_reload: view.as_ref().and_then(switched_by_files),
        never_banned,
        network: Field::text("network", "Address or network")
            .value(typed.get("network").unwrap_or_default())
            .with(&typed.errors)
            .attribute("autocomplete", "off"),
        own: own.map(|own| own.to_string()),
        logs: view.as_ref().map(logs).unwrap_or_default(),
        journal: view.map(|view| view.journal_matches).unwrap_or_default(),
        lifted: bans_lifted(Some(counts.currently_banned)),
        shell: visitor.shell,
    })
}

/// What the next reload or restart does to the jail, if its state differs from the files.
fn switched_by_files(view: &JailView) -> Option<&'static str> {
    match (view.running, view.in_files.is_some(), view.enabled) {
        (true, false, _) => Some("The files do not have this jail: it ends at the next reload or restart."),
        (true, true, false) => Some("The files switch it off: it ends at the next reload or restart."),
        (false, true, true) => Some("The files switch it on: it begins at the next reload or restart."),
        _ => None,
    }
}

impl Jail {
    fn parts(&self) -> Vec<(&'static str, String, bool)> {
        let may = |part: &str| match part {
            "ban" => self.shell.may(Right::Ban),
            "all" => self.shell.may(Right::Ban) || self.shell.may(Right::SwitchJail),
            _ => true,
        };
        PARTS
            .iter()
            .filter(|(part, _)| may(part))
            .map(|(part, word)| (*word, format!("{}?part={part}", self.path), *part == self.part))
            .collect()
    }

    /// Whether the page reloads itself if scripts are off. Not while a form is being filled in.
    fn follows(&self) -> bool {
        self.following && self.job.as_ref().is_some_and(|job| job.open)
    }

    fn banned_shown(&self) -> String {
        count(self.banned)
    }

    /// Whether a job lifts all bans.
    fn many(&self) -> bool {
        self.banned > crate::domain::ban_job::JOB_ABOVE as u64
    }

    /// Whether there are too many bans to save all of them for the undo.
    fn too_many(&self) -> bool {
        self.banned > crate::domain::undo::MAX_ADDRESSES as u64
    }

    fn ban_label(&self) -> String {
        match self.good {
            0 => "Ban".to_owned(),
            1 => "Ban 1 address".to_owned(),
            many => format!("Ban {} addresses", count(many as u64)),
        }
    }
}
