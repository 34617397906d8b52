//! Who asks for a change: every action that changes something takes an [`Actor`], and leaves an audit entry in its name.

use std::net::IpAddr;

use serde_json::Value;

use crate::domain::access::Access;
use crate::store::{AuditRecord, SessionId, Trail, Username, WorkerId};

/// Somebody who may make a change, as the audit names them.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The account.
    pub username: Username,
    /// What they may do.
    pub access: Access,
    /// The session that asks; none before a login, and outside the workers.
    pub session: Option<SessionId>,
    /// The address that the request came from; none outside the workers.
    pub address: Option<IpAddr>,
    /// The worker that serves it; none outside the workers.
    pub worker: Option<WorkerId>,
}

impl Actor {
    /// The admin before there is a session: during setup or login.
    #[must_use]
    pub fn without_session(address: IpAddr, worker: &WorkerId) -> Self {
        Self { address: Some(address), worker: Some(worker.clone()), ..Self::operator() }
    }

    /// The operator of this installation, acting through the configuration or the command line.
    #[must_use]
    pub fn operator() -> Self {
        Self {
            username: Username::admin(),
            access: Access::everything(),
            session: None,
            address: None,
            worker: None,
        }
    }

    /// The name for logs.
    #[must_use]
    pub fn username(&self) -> &str {
        self.username.as_str()
    }

    /// An audit entry that this actor did `what`: without a target and values, with the outcome `done`.
    #[must_use]
    pub fn record(&self, what: &'static str) -> AuditRecord {
        AuditRecord {
            trail: Trail::of(what),
            username: self.username().to_owned(),
            session: self.session,
            address: self.address,
            worker: self.worker.clone(),
            what,
            target: None,
            before: Value::Null,
            after: Value::Null,
            outcome: "done".to_owned(),
            begun: None,
        }
    }
}
