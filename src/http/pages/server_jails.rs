//! The rows of a server's page: each jail, whether it runs, is off, is missing or has failed, and its last refused change.

use std::collections::BTreeMap;

use super::jail_steps::{Refused, Running};
use super::jail_words::lasting;
use super::marks::{Mark, Shown, count, counted};
use super::search::jail_path;
use crate::agent::client::JailView;
use crate::domain::{JailCounts, JailName, ServerName, ServerState, Timestamp};
use crate::store::ServerChanges;

/// The state of a jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JailState {
    /// It runs.
    Running,
    /// It should run but does not.
    Missing,
    /// fail2ban lists it although it does not run.
    Failed,
    /// It is configured, and off.
    Off,
}

/// One jail.
#[derive(Debug)]
pub struct JailRow {
    /// Its name.
    pub name: String,
    /// The path of its page.
    pub path: String,
    /// Its state as it is shown.
    pub shown: Shown,
    /// How long it bans.
    pub bantime: String,
    /// The errors in its configuration.
    pub errors: Vec<String>,
    /// The last refused change, if no change has succeeded since.
    pub refusal: Option<Refused>,
    /// The running change.
    pub change: Running,
    /// Whether it is being switched on (or off), and since when.
    pub switching: Option<(bool, Timestamp)>,
    state: JailState,
    counts: Option<JailCounts>,
}

impl JailState {
    /// The state of a jail by the last probe and its agent.
    #[must_use]
    pub fn of(jail: &JailName, known: &ServerState, view: Option<&JailView>) -> Self {
        let status = &known.status;
        if view.is_some_and(|view| view.stalled) || status.stalled_jails.contains(jail) {
            Self::Failed
        } else if view.map_or(status.jails.contains_key(jail), |view| view.running) {
            Self::Running
        } else if status.missing_jails.contains(jail) || known.expected_jails.contains(jail) {
            Self::Missing
        } else {
            Self::Off
        }
    }

    /// How it is shown.
    #[must_use]
    pub fn shown(self) -> Shown {
        let (word, mark, colour) = match self {
            Self::Running => ("running", Mark::DOT, "ok"),
            Self::Missing => ("missing", Mark::TRIANGLE, "warn"),
            Self::Failed => ("failed", Mark::SQUARE, "bad"),
            Self::Off => ("off", Mark::BAR, "muted"),
        };
        Shown { word, mark, colour }
    }
}

impl JailRow {
    /// Whether it is off on purpose.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state == JailState::Off
    }

    /// Whether it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.state == JailState::Running
    }

    /// The label of the button that makes it run.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        if self.is_off() { "Switch on" } else { "Load again" }
    }

    /// Addresses banned now, as far as is known.
    #[must_use]
    pub fn banned(&self) -> String {
        self.number(|counts| counts.currently_banned)
    }

    /// Addresses failing now, as far as is known.
    #[must_use]
    pub fn failing(&self) -> String {
        self.number(|counts| counts.currently_failed)
    }

    fn number(&self, of: fn(&JailCounts) -> u64) -> String {
        self.counts
            .as_ref()
            .filter(|_| self.runs())
            .map_or_else(|| "–".to_owned(), |counts| count(of(counts)))
    }

    /// What happens to its bans if it is switched off.
    #[must_use]
    pub fn bans_lifted(&self) -> String {
        bans_lifted(self.counts.as_ref().map(|counts| counts.currently_banned))
    }
}

/// What happens to the bans of a jail that is switched off.
#[must_use]
pub fn bans_lifted(banned: Option<u64>) -> String {
    match banned {
        Some(1) => "its ban is lifted".to_owned(),
        Some(banned) if banned > 1 => format!("its {} are lifted", counted(banned, "ban")),
        _ => "its bans are lifted".to_owned(),
    }
}

/// All jails by name: those in the files, and those that are only known to run or to be missing.
#[must_use]
pub fn rows(
    server: &ServerName,
    known: &ServerState,
    views: Vec<JailView>,
    mut changes: ServerChanges,
) -> Vec<JailRow> {
    let mut all: BTreeMap<JailName, Option<JailView>> =
        views.into_iter().map(|view| (view.name.clone(), Some(view))).collect();
    let status = &known.status;
    let known_to_run = status.jails.keys().chain(&status.missing_jails).chain(&status.stalled_jails);
    // Only an agent that answers knows a jail that is off, and hardly any agent answers while it switches a jail on.
    for jail in known_to_run.chain(changes.running.keys()) {
        all.entry(jail.clone()).or_insert(None);
    }
    all.into_iter()
        .map(|(jail, view)| {
            let state = JailState::of(&jail, known, view.as_ref());
            let switch = known.switching.iter().rfind(|switch| switch.jail_name == jail && !switch.done);
            JailRow {
                path: jail_path(server, &jail),
                shown: state.shown(),
                bantime: lasting(view.as_ref().and_then(|view| view.bantime)),
                errors: view.map(|view| view.errors).unwrap_or_default(),
                refusal: changes.refused.remove(&jail).map(Refused::from),
                change: Running::of(changes.running.remove(&jail)),
                switching: switch.map(|switch| (switch.on, switch.at)),
                counts: status.jails.get(&jail).copied(),
                name: jail.to_string(),
                state,
            }
        })
        .collect()
}
