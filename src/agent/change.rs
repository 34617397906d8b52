//! A change to one jail as a transaction: the host ends up as asked or as before, whatever is wrong with the jail and
//! whenever the agent dies, and no other jail is touched.
//!
//! ```text
//! lock ─▶ (undo what was left) ─▶ look ─▶ journal ─▶ drop-in ─▶ check ─▶ reload that jail ─▶ verify ─▶ end the journal
//!                                                        └─ wrong ──┴────────┴───────────────┴─▶ undo ─▶ refuse
//! ```
//!
//! The journal is on the disk before anything else changes and goes when all is verified; as long as it is there, the
//! change is undone: by the change itself, by the agent's next start, by the next change, whichever comes first. Undoing
//! is done again as often as need be.
//!
//! What is checked before fail2ban is told: its own `-t`, which finds missing files, and the rehearsal, which finds what
//! `-t` passes over and a reload would lose the jail by. A mistake that was in *other* jails before does not
//! keep this one from being changed, since a reload of one jail does not read theirs.
//!
//! The lock outlives a killed agent as long as its reload runs (the reload holds it too), so that the next agent does not
//! undo under its hands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::dropin::DropIn;
use super::error::ChangeError;
use super::files::{Files, Journal, Lock};
use crate::config::AgentConfig;
use crate::domain::{JailName, JailSettings, Network};
use crate::fail2ban::probe::listed;
use crate::fail2ban::tools::{ConfiguredJail, Rehearsal, Tools, Verdict};
use crate::fail2ban::{Client, Command, threads};

/// fail2ban starts and ends threads within this, once a reload has been answered.
const VERIFY_WITHIN: Duration = Duration::from_secs(4);
const VERIFY_EVERY: Duration = Duration::from_millis(50);
/// For one command to fail2ban.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Between two attempts to undo what fail2ban could not be asked for.
const UNDO_PAUSE: Duration = Duration::from_secs(2);

/// What is to be changed of a jail.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// On.
    Activate,
    /// Off.
    Deactivate,
    /// These settings, from now on and after every restart.
    Set(JailSettings),
    /// One network more that is never banned.
    Ignore(Network),
}

/// What a change has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changed {
    /// Whether the jail runs.
    pub(super) active: bool,
    /// Whether anything was changed: not if it was so already.
    pub(super) changed: bool,
}

/// The jails that fail2ban lists, and whether each runs. What cannot be known counts as running.
pub(super) type Running = BTreeMap<JailName, bool>;

/// Changes jails, one at a time.
pub(super) struct Changer {
    pub(super) files: Files,
    pub(super) tools: Tools,
    client: Client,
    /// What starts fail2ban.
    pub(super) start: Vec<String>,
}

impl Changer {
    pub(super) fn new(config: &AgentConfig, client: Client, tools: Tools) -> Arc<Self> {
        let start = config.start.clone();
        Arc::new(Self { files: Files::new(&config.fail2ban_config), tools, client, start })
    }

    /// The jail whose change was begun and neither finished nor undone yet.
    pub(super) fn interrupted(&self) -> Option<JailName> {
        self.files.journal().ok().flatten().map(|journal| journal.jail)
    }

    /// Changes a jail. Runs to its end even if whoever asked has gone; begins only if its turn comes before `deadline`.
    pub(super) async fn change(
        self: &Arc<Self>,
        jail: JailName,
        edit: Edit,
        deadline: Instant,
    ) -> Result<Changed, ChangeError> {
        let changer = Arc::clone(self);
        let changing = tokio::spawn(async move {
            let lock = changer.lock(deadline).await?;
            changer.undo_leftover(&lock).await?;
            let changed = changer.apply(&lock, &jail, &edit).await;
            match &changed {
                Ok(changed) => info!(jail.name = %jail, ?edit, ?changed, "changed a jail"),
                Err(reason) => warn!(jail.name = %jail, ?edit, "did not change a jail: {reason}"),
            }
            if changer.interrupted().is_some() {
                drop(lock);
                tokio::spawn(async move { changer.recover().await });
            }
            changed
        });
        changing.await.unwrap_or_else(|_| {
            Err(ChangeError::Unsettled("the change was cut off: the agent is stopping".into()))
        })
    }

    /// Undoes what an earlier agent, or a change that fail2ban went away from, has left; tries until it is done.
    pub(super) async fn recover(&self) {
        let mut told = None;
        while self.interrupted().is_some() || self.files.half_written() {
            let attempt = async {
                let lock = self.lock(Instant::now() + ANSWERS_WITHIN).await?;
                self.undo_leftover(&lock).await
            };
            if let Err(reason) = attempt.await
                && told.as_ref() != Some(&reason)
            {
                warn!("an interrupted change is not undone yet, trying again: {reason}");
                told = Some(reason);
            }
            if self.interrupted().is_some() {
                sleep(UNDO_PAUSE).await;
            }
        }
    }

    pub(super) async fn lock(&self, deadline: Instant) -> Result<Lock, ChangeError> {
        let busy =
            || ChangeError::Busy("another change of this host's fail2ban is under way: try again".into());
        self.files.lock(deadline).await?.ok_or_else(busy)
    }

