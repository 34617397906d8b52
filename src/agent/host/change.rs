//! A change to one jail as a transaction: the host ends up as requested or as before, whatever is wrong with the jail and
//! whenever the agent dies, and no other jail is touched.
//!
//! ```text
//! lock ─▶ (undo leftovers) ─────▶ read ─▶ stage ─▶ try out ─▶ journal ─▶ drop-in ─▶ reload that jail ─▶ verify ─▶ end the journal
//!                                           └─ wrong ─┴─▶ discard │         └─ wrong ──┴───────────────┴─▶ undo
//!                                                             └───┴─▶ look again ─▶ refuse                  │
//!                                                                          └────────────────────────────────┘
//! ```
//!
//! A file in `jail.d` takes effect the next time anything reloads or restarts fail2ban: cron, a package, a person. So no file
//! gets there that has not passed `trial.rs`, which reads the configuration as it would be and finds what a reload would
//! fail on. A mistake in *another* jail does not keep this one from being changed: a reload of one jail does not
//! read the others.
//!
//! The journal is on the disk before the drop-in changes, and is removed once all is verified; as long as it is there, the
//! change is undone (`undo.rs`): by the change itself, by the agent's next start, or by the next change, whichever comes first.
//!
//! Before any answer, even a refusal, the agent checks that the jails that ran before still run (`losses.rs`).
//!
//! The lock outlives a killed agent as long as its reload runs (the reload holds it too), so that the next agent does not
//! undo a change that is still being loaded.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::{Instrument as _, info, warn};

use super::changer::{Changed, Changer, Edit, Plan, Running};
use super::dropin::DropIn;
use super::error::{self, ChangeError};
use super::files::{Journal, Lock};
use super::losses::names;
use super::steps::Recorder;
use super::undo::lost;
use crate::domain::{ChangeStep, JailChangeId, JailName};
use crate::fail2ban::probe::listed;
use crate::fail2ban::tools::{ConfiguredJail, Verdict};
use crate::fail2ban::{Command, threads};

/// How long fail2ban may take to start and end threads once it has answered a reload.
pub(in crate::agent) const VERIFY_TIMEOUT: Duration = Duration::from_secs(4);
pub(in crate::agent) const VERIFY_INTERVAL: Duration = Duration::from_millis(50);
/// How long before the deadline a caller is answered that its change is still under way.
pub(in crate::agent) const ANSWER_BEFORE: Duration = Duration::from_millis(500);
/// The timeout of one command to fail2ban.
pub(in crate::agent) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two attempts to undo a change while fail2ban does not answer.
const UNDO_PAUSE: Duration = Duration::from_secs(2);

impl Changer {
    /// The jail whose change was begun and neither finished nor undone yet.
    pub(in crate::agent) fn interrupted(&self) -> Option<JailName> {
        self.files.journal().ok().flatten().map(|journal| journal.jail)
    }

    /// Changes a jail. Runs to completion even if the caller has gone; begins only if its turn comes before `deadline`. Its steps
    /// are recorded under `id`.
    pub(in crate::agent) async fn change(
        self: &Arc<Self>,
        jail: JailName,
        edit: Edit,
        id: Option<JailChangeId>,
        deadline: Instant,
    ) -> Result<Changed, ChangeError> {
        let changer = Arc::clone(self);
        let steps = self.steps.record(id);
        let changing = async move {
            steps.at(ChangeStep::Lock);
            let lock = changer.lock(deadline).await?;
            // The outcome of an earlier rollback may no longer hold after this change.
            changer.forget_rollback();
            changer.undo_leftover(&lock).await?;
            let changed = changer.apply(&lock, &jail, &edit, &steps).await;
            match &changed {
                Ok(changed) => info!(jail.name = %jail, ?edit, ?changed, "changed a jail"),
                Err(reason) => warn!(jail.name = %jail, ?edit, "failed to change a jail: {reason}"),
            }
            if changer.interrupted().is_some() {
                drop(lock);
                tokio::spawn(async move { changer.recover().await });
            }
            changed
        };
        let changing = tokio::spawn(changing.in_current_span());
        // Answers before the caller gives up; the change continues.
        match timeout_at(deadline - ANSWER_BEFORE, changing).await {
            Ok(changed) => changed.unwrap_or_else(|_| {
                Err(ChangeError::Unsettled("the change was cut off: the agent is stopping".into()))
            }),
            Err(_) => Err(self.under_way("the change")),
        }
    }

