//! The overview: what needs attention, how many servers are in which condition, and the table of all servers.
//!
//! A cell whose data is missing is empty: without a probe in a day, a server has no bans by the hour.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::attention::Attention;
use super::marks::{self, count, counted};
use super::message::see_other;
use super::page::Page;
use super::paging::Paging;
use super::search::{Found, address_path};
use super::server_list::read;
use super::server_rows::{Grouping, Line, Row, lines};
use super::shell::{Shell, Visitor};
use super::sparkline::Sparkline;
use super::words::{Coded, visible};
use crate::domain::access::Access;
use crate::domain::{Condition, ServerName};
use crate::http::error::Result;
use crate::http::extract::Query;
use crate::http::query::{PageNumber, require_choice};
use crate::http::state::AppState;
use crate::store::StoredServer;

/// The number of lines on a page: with names as long as they usually are and bans in each hour, 60 KB.
const PAGE: usize = 50;
/// The number of servers needing attention that are shown at first.
const MAX_ATTENTION: usize = 5;
const CONDITIONS: [Condition; 6] = [
    Condition::Down,
    Condition::Unreachable,
    Condition::Degraded,
    Condition::Busy,
    Condition::Unknown,
    Condition::Up,
];

/// The servers to show, and how.
#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub struct Wanted {
    q: String,
    condition: String,
    group: String,
    /// The group to unfold.
    open: String,
    page: PageNumber,
    attention: String,
}

impl Wanted {
    /// The path of this page with one thing changed.
    fn path(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut wanted = Self { page: PageNumber::default(), attention: String::new(), ..self.clone() };
        change(&mut wanted);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let page =
            Some(wanted.page.0).filter(|page| *page > 1).map_or_else(String::new, |page| page.to_string());
        for (name, value) in [
            ("q", &wanted.q),
            ("condition", &wanted.condition),
            ("group", &wanted.group),
            ("open", &wanted.open),
            ("page", &page),
            ("attention", &wanted.attention),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        if query.is_empty() { "/".to_owned() } else { format!("/?{query}") }
    }
}

#[derive(Template)]
#[template(path = "servers.html")]
struct Overview {
    shell: Shell,
    total: Total,
    attention: Vec<Attention>,
    /// The number of servers that need attention.
    troubled: usize,
    more_attention: Option<(usize, String)>,
    chips: Vec<Chip>,
    groupings: Vec<(&'static str, String, bool)>,
    lines: Vec<Line>,
    paging: Paging,
    empty: Option<Empty>,
}

struct Total {
    servers: String,
    running: String,
    missing: u64,
    banned: String,
    /// Servers whose counts are not in the sums, or not current.
    unknown: u64,
}

struct Chip {
    word: &'static str,
    shown: Option<marks::Shown>,
    count: u64,
    path: String,
    current: bool,
}

struct Empty {
    title: String,
    text: &'static str,
    link: Option<(&'static str, &'static str)>,
}

impl Empty {
    fn text(&self) -> Coded<'static> {
        Coded(self.text)
    }
}

/// The overview.
pub async fn show(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    require_choice("condition", &wanted.condition, CONDITIONS.iter().map(|condition| word(*condition)))?;
    require_choice("group", &wanted.group, Grouping::ALL.map(|(value, ..)| value))?;
    require_choice("attention", &wanted.attention, ["all"])?;
    let words = wanted.q.trim();
    if let Some(path) = address_path(words) {
        return Ok(see_other(&path));
    }
    let Visitor { mut shell, actor, .. } = visitor;
    let mut attention = Vec::new();
    let mut all = Vec::new();
    for (name, stored) in read(&state, &actor.access).await? {
        match &stored {
            Ok(stored) => attention.extend(Attention::of(&name, &stored.state, &shell)),
            Err(error) => attention.push(Attention::unreadable(&name, error.to_string(), &shell)),
        }
        all.push((name, stored.ok()));
    }
    let found = (!words.is_empty()).then(|| Found::among(&all, words));
    if let Some(path) = found.as_ref().and_then(|found| found.only(words)) {
        return Ok(see_other(&path));
    }
    shell.query = words.to_owned();
    attention.sort_by_key(Attention::order);
    let hidden = if wanted.attention == "all" { 0 } else { attention.len().saturating_sub(MAX_ATTENTION) };
    let troubled = attention.len();
    attention.truncate(troubled - hidden);

    let interval = state.settings.now().settings.probe_interval;
    let rows: Vec<Row> = all
        .iter()
        .filter(|(name, _)| found.as_ref().is_none_or(|found| found.has(name)))
        .map(|(name, stored)| Row::of(name, stored.as_ref(), &shell.clock, interval))
        .collect();
    let total = Total::of(&rows);
    let chips = chips(&wanted, &rows);
    let chosen: Vec<Row> = match CONDITIONS.iter().find(|condition| word(**condition) == wanted.condition) {
        Some(condition) => rows.into_iter().filter(|row| row.condition == *condition).collect(),
        None => rows,
    };
    let empty = empty(&all, &wanted, &actor.access, chosen.len());
    let grouping = Grouping::of(&wanted.group);
    let lines =
        lines(chosen, grouping, &wanted.open, |group| wanted.path(|wanted| wanted.open = group.to_owned()));
    let page = wanted.page.0.min(lines.len().div_ceil(PAGE).max(1));
    let paging = Paging::by_place(page, PAGE, lines.len(), |page| {
        wanted.path(|wanted| wanted.page = PageNumber(page))
    });
    let mut lines: Vec<Line> = lines.into_iter().skip((page - 1) * PAGE).take(PAGE).collect();
    add_hours(&state, &mut lines, &shell).await?;
    let overview = Overview {
        total,
        attention,
        troubled,
        more_attention: (hidden > 0)
            .then(|| (hidden, wanted.path(|wanted| wanted.attention = "all".to_owned()))),
        chips,
        groupings: Grouping::ALL
            .map(|(value, word, each)| {
                (word, wanted.path(|wanted| wanted.group = value.to_owned()), each == grouping)
            })
            .to_vec(),
        lines,
        paging,
        empty,
        shell,
    };
    Ok(Page::new(overview).into_response())
}

/// Adds the bans by the hour to the servers of these lines alone: of all of them it would take as long as the rest of the page.
async fn add_hours(state: &AppState, lines: &mut [Line], shell: &Shell) -> Result<()> {
    let rows = lines.iter_mut().filter_map(Line::row);
    let (names, rows): (Vec<ServerName>, Vec<&mut Row>) = rows.map(|row| (row.name.clone(), row)).unzip();
    for (row, hours) in rows.into_iter().zip(state.store.all_hours(&names).await?) {
        row.hours = hours.and_then(|hours| Sparkline::of(&hours.hours.shown(shell.clock.now)));
    }
    Ok(())
}

impl Total {
    fn of(rows: &[Row]) -> Self {
        let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
        Self {
            servers: counted(rows.len() as u64, "server"),
            running: counted(sum(|row| row.running), "jail"),
            missing: sum(|row| row.missing),
            banned: count(sum(|row| row.banned)),
            unknown: rows
                .iter()
                .filter(|row| matches!(row.condition, Condition::Unreachable | Condition::Unknown))
                .count() as u64,
        }
    }
}

/// A condition as the query has it.
fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Unknown => "unknown",
        other => marks::condition(other).word,
    }
}

