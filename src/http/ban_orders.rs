//! Making and lifting bans: a few at once, many as a job (`ban_jobs.rs`).
//!
//! Addresses go to fail2ban up to 25 at a time, since its one command thread does nothing else meanwhile. After each command the
//! agent asks what is so, and that is what the answer tells, address by address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::author::Author;
use super::ban_jobs::{BanJob, Name, put};
use super::bans::address;
use super::error::{Problem, Result};
use super::extract::{Json, LARGE_BODY, Path};
use super::jail_switch::{Change, to_the_end};
use super::state::AppState;
use crate::agent::client::AgentError;
use crate::agent::wire::{BanRequest, BanResult};
use crate::domain::address::overlaps;
use crate::domain::ban_job::{JOB_ABOVE, MOST_ADDRESSES, TOGETHER, size_after};
use crate::domain::{BanOrder, Network};

/// After that no further command is begun: what is left is told as not tried.
const PATIENCE: Duration = Duration::from_secs(60);
/// Addresses that an entry of the audit names; the others are counted.
pub(super) const NAMED: usize = 25;

/// What is to be banned.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BansRequest)]
pub struct Bans {
    /// Addresses and networks.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 20000, examples("203.0.113.7"))]
    ips: Vec<Network>,
    /// Also your own address, a trusted proxy or a loopback address.
    #[serde(default)]
    force: bool,
}

/// What is so of each address now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcome {
    results: Vec<AddressOutcome>,
}

/// What is so of one address now.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddressOutcome {
    ip: String,
    /// Whether the jail bans it, as fail2ban says when asked again (beside very many bans, as it answered to the command);
    /// `null` if that is not known.
    banned: Option<bool>,
    /// Whether that was otherwise before.
    changed: Option<bool>,
    /// Why it is not known.
    error: Option<String>,
}

/// What is to be unbanned.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UnbansRequest)]
pub struct Unbans {
    /// Addresses and networks.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 20000, examples("203.0.113.7"))]
    ips: Vec<Network>,
}

/// Bans addresses in a jail: up to 100 at once, more as a job.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/bans", tag = "bans", request_body = Bans,
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = Outcome),
        (status = 202, body = BanJob, headers(("Location" = String, description = "The job")), description = "A job"),
        (status = 429, description = "Too many ban jobs are open"),
        (status = 502, description = "The agent cannot be reached")))]
pub async fn ban(
    State(state): State<AppState>,
    author: Author,
    name: Name,
    Path((server, jail)): Path<(String, String)>,
    Json(Bans { ips, force }): Json<Bans, LARGE_BODY>,
) -> Result<Response> {
    let change = Change::of(state, author, &server, &jail)?;
    let ips = checked(ips)?;
    if !force {
        refuse_own(&ips, change.author.address, &change.state.trusted_proxies)?;
    }
    order(change, name, BanOrder::Ban, ips).await
}

/// Unbans addresses in a jail: up to 100 at once, more as a job.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/unban", tag = "bans", request_body = Unbans,
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = Outcome),
        (status = 202, body = BanJob, headers(("Location" = String, description = "The job")), description = "A job"),
        (status = 429, description = "Too many ban jobs are open"),
        (status = 502, description = "The agent cannot be reached")))]
pub async fn unban_some(
    State(state): State<AppState>,
    author: Author,
    name: Name,
    Path((server, jail)): Path<(String, String)>,
    Json(Unbans { ips }): Json<Unbans, LARGE_BODY>,
) -> Result<Response> {
    let change = Change::of(state, author, &server, &jail)?;
    let ips = checked(ips)?;
    order(change, name, BanOrder::Unban, ips).await
}

/// As many as may be, each once.
fn checked(mut ips: Vec<Network>) -> Result<Vec<Network>> {
    if ips.is_empty() || ips.len() > MOST_ADDRESSES {
        let named = ips.len();
        return Err(Problem::invalid(format!(
            "`ips` must name 1 to {MOST_ADDRESSES} addresses, it names {named}"
        )));
    }
    ips.sort_unstable();
    ips.dedup();
    Ok(ips)
}

async fn order(change: Change, name: Name, order: BanOrder, ips: Vec<Network>) -> Result<Response> {
    if ips.len() > JOB_ABOVE {
        return put(&change, name, order, &ips).await;
    }
    let done = to_the_end(async move { done(change, order, ips).await });
    done.await.map(|outcome| outcome.into_response())
}

