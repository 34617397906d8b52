//! Diagnosis: collects the facts that findings need, judges them, and gives each finding the time since when it holds.
//!
//! ```text
//! Redis: states, workers, INFO, conflicts, refusals ─┐
//! agents: clock, certificate, jails, log files ──────┼─▶ domain::findings ─▶ since when (Redis) ─▶ Diagnosis
//! the request: who asks, over what ──────────────────┘
//! ```
//!
//! It changes nothing except the record of when a finding was first seen, so it leaves no audit entry.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use chrono::Utc;

use super::inspections::{Inspected, Inspection, Inspections, Jails};
use crate::agent::client::fleet::Fleet;
use crate::domain::access::Access;
use crate::domain::address::host_behind;
use crate::domain::findings::front::{self, Front};
use crate::domain::findings::jails::JailFacts;
use crate::domain::findings::own_address::Verdict;
use crate::domain::findings::redis::RedisFacts;
use crate::domain::findings::seen::{self, Notes};
use crate::domain::findings::workers::mixed_versions;
use crate::domain::findings::{
    CheckState, Finding, Kind, Report, agents, jails, own_address, redis, servers,
};
use crate::domain::{Condition, ServerName, ServerState, Timestamp};
use crate::store::{Store, StoreError, StoredServer, WorkerView};

/// Where the facts come from.
pub struct Sources<'a> {
    /// Redis; without it only agents are asked.
    pub store: Option<&'a Store>,
    /// The fail2ban servers.
    pub agents: &'a Fleet,
    /// The recent answers of agents.
    pub inspections: &'a Inspections,
    /// The address of the user, which should be on a never-banned list.
    pub caller: Option<IpAddr>,
    /// How the request came in.
    pub front: Option<Front>,
    /// What the user sees: findings on other servers are made and noted, and left out of the answer.
    pub access: Access,
}

/// What was found.
#[derive(Debug)]
pub struct Diagnosis {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// How each check ended.
    pub checks: Vec<(Kind, CheckState)>,
    /// Servers about which not everything is known, and why.
    pub not_asked: BTreeMap<ServerName, String>,
    /// When it was made, by Redis's clock if there is a Redis.
    pub checked_at: Timestamp,
}

/// Runs every check.
///
/// # Errors
/// [`StoreError`]; an agent that does not answer is not an error.
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn diagnose(sources: Sources<'_>) -> Result<Diagnosis, StoreError> {
    let store = sources.store;
    #[expect(
        clippy::disallowed_methods,
        reason = "without Redis there is only this machine's clock to compare others with"
    )]
    let clock = move || store.map_or_else(Utc::now, Store::about_now);
    let names = sources.agents.names();
    let mut stored = match store {
        Some(store) => Some(Stored::read(store, &names).await?),
        None => None,
    };
    let mut report = Report::default();
    let mut not_asked = BTreeMap::new();
    let mut states: Vec<Option<Arc<ServerState>>> = Vec::with_capacity(names.len());
    let servers = stored.as_mut().map(|stored| std::mem::take(&mut stored.servers)).unwrap_or_default();
    for (name, server) in names.iter().zip(servers) {
        match server {
            Ok(server) => {
                servers::judge_into(&mut report, name, &server.state, server.read_at);
                states.push(Some(server.state));
            }
            Err(error) => {
                not_asked.insert(name.clone(), error.to_string());
                states.push(None);
            }
        }
    }
    states.resize(names.len(), None);
    let states: HashMap<&ServerName, Arc<ServerState>> =
        names.iter().zip(states).filter_map(|(name, state)| Some((name, state?))).collect();
    // Do not wait for an agent that the last probe did not reach.
    let reachable = |name: &&ServerName| {
        states.get(*name).is_none_or(|state| state.status.condition != Condition::Unreachable)
    };
    let asked: Vec<ServerName> = names.iter().filter(reachable).cloned().collect();
    let Inspected { known, not_asked: silent } = sources.inspections.of(sources.agents, &asked, clock).await;
    let now = clock();
    for (name, inspection) in &known {
        if let Err(reason) = &inspection.jails {
            not_asked.insert(name.clone(), reason.clone());
        }
        of_agent(&mut report, name, inspection, states.get(name).map(Arc::as_ref), (sources.caller, now));
    }
    let all_known = known.len() == names.len();
    not_asked.extend(silent);
    let conflicts = stored.as_ref().map(|stored| &stored.conflicts[..]).unwrap_or_default();
    report.merge(of_names(&known, all_known, conflicts));
    if let Some(front) = &sources.front {
        report.merge(front::judge(front));
    }
    let mut besides = Vec::new();
    if let Some(Stored { redis, refused_logins, workers, notes, .. }) = &stored {
        report.merge(redis::judge(redis));
        report.judge(Kind::LimitsMet, None, front::limits_met(*refused_logins));
        let noted = notes.get(Kind::WorkerVersions.word()).map(|seen| seen.first);
        let mixed = mixed_versions(workers, noted, now);
        besides.extend(mixed.iter().map(|mixed| mixed.finding.id()));
        let due = mixed.filter(|mixed| mixed.due).map(|mixed| mixed.finding);
        report.judge(Kind::WorkerVersions, None, due);
    }
    report.sort();
    let notes = stored.map(|stored| stored.notes).unwrap_or_default();
    let changes = seen::take_in(&mut report, &besides, &notes, now);
    if let Some(store) = sources.store
        && !changes.is_empty()
        && let Err(error) = store.note_findings(&changes).await
    {
        tracing::debug!(error = %error, "failed to save when findings were first seen: they are shown as new next time");
    }
    let access = &sources.access;
    if !access.is_for_all_servers() {
        report.only(|server| access.reaches(server));
        not_asked.retain(|server, _| access.reaches(server));
    }
    let checks = report.checks();
    Ok(Diagnosis { findings: report.findings, checks, not_asked, checked_at: now })
}

