//! The present bans: listed and searched in Redis, or looked up at all agents. `ban_actions.rs` makes and lifts them.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::time::Time;
use crate::actions::{JailTarget, look_up};
use crate::domain::{JailName, Network, ServerName};
use crate::http::auth::caller::Caller;
use crate::http::error::{Problem, Result};
use crate::http::extract::{Path, Query};
use crate::http::state::AppState;
use crate::store::StoredBan;

/// The part of a list of bans to show.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BansQuery {
    /// The `next_cursor` of the previous page.
    #[param(max_length = 1024, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    cursor: Option<String>,
    /// Number of items.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// The beginning of the address, or of what else is banned.
    #[param(max_length = 1024, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    q: Option<String>,
}

/// A ban.
#[derive(Serialize, ToSchema)]
pub struct Ban {
    /// The address or network, or what else the jail bans: a filter may ban a user name or any other text.
    ip: String,
    kind: BanKind,
    /// `null` if fail2ban does not report it.
    banned_at: Option<Time>,
    /// `null` if the ban is permanent, or if fail2ban does not report it.
    expires_at: Option<Time>,
}

/// What is banned: an address or something else.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BanKind {
    /// One address.
    Address,
    /// A network.
    Network,
    /// A text that is neither, such as a user name.
    Other,
}

impl BanKind {
    fn of(text: &str) -> Self {
        match Network::parse(text) {
            Some(network) if network.is_single() => Self::Address,
            Some(_) => Self::Network,
            None => Self::Other,
        }
    }
}

impl From<StoredBan> for Ban {
    fn from(ban: StoredBan) -> Self {
        let kind = BanKind::of(&ban.ip);
        Self { banned_at: seconds(ban.since), expires_at: seconds(ban.until), ip: ban.ip, kind }
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

/// The bans of a jail, sorted by the text of the address, as of the last change of its counts.
#[utoipa::path(get, path = "/api/v1/servers/{server}/jails/{jail}/bans", tag = "bans",
    params(("server" = String, Path), ("jail" = String, Path), BansQuery), responses((status = 200, body = BanPage)))]
pub async fn list(
    State(state): State<AppState>,
    _: Caller,
    Path((server, jail)): Path<(String, String)>,
    Query(query): Query<BansQuery>,
) -> Result<axum::Json<BanPage>> {
    let JailTarget { server, jail, .. } = state.jail(&server, &jail)?;
    let limit = query.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::malformed(format!("`limit` must be 1 to 1000, it is {limit}")));
    }
    let part = |text: String, name: &str| {
        let fits = text.chars().count() <= 1024 && !text.chars().any(char::is_control);
        let wrong = || format!("`{name}` must be 1024 characters at most, none of them a control character");
        fits.then_some(text).ok_or_else(|| Problem::malformed(wrong()))
    };
    let cursor = query.cursor.map(|cursor| part(cursor, "cursor")).transpose()?;
    let prefix = canonical_beginning(part(query.q.unwrap_or_default(), "q")?);
    let (page, read_at) = state.store.bans(&server, &jail, &prefix, cursor.as_deref(), limit).await?;
    let items = page.items.into_iter().map(Ban::from).collect();
    Ok(axum::Json(BanPage { items, next_cursor: page.next_cursor, read_at: read_at.map(Time) }))
}

/// What is known about one address.
#[derive(Serialize, ToSchema)]
pub struct Found {
    ip: String,
    /// Jails that ban it now, or that ban a network that contains it.
    banned: Vec<BannedIn>,
    /// Entries that keep running jails from banning it. Host names in such lists are not resolved.
    never_banned: Vec<NeverBanned>,
    /// Servers that answered, but could not say which entries keep it from being banned: their agents run an older version, or
    /// fail2ban was too slow.
    #[schema(value_type = Vec<String>)]
    never_banned_unknown: Vec<ServerName>,
    /// Servers that could not be asked: it may be banned there.
    unanswered: Vec<Unanswered>,
}

/// A jail that bans it.
#[derive(Serialize, ToSchema)]
pub struct BannedIn {
    #[schema(value_type = String)]
    server: ServerName,
    #[schema(value_type = String)]
    jail: JailName,
    /// What is banned: the address, or a network that contains it.
    ban: String,
    /// `null` if fail2ban does not report it, or if the list of bans has not been read since.
    banned_at: Option<Time>,
    /// `null` if the ban is permanent, if fail2ban does not report it, or if the list of bans has not been read since.
    expires_at: Option<Time>,
}

