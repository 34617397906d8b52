//! `bangui check`: tests every connection that the configuration names and prints a line for each.
//!
//! ```text
//! ok    redis version      7.0.15
//! warn  redis persistence  ...what it means and what to do
//! FAIL  agent web-1        ...
//! ```
//!
//! After its own tests come the findings of the diagnosis (`findings.rs`). The exit code is 0 only if every line says ok or
//! info: a warning counts as a failure. Every wait has a timeout, so that the command always ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{Failure, Outcome, findings, one_thread, started};
use crate::agent::client::{AgentClient, AgentError, Credentials, Introduction};
use crate::config::{AgentGroup, CheckConfig, Environment, Exposure, Flags, RedisConfig, roles};
use crate::domain::discovery::Discovered;
use crate::domain::findings::Severity;
use crate::domain::printable::printable;
use crate::domain::{ProbeOutcome, ServerName, Unknown, UnreachableKind};
use crate::provider::Provider;
use crate::store::Store;
use crate::store::connection::checks;
use crate::store::connection::checks::Level;

const REDIS_TIMEOUT: Duration = Duration::from_secs(10);
const WORKERS_TIMEOUT: Duration = Duration::from_secs(3);
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_CONCURRENT_AGENTS: usize = 32;

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    level: Level,
    what: String,
    message: String,
}

impl Line {
    fn new(level: Level, what: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level, what: what.into(), message: message.into() }
    }
}

/// Prints the report; fails without another message unless every line is ok or info.
///
/// # Errors
/// If the configuration is wrong, the report cannot be written, or a line of it is not ok.
pub fn run(environment: &Environment, flags: &Flags) -> Outcome {
    let config = started(roles::check(environment, flags)?);
    let all_ok = one_thread()?.block_on(report(&config, &mut std::io::stdout()))?;
    if all_ok { Ok(()) } else { Err(Failure::Quiet) }
}

/// Tests everything and writes the report. Returns whether every line is ok.
async fn report(config: &CheckConfig, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut all_ok = true;
    let mut redis_answers = true;
    for line in redis(config).await {
        all_ok &= line.level == Level::Ok;
        redis_answers &= !matches!(line.level, Level::Away | Level::Refuse);
        print(out, &line)?;
    }
    if let Some(line) = provider(config).await {
        all_ok &= line.level == Level::Ok;
        print(out, &line)?;
    }
    for Exposure { what, message } in &config.exposures {
        all_ok = false;
        print(out, &Line::new(Level::Warn, format!("open {what}"), message))?;
    }
    let (clients, agents_ok) = agents(config, out).await?;
    all_ok &= agents_ok;
    match findings::find(config.redis.as_ref().filter(|_| redis_answers), clients).await {
        Ok(found) => {
            for finding in found {
                let (mark, what, words) = findings::line(&finding);
                all_ok &= finding.severity == Severity::Info;
                print_line(out, mark, &what, &words)?;
            }
        }
        Err(error) => {
            all_ok = false;
            print(out, &Line::new(Level::Refuse, "diagnosis", format!("{error:#}")))?;
        }
    }
    Ok(all_ok)
}

/// Asks the provider of single sign-on what it is.
async fn provider(config: &CheckConfig) -> Option<Line> {
    let what = "single sign-on";
    let provider = match Provider::new(config.provider.clone()?) {
        Ok(provider) => provider,
        Err(error) => return Some(Line::new(Level::Refuse, what, format!("{error:#}"))),
    };
    Some(match provider.discover().await {
        Ok(keys) => Line::new(Level::Ok, what, format!("{} answers; keys: {keys}", provider.issuer())),
        Err(error) => {
            let says = format!(
                "{}: {error}: nobody can log in with it; password logins are not affected",
                provider.issuer()
            );
            Line::new(Level::Away, what, says)
        }
    })
}