/// What Redis knows.
struct Stored {
    /// In the order of the names.
    servers: Vec<Result<StoredServer, StoreError>>,
    /// Names that discovery found twice.
    conflicts: Vec<(String, String)>,
    redis: RedisFacts,
    refused_logins: u64,
    /// The version of each worker, and since when it runs.
    workers: Vec<(String, Timestamp)>,
    notes: Notes,
}

impl Stored {
    /// Everything at once: each by itself is a round trip.
    async fn read(store: &Store, names: &[ServerName]) -> Result<Self, StoreError> {
        let (servers, conflicts, redis, refused_logins, cluster, notes) = tokio::try_join!(
            store.servers(names),
            store.discovery_conflicts(),
            store.redis_facts(),
            store.refused_logins(),
            store.cluster(),
            store.finding_notes()
        )?;
        let version = |worker: WorkerView| (worker.info.version, worker.started_at);
        let workers = cluster.workers.into_iter().map(version).collect();
        Ok(Self { servers, conflicts, redis, refused_logins, workers, notes })
    }
}

/// The facts from an agent's answer about itself and its jails, for this user at this time.
fn of_agent(
    report: &mut Report,
    server: &ServerName,
    inspection: &Inspection,
    state: Option<&ServerState>,
    (caller, now): (Option<IpAddr>, Timestamp),
) {
    let Inspection { info, asked, answered, jails, .. } = inspection;
    let here = Some(server);
    let ours = env!("CARGO_PKG_VERSION");
    report.judge(Kind::AgentVersion, here, agents::version(server, &info.agent_version, ours));
    if let Some(clock) = info.clock.and_then(Timestamp::from_timestamp_micros) {
        report.judge(Kind::AgentClock, here, agents::clock(server, clock, *asked, *answered));
    }
    if let Some(end) = info.certificate_not_after.and_then(|end| Timestamp::from_timestamp(end, 0)) {
        report.judge(Kind::AgentCertificate, here, agents::certificate(server, end, now));
    }
    if let Ok(jails) = jails {
        of_jails(report, server, jails, state, (caller, now));
    }
}

fn of_jails(
    report: &mut Report,
    server: &ServerName,
    Jails { running, database }: &Jails,
    state: Option<&ServerState>,
    (caller, now): (Option<IpAddr>, Timestamp),
) {
    let here = Some(server);
    if let Some(database) = database {
        report.judge(Kind::DatabaseOff, here, agents::database(server, database.file.as_deref()));
    }
    let missing = running.iter().flat_map(|jail| jails::logs_missing(server, jail)).collect();
    let stale = jails::logs_stale(server, running, now);
    let looked =
        |jail: &JailFacts| jail.logs.as_ref().is_some_and(|logs| logs.iter().all(jails::LogFile::is_known));
    for (kind, found) in [(Kind::LogMissing, missing), (Kind::LogStale, stale)] {
        if running.iter().all(looked) {
            report.judge(kind, here, found);
        } else {
            report.findings.extend::<Vec<Finding>>(found);
        }
    }
    if let Some((state, since)) = state.and_then(|state| Some((state, state.online_since?))) {
        let failed = |jail: &JailFacts| state.status.jails.get(&jail.name).map(|counts| counts.total_failed);
        let silent = running.iter().filter_map(|jail| jails::silent(server, jail, failed(jail), since, now));
        report.judge(Kind::FilterSilent, here, silent);
    }
    report.judge(Kind::BanShort, here, running.iter().filter_map(|jail| jails::short_ban(server, jail)));
    report.judge(Kind::RecidiveOn, here, running.iter().filter_map(|jail| jails::recidive(server, jail)));
    if let Some(address) = caller {
        let about = host_behind(address).to_string();
        match own_address::judge(server, running, address) {
            Verdict::Fine => report.judge_one(Kind::OwnAddress, server, about, None),
            Verdict::Found(finding) => report.judge_one(Kind::OwnAddress, server, about, [*finding]),
            Verdict::NotKnown => {}
        }
    }
}

/// Agents that share a name: from discovery, and from those that answered. Fine only if all answered.
fn of_names(
    known: &[(ServerName, Arc<Inspection>)],
    all_known: bool,
    conflicts: &[(String, String)],
) -> Report {
    let conflicts = conflicts.iter().map(|(name, how)| agents::conflict(name, &format!("{how}.")));
    let mut found: BTreeMap<String, Finding> = conflicts.map(|finding| (finding.id(), finding)).collect();
    let named = known.iter().filter_map(|(server, inspection)| {
        let info = &inspection.info;
        Some((server, info.name.as_deref()?, info.instance.as_deref()?))
    });
    for finding in agents::same_name(named) {
        found.entry(finding.id()).or_insert(finding);
    }
    let mut report = Report::default();
    if all_known {
        report.judge(Kind::AgentNames, None, found.into_values());
    } else {
        report.findings.extend(found.into_values());
    }
    report
}
