//! The note that the user of a session has proven the password a moment ago, which sensitive changes ask for.
//!
//! It is a separate key beside the session: only sensitive changes read it, so that session checks cost no more than before,
//! and no near cache has to know of it. It ends with the session, of which a renewed token makes another one: a request without
//! a session never comes to ask for it.

use std::time::Duration;

use crate::store::connection::clock::millis;
use crate::store::{AuditRecord, Result, SessionId, Store, scripts};

/// How long a proof is good for.
const GOOD_FOR: Duration = Duration::from_secs(300);

impl Store {
    /// Notes that this session's user has proven the password; `false` if the session has ended.
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

    /// Whether this session's user has proven the password within the last five minutes.
    pub async fn session_is_confirmed(&self, id: &SessionId) -> Result<bool> {
        let command = redis::cmd("EXISTS").arg(self.keys.confirmed(id)).to_owned();
        self.shared.read_from_primary("session_confirmed", &self.keys, &command).await
    }
}