/// Tests the agents. Returns clients for those that can be asked, and whether every line is ok.
async fn agents(
    config: &CheckConfig,
    out: &mut impl Write,
) -> anyhow::Result<(BTreeMap<ServerName, AgentClient>, bool)> {
    let mut all_ok = true;
    if config.servers.is_empty() && config.groups.is_empty() {
        print(out, &Line::new(Level::Ok, "agents", "not tested: BANGUI_SERVERS is not set"))?;
        return Ok((BTreeMap::new(), all_ok));
    }
    let credentials = match Credentials::new(&config.agents) {
        Ok(credentials) => credentials,
        Err(error) => {
            print(out, &Line::new(Level::Refuse, "agents", format!("{error:#}")))?;
            return Ok((BTreeMap::new(), false));
        }
    };
    let mut agents: Vec<(String, anyhow::Result<AgentClient>)> = Vec::new();
    for server in &config.servers {
        agents.push((server.name.to_string(), credentials.client(&server.url, server.shared_token)));
    }
    for group in &config.groups {
        let (lines, found) = discover(group, &credentials).await;
        for line in lines {
            all_ok &= line.level == Level::Ok;
            print(out, &line)?;
        }
        agents.extend(found);
    }
    let usable = agents
        .iter()
        .filter_map(|(name, client)| Some((ServerName::parse(name).ok()?, client.as_ref().ok()?.clone())));
    let clients = usable.collect();
    let mut answers = futures_util::stream::iter(agents).map(agent).buffered(MAX_CONCURRENT_AGENTS);
    while let Some(lines) = answers.next().await {
        for line in lines {
            all_ok &= line.level == Level::Ok;
            print(out, &line)?;
        }
    }
    Ok((clients, all_ok))
}

fn print(out: &mut impl Write, line: &Line) -> anyhow::Result<()> {
    let level = match line.level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::ReadsOnly | Level::Away | Level::Refuse => "FAIL",
    };
    print_line(out, level, &line.what, &line.message)
}

fn print_line(out: &mut impl Write, mark: &str, what: &str, message: &str) -> anyhow::Result<()> {
    // Names and messages come from agents and fail2ban too, which may be hostile.
    writeln!(out, "{mark:<4}  {:<20}  {}", printable(what), printable(message))
        .context("failed to write the report")
}

async fn redis(config: &CheckConfig) -> Vec<Line> {
    let Some(redis) = &config.redis else {
        let message = "not tested: BANGUI_REDIS_URL is not set";
        return vec![Line::new(Level::Warn, "redis", message)];
    };
    match timeout(REDIS_TIMEOUT, checks::inspect(redis)).await {
        Ok(Ok(findings)) => {
            let reached = Line::new(Level::Ok, "redis", "answers");
            let lines =
                findings.into_iter().map(|f| Line::new(f.level, format!("redis {}", f.what), f.message));
            let lines: Vec<Line> = std::iter::once(reached).chain(lines).collect();
            let usable = lines.iter().all(|line| matches!(line.level, Level::Ok | Level::Warn));
            let workers = if usable { unnamed_proxies(redis).await } else { None };
            lines.into_iter().chain(workers).collect()
        }
        Ok(Err(error)) => {
            let message = format!("{error}: check that Redis runs and that BANGUI_REDIS_URL is right");
            vec![Line::new(Level::Refuse, "redis", message)]
        }
        Err(_) => {
            let message =
                format!("no answer within {} s: it may be stopped or overloaded", REDIS_TIMEOUT.as_secs());
            vec![Line::new(Level::Refuse, "redis", message)]
        }
    }
}

/// A warning about load balancers that running workers have seen and the configuration does not name. None if that cannot be read.
async fn unnamed_proxies(redis: &RedisConfig) -> Option<Line> {
    let store = Store::open_unsupervised(redis).ok()?;
    let reading = async {
        store.connected().await;
        store.cluster().await.ok()
    };
    let view = timeout(WORKERS_TIMEOUT, reading).await.ok()??;
    let peers: BTreeSet<String> =
        view.workers.into_iter().filter_map(|worker| worker.info.unnamed_proxy).collect();
    let peers: Vec<String> = peers.into_iter().collect();
    (!peers.is_empty()).then(|| {
        let message = format!(
            "X-Forwarded-For comes from {}, which BANGUI_TRUSTED_PROXIES does not name: if that is your load balancer, add \
             it there, since until then all its users share one address, and one login limit",
            peers.join(", ")
        );
        Line::new(Level::Warn, "unnamed proxies", message)
    })
}

