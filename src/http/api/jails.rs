//! The jails of a server with their settings, read from its agent: those that run, and those that are configured but off.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::hours::HoursView;
use super::running_changes::{RefusedChangeView, RunningChangeView};
use super::server_view::ActivationView;
use crate::actions::{ServerTarget, UnknownTarget, switch_jail};
use crate::agent::wire;
use crate::domain::findings::jails::LogFile;
use crate::domain::{JailCounts, JailName};
use crate::http::auth::caller::Caller;
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;
use crate::store::{ChangeError, StoreError};

/// A jail as users see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct JailView {
    #[schema(value_type = String)]
    name: JailName,
    /// Whether it runs.
    active: bool,
    /// Whether the configuration switches it on.
    enabled: bool,
    /// Whether fail2ban lists it although it does not run.
    stalled: bool,
    #[serde(flatten)]
    counts: JailCounts,
    /// `polling`, `pyinotify` or `systemd`; for a jail that does not run, as the files say.
    backend: Option<String>,
    idle: Option<bool>,
    /// Duration of a ban in seconds, -1 if permanent.
    bantime: Option<i64>,
    /// Seconds within which failures add up.
    findtime: Option<i64>,
    /// Number of failures that lead to a ban.
    maxretry: Option<i64>,
    ignoreip: Vec<String>,
    filter: String,
    log_files: Vec<String>,
    /// The log files of a running jail; `null` if its agent cannot inspect them.
    logs: Option<Vec<LogView>>,
    journal_matches: Vec<String>,
    /// What is wrong in its configuration, in words.
    errors: Vec<String>,
    /// The settings that would apply after a reload; `null` if the files do not have the jail, or if its agent's version does
    /// not report it.
    after_reload: Option<AfterReload>,
    /// Bans and failures per hour; `null` if no probe has seen the jail run within a day, and in answers to changes.
    hours: Option<HoursView>,
    /// The running change; `null` if there is none, and in answers to changes.
    change: Option<RunningChangeView>,
    /// The last change that was refused, kept until a change of the jail succeeds, for 30 days at most; `null` in answers to
    /// changes.
    last_refusal: Option<RefusedChangeView>,
}

/// A log file as the agent sees it.
#[derive(Debug, Serialize, ToSchema)]
struct LogView {
    path: String,
    /// Whether there is no such file.
    missing: bool,
    /// In bytes; `null` if the agent could not inspect the file.
    size: Option<u64>,
    /// Seconds since it was last written to.
    age_seconds: Option<i64>,
}

impl From<LogFile> for LogView {
    fn from(LogFile { path, missing, size, age_seconds }: LogFile) -> Self {
        Self { path, missing, size, age_seconds }
    }
}

/// Settings of a jail as the files have them now.
#[derive(Debug, Serialize, ToSchema)]
pub struct AfterReload {
    /// Duration of a ban in seconds, -1 if permanent; `null` if it cannot be computed.
    bantime: Option<i64>,
    findtime: Option<i64>,
    maxretry: Option<i64>,
    ignoreip: Vec<String>,
    /// For each setting the file that decides it, relative to fail2ban's folder.
    files: BTreeMap<String, String>,
}

impl From<wire::FileSettings> for AfterReload {
    fn from(settings: wire::FileSettings) -> Self {
        let wire::FileSettings { bantime, findtime, maxretry, ignoreip, origins } = settings;
        Self { bantime, findtime, maxretry, ignoreip, files: origins }
    }
}

impl JailView {
    /// Shows a jail; `running` is what fail2ban reports about it, if it was asked.
    pub fn new(view: wire::JailView, running: Option<wire::Jail>) -> Self {
        let (counts, backend, idle) =
            running.map_or_else(Default::default, |jail| (jail.counts, jail.backend, jail.idle));
        Self {
            name: view.name,
            active: view.running,
            enabled: view.enabled,
            stalled: view.stalled,
            counts,
            backend: backend.or(Some(view.backend)).filter(|backend| !backend.is_empty()),
            idle,
            bantime: view.bantime,
            findtime: view.findtime,
            maxretry: view.maxretry,
            ignoreip: view.ignoreip,
            filter: view.filter,
            log_files: view.log_files,
            logs: view.logs.map(|logs| logs.into_iter().map(LogView::from).collect()),
            journal_matches: view.journal_matches,
            errors: view.errors,
            after_reload: view.in_files.map(AfterReload::from),
            hours: None,
            change: None,
            last_refusal: None,
        }
    }
}

/// A jail after a switch.
#[derive(Debug, Serialize, ToSchema)]
pub struct JailSwitched {
    #[schema(value_type = String)]
    jail: JailName,
    /// Whether it runs now.
    active: bool,
    /// False if the jail was already in that state.
    changed: bool,
    last_activation: Option<ActivationView>,
}

impl From<switch_jail::JailSwitched> for JailSwitched {
    fn from(switched: switch_jail::JailSwitched) -> Self {
        let switch_jail::JailSwitched { jail, active, changed, last_activation } = switched;
        Self { jail, active, changed, last_activation: last_activation.map(ActivationView::from) }
    }
}

