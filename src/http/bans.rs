//! Bans: listed and searched from Redis, made and lifted at the agent, looked up at all agents at once.
//!
//! Addresses go to fail2ban 25 at a time, since its one command thread does nothing else meanwhile. After each command the
//! agent asks what is so, and that is what the answer tells, address by address.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::State;
use futures_util::{StreamExt as _, stream};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::author::Author;
use super::error::{Problem, Result};
use super::extract::{Caller, Json, Path, Query};
use super::jail_switch::{Change, to_the_end};
use super::servers::configured;
use super::state::AppState;
use super::time::Time;
use crate::agent::client::AgentError;
use crate::agent::wire::{BanRequest, BanResult};
use crate::domain::{JailName, Network, ServerName};
use crate::store::StoredBan;

/// Addresses in one command to fail2ban.
const TOGETHER: usize = 25;
/// Addresses in one request.
const MOST: usize = 1_000;
/// After that no further command is begun: what is left is told as not tried.
const PATIENCE: Duration = Duration::from_secs(60);
/// Agents that are asked at once where an address is banned.
const ASKED_AT_ONCE: usize = 64;
/// Addresses that an entry of the audit names; the others are counted.
const NAMED: usize = 25;

/// Which part of a list of bans.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BansQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many are wanted.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// How their addresses begin.
    #[param(pattern = "^[0-9a-fA-F.:/]{0,43}$")]
    q: Option<String>,
}

/// A ban.
#[derive(Serialize, ToSchema)]
pub struct Ban {
    ip: String,
    /// `null` where fail2ban does not tell.
    banned_at: Option<Time>,
    /// `null` for ever, or where fail2ban does not tell.
    expires_at: Option<Time>,
}

impl From<StoredBan> for Ban {
    fn from(ban: StoredBan) -> Self {
        let time = |at: Option<i64>| at.and_then(|at| chrono::DateTime::from_timestamp(at, 0)).map(Time);
        Self { banned_at: time(ban.since), expires_at: time(ban.until), ip: ban.ip }
    }
}

/// Part of a list of bans.
#[derive(Serialize, ToSchema)]
pub struct BanPage {
    items: Vec<Ban>,
    /// Where the next page begins; `null` on the last one.
    next_cursor: Option<String>,
    /// When the list was read from fail2ban; `null` if it never was.
    read_at: Option<Time>,
}

/// The bans of a jail by the text of their address, as they were when its counts last changed.
#[utoipa::path(get, path = "/api/v1/servers/{server}/jails/{jail}/bans", tag = "bans",
    params(("server" = String, Path), ("jail" = String, Path), BansQuery), responses((status = 200, body = BanPage)))]
pub async fn list(
    State(state): State<AppState>,
    _: Caller,
    Path((server, jail)): Path<(String, String)>,
    Query(query): Query<BansQuery>,
) -> Result<axum::Json<BanPage>> {
    let (server, _) = configured(&state, &server)?;
    let jail = JailName::parse(&jail).map_err(|_| Problem::not_found("jail"))?;
    let limit = query.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::malformed(format!("`limit` must be 1 to 1000, it is {limit}")));
    }
    let cursor = query.cursor.as_deref().map(|text| {
        Network::parse(text)
            .ok_or_else(|| Problem::malformed("`cursor` must be the `next_cursor` of the page before"))
    });
    let prefix = query.q.unwrap_or_default().to_ascii_lowercase();
    if prefix.len() > 43 || !prefix.bytes().all(|b| b.is_ascii_hexdigit() || b".:/".contains(&b)) {
        return Err(Problem::malformed("`q` must be the beginning of an address, such as 203.0.113."));
    }
    let (page, read_at) = state.store.bans(&server, &jail, &prefix, cursor.transpose()?, limit).await?;
    let items = page.items.into_iter().map(Ban::from).collect();
    Ok(axum::Json(BanPage { items, next_cursor: page.next_cursor, read_at: read_at.map(Time) }))
}

/// What is to be banned.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BansRequest)]
pub struct Bans {
    /// Addresses and networks.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 1000, examples(json!(["203.0.113.7"])))]
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
    /// Whether the jail bans it, as fail2ban says when asked again; `null` if that is not known.
    banned: Option<bool>,
    /// Whether that was otherwise before.
    changed: Option<bool>,
    /// Why it is not known.
    error: Option<String>,
}

/// Bans addresses in a jail.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/bans", tag = "bans", request_body = Bans,
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = Outcome), (status = 502, description = "The agent cannot be reached")))]
pub async fn ban(
    State(state): State<AppState>,
    author: Author,
    Path((server, jail)): Path<(String, String)>,
    Json(Bans { ips, force }): Json<Bans>,
) -> Result<axum::Json<Outcome>> {
    let change = Change::of(state, author, &server, &jail)?;
    if ips.is_empty() || ips.len() > MOST {
        return Err(Problem::invalid(format!(
            "`ips` must name 1 to {MOST} addresses, it names {}",
            ips.len()
        )));
    }
    if !force {
        refuse_own(&ips, change.author.address, &change.state.trusted_proxies)?;
    }
    to_the_end(async move { done(change, Command::Ban, ips).await }).await
}

/// Unbans one address or network in a jail.
#[utoipa::path(delete, path = "/api/v1/servers/{server}/jails/{jail}/bans/{ip}", tag = "bans",
    params(("server" = String, Path), ("jail" = String, Path), ("ip" = String, Path)),
    responses((status = 200, body = Outcome), (status = 422, description = "That is no address"),
        (status = 502, description = "The agent cannot be reached")))]
