//! What runs, what state the API reports, and whether that state explains what does not run.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::run::Run;
use crate::support::cluster::SERVER;
use crate::support::{Answer, SOON};

/// For a probe, on a machine that is busy, from the last change of what runs or of what the state says: a fail2ban that
/// stops its jails one after the other is right about each of them a moment later, and may take a minute for all.
const PROBE_TIMEOUT: Duration = Duration::from_secs(25);
/// For a look as a whole, where Redis is starved too.
const READ_WITHIN: Duration = Duration::from_secs(120);
/// For the agent to undo something, which on a full disk it cannot.
const UNDO_TIMEOUT: Duration = Duration::from_secs(3);
/// A switch whose outcome is not known is settled within 150 s.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(200);
const AGAIN: Duration = Duration::from_millis(100);

/// What was observed after a step.
pub struct Observation {
    pub running: Option<BTreeSet<String>>,
    pub answers: bool,
    pub text: String,
    pub violation: Option<String>,
}

/// The part of the state that the run checks.
struct State {
    condition: String,
    active: u64,
    missing: BTreeSet<String>,
    stalled: BTreeSet<String>,
    error: Option<String>,
    checked_at: Value,
    pending: Option<String>,
}

impl State {
    fn of(body: &Value) -> Self {
        let status = &body["status"];
        let names = |name: &str| {
            let names = status[name].as_array().into_iter().flatten();
            names.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
        };
        Self {
            condition: status["condition"].as_str().unwrap_or_default().to_owned(),
            active: status["active_jails"].as_u64().unwrap_or_default(),
            missing: names("missing_jails"),
            stalled: names("stalled_jails"),
            error: status["error"].as_str().map(str::to_owned),
            checked_at: status["checked_at"].clone(),
            pending: body["pending_recovery"]["jail_name"].as_str().map(str::to_owned),
        }
    }

    /// Whether the state says why this jail does not run.
    fn explains(&self, jail: &str) -> bool {
        match self.condition.as_str() {
            "down" | "busy" | "unreachable" => self.error.is_some(),
            // A reload that fails stops every jail, and fail2ban lists each until all before it have ended.
            "degraded" => self.missing.contains(jail) || self.stalled.contains(jail),
            _ => self.stalled.contains(jail),
        }
    }

    /// Whether the state agrees with what runs.
    fn agrees(&self, running: &Option<BTreeSet<String>>) -> bool {
        match (self.condition.as_str(), running) {
            ("up" | "degraded", Some(running)) => self.active == running.len() as u64,
            // A fail2ban that hangs still has its threads.
            ("down", running) => {
                running.as_ref().is_none_or(BTreeSet::is_empty)
                    || self.error.as_ref().is_some_and(|error| error.starts_with("hung"))
            }
            _ => false,
        }
    }
}

impl Run {
    async fn state(&self, ask: bool) -> Answer {
        let path = format!("/api/v1/servers/{SERVER}");
        if ask {
            self.client.send(self.client.request(Method::POST, &format!("{path}/probe"))).await;
        }
        self.client.send(self.client.request(Method::GET, &path).timeout(SOON)).await
    }