/// All jails.
#[derive(Serialize, ToSchema)]
pub struct JailList {
    items: Vec<JailView>,
    /// Always `null`: the list is complete.
    next_cursor: Option<String>,
    /// What fail2ban cannot read in its configuration, in its own words: jails in those parts are missing from the list.
    errors: Vec<String>,
}

/// All jails, including those that are configured but off, read from the server now.
#[utoipa::path(get, path = "/api/v1/servers/{server}/jails", tag = "jails", params(("server" = String, Path)),
    responses((status = 200, body = JailList), (status = 502, description = "The agent cannot be reached")))]
pub async fn list(
    State(state): State<AppState>,
    _: Caller,
    Path(server): Path<String>,
) -> Result<axum::Json<JailList>> {
    Ok(axum::Json(ask(&state, &server).await?))
}

/// One jail.
#[utoipa::path(get, path = "/api/v1/servers/{server}/jails/{jail}", tag = "jails", params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailView), (status = 422, description = "The jail may be in a part of the configuration that fail2ban cannot read"), (status = 502, description = "The agent cannot be reached")))]
pub async fn show(
    State(state): State<AppState>,
    _: Caller,
    Path((server, jail)): Path<(String, String)>,
) -> Result<axum::Json<JailView>> {
    let wanted = state.jail(&server, &jail)?.jail;
    let JailList { items, errors, .. } = ask(&state, &server).await?;
    let missing = || match &errors[..] {
        [] => UnknownTarget::Jail.into(),
        errors => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "configuration-unreadable",
            "fail2ban cannot read all of its configuration",
            format!(
                "there is no jail {wanted} in what fail2ban can read of its configuration: {}",
                errors.join("\n")
            ),
        ),
    };
    items.into_iter().find(|jail| jail.name == wanted).map(axum::Json).ok_or_else(missing)
}

/// Asks for the jails. Whether this fail2ban reports backend and idleness is detected once for the whole cluster; until that is
/// known, they are not asked for.
async fn ask(state: &AppState, server: &str) -> Result<JailList> {
    let ServerTarget { name, agent } = state.server(server)?;
    let (store, asked) = (state.store.clone(), agent.clone());
    // Runs to completion even if the client hangs up: an interrupted detection would leave a lock that others wait for.
    let of_detection = name.clone();
    let detection = state.complete(async move {
        store.backend_commands(&of_detection, async || asked.backend_commands().await).await
    });
    let supported = match detection.await {
        // The jails can be shown even if the server's state cannot be read.
        Err(ChangeError::Store(StoreError::Corrupt { .. })) => None,
        supported => supported?,
    };
    let running = agent.jails(supported.unwrap_or(false)).await?;
    let mut running: BTreeMap<JailName, wire::Jail> =
        running.into_iter().map(|jail| (jail.name.clone(), jail)).collect();
    let wire::JailViews { jails, errors, .. } = agent.jail_views().await?;
    let (hours, changes) = tokio::join!(state.store.server_hours(&name), state.store.changes_of(&name));
    let (hours, mut changes) = (hours?, changes?);
    let now = state.store.about_now();
    let items = jails.into_iter().map(|view| {
        let jail = running.remove(&view.name);
        let hours = hours.jails.get(&view.name).map(|of_jail| of_jail.hours.shown(now).into());
        let change = changes.running.remove(&view.name).map(RunningChangeView::from);
        let last_refusal = changes.refused.remove(&view.name).map(RefusedChangeView::from);
        JailView { hours, change, last_refusal, ..JailView::new(view, jail) }
    });
    Ok(JailList { items: items.collect(), next_cursor: None, errors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_jail_shows_its_counts_beside_its_settings_and_null_for_what_is_unknown() {
        let name = JailName::parse("sshd").unwrap();
        let counts =
            JailCounts { currently_failed: 1, total_failed: 2, currently_banned: 3, total_banned: 4 };
        let jail = wire::Jail { name: name.clone(), counts, backend: None, idle: Some(false) };
        let view = wire::JailView {
            name,
            enabled: true,
            running: true,
            stalled: false,
            bantime: Some(600),
            findtime: None,
            maxretry: Some(5),
            ignoreip: vec!["127.0.0.0/8".to_owned()],
            filter: "sshd".to_owned(),
            backend: String::new(),
            log_files: vec![],
            journal_matches: vec![],
            logs: None,
            errors: vec![],
            in_files: None,
        };
        assert_eq!(
            serde_json::to_value(JailView::new(view, Some(jail))).unwrap(),
            json!({
                "name": "sshd", "active": true, "enabled": true, "stalled": false, "currently_failed": 1,
                "total_failed": 2, "currently_banned": 3, "total_banned": 4, "backend": null, "idle": false,
                "bantime": 600, "findtime": null, "maxretry": 5, "ignoreip": ["127.0.0.0/8"], "filter": "sshd",
                "log_files": [], "logs": null, "journal_matches": [], "errors": [], "after_reload": null,
                "hours": null, "change": null, "last_refusal": null,
            })
        );
    }
}
