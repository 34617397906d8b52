//! The configured servers, each with the client of its agent: what the scheduler sweeps and what users name.
//!
//! Whoever asks gets a clone of the client, which is cheap, and never holds on to the list itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::client::AgentClient;
use crate::domain::ServerName;

/// All servers that this worker knows. Cheap to clone; all clones are one list.
#[derive(Debug, Clone, Default)]
pub struct Fleet(Arc<BTreeMap<ServerName, AgentClient>>);

impl Fleet {
    /// The agent of that server, if there is such a server.
    #[must_use]
    pub fn get(&self, name: &ServerName) -> Option<AgentClient> {
        self.0.get(name).cloned()
    }

    /// Whether there is such a server.
    #[must_use]
    pub fn contains(&self, name: &ServerName) -> bool {
        self.0.contains_key(name)
    }

    /// All names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<ServerName> {
        self.0.keys().cloned().collect()
    }
}

impl FromIterator<(ServerName, AgentClient)> for Fleet {
    fn from_iter<T: IntoIterator<Item = (ServerName, AgentClient)>>(agents: T) -> Self {
        Self(Arc::new(agents.into_iter().collect()))
    }
}
