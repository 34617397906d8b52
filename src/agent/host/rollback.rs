//! Rolls back an activation after which fail2ban crashed: the jail is switched off in the files, fail2ban is started if it does
//! not answer, and the jails that should run are restarted, one by one.
//!
//! This change may be made while fail2ban does not answer, so nothing can be verified before it is made. It is not undone either: a
//! jail that brought fail2ban down stays off, whatever else goes wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{Instrument as _, info, warn};

use super::change::ANSWER_BEFORE;
use super::changer::Changer;
use super::dropin::DropIn;
use super::error::ChangeError;
use super::files::Lock;
use super::under_way::{Outcome, Rollback};
use crate::agent::wire;
use crate::domain::JailName;
use crate::fail2ban::Command;
use crate::fail2ban::tools::{Verdict, View};

/// How long fail2ban may take to answer after the start command has ended.
const ANSWERS_AFTER: Duration = Duration::from_secs(30);
const ASK_INTERVAL: Duration = Duration::from_millis(200);

impl Changer {
    /// Runs to completion even if the caller has gone; begins only if its turn comes before `deadline`. Asking again while it is
    /// under way waits for its end.
    pub(in crate::agent) async fn roll_back(
        self: &Arc<Self>,
        jail: JailName,
        deadline: Instant,
    ) -> Result<wire::RolledBack, ChangeError> {
        let mut outcome = self.begun_rollback(&jail, deadline);
        let ended = match timeout_at(deadline - ANSWER_BEFORE, outcome.wait_for(Option::is_some)).await {
            Ok(Ok(ended)) => ended.clone(),
            Ok(Err(_)) => None,
            Err(_) => return Err(self.under_way("the rollback")),
        };
        // The outcome was delivered: a caller that asks again wants another rollback.
        self.forget_rollback();
        ended.map_or_else(
            || Err(ChangeError::Unsettled("the rollback was interrupted: the agent is stopping".into())),
            |(_, outcome)| outcome,
        )
    }

    /// The rollback of this jail that is under way, or else a new one.
    fn begun_rollback(
        self: &Arc<Self>,
        jail: &JailName,
        deadline: Instant,
    ) -> watch::Receiver<Option<(Instant, Outcome)>> {
        let mut latest = self.rollback.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rollback) = latest.as_ref().filter(|rollback| rollback.answers(jail)) {
            return rollback.outcome.clone();
        }
        let (ended, outcome) = watch::channel(None);
        *latest = Some(Rollback { jail: jail.clone(), outcome: outcome.clone() });
        let (changer, jail) = (Arc::clone(self), jail.clone());
        let rolling_back = async move {
            let rolled_back = async {
                let lock = changer.lock(deadline).await?;
                changer.switch_off_and_start(&lock, &jail).await
            };
            let rolled_back = rolled_back.await;
            match &rolled_back {
                Ok(outcome) => info!(jail.name = %jail, ?outcome, "rolled back an activation"),
                Err(reason) => warn!(jail.name = %jail, "failed to roll back an activation: {reason}"),
            }
            ended.send_replace(Some((Instant::now(), rolled_back)));
        };
        tokio::spawn(rolling_back.in_current_span());
        outcome
    }

    /// Drops the outcome of a rollback that has ended.
    pub(in crate::agent) fn forget_rollback(&self) {
        let mut latest = self.rollback.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.as_ref().is_some_and(|rollback| rollback.outcome.borrow().is_some()) {
            *latest = None;
        }
    }

    async fn switch_off_and_start(
        &self,
        lock: &Lock,
        jail: &JailName,
    ) -> Result<wire::RolledBack, ChangeError> {
        self.put_leftover_back(jail)?;
        let survey = self.tools.survey().await?;
        if !survey.jails.is_empty() && !survey.jails.contains_key(jail) {
            return Err(ChangeError::UnknownJail(format!(
                "there is no jail {jail} in fail2ban's configuration"
            )));
        }
        let (_, drop_in) = self.drop_in(jail)?;
        let off = DropIn { enabled: Some(false), ..drop_in };
        self.files.put(jail, Some(&off.render(jail)))?;
        self.bring_up(lock, jail).await.map_err(|reason| match reason {
            ChangeError::Failed(words) => {
                ChangeError::Unsettled(format!("the jail is off in the files, but then this failed: {words}"))
            }
            other => other,
        })
    }

    async fn bring_up(&self, lock: &Lock, jail: &JailName) -> Result<wire::RolledBack, ChangeError> {
        let started = match self.ask(Command::Ping).await {
            Ok(_) => false,
            Err(ChangeError::Down(_)) => {
                self.start_and_wait().await?;
                true
            }
            Err(other) => return Err(other),
        };
        if let Err(reason) = self.undo_leftover(lock).await {
            // Jails that do not come back are reported below.
            warn!("failed to undo an interrupted change completely: {reason}");
        }
        self.find_log().await;
        if self.running().await?.contains_key(jail) {
            self.stop(jail).await?;
        }
        let missing = self.bring_back(lock).await?;
        let running =
            self.running().await?.into_iter().filter_map(|(jail, runs)| runs.then_some(jail)).collect();
        Ok(wire::RolledBack { jail: jail.clone(), started, running, missing })
    }

    /// Restores the file of an interrupted change before fail2ban is started; the rest follows once it answers. If the change was of
    /// this jail, the rollback takes care of the rest.
    fn put_leftover_back(&self, jail: &JailName) -> Result<(), ChangeError> {
        let Some(journal) = self.files.journal()? else { return Ok(()) };
        self.put_file_back(&journal)?;
        if journal.jail == *jail {
            self.files.put_journal(None)?;
        }
        Ok(())
    }

    async fn start_and_wait(&self) -> Result<(), ChangeError> {
        let said = match self.tools.start(&self.start).await? {
            Verdict::Well => String::new(),
            Verdict::Wrong(words) => words,
        };
        let deadline = Instant::now() + ANSWERS_AFTER;
        loop {
            match self.ask(Command::Ping).await {
                Ok(_) => return Ok(()),
                Err(reason) if Instant::now() >= deadline => {
                    let test = match self.tools.test().await? {
                        Verdict::Well => "fail2ban-client -t finds nothing wrong".to_owned(),
                        Verdict::Wrong(words) => words,
                    };
                    let command = self.start.join(" ");
                    return Err(ChangeError::Unsettled(format!(
                        "the jail is off, but fail2ban does not answer after `{command}`: {reason}\n{said}\n{test}"
                    )));
                }
                Err(_) => sleep(ASK_INTERVAL).await,
            }
        }
    }

    /// Reloads each jail that is switched on but does not run, unless it would be refused; returns those that still do not run.
    async fn bring_back(&self, lock: &Lock) -> Result<BTreeMap<JailName, String>, ChangeError> {
        let mut missing = BTreeMap::new();
        let running = self.running().await?;
        let enabled = self.tools.survey().await?.jails.into_iter().filter(|(_, jail)| jail.enabled);
        for (jail, _) in enabled.filter(|(jail, _)| running.get(jail) != Some(&true)) {
            let wrong = self.tools.rehearse(&jail, View::Live).await?.errors;
            if !wrong.is_empty() {
                missing.insert(jail, wrong.join("\n"));
                continue;
            }
            if running.contains_key(&jail) {
                self.stop(&jail).await?;
            }
            match self.reload(lock, &jail).await {
                Ok(()) => info!(jail.name = %jail, "restarted a lost jail"),
                Err(ChangeError::Configuration(words)) => drop(missing.insert(jail, words)),
                Err(other) => return Err(other),
            }
        }
        Ok(missing)
    }
}