/// The lines about a group, and clients for the agents that were found.
async fn discover(
    group: &AgentGroup,
    credentials: &Credentials,
) -> (Vec<Line>, Vec<(String, anyhow::Result<AgentClient>)>) {
    let AgentGroup { name, host, port, tls, shared_token, .. } = group;
    let what = format!("agents {name}");
    let refused = |message: String| (vec![Line::new(Level::Refuse, &what, message)], Vec::new());
    let resolved = match timeout(AGENT_TIMEOUT, lookup_host((host.as_str(), *port))).await {
        Ok(Ok(addresses)) => addresses.collect::<BTreeSet<SocketAddr>>(),
        Ok(Err(error)) => return refused(format!("failed to resolve {host}: {error}")),
        Err(_) => return refused(format!("timed out resolving {host} after {} s", AGENT_TIMEOUT.as_secs())),
    };
    let mut lines = vec![Line::new(
        Level::Ok,
        &what,
        format!(
            "{host} resolves to {} address{}",
            resolved.len(),
            if resolved.len() == 1 { "" } else { "es" }
        ),
    )];
    let asking =
        resolved.into_iter().map(async |address| (address, credentials.introduce(group, address).await));
    let mut answers = futures_util::stream::iter(asking).buffered(MAX_CONCURRENT_AGENTS);
    let mut found: BTreeMap<ServerName, (SocketAddr, Introduction)> = BTreeMap::new();
    while let Some((address, answer)) = answers.next().await {
        match answer {
            Err(error) => lines.push(Line::new(Level::Refuse, &what, agent_remedy(&error))),
            Ok(new) => match found.get(&new.name) {
                Some((first, old)) if old.instance.is_none() || old.instance != new.instance => {
                    let name = &new.name;
                    let message = format!(
                        "{first} and {address} both report the name {name}: only one of them is used"
                    );
                    lines.push(Line::new(Level::Refuse, &what, message));
                }
                Some(_) => {}
                None => {
                    found.insert(new.name.clone(), (address, new));
                }
            },
        }
    }
    let client = |(server, (address, introduction)): (ServerName, (SocketAddr, Introduction))| {
        let found = Discovered {
            group: name.clone(),
            address,
            tls: *tls,
            fingerprint: introduction.fingerprint,
            missing_since: None,
            unknown: Unknown::new(),
        };
        (server.to_string(), credentials.client_at(&server, &found, *shared_token))
    };
    (lines, found.into_iter().map(client).collect())
}

async fn agent((name, client): (String, anyhow::Result<AgentClient>)) -> Vec<Line> {
    let what = format!("agent {name}");
    let client = match client {
        Ok(client) => client,
        Err(error) => return vec![Line::new(Level::Refuse, what, format!("{error:#}"))],
    };
    let info = match timeout(AGENT_TIMEOUT, client.info()).await {
        Ok(Ok(info)) => info,
        Ok(Err(error)) => return vec![Line::new(Level::Refuse, what, agent_remedy(&error))],
        Err(_) => {
            let message = format!("no answer within {} s", AGENT_TIMEOUT.as_secs());
            return vec![Line::new(Level::Refuse, what, message)];
        }
    };
    let ours = env!("CARGO_PKG_VERSION");
    let version = if info.agent_version == ours {
        Line::new(Level::Ok, what, format!("answers, accepts this worker, version {ours}"))
    } else {
        let message =
            format!("version {}, while this is {ours}: expected only during an update", info.agent_version);
        Line::new(Level::Warn, what, message)
    };
    let (level, message) = fail2ban(&client.probe(AGENT_TIMEOUT).await);
    vec![version, Line::new(level, format!("fail2ban {name}"), message)]
}

fn agent_remedy(error: &AgentError) -> String {
    match error {
        AgentError::Unreachable { kind: UnreachableKind::Token | UnreachableKind::Tls, reason, .. } => {
            reason.clone()
        }
        other => format!(
            "{other}: check that `bangui agent` runs there and that its URL in BANGUI_SERVERS is right"
        ),
    }
}

fn fail2ban(outcome: &ProbeOutcome) -> (Level, String) {
    match outcome {
        ProbeOutcome::Answered(answer) if answer.jails.is_empty() => {
            let message = "answers, but no jail runs: see `fail2ban-client status` and its log".to_owned();
            (Level::Warn, message)
        }
        ProbeOutcome::Answered(answer) => {
            (Level::Ok, format!("version {} answers; jails that run: {}", answer.version, answer.jails.len()))
        }
        ProbeOutcome::Busy { reason, .. } => (Level::Warn, format!("busy: {reason}. Try again in a minute")),
        ProbeOutcome::Down { reason } | ProbeOutcome::Unreachable { reason, .. } => {
            (Level::Refuse, reason.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_agent_and_no_fail2ban_clears_the_screen_or_forges_a_line_of_the_report() {
        let mut out = Vec::new();
        let hostile = "busy: \u{1b}[2J\u{1b}]0;owned\u{7}\nok    redis                 answers\r";
        print(&mut out, &Line::new(Level::Refuse, "agent web\n1", hostile)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end_matches('\n').contains(char::is_control), "{text:?}");
        assert!(text.starts_with("FAIL  agent web\\n1"), "{text}");
        assert!(text.contains("\\u{1b}[2J") && text.contains("\\nok    redis"), "{text}");
    }
}
