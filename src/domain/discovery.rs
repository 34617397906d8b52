//! Servers that are discovered by a DNS name: what is stored about them, and how it changes with what is found in DNS now.
//!
//! A server is its name, which its agent reports and proves; the address is only where it was last found. So an agent that
//! comes back under another address is the same server, with the same state. The rules, in the order of [`reconcile`]:
//!
//! | what is seen | effect |
//! |---|---|
//! | DNS does not answer | nothing changes for that group |
//! | an address has gone from DNS, or another agent is there | the server stays for [`GONE_AFTER`], then goes |
//! | an agent reports a name nobody has | a new server |
//! | an agent reports the name of a server that is gone from its address, or silent there | that server has moved |
//! | an agent reports the name of one that is there, or listed in the configuration | a conflict: the first stays |
//! | an agent reports the name of a server with a pinned certificate, and shows another one | a conflict, wherever it is: the name stays with the pinned certificate until that server has been gone for [`GONE_AFTER`] |
//! | two addresses, one agent (dual stack) | one server, no conflict |

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use chrono::TimeDelta;
use chrono::serde::ts_microseconds_option;
use serde::{Deserialize, Serialize};

use super::{Event, ServerName, Timestamp, Unknown};

/// How long a server is kept after DNS stopped listing it: a node's reboot loses no state.
pub const GONE_AFTER: TimeDelta = TimeDelta::minutes(10);

/// The most servers that are discovered.
pub const MAX_SERVERS: usize = 5_000;

/// A discovered server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Discovered {
    /// The entry of `BANGUI_SERVERS` that led to it.
    pub group: ServerName,
    /// Where its agent is.
    #[serde(with = "text")]
    pub address: SocketAddr,
    /// Whether its agent speaks TLS.
    pub tls: bool,
    /// The pinned certificate, if there is one: its SHA-256 in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Since when it has been gone from DNS, on Redis's clock; none while it is there.
    #[serde(default, with = "ts_microseconds_option")]
    pub missing_since: Option<Timestamp>,
    /// Fields of a newer version.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// All of them.
pub type Discoveries = BTreeMap<ServerName, Discovered>;

/// What DNS answered for one group; without addresses if it did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Every address; none if DNS did not answer.
    pub addresses: Option<BTreeSet<SocketAddr>>,
    /// Whether its agents speak TLS.
    pub tls: bool,
}

/// Who answers at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answering {
    /// The group that the address belongs to.
    pub group: ServerName,
    /// The name that was reported and proved; `None` if no suitable agent answered.
    pub name: Option<ServerName>,
    /// The run of the agent.
    pub instance: Option<String>,
    /// The certificate that it showed, if its group pins certificates.
    pub fingerprint: Option<String>,
}

impl Answering {
    /// Whether this may be the agent of that server: it reports its name, and shows no other certificate than the pinned one.
    fn is(&self, name: &ServerName, known: &Discovered) -> bool {
        self.name.as_ref() == Some(name) && !self.shows_another(known)
    }

    fn shows_another(&self, known: &Discovered) -> bool {
        matches!((&self.fingerprint, &known.fingerprint), (Some(shown), Some(first)) if shown != first)
    }
}

/// One look at all groups.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// What DNS answered.
    pub groups: BTreeMap<ServerName, Resolved>,
    /// Who answered, of the addresses that were asked.
    pub asked: BTreeMap<SocketAddr, Answering>,
}

/// Two agents with one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The name.
    pub name: ServerName,
    /// The address of the agent that does not get the name.
    pub address: SocketAddr,
    /// The address of the agent that has it; none if the configuration lists the name.
    pub holder: Option<SocketAddr>,
    /// Whether it shows another certificate than the agent that has the name.
    pub other_certificate: bool,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, address, holder, other_certificate } = self;
        match holder {
            Some(holder) if *other_certificate => write!(
                f,
                "ignoring the agent at {address}: it reports the name {name} with another certificate than the agent at \
                 {holder}, which had the name first. If {name} was reinstalled, its new certificate is accepted once the old \
                 one has been gone for {} minutes",
                GONE_AFTER.num_minutes()
            ),
            Some(holder) => {
                write!(
                    f,
                    "the agent at {address} reports the name {name}, which the agent at {holder} already has"
                )
            }
            None => write!(f, "the agent at {address} reports the name {name}, which BANGUI_SERVERS lists"),
        }
    }
}

/// What a look led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconciled {
    /// The servers from now on.
    pub servers: Discoveries,
    /// What happened to which server.
    pub events: Vec<(ServerName, Event)>,
    /// Those that are gone for good: what is stored about them is deleted too.
    pub forgotten: Vec<ServerName>,
    /// Names that were reported twice.
    pub conflicts: Vec<Conflict>,
    /// Agents that were found beyond [`MAX_SERVERS`].
    pub left_out: usize,
}