fn chips(wanted: &Wanted, rows: &[Row]) -> Vec<Chip> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(super::attention::order(row.condition)).or_insert(0) += 1;
    }
    let path = |word: &str| wanted.path(|wanted| wanted.condition = word.to_owned());
    let current = |word: &str| wanted.condition == word;
    let all =
        Chip { word: "All", shown: None, count: rows.len() as u64, path: path(""), current: current("") };
    let each = CONDITIONS.iter().filter_map(|condition| {
        let count = counts.get(&super::attention::order(*condition)).copied()?;
        let (word, shown) = (word(*condition), marks::condition(*condition));
        Some(Chip { word: shown.word, shown: Some(shown), count, path: path(word), current: current(word) })
    });
    std::iter::once(all).chain(each).collect()
}

fn empty(
    all: &[(ServerName, Option<StoredServer>)],
    wanted: &Wanted,
    access: &Access,
    shown: usize,
) -> Option<Empty> {
    if shown > 0 {
        return None;
    }
    if all.is_empty() && !access.is_for_all_servers() {
        return Some(Empty {
            title: "There is no server that your account is for.".to_owned(),
            text: "An admin, or with single sign-on your groups, decides which servers your account is for.",
            link: None,
        });
    }
    if all.is_empty() {
        return Some(Empty {
            title: "There is no server yet.".to_owned(),
            text: "Run `bangui agent` beside a fail2ban, name it in BANGUI_SERVERS, and restart the workers; or let it be discovered.",
            link: Some(("What to do next", "/setup/next")),
        });
    }
    let title = if wanted.q.trim().is_empty() {
        format!(
            "No server is {}.",
            CONDITIONS
                .iter()
                .map(|condition| word(*condition))
                .find(|word| *word == wanted.condition)
                .unwrap_or("like that")
        )
    } else {
        format!("No server or jail has “{}” in its name.", visible(wanted.q.trim()))
    };
    Some(Empty { title, text: "", link: Some(("Show all servers", "/")) })
}
