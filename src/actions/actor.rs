//! Who asks for a change: every action that changes something takes an [`Actor`], and leaves an audit entry in its name.

use std::net::IpAddr;

use serde_json::Value;

use crate::domain::access::Access;
use crate::store::{AccountId, AuditRecord, LiveSession, Owner, SessionId, Trail, Username, WorkerId};

/// Somebody who may make a change, as the audit names them.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The account.
    pub username: Username,
    /// Which account of that name.
    pub account: AccountId,
    /// What they may do.
    pub access: Access,
    /// Whether a token for programs asks, and no session.
    pub is_program: bool,
    /// The session or the token that asks; none before a login, and outside the workers.
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
            account: AccountId::ADMIN,
            access: Access::everything(),
            is_program: false,
            session: None,
            address: None,
            worker: None,
        }
    }

    /// Somebody whose session, or token for programs, was checked.
    #[must_use]
    pub fn of_session(session: &LiveSession, address: IpAddr, worker: &WorkerId) -> Self {
        Self {
            username: session.username.clone(),
            account: session.account,
            access: session.access.clone(),
            is_program: session.api_token.is_some(),
            session: Some(session.id),
            address: Some(address),
            worker: Some(worker.clone()),
        }
    }

    /// Whose account it is.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner { username: self.username.clone(), id: self.account }
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