/// Unbans one address or network in a jail.
#[utoipa::path(delete, path = "/api/v1/servers/{server}/jails/{jail}/bans/{ip}", tag = "bans",
    params(("server" = String, Path), ("jail" = String, Path), ("ip" = String, Path)),
    responses((status = 200, body = Outcome),
        (status = 502, description = "The agent cannot be reached")))]
pub async fn unban(
    State(state): State<AppState>,
    author: Author,
    Path((server, jail, ip)): Path<(String, String, String)>,
) -> Result<axum::Json<Outcome>> {
    let change = Change::of(state, author, &server, &jail)?;
    let ip = address(&ip)?;
    to_the_end(async move { done(change, BanOrder::Unban, vec![ip]).await }).await
}

/// How far lifting all bans of a jail came.
#[derive(Serialize, ToSchema)]
pub struct UnbannedAll {
    unbanned: usize,
    /// Bans that are left: ask again.
    remaining: usize,
}

/// Lifts all bans of a jail: at once if it has up to 100, as the last probe counted them, else as a job.
#[utoipa::path(delete, path = "/api/v1/servers/{server}/jails/{jail}/bans", tag = "bans",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = UnbannedAll),
        (status = 202, body = BanJob, headers(("Location" = String, description = "The job")), description = "A job"),
        (status = 429, description = "Too many ban jobs are open"),
        (status = 502, description = "The agent cannot be reached")))]
pub async fn unban_all(
    State(state): State<AppState>,
    author: Author,
    name: Name,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let mut change = Change::of(state, author, &server, &jail)?;
    let stored = change.state.store.server(&change.server).await?;
    let counts = stored.state.status.jails.get(&change.jail);
    if counts.is_some_and(|counts| counts.currently_banned > JOB_ABOVE as u64) {
        return put(&change, name, BanOrder::UnbanAll, &[]).await;
    }
    to_the_end(async move {
        change.begin("ban.remove_all", json!({ "ips": "all" })).await?;
        let (begun, mut unbanned) = (Instant::now(), 0);
        let outcome = loop {
            match change.agent.unban_all(&change.jail, None).await {
                Ok(step) => {
                    unbanned += step.unbanned;
                    if step.remaining == 0 || step.unbanned == 0 || begun.elapsed() > PATIENCE {
                        break Ok(UnbannedAll { unbanned, remaining: step.remaining });
                    }
                }
                Err(error) => break Err(error),
            }
        };
        let told = outcome.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned());
        change.audit("ban.remove_all", (Value::Null, json!({ "unbanned": unbanned })), told).await;
        look_soon(&change).await;
        Ok(axum::Json(outcome?).into_response())
    })
    .await
}

/// All of them, up to 25 at a time. What fails at the first command is refused as a whole; later, the answer tells what is known.
async fn done(mut change: Change, order: BanOrder, ips: Vec<Network>) -> Result<axum::Json<Outcome>> {
    let what = if order == BanOrder::Ban { "ban.add" } else { "ban.remove" };
    let named: Vec<String> = ips.iter().take(NAMED).map(ToString::to_string).collect();
    change.begin(what, json!({ "ips": named, "asked": ips.len() })).await?;
    let begun = Instant::now();
    let mut results: Vec<AddressOutcome> = Vec::new();
    let mut failed: Option<AgentError> = None;
    let (mut left, mut size) = (&ips[..], TOGETHER);
    while !left.is_empty() {
        let (some, rest) = left.split_at(size.min(left.len()));
        left = rest;
        if failed.is_some() || begun.elapsed() > PATIENCE {
            let why = failed.as_ref().map_or("there was no time for it".to_owned(), ToString::to_string);
            results.extend(some.iter().map(|ip| unknown(*ip, &format!("not tried: {why}"))));
            continue;
        }
        let request = BanRequest { ips: some.to_vec(), job: None };
        let asked_at = Instant::now();
        let answer = match order {
            BanOrder::Ban => change.agent.ban(&change.jail, &request).await,
            BanOrder::Unban | BanOrder::UnbanAll => change.agent.unban(&change.jail, &request).await,
        };
        size = size_after(some.len(), asked_at.elapsed());
        match answer {
            Ok(known) => {
                note_changes(&change, order, &known).await;
                results.extend(known.into_iter().map(AddressOutcome::from));
            }
            Err(error) => {
                results.extend(some.iter().map(|ip| unknown(*ip, &error.to_string())));
                failed = Some(error);
            }
        }
    }
    let changed: Vec<&str> =
        results.iter().filter(|one| one.changed == Some(true)).map(|one| one.ip.as_str()).collect();
    let named = &changed[..changed.len().min(NAMED)];
    let after = json!({ "ips": named, "changed": changed.len(), "asked": ips.len() });
    let told = failed.as_ref().map_or_else(|| "done".to_owned(), ToString::to_string);
    change.audit(what, (Value::Null, after), told).await;
    look_soon(&change).await;
    match failed {
        Some(error) if results.iter().all(|one| one.banned.is_none()) => Err(match error {
            AgentError::Refused { .. } => error.into(),
            error => Problem::from(error).and("what became of the first 25 addresses is not known"),
        }),
        _ => Ok(axum::Json(Outcome { results })),
    }
}

