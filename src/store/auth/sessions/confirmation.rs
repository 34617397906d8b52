//! The record that the user of a session has confirmed the password a moment ago, which sensitive changes ask for.
//!
//! It is a separate key beside the session: only sensitive changes read it, so session checks cost nothing more, and near caches
//! need not know of it. A session that gets a new token has no such record, since the key is made of the session's id.

use std::time::Duration;

use crate::store::connection::clock::millis;
use crate::store::{AuditRecord, Result, SessionId, Store, scripts};

/// How long a confirmation is valid.
const GOOD_FOR: Duration = Duration::from_secs(300);

impl Store {
    /// Records that this session's user has confirmed the password; `false` if the session has ended.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn confirm_session(&self, id: &SessionId, audit: &AuditRecord) -> Result<bool> {
        let call = scripts::SESSION_CONFIRM.call().key(self.keys.session(id)).key(self.keys.confirmed(id));
        let call = self.with_audit_keys(call, audit.trail).arg(millis(GOOD_FOR));
        let confirmed = self.shared.call(&self.with_audit(call, audit)).await?;
        if confirmed {
            audit.log();
        }
        Ok(confirmed)
    }

    /// Whether this session's user has confirmed the password within the last five minutes.
    pub async fn session_is_confirmed(&self, id: &SessionId) -> Result<bool> {
        let command = redis::cmd("EXISTS").arg(self.keys.confirmed(id)).to_owned();
        self.shared.read_from_primary("session_confirmed", &self.keys, &command).await
    }
}
