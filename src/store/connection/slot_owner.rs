//! What the nodes of a Redis Cluster say, and who owns a slot according to them.
//!
//! A replica becomes a master when a majority of the masters votes for it, and what they say about the slot changes only after
//! that. What a master says about its own slot counts for nothing: one that was cut off, or slept through its own replacement,
//! still claims it. Of the others, with `n` masters in all,
//!
//! * the owner in use *stays* while `n / 2` others name it, rounded down: with itself they are a majority;
//! * a worker *moves* to an owner once `n / 2` others name it, rounded up: never more than have voted for it.
//!
//! Together these are more than all others, so one master is in both groups, and no master goes back to naming the old owner.
//! Hence a worker that still trusts the old owner has asked before any worker moved to the new one. Masters that have failed are
//! counted in `n`, as the cluster itself does. A cluster of one master has no others; there the greatest configuration epoch
//! that any node knows decides.

use std::collections::{BTreeMap, BTreeSet};

use redis::Value;

/// What one node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Its own id.
    pub by: String,
    /// The owner of the slot, if it has one.
    pub owner: Option<Owner>,
    /// The masters that have slots.
    pub masters: BTreeSet<String>,
    /// The addresses of all nodes.
    pub nodes: BTreeMap<String, String>,
}

/// The owner of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub id: String,
    pub address: String,
    pub epoch: u64,
}

/// Which node was asked, for which slot, and whether over TLS.
pub(super) struct Asked<'a> {
    /// `host:port` of the node.
    pub address: &'a str,
    pub slot: u16,
    pub tls: bool,
}

impl View {
    /// Reads the answers of `CLUSTER NODES` and `CLUSTER SLOTS`: the first has the epochs, the second the addresses that clients
    /// are to use.
    pub fn read(nodes: &str, slots: &[Vec<Value>], asked: &Asked<'_>) -> Result<Self, String> {
        let endpoints = endpoints(slots);
        let mut view =
            Self { by: String::new(), owner: None, masters: BTreeSet::new(), nodes: BTreeMap::new() };
        for line in nodes.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [id, place, flags, _, _, _, epoch, _, ranges @ ..] = fields.as_slice() else { continue };
            let id = (*id).to_owned();
            let has = |flag| flags.split(',').any(|one| one == flag);
            if has("myself") {
                view.by.clone_from(&id);
            }
            if has("handshake") {
                continue;
            }
            let address = address(place, endpoints.get(&id), asked);
            let mut ranges = ranges.iter().filter(|range| !range.starts_with('[')).peekable();
            if has("master") && ranges.peek().is_some() {
                if ranges.any(|range| contains(range, asked.slot)) {
                    let epoch = epoch.parse().map_err(|_| "its CLUSTER NODES has no configuration epoch")?;
                    view.owner = Some(Owner { id: id.clone(), address: address.clone(), epoch });
                }
                view.masters.insert(id.clone());
            }
            view.nodes.insert(id, address);
        }
        if view.by.is_empty() {
            return Err("its CLUSTER NODES does not say which of the nodes it is".to_owned());
        }
        Ok(view)
    }
}

fn contains(range: &str, slot: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
}

/// Endpoint and port of each node in `CLUSTER SLOTS`; no endpoint if it is that of the node asked.
fn endpoints(slots: &[Vec<Value>]) -> BTreeMap<String, (Option<String>, i64)> {
    let node = |node: &Value| {
        let Value::Array(parts) = node else { return None };
        let [endpoint, Value::Int(port), Value::BulkString(id), ..] = parts.as_slice() else { return None };
        let endpoint = match endpoint {
            Value::BulkString(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        Some((String::from_utf8_lossy(id).into_owned(), (endpoint, *port)))
    };
    slots.iter().flat_map(|range| range.iter().skip(2)).filter_map(node).collect()
}

/// `host:port` of a node. `place` is `ip:port@bus-port,hostname`. The cluster says which of its names clients are to use; over
/// TLS it is the hostname, if it has one, since that is what certificates are for.
fn address(place: &str, endpoint: Option<&(Option<String>, i64)>, asked: &Asked<'_>) -> String {
    let (own, rest) = place.split_once('@').unwrap_or((place, ""));
    let (ip, port) = own.rsplit_once(':').unwrap_or((own, ""));
    let hostname = rest.split(',').nth(1).filter(|name| !name.is_empty());
    let same = asked.address.rsplit_once(':').map_or(asked.address, |(host, _)| host);
    let or_same = |host| if str::is_empty(host) { same } else { host };
    let (host, port) = match endpoint {
        Some((None, port)) => (same, port.to_string()),
        Some((Some(host), port)) if host.is_empty() => (same, port.to_string()),
        Some((Some(host), port)) if host == "?" => (or_same(ip), port.to_string()),
        Some((Some(host), port)) => (hostname.filter(|_| asked.tls).unwrap_or(host), port.to_string()),
        None => (hostname.filter(|_| asked.tls).unwrap_or(or_same(ip)), port.to_owned()),
    };
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// An owner, with the nodes that name it.
struct Candidate<'a> {
    owner: &'a Owner,
    by: BTreeSet<&'a str>,
    masters: BTreeSet<&'a str>,
    nodes: BTreeSet<&'a str>,
}

impl Candidate<'_> {
    fn is_named_by_enough(&self, settled: Option<(&str, u64)>) -> bool {
        let others = self.by.iter().filter(|by| self.masters.contains(*by) && **by != self.owner.id).count();
        let stays = settled == Some((self.owner.id.as_str(), self.owner.epoch));
        others >= if stays { to_stay(self.masters.len()) } else { to_move(self.masters.len()) }
    }
}

fn to_stay(masters: usize) -> usize {
    masters / 2
}

fn to_move(masters: usize) -> usize {
    masters.div_ceil(2).min(masters.saturating_sub(1))
}

/// Who owns the slot, if enough masters name the same one. `settled` is the id and the epoch of the owner in use, `known` the
/// nodes of its cluster: a node that now belongs to another cluster must lead no worker there.
pub(super) fn owner(
    views: &[View],
    settled: Option<(&str, u64)>,
    known: &BTreeSet<String>,
) -> Result<Owner, &'static str> {
    let mut candidates: BTreeMap<(&str, u64), Candidate<'_>> = BTreeMap::new();
    for view in views {
        let Some(owner) = &view.owner else { continue };
        let candidate = candidates.entry((&owner.id, owner.epoch)).or_insert_with(|| Candidate {
            owner,
            by: BTreeSet::new(),
            masters: BTreeSet::new(),
            nodes: BTreeSet::new(),
        });
        candidate.by.insert(&view.by);
        candidate.masters.extend(view.masters.iter().map(String::as_str));
        candidate.nodes.extend(view.nodes.keys().map(String::as_str));
    }
    let mut named: Vec<&Candidate<'_>> =
        candidates.values().filter(|candidate| candidate.is_named_by_enough(settled)).collect();
    if named.is_empty() {
        return Err("too few masters of the Redis Cluster name the same owner of the slot");
    }
    if !known.is_empty() {
        named.retain(|candidate| candidate.nodes.iter().any(|id| known.contains(*id)));
    }
    let newest = named.iter().max_by_key(|candidate| candidate.owner.epoch);
    let newest = newest
        .ok_or("these are the nodes of another Redis Cluster: if that is meant, restart this worker")?;
    if named.iter().any(|other| other.nodes.is_disjoint(&newest.nodes)) {
        return Err("the nodes belong to different Redis Clusters");
    }
    Ok(newest.owner.clone())
}

#[cfg(test)]
#[path = "slot_owner_tests.rs"]
mod tests;