impl From<BanResult> for AddressOutcome {
    fn from(BanResult { ip, banned, changed }: BanResult) -> Self {
        Self { ip: ip.to_string(), banned: Some(banned), changed: Some(changed), error: None }
    }
}

fn unknown(ip: Network, why: &str) -> AddressOutcome {
    AddressOutcome { ip: ip.to_string(), banned: None, changed: None, error: Some(why.to_owned()) }
}

/// So that events tell also of what is gone again when the list is read next.
async fn note_changes(change: &Change, order: BanOrder, results: &[BanResult]) {
    let changed = results.iter().filter(|one| one.changed).map(|one| one.ip.to_string());
    let place = (change.server.clone(), change.jail.clone());
    if let Err(error) = change.state.store.note_bans(&place, order, changed).await {
        tracing::debug!(error = %error, "failed to note bans for the event stream");
    }
}

/// The leader probes, sees other counts, and reads the list anew.
async fn look_soon(change: &Change) {
    if let Err(error) = change.state.store.request_probe(&change.server).await {
        tracing::debug!(error = %error, "no probe could be asked for after a change");
    }
}

/// Nobody locks out himself, all users, or the host by a slip.
fn refuse_own(ips: &[Network], own: IpAddr, proxies: &[IpNet]) -> Result<()> {
    let loopback: [IpNet; 2] = [
        Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
        Ipv6Net::from(Ipv6Addr::LOCALHOST).into(),
    ];
    for ip in ips {
        let net = ip.net();
        let why = if overlaps(net, own.into()) {
            "is, or contains, the address that you ask from"
        } else if proxies.iter().any(|proxy| overlaps(net, *proxy)) {
            "is, or overlaps with, a trusted proxy"
        } else if loopback.iter().any(|own| overlaps(net, *own)) {
            "is, or contains, a loopback address"
        } else {
            continue;
        };
        return Err(Problem::new(
            axum::http::StatusCode::UNPROCESSABLE_ENTITY,
            "ban-needs-force",
            "That would lock out more than an attacker",
            format!("{ip} {why}; nothing was banned. If that is meant, send \"force\": true"),
        )
        .with("ip", ip.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_proxies_and_loopback_are_refused_also_inside_a_network() {
        let refused = |ip: &str| {
            let proxies = ["10.0.0.0/24".parse().unwrap()];
            refuse_own(&[Network::parse(ip).unwrap()], "198.51.100.7".parse().unwrap(), &proxies).is_err()
        };
        for own in [
            "198.51.100.7",
            "198.51.100.0/24",
            "10.0.0.9",
            "10.0.0.0/8",
            "127.0.0.1",
            "127.8.0.1",
            "::1",
            "0.0.0.0/0",
            "::ffff:127.0.0.1",
            "::ffff:198.51.100.7",
            "::ffff:10.0.0.0/120",
            "64:ff9b::127.0.0.1",
            "64:ff9b::198.51.100.7",
            "64:ff9b::/96",
        ] {
            assert!(refused(own), "{own}");
        }
        for other in ["198.51.100.8", "203.0.113.0/24", "10.0.1.1", "2001:db8::1"] {
            assert!(!refused(other), "{other}");
        }
    }
}