pub async fn unban(
    State(state): State<AppState>,
    author: Author,
    Path((server, jail, ip)): Path<(String, String, String)>,
) -> Result<axum::Json<Outcome>> {
    let change = Change::of(state, author, &server, &jail)?;
    let ip = address(&ip)?;
    to_the_end(async move { done(change, Command::Unban, vec![ip]).await }).await
}

/// How far lifting all bans of a jail came.
#[derive(Serialize, ToSchema)]
pub struct UnbannedAll {
    unbanned: usize,
    /// Bans that are left: ask again.
    remaining: usize,
}

/// Lifts all bans of a jail.
#[utoipa::path(delete, path = "/api/v1/servers/{server}/jails/{jail}/bans", tag = "bans",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = UnbannedAll), (status = 502, description = "The agent cannot be reached")))]
pub async fn unban_all(
    State(state): State<AppState>,
    author: Author,
    Path((server, jail)): Path<(String, String)>,
) -> Result<axum::Json<UnbannedAll>> {
    let change = Change::of(state, author, &server, &jail)?;
    to_the_end(async move {
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
        Ok(axum::Json(outcome?))
    })
    .await
}

/// Where an address is banned.
#[derive(Serialize, ToSchema)]
pub struct Found {
    ip: String,
    banned: Vec<Place>,
    /// Servers that could not be asked: it may be banned there.
    unanswered: Vec<Unanswered>,
}

/// A jail that bans it.
#[derive(Serialize, ToSchema)]
pub struct Place {
    #[schema(value_type = String)]
    server: ServerName,
    #[schema(value_type = String)]
    jail: JailName,
}

/// A server that could not be asked.
#[derive(Serialize, ToSchema)]
pub struct Unanswered {
    #[schema(value_type = String)]
    server: ServerName,
    reason: String,
}

/// On which servers and jails this very address or network is banned, asked of all of them now. That an address lies in a
/// banned network is not found by asking for the address.
#[utoipa::path(get, path = "/api/v1/bans/{ip}", tag = "bans", params(("ip" = String, Path)),
    responses((status = 200, body = Found), (status = 422, description = "That is no address")))]
pub async fn look_up(
    State(state): State<AppState>,
    _: Caller,
    Path(ip): Path<String>,
) -> Result<axum::Json<Found>> {
    let ip = address(&ip)?;
    let agents = state.agents.names().into_iter().filter_map(|name| Some((state.agents.get(&name)?, name)));
    let asked: Vec<_> = stream::iter(agents)
        .map(|(agent, server)| async move { (server, agent.banned(&[ip]).await) })
        .buffered(ASKED_AT_ONCE)
        .collect()
        .await;
    let mut found = Found { ip: ip.to_string(), banned: Vec::new(), unanswered: Vec::new() };
    for (server, answer) in asked {
        match answer {
            Ok(lookups) => {
                let jails = lookups.into_iter().flat_map(|lookup| lookup.jails);
                found.banned.extend(jails.map(|jail| Place { server: server.clone(), jail }));
            }
            Err(error) => found.unanswered.push(Unanswered { server, reason: error.to_string() }),
        }
    }
    Ok(axum::Json(found))
}

fn address(text: &str) -> Result<Network> {
    Network::parse(text).ok_or_else(|| {
        Problem::invalid("the last part of the path must be an address, or a network with its / as %2F")
    })
}

#[derive(Clone, Copy)]
enum Command {
    Ban,
    Unban,
}

/// All of them, 25 at a time. What fails at the first command is refused as a whole; later, the answer tells what is known.
async fn done(change: Change, command: Command, ips: Vec<Network>) -> Result<axum::Json<Outcome>> {
    let begun = Instant::now();
    let mut results: Vec<AddressOutcome> = Vec::new();
    let mut failed: Option<AgentError> = None;
    for some in ips.chunks(TOGETHER) {
        if failed.is_some() || begun.elapsed() > PATIENCE {
            let why = failed.as_ref().map_or("there was no time for it".to_owned(), ToString::to_string);
            results.extend(some.iter().map(|ip| unknown(*ip, &format!("not tried: {why}"))));
            continue;
        }
        let request = BanRequest { ips: some.to_vec(), job: None };
        let answer = match command {
            Command::Ban => change.agent.ban(&change.jail, &request).await,
            Command::Unban => change.agent.unban(&change.jail, &request).await,
        };
        match answer {
            Ok(known) => results.extend(known.into_iter().map(AddressOutcome::from)),
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
    let what = match command {
        Command::Ban => "ban.add",
        Command::Unban => "ban.remove",
    };
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

/// The leader probes, sees other counts, and reads the list anew.
async fn look_soon(change: &Change) {
    if let Err(error) = change.state.store.request_probe(&change.server).await {
        tracing::debug!(error = %error, "no probe could be asked for after a change");
    }
}

/// Nobody locks out himself, all users, or the host by a slip.
fn refuse_own(ips: &[Network], own: IpAddr, proxies: &[IpNet]) -> Result<()> {
    let loopback =
        [IpNet::from(IpAddr::from([127, 0, 0, 1])), IpNet::from(IpAddr::from(std::net::Ipv6Addr::LOCALHOST))];
    let overlap = |one: &IpNet, other: &IpNet| one.contains(other) || other.contains(one);
    for ip in ips {
        let net = ip.net();
        let why = if net.contains(&own.to_canonical()) {
            "is, or contains, the address that you ask from"
        } else if proxies.iter().any(|proxy| overlap(&net, proxy)) {
            "is, or overlaps with, a trusted proxy"
        } else if loopback.iter().any(|own| overlap(&net, own)) || net.addr().is_loopback() {
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
        ] {
            assert!(refused(own), "{own}");
        }
        for other in ["198.51.100.8", "203.0.113.0/24", "10.0.1.1", "2001:db8::1"] {
            assert!(!refused(other), "{other}");
        }
    }
}