    /// Waits until the state is newer than this call and explains each jail that is missing; then records what runs.
    pub async fn look(&mut self) -> Observation {
        self.undone().await;
        let (began, first) = (Instant::now(), State::of(&self.state(true).await.body));
        let (mut older, mut probes) = (first.checked_at, 0);
        let (mut unchanged_since, mut last) = (began, None);
        let (state, running, lost) = loop {
            let running = self.host.running().await;
            let answer = self.state(true).await;
            // On an overloaded machine not even Redis answers: that says nothing about a jail.
            if answer.status != 200 && began.elapsed() < READ_WITHIN {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            let state = State::of(&answer.body);
            // The probe behind the first newer state may have begun before this call.
            if state.checked_at != older {
                (older, probes) = (state.checked_at.clone(), probes + 1);
            }
            let none = BTreeSet::new();
            let lost: BTreeSet<String> =
                self.expected.difference(running.as_ref().unwrap_or(&none)).cloned().collect();
            let explained = lost.iter().all(|jail| state.explains(jail));
            let now = Some((running.clone(), state.condition.clone(), state.missing.clone()));
            if now != last {
                (unchanged_since, last) = (Instant::now(), now);
            }
            let given_up = unchanged_since.elapsed() > PROBE_TIMEOUT || began.elapsed() > READ_WITHIN;
            if probes >= 2 && explained && state.agrees(&running) || given_up {
                break (state, running, lost);
            }
            tokio::time::sleep(AGAIN).await;
        };
        self.tally.add("losses", "seen", lost.difference(&self.missing).count() as u64);
        let unsaid: Vec<&String> = lost.iter().filter(|jail| !state.explains(jail)).collect();
        let said = lost.difference(&self.missing).filter(|jail| !unsaid.contains(jail)).count();
        self.tally.add("losses", format!("said: {}", state.condition), said as u64);
        let violation = if !unsaid.is_empty() {
            Some(format!("not running, and the state does not say so: {unsaid:?}"))
        } else if ["up", "degraded", "down"].contains(&state.condition.as_str()) && !state.agrees(&running) {
            Some(format!(
                "the state says {} with {} jails, and {running:?} run",
                state.condition, state.active
            ))
        } else {
            None
        };
        let text = format!(
            "{} run, {}{}{}",
            running.as_ref().map_or("none".to_owned(), |running| running.len().to_string()),
            state.condition,
            if lost.is_empty() { String::new() } else { format!(", missing {lost:?}") },
            state
                .error
                .filter(|_| state.condition != "degraded")
                .map(|error| format!(": {error}"))
                .unwrap_or_default(),
        );
        // An unexplained loss is reported once.
        self.expected.retain(|jail| !unsaid.contains(&jail));
        self.uncertain.retain(|_, until| *until > Instant::now());
        let certain = running.iter().flatten().filter(|jail| !self.uncertain.contains_key(*jail));
        self.expected.extend(certain.cloned());
        self.pending = state.pending;
        self.missing = lost.into_iter().filter(|jail| self.expected.contains(jail)).collect();
        Observation {
            running,
            answers: ["up", "degraded"].contains(&state.condition.as_str()),
            text,
            violation,
        }
    }

    /// Waits until the agent has undone what it must; on a full disk it cannot, so only for a while.
    async fn undone(&self) {
        let began = Instant::now();
        while began.elapsed() < UNDO_TIMEOUT
            && self.host.agent.lock().await.info().await.interrupted_change.is_some()
        {
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// What is wrong at the end, when nothing disturbs the host any more.
    pub async fn at_the_end(&mut self) -> Vec<String> {
        let began = Instant::now();
        let mut wrong = loop {
            let (state, running) = (State::of(&self.state(true).await.body), self.host.running().await);
            let interrupted = self.host.agent.lock().await.info().await.interrupted_change;
            let well = state.condition == "up" && state.agrees(&running) && interrupted.is_none();
            if well {
                break Vec::new();
            }
            if began.elapsed() > SETTLE_TIMEOUT {
                break vec![format!(
                    "the state is {}, missing {:?}, stalled {:?}, error {:?}, interrupted {interrupted:?}; {running:?} run",
                    state.condition, state.missing, state.stalled, state.error
                )];
            }
            tokio::time::sleep(AGAIN).await;
        };
        wrong.extend(self.left_behind().await);
        wrong
    }

    /// bangui's files other than the drop-ins that are in force.
    async fn left_behind(&mut self) -> Vec<String> {
        let running = self.host.running().await.unwrap_or_default();
        let (mut wrong, mut in_force) = (Vec::new(), 0);
        for (name, text) in self.host.files() {
            let text = String::from_utf8_lossy(&text).into_owned();
            if !name.contains("bangui") {
                continue;
            }
            let jail = text.lines().find_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
            let runs = jail.is_some_and(|jail| running.contains(jail));
            let enabled = text.lines().find_map(|line| line.strip_prefix("enabled = "));
            match enabled {
                Some("true") if runs => in_force += 1,
                Some("false") if !runs => in_force += 1,
                None if jail.is_some() && name.starts_with("zz-bangui-") => in_force += 1,
                _ => wrong.push(format!("{name} is left, and its jail runs: {runs}\n{text}")),
            }
        }
        let known = |name: &str| ["zz-bangui-", ".bangui-lock"].iter().any(|ours| name.starts_with(ours));
        for path in everything_in(&self.host.folder) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.contains("bangui") && !known(&name) {
                wrong.push(format!("{} is left", path.display()));
            }
        }
        self.tally.add("at the end", "drop-ins in force", in_force);
        self.tally.add("at the end", "jails running", running.len() as u64);
        wrong
    }
}

/// Every file below this folder.
fn everything_in(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .flat_map(|path| match path.is_dir() && !path.is_symlink() {
            true => everything_in(&path),
            false => vec![path],
        })
        .collect()
}
