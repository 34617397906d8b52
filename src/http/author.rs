//! Who makes a change, for the audit: every handler that changes something takes an [`Author`].

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::Value;

use super::address::CallerAddress;
use super::error::Problem;
use super::extract::Caller;
use super::state::AppState;
use crate::store::{AuditRecord, WorkerId};

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
            session: self.caller.session.id,
            address: self.address,
            worker: self.worker.clone(),
            what,
            target,
            before,
            after,
            outcome: outcome.into(),
        }
    }
}

impl FromRequestParts<AppState> for Author {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        // Whether somebody is logged in comes first: a stranger learns nothing about what else is wrong.
        let caller = Caller::from_request_parts(parts, state).await?;
        let Ok(CallerAddress(address)) = CallerAddress::from_request_parts(parts, state).await;
        Ok(Self { caller, address, worker: state.worker.clone() })
    }
}