    /// The answer to a caller whose deadline passes before `what` has ended.
    pub(in crate::agent) fn under_way(&self, what: &str) -> ChangeError {
        ChangeError::UnderWay(match self.working() {
            Some(working) => format!("{what} is still under way: {working}"),
            None => format!("{what} is still under way"),
        })
    }

    /// Undoes what an earlier agent has left, or a change during which fail2ban stopped answering; retries until it is done.
    pub(in crate::agent) async fn recover(&self) {
        let mut logged = None;
        while self.interrupted().is_some() || self.files.half_written() {
            let attempt = async {
                let lock = self.lock(Instant::now() + ANSWER_TIMEOUT).await?;
                self.undo_leftover(&lock).await
            };
            if let Err(reason) = attempt.await
                && logged.as_ref() != Some(&reason)
            {
                warn!("failed to undo an interrupted change: {reason}; retrying");
                logged = Some(reason);
            }
            if self.interrupted().is_some() {
                sleep(UNDO_PAUSE).await;
            }
        }
    }

    pub(in crate::agent) async fn lock(&self, deadline: Instant) -> Result<Lock, ChangeError> {
        let busy =
            || ChangeError::Busy("another change of this host's fail2ban is under way: try again".into());
        self.files.lock(deadline).await?.ok_or_else(busy)
    }

    pub(in crate::agent) async fn undo_leftover(&self, lock: &Lock) -> Result<(), ChangeError> {
        self.files.tidy()?;
        let Some(journal) = self.files.journal()? else { return Ok(()) };
        warn!(jail.name = %journal.jail, "undoing a change that was interrupted");
        self.undo(lock, &journal).await?;
        info!(jail.name = %journal.jail, "undid a change that was interrupted");
        Ok(())
    }

    async fn apply(
        &self,
        lock: &Lock,
        jail: &JailName,
        edit: &Edit,
        steps: &Recorder,
    ) -> Result<Changed, ChangeError> {
        steps.at(ChangeStep::Save);
        let running = match self.running().await {
            Err(ChangeError::Down(reason)) => return self.change_while_down(jail, edit, &reason).await,
            running => running?,
        };
        self.find_log().await;
        let outcome = self.transact(lock, jail, edit, &running, steps).await;
        self.unless_jails_were_lost(&running, jail, outcome).await
    }

