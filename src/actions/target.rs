//! What a change is about: a server of the fleet, or a jail on one.

use std::fmt;

use super::Context;
use crate::agent::client::AgentClient;
use crate::domain::{JailName, ServerName};

/// A server of the fleet.
#[derive(Debug, Clone)]
pub struct ServerTarget {
    /// Its name.
    pub name: ServerName,
    /// Its agent.
    pub agent: AgentClient,
}

/// A jail on a server of the fleet.
#[derive(Debug, Clone)]
pub struct JailTarget {
    /// The server's name.
    pub server: ServerName,
    /// Its agent.
    pub agent: AgentClient,
    /// The jail's name.
    pub jail: JailName,
}

/// The named server or jail does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownTarget {
    /// No server of the fleet has this name.
    #[error("there is no such server")]
    Server,
    /// No jail can have this name.
    #[error("there is no such jail")]
    Jail,
}

impl ServerTarget {
    /// The jail of that name there.
    #[must_use]
    pub fn jail(self, jail: JailName) -> JailTarget {
        JailTarget { server: self.name, agent: self.agent, jail }
    }
}

impl fmt::Display for JailTarget {
    /// As the audit names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server, self.jail)
    }
}

impl Context {
    /// The server of that name.
    ///
    /// # Errors
    /// [`UnknownTarget::Server`].
    pub fn server(&self, name: &str) -> Result<ServerTarget, UnknownTarget> {
        let name = ServerName::parse(name).map_err(|_| UnknownTarget::Server)?;
        let agent = self.agents.get(&name).ok_or(UnknownTarget::Server)?;
        Ok(ServerTarget { name, agent })
    }

    /// The jail of that name on that server, as a part of a path names it.
    ///
    /// # Errors
    /// [`UnknownTarget`].
    pub fn jail(&self, server: &str, jail: &str) -> Result<JailTarget, UnknownTarget> {
        let server = self.server(server)?;
        Ok(server.jail(JailName::from_segment(jail).map_err(|_| UnknownTarget::Jail)?))
    }
}