    pub(super) async fn undo_leftover(&self, lock: &Lock) -> Result<(), ChangeError> {
        self.files.tidy()?;
        let Some(journal) = self.files.journal()? else { return Ok(()) };
        warn!(jail.name = %journal.jail, "undoing a change that was interrupted");
        self.undo(lock, &journal).await?;
        info!(jail.name = %journal.jail, "undid a change that was interrupted");
        Ok(())
    }

    async fn apply(&self, lock: &Lock, jail: &JailName, edit: &Edit) -> Result<Changed, ChangeError> {
        let configured = self.configured(jail).await?;
        let before = self.files.read(jail)?;
        let drop_in = match &before {
            None => DropIn::default(),
            Some(text) => DropIn::parse(jail, text).ok_or_else(|| {
                let path = self.files.drop_in(jail);
                ChangeError::Configuration(format!("{} was edited by hand: remove it first", path.display()))
            })?,
        };
        let running = self.running().await?;
        let (listed, ran) = (running.contains_key(jail), running.get(jail) == Some(&true));
        if matches!(edit, Edit::Activate) && ran && configured.enabled
            || matches!(edit, Edit::Deactivate) && !listed && !configured.enabled
        {
            return Ok(Changed { active: ran, changed: false });
        }
        let after = match edit {
            Edit::Activate => DropIn { enabled: Some(true), ..drop_in },
            Edit::Deactivate => DropIn { enabled: Some(false), ..drop_in },
            Edit::Set(settings) => drop_in.with(settings),
            Edit::Ignore(network) => drop_in.ignoring(*network, !configured.ignoreip.is_empty()),
        };
        let active = match edit {
            Edit::Activate => true,
            Edit::Deactivate => false,
            Edit::Set(_) | Edit::Ignore(_) => ran,
        };
        let wrong_before = self.tools.test().await?;
        let mut journal = Journal {
            jail: jail.clone(),
            before,
            running: running.into_iter().filter_map(|(jail, runs)| runs.then_some(jail)).collect(),
            reloaded: false,
        };
        self.files.put_journal(Some(&journal))?;
        let changing = async {
            self.files.put(jail, Some(&after.render(jail)))?;
            self.check(jail, active, matches!(edit, Edit::Deactivate), &wrong_before).await?;
            if active || listed {
                journal.reloaded = true;
                self.files.put_journal(Some(&journal))?;
                if listed && !ran {
                    self.stop(jail).await?;
                }
                self.reload(lock, jail).await?;
                self.verify(&journal, active).await?;
            }
            Ok(())
        };
        if let Err(reason) = changing.await {
            return Err(match self.undo(lock, &journal).await {
                Ok(()) => reason,
                Err(undone) => {
                    ChangeError::Unsettled(format!("{reason}\nUndoing the change met this: {undone}"))
                }
            });
        }
        self.files.put_journal(None)?;
        Ok(Changed { active, changed: true })
    }

    async fn configured(&self, jail: &JailName) -> Result<ConfiguredJail, ChangeError> {
        let mut survey = self.tools.survey().await?;
        if let Some(configured) = survey.jails.remove(jail) {
            return Ok(configured);
        }
        Err(super::jails::unknown(jail, &survey))
    }

    /// Whether fail2ban would take the files as they are now.
    async fn check(
        &self,
        jail: &JailName,
        active: bool,
        off: bool,
        wrong_before: &Verdict,
    ) -> Result<(), ChangeError> {
        if let Verdict::Wrong(words) = self.tools.test().await? {
            if *wrong_before != Verdict::Wrong(words.clone()) {
                return Err(ChangeError::Configuration(words));
            }
            warn!("fail2ban-client -t finds the same mistakes as before the change of {jail}: {words}");
        }
        let Rehearsal { errors, enabled, database } = self.tools.rehearse(jail).await?;
        if !errors.is_empty() {
            return Err(ChangeError::Configuration(errors.join("\n")));
        }
        if (active && !enabled) || (off && enabled) {
            let other = if enabled { "on" } else { "off" };
            return Err(ChangeError::Configuration(format!(
                "a file that fail2ban reads after {} switches {jail} {other} again",
                self.files.drop_in(jail).display()
            )));
        }
        let has = self.ask(Command::Database).await?;
        let has = has.as_str().unwrap_or("None");
        match database {
            // fail2ban refuses another database while it has jails, and drops the jail that it was reloading.
            Some(named) if !named.eq_ignore_ascii_case(has) => Err(ChangeError::Configuration(format!(
                "fail2ban.conf names the database {named}, and fail2ban runs with {has}: restart fail2ban first"
            ))),
            _ => Ok(()),
        }
    }

    /// Ends a jail that is listed and does not run, before it is reloaded (fail2ban would start it, and remove it
    /// at the reload's end), and one that a reload has begun.
    pub(super) async fn stop(&self, jail: &JailName) -> Result<(), ChangeError> {
        match self.client.ask(Command::StopJail(jail.clone()), Instant::now() + ANSWERS_WITHIN).await {
            // It is gone already.
            Err(error) if error.is_unknown_jail() => Ok(()),
            answer => Ok(answer.map(|_| ())?),
        }
    }