    async fn transact(
        &self,
        lock: &Lock,
        jail: &JailName,
        edit: &Edit,
        running: &Running,
        steps: &Recorder,
    ) -> Result<Changed, ChangeError> {
        let configured = match self.configured(jail).await {
            Err(ChangeError::UnknownJail(_))
                if matches!(edit, Edit::Deactivate) && running.contains_key(jail) =>
            {
                return self.end_unconfigured(jail).await;
            }
            configured => configured?,
        };
        let (before, drop_in) = self.drop_in(jail)?;
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
            Edit::Ignore(network) => {
                drop_in.ignoring(*network, self.ignored_by_others(jail, &configured).await?)
            }
        };
        let active = match edit {
            Edit::Activate => true,
            Edit::Deactivate => false,
            Edit::Set(_) | Edit::Ignore(_) => ran,
        };
        let plan = Plan { jail, edit, active, reloads: active || listed };
        steps.at(ChangeStep::Test);
        let text = after.render(jail);
        self.files.stage(&text)?;
        let mut journal = Journal {
            jail: jail.clone(),
            before,
            running: running.iter().filter(|(_, runs)| **runs).map(|(jail, _)| jail.clone()).collect(),
            reloaded: false,
        };
        let same = journal.before.as_ref() == Some(&text);
        let passed = async {
            self.try_out(&plan).await?;
            if same && self.is_in_force(&plan).await {
                return Ok(false);
            }
            steps.at(ChangeStep::Write);
            self.files.put_journal(Some(&journal)).map_err(ChangeError::from)?;
            Ok(true)
        };
        match passed.await {
            Ok(true) => {}
            Ok(false) => {
                self.files.discard()?;
                return Ok(Changed { active: ran, changed: false });
            }
            Err(reason) => {
                self.files.discard()?;
                return Err(reason);
            }
        }
        let changing = async {
            self.files.commit(jail)?;
            if plan.reloads {
                steps.at(ChangeStep::Load);
                journal.reloaded = true;
                self.files.put_journal(Some(&journal))?;
                if listed && !ran {
                    self.stop(jail).await?;
                }
                self.reload(lock, jail).await?;
                steps.at(ChangeStep::Verify);
                self.verify(&journal, &plan).await?;
            }
            Ok(())
        };
        if let Err(reason) = changing.await {
            steps.at(ChangeStep::Undo);
            return Err(match self.undo(lock, &journal).await {
                Ok(()) => reason,
                Err(undone) => {
                    ChangeError::Unsettled(format!("{reason}\nFailed to roll the change back: {undone}"))
                }
            });
        }
        self.files.put_journal(None)?;
        Ok(Changed { active, changed: true })
    }

    /// A jail's drop-in as it is: as text, and parsed.
    pub(in crate::agent) fn drop_in(&self, jail: &JailName) -> Result<(Option<String>, DropIn), ChangeError> {
        let text = self.files.read(jail)?;
        let read = text.as_ref().map(|text| {
            DropIn::parse(jail, text).ok_or_else(|| {
                let path = self.files.drop_in(jail);
                ChangeError::Configuration(format!("{} was edited by hand: remove it first", path.display()))
            })
        });
        Ok((text, read.transpose()?.unwrap_or_default()))
    }

    pub(in crate::agent) async fn configured(&self, jail: &JailName) -> Result<ConfiguredJail, ChangeError> {
        let mut survey = self.tools.survey().await?;
        if let Some(configured) = survey.jails.remove(jail) {
            return Ok(configured);
        }
        Err(error::unknown(jail, &survey))
    }

    /// Stops a jail: one that is listed but does not run, before it is reloaded (fail2ban would start it, and remove it at the end of
    /// the reload), or one that a reload has started.
    pub(in crate::agent) async fn stop(&self, jail: &JailName) -> Result<(), ChangeError> {
        let deadline = Instant::now() + Duration::from_secs(3600);
        let stopping = self.client.ask(Command::StopJail(jail.clone()), deadline);
        match self.while_it_works(jail, stopping).await {
            None => Err(stalled(jail)),
            // It is gone already.
            Some(Err(error)) if error.is_unknown_jail() => Ok(()),
            Some(answer) => Ok(answer.map(|_| ())?),
        }
    }

    pub(in crate::agent) async fn reload(&self, lock: &Lock, jail: &JailName) -> Result<(), ChangeError> {
        let held = lock.share()?;
        match self.while_it_works(jail, self.tools.reload(jail, held)).await {
            None => Err(stalled(jail)),
            Some(verdict) => match verdict? {
                Verdict::Well => Ok(()),
                Verdict::Wrong(words) => Err(ChangeError::Configuration(words)),
            },
        }
    }

    /// Waits until every jail that ran before runs, and this one is as it should be.
    async fn verify(&self, journal: &Journal, plan: &Plan<'_>) -> Result<(), ChangeError> {
        let active = plan.active;
        let deadline = Instant::now() + VERIFY_TIMEOUT;
        loop {
            let now = self.running().await?;
            let lost = lost(journal, &now);
            let as_asked =
                if active { now.get(&journal.jail) == Some(&true) } else { !now.contains_key(&journal.jail) };
            if lost.is_empty() && as_asked {
                return self.read_back(plan).await;
            }
            if Instant::now() >= deadline {
                let how = match (lost.is_empty(), active) {
                    (true, true) => format!("{} is not running", journal.jail),
                    (true, false) => format!("{} is still running", journal.jail),
                    (false, _) => format!("these jails are no longer running: {}", names(lost)),
                };
                return Err(ChangeError::Configuration(format!(
                    "fail2ban accepted the configuration, but {how}"
                )));
            }
            sleep(VERIFY_INTERVAL).await;
        }
    }

    pub(in crate::agent) async fn running(&self) -> Result<Running, ChangeError> {
        let list = listed(&self.client, Instant::now() + ANSWER_TIMEOUT).await?;
        let jails: Vec<JailName> = list.iter().filter_map(|name| JailName::parse(name).ok()).collect();
        let pid = self.client.server_pid().unwrap_or_default();
        let started = threads::started(pid, jails.iter());
        Ok(started.into_iter().map(|(jail, started)| (jail.clone(), started != Some(false))).collect())
    }

    pub(in crate::agent) async fn ask(
        &self,
        command: Command,
    ) -> Result<crate::fail2ban::pickle::Value, ChangeError> {
        Ok(self.client.ask(command, Instant::now() + ANSWER_TIMEOUT).await?)
    }
}

fn stalled(jail: &JailName) -> ChangeError {
    ChangeError::Unsettled(format!(
        "fail2ban does not answer, and shows no progress with the change of {jail}"
    ))
}
