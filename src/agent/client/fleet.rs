//! The servers that a worker knows, each with the client of its agent: those that are probed and that users can name.
//!
//! Listed ones are always there; discovered ones come and go with what the leader writes into Redis
//! ([`Fleet::apply`]). A discovered server never gets a name that is listed.
//!
//! Callers get a clone of the client, which is cheap, and never hold on to the list itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::{AgentClient, Credentials};
use crate::config::AgentGroup;
use crate::domain::discovery::Discovered;
use crate::domain::{Discoveries, ServerName};

/// All servers that this worker knows. Cheap to clone; all clones share one list.
#[derive(Clone, Default)]
pub struct Fleet(Arc<Inner>);

#[derive(Default)]
struct Inner {
    credentials: Option<Credentials>,
    /// Groups whose agents are sent the shared token even if workers have a certificate.
    shared_token: BTreeSet<ServerName>,
    listed: BTreeMap<ServerName, AgentClient>,
    members: ArcSwap<BTreeMap<ServerName, Member>>,
    /// One change at a time.
    change: Mutex<()>,
}

#[derive(Clone)]
struct Member {
    client: AgentClient,
    /// How a discovered one was found.
    found: Option<Found>,
}

/// All that the client of a discovered server depends on.
#[derive(Clone, PartialEq)]
struct Found {
    address: SocketAddr,
    tls: bool,
    fingerprint: Option<String>,
    shared_token: bool,
}

impl Fleet {
    /// The listed servers; `credentials` are for those that will be discovered, of these groups.
    #[must_use]
    pub fn new(
        credentials: Option<Credentials>,
        listed: BTreeMap<ServerName, AgentClient>,
        groups: &[AgentGroup],
    ) -> Self {
        let shared_token = groups.iter().filter(|group| group.shared_token).map(|group| group.name.clone());
        let fleet = Self(Arc::new(Inner {
            credentials,
            shared_token: shared_token.collect(),
            listed,
            members: ArcSwap::default(),
            change: Mutex::default(),
        }));
        fleet.apply(&Discoveries::new());
        fleet
    }

    /// The agent of that server, if there is such a server.
    #[must_use]
    pub fn get(&self, name: &ServerName) -> Option<AgentClient> {
        self.0.members.load().get(name).map(|member| member.client.clone())
    }

    /// Whether there is such a server.
    #[must_use]
    pub fn contains(&self, name: &ServerName) -> bool {
        self.0.members.load().contains_key(name)
    }

    /// All names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<ServerName> {
        self.0.members.load().keys().cloned().collect()
    }

    /// The names that the configuration lists.
    #[must_use]
    pub fn listed(&self) -> Vec<ServerName> {
        self.0.listed.keys().cloned().collect()
    }

    /// What agents are shown, and whom this worker trusts.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.0.credentials.as_ref()
    }

    /// Makes these the discovered servers. One that has not changed keeps its client and its connections.
    pub fn apply(&self, discovered: &Discoveries) {
        let _one = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.0.members.load();
        let mut members: BTreeMap<ServerName, Member> = BTreeMap::new();
        for (name, server) in discovered {
            let found = Found {
                address: server.address,
                tls: server.tls,
                fingerprint: server.fingerprint.clone(),
                shared_token: self.0.shared_token.contains(&server.group),
            };
            let member = before.get(name).filter(|member| member.found.as_ref() == Some(&found)).cloned();
            let member = member.or_else(|| self.member(name, server, found));
            members.extend(member.map(|member| (name.clone(), member)));
        }
        let listed = self.0.listed.iter();
        members.extend(
            listed.map(|(name, client)| (name.clone(), Member { client: client.clone(), found: None })),
        );
        self.0.members.store(Arc::new(members));
    }

    fn member(&self, name: &ServerName, server: &Discovered, found: Found) -> Option<Member> {
        match self.0.credentials.as_ref()?.client_at(name, server, found.shared_token) {
            Ok(client) => Some(Member { client, found: Some(found) }),
            Err(error) => {
                tracing::error!(server.name = %name, "ignoring the discovered server {name}: {error:#}");
                None
            }
        }
    }
}