    pub(super) async fn reload(&self, lock: &Lock, jail: &JailName) -> Result<(), ChangeError> {
        match self.tools.reload(jail, lock.share()?).await? {
            Verdict::Well => Ok(()),
            Verdict::Wrong(words) => Err(ChangeError::Configuration(words)),
        }
    }

    /// Waits until every jail that ran before runs, and this one is as it should be.
    async fn verify(&self, journal: &Journal, active: bool) -> Result<(), ChangeError> {
        let deadline = Instant::now() + VERIFY_WITHIN;
        loop {
            let now = self.running().await?;
            let lost = lost(journal, &now);
            let as_asked =
                if active { now.get(&journal.jail) == Some(&true) } else { !now.contains_key(&journal.jail) };
            if lost.is_empty() && as_asked {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let lost: Vec<&str> = lost.into_iter().map(JailName::as_str).collect();
                return Err(ChangeError::Configuration(match (&lost[..], active) {
                    ([], true) => {
                        format!("fail2ban took the configuration, and {} does not run", journal.jail)
                    }
                    ([], false) => {
                        format!("fail2ban took the configuration, and {} still runs", journal.jail)
                    }
                    (lost, _) => format!("after the reload these jails do not run: {}", lost.join(", ")),
                }));
            }
            sleep(VERIFY_EVERY).await;
        }
    }

    /// Puts the file back, the jail, and any other that was lost; ends the journal when it is so.
    async fn undo(&self, lock: &Lock, journal: &Journal) -> Result<(), ChangeError> {
        self.put_file_back(journal)?;
        let missing = if journal.reloaded { self.undo_reload(lock, journal).await? } else { Vec::new() };
        self.files.put_journal(None)?;
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<&str> = missing.iter().map(JailName::as_str).collect();
        Err(ChangeError::Unsettled(format!(
            "the files are as before, and these jails, which ran before, do not run: {}. Their own files have become wrong, \
             or somebody stopped them meanwhile",
            missing.join(", ")
        )))
    }

    /// Only if it is another one: on a full disk it could not be written again.
    pub(super) fn put_file_back(&self, journal: &Journal) -> Result<(), ChangeError> {
        if self.files.read(&journal.jail).ok().as_ref() != Some(&journal.before) {
            self.files.put(&journal.jail, journal.before.as_deref())?;
        }
        Ok(())
    }

    /// Returns the jails that ran before and could not be brought back.
    async fn undo_reload(&self, lock: &Lock, journal: &Journal) -> Result<Vec<JailName>, ChangeError> {
        // A reload whose client was killed may still be in fail2ban's queue, and answers come in turn.
        for _ in 0..3 {
            self.ask(Command::Ping).await?;
        }
        let jail = &journal.jail;
        let ran = journal.running.contains(jail);
        let now = self.running().await?;
        if ran {
            // It may run with the new settings: only a reload brings the old ones back. If they would not be taken any
            // more, the jail is better left as it is.
            let Rehearsal { errors, .. } = self.tools.rehearse(jail).await?;
            if errors.is_empty() || now.get(jail) != Some(&true) {
                self.put_back(lock, jail).await?;
            }
        } else if now.contains_key(jail) {
            self.stop(jail).await?;
        }
        for other in lost(journal, &now) {
            warn!(jail.name = %other, "bringing back a jail that was lost during the change of {jail}");
            self.put_back(lock, other).await?;
        }
        let now = self.running().await?;
        Ok(journal.running.iter().filter(|other| now.get(*other) != Some(&true)).cloned().collect())
    }

    /// Reloads a jail; that its own files have become wrong since is told and does not stop the rest.
    async fn put_back(&self, lock: &Lock, jail: &JailName) -> Result<(), ChangeError> {
        match self.reload(lock, jail).await {
            Err(ChangeError::Configuration(words)) => {
                error!(jail.name = %jail, "cannot bring the jail back, its own files are wrong: {words}");
                Ok(())
            }
            other => other,
        }
    }

    pub(super) async fn running(&self) -> Result<Running, ChangeError> {
        let list = listed(&self.client, Instant::now() + ANSWERS_WITHIN).await?;
        let jails: Vec<JailName> = list.iter().filter_map(|name| JailName::parse(name).ok()).collect();
        let pid = self.client.server_pid().unwrap_or_default();
        let started = threads::started(pid, jails.iter());
        Ok(started.into_iter().map(|(jail, started)| (jail.clone(), started != Some(false))).collect())
    }

    pub(super) async fn ask(&self, command: Command) -> Result<crate::fail2ban::pickle::Value, ChangeError> {
        Ok(self.client.ask(command, Instant::now() + ANSWERS_WITHIN).await?)
    }
}

/// The other jails that ran before and do not now.
fn lost<'a>(journal: &'a Journal, now: &Running) -> Vec<&'a JailName> {
    journal.running.iter().filter(|jail| **jail != journal.jail && now.get(*jail) != Some(&true)).collect()
}
