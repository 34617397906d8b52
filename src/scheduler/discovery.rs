//! Finds the agents behind the DNS names of `?discover=dns`, and who they are.
//!
//! ```text
//! DNS ─▶ addresses ─▶ ask those without a server, and those whose server is unreachable ─▶ reconcile ─▶ Redis ─▶ all workers
//! ```
//!
//! What follows from the answers is pure (`domain::discovery`). The servers are stored in Redis, written under the fence; every
//! worker reads them there. An agent that is known and answers its probes is not asked again: its name is proved at every
//! connection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::context::Scheduler;
use super::term::Term;
use crate::config::AgentGroup;
use crate::domain::discovery::{Answering, Conflict, Look, Reconciled, Resolved, contested, reconcile};
use crate::domain::{Condition, Discoveries, JailName, ServerName};
use crate::store::{StoreError, StoredDiscoveries};
use crate::telemetry::server_gauges;

/// How often DNS is asked.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(10);
/// A resolver that takes longer has failed.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most agents that are asked for their names at once.
const MAX_CONCURRENT_AGENTS: usize = 64;
/// The most addresses of one name.
const MAX_ADDRESSES: usize = 2_000;

/// Discovery during one term.
pub struct Discoverer {
    scheduler: Arc<Scheduler>,
    term: Arc<Term>,
    /// The latest complaints, so that each is logged once and not in every run.
    logged: Mutex<BTreeSet<String>>,
    /// The conflicts that this term has written.
    conflicts: Mutex<Option<Vec<Conflict>>>,
}

impl Discoverer {
    pub fn new(scheduler: Arc<Scheduler>, term: Arc<Term>) -> Self {
        Self { scheduler, term, logged: Mutex::default(), conflicts: Mutex::default() }
    }

    /// One run: returns the servers that it found or lost, and its outcome in words.
    pub async fn look(&self) -> Result<(Vec<ServerName>, String), StoreError> {
        let (scheduler, term) = (&*self.scheduler, &*self.term);
        let mut complaints = BTreeSet::new();
        let read = scheduler.store.discoveries().await?;
        let silent = unreachable(scheduler, &read.servers).await?;
        let mut look = Look::default();
        for group in &scheduler.groups {
            let addresses = resolve(group, &mut complaints).await;
            look.groups.insert(group.name.clone(), Resolved { addresses, tls: group.tls });
        }
        let held: BTreeMap<SocketAddr, &ServerName> =
            read.servers.iter().map(|(name, server)| (server.address, name)).collect();
        // A server found before its group had `trust=first-use` is asked for its certificate.
        let unknown: BTreeSet<&ServerName> = read
            .servers
            .iter()
            .filter(|(_, server)| {
                let group = scheduler.groups.iter().find(|group| group.name == server.group);
                group.is_some_and(|group| group.first_use) && server.fingerprint.is_none()
            })
            .map(|(name, _)| name)
            .collect();
        let settled = |address: &SocketAddr| {
            held.get(address).is_some_and(|name| !silent.contains(*name) && !unknown.contains(*name))
        };
        let addresses = scheduler.groups.iter().flat_map(|group| {
            let resolved = look.groups.get(&group.name).and_then(|resolved| resolved.addresses.as_ref());
            resolved.into_iter().flatten().map(move |address| (*address, group))
        });
        // An address behind two names belongs to the first.
        let wanted: BTreeMap<SocketAddr, &AgentGroup> =
            addresses.rev().filter(|(address, _)| !settled(address)).collect();
        look.asked = ask(scheduler, wanted, &mut complaints).await;
        let contested = contested(&read.servers, &look).into_iter().filter_map(|address| {
            let of = &read.servers.get(*held.get(&address)?)?.group;
            Some((address, scheduler.groups.iter().find(|group| group.name == *of)?))
        });
        let contested = contested.collect();
        look.asked.extend(ask(scheduler, contested, &mut complaints).await);

        let known = Discoveries::clone(&read.servers);
        let reconciled = reconcile(known, &look, &scheduler.agents.listed(), read.read_at);
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        metrics::gauge!("bangui_discovery_conflicts").set(reconciled.conflicts.len() as f64);
        complaints.extend(reconciled.conflicts.iter().map(ToString::to_string));
        if reconciled.left_out > 0 {
            complaints.insert(format!(
                "agents beyond the number that bangui supports, which are ignored: {}",
                reconciled.left_out
            ));
        }
        write(scheduler, term, &read, &reconciled).await?;
        self.write_conflicts(&reconciled.conflicts).await?;
        let outcome = if complaints.is_empty() { "ok".to_owned() } else { abbreviated(&complaints) };
        self.complain(complaints);
        Ok((reconciled.events.into_iter().map(|(name, _)| name).collect(), outcome))
    }

    /// Writes them if they have changed since the previous run; in the first run of a term in any case.
    async fn write_conflicts(&self, conflicts: &[Conflict]) -> Result<(), StoreError> {
        let known = |written: &Option<Vec<Conflict>>| written.as_deref() == Some(conflicts);
        if known(&self.conflicts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)) {
            return Ok(());
        }
        self.scheduler.store.write_conflicts(&self.term.fence, conflicts).await?;
        *self.conflicts.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(conflicts.to_vec());
        Ok(())
    }

    /// Logs what was not there in the previous run.
    fn complain(&self, complaints: BTreeSet<String>) {
        let mut logged = self.logged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for complaint in complaints.difference(&logged) {
            tracing::warn!("failed to discover agents: {complaint}");
        }
        *logged = complaints;
    }
}

