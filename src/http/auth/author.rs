//! Who makes a change, for the audit: every handler that changes something takes an [`Author`], and leaves an entry.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::Value;

use super::address::CallerAddress;
use crate::http::error::{Problem, Result};
use crate::http::extract::Caller;
use crate::http::state::AppState;
use crate::store::{AuditRecord, StoreError, WorkerId};

/// Somebody who is logged in, with the address that the request comes from and the worker that serves it.
pub struct Author {
    /// The session.
    pub caller: Caller,
    /// From where.
    pub address: std::net::IpAddr,
    worker: WorkerId,
}

impl Author {
    /// The name to be told in logs.
    pub fn username(&self) -> &str {
        self.caller.session.username.as_str()
    }

    /// An entry for the audit: `what` was done to `target`, with the outcome `done` or why not.
    pub fn record(
        &self,
        what: &'static str,
        target: Option<String>,
        (before, after): (Value, Value),
        outcome: impl Into<String>,
    ) -> AuditRecord {
        AuditRecord {
            username: self.username().to_owned(),
            session: Some(self.caller.session.id),
            address: Some(self.address),
            worker: Some(self.worker.clone()),
            what,
            target,
            before,
            after,
            outcome: outcome.into(),
            begun: None,
        }
    }

    /// The entry for what Redis did, or did without the replicas having confirmed it.
    pub async fn note_done<T>(
        &self,
        state: &AppState,
        what: &'static str,
        target: Option<String>,
        done: std::result::Result<T, StoreError>,
    ) -> Result<T> {
        let outcome = match &done {
            Ok(_) => "done".to_owned(),
            Err(error @ StoreError::Unconfirmed { .. }) => error.to_string(),
            Err(_) => return Ok(done?),
        };
        note(state, &self.record(what, target, (Value::Null, Value::Null), outcome)).await;
        Ok(done?)
    }
}

impl FromRequestParts<AppState> for Author {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        // Whether somebody is logged in comes first: a stranger learns nothing about what else is wrong.
        let caller = Caller::from_request_parts(parts, state).await?;
        let Ok(CallerAddress(address)) = CallerAddress::from_request_parts(parts, state).await;
        Ok(Self { caller, address, worker: state.worker.clone() })
    }
}

/// Writes an entry of the audit. The change is made: an entry that cannot be written goes into the log instead.
pub async fn note(state: &AppState, record: &AuditRecord) {
    if let Err(error) = state.store.audit(record).await {
        tracing::error!(error = %error, ?record, "an entry of the audit could not be written");
    }
}
