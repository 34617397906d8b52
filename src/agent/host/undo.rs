//! Undoes a change that failed or was interrupted: restores its file, the jail, and any other jail that was lost with it.
//!
//! It may be repeated as often as necessary: it starts from the present state, and removes the journal last.

use tracing::{error, warn};

use super::changer::{Changer, Running};
use super::error::ChangeError;
use super::files::{Journal, Lock};
use crate::domain::JailName;
use crate::fail2ban::Command;
use crate::fail2ban::tools::{Rehearsal, View};

impl Changer {
    /// Restores the file, the jail, and any other jail that was lost; removes the journal once that is done.
    pub(in crate::agent) async fn undo(&self, lock: &Lock, journal: &Journal) -> Result<(), ChangeError> {
        self.put_file_back(journal)?;
        let missing = if journal.reloaded { self.undo_reload(lock, journal).await? } else { Vec::new() };
        self.files.put_journal(None)?;
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<&str> = missing.iter().map(JailName::as_str).collect();
        Err(ChangeError::Unsettled(format!(
            "the files are as before, but these jails, which ran before, are not running: {}. Their own files have become \
            invalid, or they were stopped in the meantime",
            missing.join(", ")
        )))
    }

    /// Writes the file only if it differs: on a full disk it could not be written again.
    pub(in crate::agent) fn put_file_back(&self, journal: &Journal) -> Result<(), ChangeError> {
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
            // It may run with the new settings: only a reload restores the old ones. If a reload would fail now, the jail is better left as
            // it is.
            let Rehearsal { errors, .. } = self.tools.rehearse(jail, View::Live).await?;
            if errors.is_empty() || now.get(jail) != Some(&true) {
                self.put_back(lock, jail).await?;
            }
        } else if now.contains_key(jail) {
            self.stop(jail).await?;
        }
        for other in lost(journal, &now) {
            warn!(jail.name = %other, "restarting a jail that was lost during the change of {jail}");
            self.put_back(lock, other).await?;
        }
        let now = self.running().await?;
        Ok(journal.running.iter().filter(|other| now.get(*other) != Some(&true)).cloned().collect())
    }

    /// Reloads a jail. If its own files have become invalid in the meantime, logs that and returns.
    async fn put_back(&self, lock: &Lock, jail: &JailName) -> Result<(), ChangeError> {
        match self.reload(lock, jail).await {
            Err(ChangeError::Configuration(words)) => {
                error!(jail.name = %jail, "failed to restart the jail: its own files are invalid: {words}");
                Ok(())
            }
            other => other,
        }
    }
}

/// The other jails that ran before but do not run now.
pub(in crate::agent) fn lost<'a>(journal: &'a Journal, now: &Running) -> Vec<&'a JailName> {
    journal.running.iter().filter(|jail| **jail != journal.jail && now.get(*jail) != Some(&true)).collect()
}