/// Servers whose names were reported from a second address while the first was not asked: those must be asked before
/// [`reconcile`] can distinguish a move from a conflict.
#[must_use]
pub fn contested(known: &Discoveries, look: &Look) -> BTreeSet<SocketAddr> {
    let claims =
        look.asked.iter().filter_map(|(address, answering)| Some((address, answering.name.as_ref()?)));
    let holders = claims.filter_map(|(address, name)| {
        known.get(name).filter(|known| known.address != *address).map(|known| (name, known))
    });
    holders
        .filter(|(name, known)| {
            !look.asked.contains_key(&known.address) && look.shows(name, known) != Some(false)
        })
        .map(|(_, known)| known.address)
        .collect()
}

impl Look {
    /// Whether this server is where it was; none if DNS did not answer and its address was not asked.
    fn shows(&self, name: &ServerName, known: &Discovered) -> Option<bool> {
        if let Some(answering) = self.asked.get(&known.address)
            && answering.name.is_some()
        {
            return Some(answering.is(name, known));
        }
        match self.groups.get(&known.group) {
            None => Some(false),
            Some(group) => Some(group.addresses.as_ref()?.contains(&known.address)),
        }
    }

    /// Whether the server may still be where it was, so that no other agent can have its name.
    fn holds(&self, name: &ServerName, known: &Discovered) -> bool {
        let answers = self.asked.get(&known.address).map(|answering| answering.is(name, known));
        answers.unwrap_or_else(|| self.shows(name, known) != Some(false))
    }
}

/// Applies a look. `listed` are the names that `BANGUI_SERVERS` lists.
#[must_use]
pub fn reconcile(known: Discoveries, look: &Look, listed: &[ServerName], now: Timestamp) -> Reconciled {
    let is_listed =
        |name: &ServerName| listed.iter().any(|listed| listed.as_str().eq_ignore_ascii_case(name.as_str()));
    let mut done = Reconciled {
        servers: known,
        events: Vec::new(),
        forgotten: Vec::new(),
        conflicts: Vec::new(),
        left_out: 0,
    };
    // A server that is listed by now keeps its state, which is stored under its name.
    done.servers.retain(|name, _| !is_listed(name));
    let taken = done.servers.clone();
    for (name, server) in &mut done.servers {
        match look.shows(name, server) {
            Some(true) => server.missing_since = None,
            Some(false) => server.missing_since = server.missing_since.or(Some(now)),
            None => {}
        }
    }
    for (address, answering) in &look.asked {
        let full = done.servers.len() >= MAX_SERVERS;
        let Some(name) = &answering.name else { continue };
        let Some(tls) = look.groups.get(&answering.group).map(|group| group.tls) else { continue };
        if is_listed(name) {
            let (name, address) = (name.clone(), *address);
            done.conflicts.push(Conflict { name, address, holder: None, other_certificate: false });
            continue;
        }
        let found = Discovered {
            group: answering.group.clone(),
            address: *address,
            tls,
            fingerprint: answering.fingerprint.clone(),
            missing_since: None,
            unknown: Unknown::new(),
        };
        match done.servers.get_mut(name) {
            Some(server) if answering.shows_another(server) => {
                let holder = Some(server.address);
                let (name, address) = (name.clone(), *address);
                done.conflicts.push(Conflict { name, address, holder, other_certificate: true });
            }
            // Its certificate is pinned from now on, or no longer, as its group says.
            Some(server) if server.address == *address => server.fingerprint = found.fingerprint,
            // Found by this look already, or still there.
            Some(server)
                if taken
                    .get(name)
                    .is_none_or(|was| was.address != server.address || look.holds(name, was)) =>
            {
                let other = look.asked.get(&server.address).and_then(|other| other.instance.as_ref());
                if other.is_none() || other != answering.instance.as_ref() {
                    let holder = Some(server.address);
                    let (name, address) = (name.clone(), *address);
                    done.conflicts.push(Conflict { name, address, holder, other_certificate: false });
                }
            }
            Some(server) => {
                let unknown = std::mem::take(&mut server.unknown);
                *server = Discovered { unknown, ..found };
            }
            None if full => done.left_out += 1,
            None => {
                done.events.push((name.clone(), Event::ServerAdded { address: *address }));
                done.servers.insert(name.clone(), found);
            }
        }
    }
    done.servers.retain(|name, server| {
        let gone = server.missing_since.is_some_and(|since| now - since >= GONE_AFTER);
        if gone {
            done.events.push((name.clone(), Event::ServerRemoved));
            done.forgotten.push(name.clone());
        }
        !gone
    });
    done
}

/// An address as text: msgpack would store it as a list of numbers.
mod text {
    use std::net::SocketAddr;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(address)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