/// The first few complaints, for the job's record, which the cluster page shows.
fn abbreviated(complaints: &BTreeSet<String>) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = complaints.iter().take(SHOWN).map(String::as_str).collect();
    let more = complaints.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!("; and {more} more, see the log") } else { String::new() };
    format!("{}{rest}", shown.join("; "))
}

/// The servers whose agents did not answer the last probe: another agent may be at their address.
async fn unreachable(
    scheduler: &Scheduler,
    servers: &Discoveries,
) -> Result<BTreeSet<ServerName>, StoreError> {
    let names: Vec<ServerName> = servers.keys().cloned().collect();
    let states = scheduler.store.servers(&names).await?;
    let unreachable = names.into_iter().zip(states);
    Ok(unreachable
        .filter(|(_, server)| {
            server.as_ref().is_ok_and(|server| server.state.status.condition == Condition::Unreachable)
        })
        .map(|(name, _)| name)
        .collect())
}

async fn resolve(group: &AgentGroup, complaints: &mut BTreeSet<String>) -> Option<BTreeSet<SocketAddr>> {
    let AgentGroup { host, port, .. } = group;
    let why = match timeout(RESOLVE_TIMEOUT, lookup_host((host.as_str(), *port))).await {
        Ok(Ok(addresses)) => {
            let found: BTreeSet<SocketAddr> = addresses.collect();
            if found.len() > MAX_ADDRESSES {
                let n = found.len();
                complaints
                    .insert(format!("{host} has {n} addresses, of which only {MAX_ADDRESSES} are used"));
            }
            return Some(found.into_iter().take(MAX_ADDRESSES).collect());
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {RESOLVE_TIMEOUT:?}"),
    };
    complaints.insert(format!("{host} cannot be resolved ({why}): its servers stay as they are"));
    None
}

async fn ask(
    scheduler: &Scheduler,
    wanted: BTreeMap<SocketAddr, &AgentGroup>,
    complaints: &mut BTreeSet<String>,
) -> BTreeMap<SocketAddr, Answering> {
    let Some(credentials) = scheduler.agents.credentials() else { return BTreeMap::new() };
    let asking = wanted.into_iter().map(|(address, group)| {
        let (credentials, group) = (credentials.clone(), group.clone());
        async move {
            let answer = credentials.introduce(&group, address).await;
            (address, group.name, answer)
        }
    });
    // Boxed, or the compiler cannot see that it may move between threads.
    let mut answers = futures_util::stream::iter(asking).buffer_unordered(MAX_CONCURRENT_AGENTS).boxed();
    let mut asked = BTreeMap::new();
    while let Some((address, group, answer)) = answers.next().await {
        let (name, instance, fingerprint) = match answer {
            Ok(introduction) => (Some(introduction.name), introduction.instance, introduction.fingerprint),
            Err(error) => {
                complaints.insert(error.to_string());
                (None, None, None)
            }
        };
        asked.insert(address, Answering { group, name, instance, fingerprint });
    }
    asked
}

/// Writes what changed, if anything did.
async fn write(
    scheduler: &Scheduler,
    term: &Term,
    read: &StoredDiscoveries,
    reconciled: &Reconciled,
) -> Result<(), StoreError> {
    if reconciled.servers == *read.servers {
        return Ok(());
    }
    let jails = jails_of(scheduler, &reconciled.forgotten).await?;
    // First make sure that no probe begins that would write a deleted state again.
    let mut remaining = Discoveries::clone(&read.servers);
    remaining.retain(|name, _| reconciled.servers.contains_key(name));
    scheduler.agents.apply(&remaining);
    let written = scheduler.store.write_discoveries(&term.fence, read, reconciled, &jails).await;
    scheduler.agents.apply(if written.is_ok() { &reconciled.servers } else { &read.servers });
    let revision = written?;
    reconciled.forgotten.iter().for_each(|name| server_gauges::forget(name.as_str()));
    for (name, event) in &reconciled.events {
        let (kind, facts) = (event.kind(), event.facts());
        tracing::info!(server.name = %name, event = kind, %facts, servers.revision = revision, "server {name}: {kind}");
    }
    Ok(())
}

/// Every jail of these servers that may have a list of bans.
async fn jails_of(
    scheduler: &Scheduler,
    forgotten: &[ServerName],
) -> Result<Vec<(ServerName, JailName)>, StoreError> {
    let states = scheduler.store.servers(forgotten).await?;
    let jails = forgotten.iter().zip(states).flat_map(|(name, server)| {
        // If the state cannot be read, its lists are found when all stored lists are checked.
        let state = server.map(|server| server.state).unwrap_or_default();
        let jails: BTreeSet<JailName> =
            state.status.jails.keys().chain(&state.expected_jails).cloned().collect();
        jails.into_iter().map(|jail| (name.clone(), jail))
    });
    Ok(jails.collect())
}
