//! The bans of a jail, one page at a time by cursor: a list of 100,000 costs no more than one page.

use chrono::DateTime;

use super::jail_asked::Wanted;
use super::paging::Paging;
use super::search::{address_path, jail_path};
use crate::domain::jail::Network;
use crate::domain::{JailName, ServerName, Timestamp};
use crate::http::api::bans::canonical_beginning;
use crate::http::error::Result;
use crate::http::state::AppState;
use crate::store::StoredBan;

/// The number of bans on a page: with the forms beside them 50 KB.
const PAGE: usize = 50;
/// The maximum length of a search or a cursor.
const LONGEST: usize = 1024;

/// A ban.
#[derive(Debug)]
pub struct BanRow {
    /// The banned address, network, or other text.
    pub ip: String,
    /// The path of the address's page; none if it is neither an address nor a network.
    pub path: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When the ban ends; `None` if it is permanent or fail2ban does not report it.
    pub until: Option<Timestamp>,
}

/// A page of bans.
pub struct Listed {
    /// The bans.
    pub bans: Vec<BanRow>,
    /// When the list was read from fail2ban.
    pub read_at: Option<Timestamp>,
    /// The links to the other pages.
    pub paging: Paging,
}

/// Reads a page of bans.
///
/// # Errors
/// If Redis fails.
pub async fn listed(
    state: &AppState,
    server: &ServerName,
    jail: &JailName,
    wanted: &Wanted,
) -> Result<Listed> {
    let begins = canonical_beginning(fitting(wanted.q.trim()));
    let cursor = wanted.cursor.as_deref().map(fitting);
    let (page, read_at) = state.store.bans(server, jail, &begins, cursor.as_deref(), PAGE).await?;
    let link = |cursor: Option<&str>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("q", Some(wanted.q.trim()).filter(|q| !q.is_empty())), ("cursor", cursor)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        format!("{}?{}#bans", jail_path(server, jail), query.finish())
    };
    let paging = Paging {
        says: format!("{} on this page, by address", page.items.len()),
        previous: cursor.map(|_| link(None)),
        next: page.next_cursor.as_deref().map(|next| link(Some(next))),
        size: PAGE,
    };
    Ok(Listed { bans: page.items.into_iter().map(row).collect(), read_at, paging })
}

/// A time in a list of bans.
#[must_use]
pub fn moment(seconds: Option<i64>) -> Option<Timestamp> {
    seconds.and_then(|at| DateTime::from_timestamp(at, 0))
}

fn row(ban: StoredBan) -> BanRow {
    let path = Network::parse(&ban.ip).and_then(|_| address_path(&ban.ip));
    BanRow { path, since: moment(ban.since), until: moment(ban.until), ip: ban.ip }
}

/// The text, or nothing if it is longer than any address or has control characters: then it finds nothing.
fn fitting(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect()
}
