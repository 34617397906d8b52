//! The overrides of settings: one document with a revision, written by users, in force on every worker at once.
//!
//! A worker learns of a change at once by a message on the wake channel; and, since messages get lost, the watchdog of the shared
//! connection asks for the revision too: at nine of ten checks, in place of the time, so that this costs no extra command.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use super::history::audit::AuditRecord;
use super::history::stream::EVENTS_KEPT;
use super::wake::Wake;
use super::{Result, Store, StoreError, scripts};
use crate::settings::{Live, Overrides};

const RETRY_AFTER: Duration = Duration::from_millis(300);

/// The overrides as they were read.
#[derive(Debug, Clone, Default)]
pub struct StoredSettings {
    /// By name.
    pub overrides: Overrides,
    /// Counts writes; 0 before the first.
    pub revision: u64,
}

impl Store {
    /// The overrides.
    ///
    /// # Errors
    /// See [`StoreError`], here and below.
    pub async fn settings(&self) -> Result<StoredSettings> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys.settings()).arg("revision").arg("overrides");
        let (revision, overrides): (Option<u64>, Option<Vec<u8>>) =
            self.shared.query("settings", &command).await?;
        let overrides = overrides.map(|bytes| rmp_serde::from_slice(&bytes)).transpose()?.unwrap_or_default();
        Ok(StoredSettings { overrides, revision: revision.unwrap_or_default() })
    }

    /// Writes the overrides, unless somebody else wrote since `read` ([`StoreError::Conflict`]); returns the new revision, and the id
    /// of the audit entry.
    pub async fn write_settings(
        &self,
        read: &StoredSettings,
        overrides: &Overrides,
        facts: &Value,
        audit: &AuditRecord,
    ) -> Result<(u64, String)> {
        let call = scripts::SETTINGS_WRITE.call().key(self.keys.settings()).key(self.keys.events());
        let call = self
            .with_audit_keys(call, audit.trail)
            .arg(read.revision)
            .arg(rmp_serde::to_vec_named(overrides)?)
            .arg(EVENTS_KEPT)
            .arg(facts.to_string())
            .arg(self.keys.wake());
        let written = self.shared.call(&self.with_audit(call, audit)).await?;
        audit.log();
        // This worker need not wait for its own message.
        self.wakes.ring(Wake::SettingsChanged);
        Ok(written)
    }

    /// Reads the settings into `live` once: the current ones or newer, however many callers ask at the same time.
    pub async fn load_settings(&self, live: &Live) -> Result<()> {
        let _turn = self.settings_seen.turn.lock().await;
        let StoredSettings { overrides, revision } = self.settings().await?;
        if live.replace(&overrides, revision) {
            tracing::info!(settings.revision = revision, "applied settings revision {revision}");
        }
        self.settings_seen.revision.store(revision, Ordering::Relaxed);
        Ok(())
    }

    /// Keeps `live` up to date. Never returns. While Redis is away the last settings stay in force.
    pub async fn follow_settings(&self, live: &Live) {
        loop {
            self.woken(Wake::SettingsChanged).await;
            match self.load_settings(live).await {
                Ok(()) => {}
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(error = %error, "failed to decode the stored settings: keeping the previous ones");
                }
                Err(error) => {
                    tracing::debug!(error = %error, "failed to read newer settings: retrying");
                    sleep(RETRY_AFTER).await;
                    self.wakes.ring(Wake::SettingsChanged);
                }
            }
        }
    }
}
