//! The findings of the diagnosis for `bangui check`, except those that `check` reports itself.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use crate::actions::diagnose::{Sources, diagnose};
use crate::actions::inspections::Inspections;
use crate::agent::client::AgentClient;
use crate::agent::client::fleet::Fleet;
use crate::config::RedisConfig;
use crate::domain::ServerName;
use crate::domain::access::Access;
use crate::domain::findings::{Finding, Kind, Severity};
use crate::store::Store;

const REDIS_TIMEOUT: Duration = Duration::from_secs(5);
/// For all checks; agents have ten seconds of it at most.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// `check` tests these itself: their state now, not at the last probe.
const LINES_OF_CHECK: [Kind; 6] = [
    Kind::RedisPersistence,
    Kind::RedisEviction,
    Kind::AgentVersion,
    Kind::ServerDown,
    Kind::ServerUnreachable,
    Kind::ServerBusy,
];

/// Makes the diagnosis, with or without a Redis to ask.
///
/// # Errors
/// If Redis stops answering.
pub(super) async fn find(
    redis: Option<&RedisConfig>,
    agents: BTreeMap<ServerName, AgentClient>,
) -> anyhow::Result<Vec<Finding>> {
    let store = redis.map(Store::open_unsupervised).transpose()?;
    if let Some(store) = &store {
        match timeout(REDIS_TIMEOUT, store.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => anyhow::bail!("{reason}"),
            Err(_) => anyhow::bail!("Redis has not answered within {} s", REDIS_TIMEOUT.as_secs()),
        }
    }
    let (agents, inspections) = (Fleet::new(None, agents, &[]), Inspections::default());
    let sources = Sources {
        store: store.as_ref(),
        agents: &agents,
        inspections: &inspections,
        caller: None,
        front: None,
        access: Access::everything(),
    };
    let mut findings = timeout(TOTAL_TIMEOUT, diagnose(sources)).await??.findings;
    findings.retain(|finding| !LINES_OF_CHECK.contains(&finding.kind));
    Ok(findings)
}

/// One finding as a line: the mark, the check with its place, and the text.
pub(super) fn line(finding: &Finding) -> (&'static str, String, String) {
    let mark = match finding.severity {
        Severity::Error => "FAIL",
        Severity::Warning => "warn",
        Severity::Info => "info",
    };
    let place =
        [finding.server.as_ref().map(ServerName::as_str), finding.jail.as_ref().map(|jail| jail.as_str())];
    let place: Vec<&str> = place.into_iter().flatten().collect();
    let what = format!("{} {}", finding.kind, place.join("/"));
    let Finding { title, detail, remedy, .. } = finding;
    let command = remedy.command.as_ref().map(|command| format!(" `{command}`")).unwrap_or_default();
    (mark, what.trim_end().to_owned(), format!("{title}. {detail} {}{command}", remedy.text))
}