/// An entry that keeps a jail from banning it.
#[derive(Serialize, ToSchema)]
pub struct NeverBanned {
    #[schema(value_type = String)]
    server: ServerName,
    #[schema(value_type = String)]
    jail: JailName,
    /// As fail2ban reports it.
    entry: String,
    source: EntrySource,
    /// The file whose `ignoreip` applies to the jail, relative to fail2ban's folder; `null` unless `source` is `file`.
    file: Option<String>,
}

/// Where an entry comes from.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntrySource {
    /// The files.
    File,
    /// A command: it is gone after a reload.
    RunTime,
    /// The files could not be read in time.
    Unknown,
}

/// A server that could not be asked.
#[derive(Serialize, ToSchema)]
pub struct Unanswered {
    #[schema(value_type = String)]
    server: ServerName,
    reason: String,
    /// The bans of the address in its last lists.
    last_known: Vec<BannedIn>,
    /// When the oldest of those lists was read from fail2ban; `null` if `last_known` is empty.
    read_at: Option<Time>,
}

impl From<look_up::BannedAt> for BannedIn {
    fn from(at: look_up::BannedAt) -> Self {
        let look_up::BannedAt { server, jail, network, since, until } = at;
        Self { server, jail, ban: network.to_string(), banned_at: seconds(since), expires_at: seconds(until) }
    }
}

impl From<look_up::NeverBannedAt> for NeverBanned {
    fn from(at: look_up::NeverBannedAt) -> Self {
        let source = match at.entry.in_files {
            Some(true) => EntrySource::File,
            Some(false) => EntrySource::RunTime,
            None => EntrySource::Unknown,
        };
        let entry = at.entry;
        Self { server: at.server, jail: entry.jail, entry: entry.entry, source, file: entry.file }
    }
}

impl From<look_up::LookedUp> for Found {
    fn from(found: look_up::LookedUp) -> Self {
        let unanswered = |one: look_up::Unanswered| Unanswered {
            server: one.server,
            reason: one.reason,
            last_known: one.last_known.into_iter().map(BannedIn::from).collect(),
            read_at: one.read_at.map(Time),
        };
        Self {
            ip: found.ip.to_string(),
            banned: found.banned.into_iter().map(BannedIn::from).collect(),
            never_banned: found.never_banned.into_iter().map(NeverBanned::from).collect(),
            never_banned_unknown: found.entries_unknown,
            unanswered: found.unanswered.into_iter().map(unanswered).collect(),
        }
    }
}

/// Where an address or network is banned and until when, also by a network that contains it, and what keeps it from being
/// banned. All servers that the account is for are asked now. A network that was banned without bangui is found once the list of bans has been read
/// again.
#[utoipa::path(get, path = "/api/v1/bans/{ip}", tag = "bans", params(("ip" = String, Path)), responses((status = 200, body = Found)))]
pub async fn look_up(
    State(state): State<AppState>,
    caller: Caller,
    Path(ip): Path<String>,
) -> Result<axum::Json<Found>> {
    Ok(axum::Json(look_up::look_up(&state, &caller.session.access, address(&ip)?).await?.into()))
}

fn seconds(at: Option<i64>) -> Option<Time> {
    at.and_then(|at| chrono::DateTime::from_timestamp(at, 0)).map(Time)
}

/// Lists have one spelling of each address; a search may begin with another spelling.
pub(in crate::http) fn canonical_beginning(q: String) -> String {
    let of_address = q.bytes().all(|b| b.is_ascii_hexdigit() || b".:/".contains(&b));
    let q = if of_address && q.contains(['.', ':']) { q.to_ascii_lowercase() } else { q };
    let mapped = q.strip_prefix("::ffff:").filter(|rest| rest.contains('.')).map(str::to_owned);
    match Network::parse(&q) {
        Some(network) if network.is_single() => network.to_string(),
        _ => mapped.unwrap_or(q),
    }
}

pub(in crate::http) fn address(text: &str) -> Result<Network> {
    Network::parse(text).ok_or_else(|| {
        let detail = "the last part of the path must be an address, or a network with its / as %2F";
        Problem::new(axum::http::StatusCode::NOT_FOUND, "not-found", "Not an address", detail)
    })
}
