//! What happened, and what people did: the events and the audit as one list, the newest first. Filters are links.
//!
//! About 10,000 events are kept, and the audit for `BANGUI_AUDIT_DAYS`. With a filter a page reads [`MAX_READ`] entries of each, and says
//! how far it got.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use super::activity_audit::{Deed, Undo};
use super::activity_events::{Event, GROUPS};
use super::page::Page;
use super::search::address_path;
use super::shell::{Shell, Visitor};
use super::undo_label::label;
use super::words::visible;
use crate::domain::{Timestamp, UndoId};
use crate::http::auth::permissions::{Right, is_shown};
use crate::http::error::{Problem, Result};
use crate::http::extract::Query;
use crate::http::query::require_choice;
use crate::http::state::AppState;
use crate::store::{AuditCursor, Offer, StoredEvent, StreamId};

/// The number of lines on a page.
const PAGE: usize = 100;
/// The number of entries of each stream that a page with a filter reads.
const MAX_READ: usize = 2_000;
/// The kind of line for what people did.
const PEOPLE: &str = "people";

/// The filters, and where the page begins.
#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub struct Wanted {
    kind: String,
    server: String,
    jail: String,
    address: String,
    /// Show events and audit entries before this place.
    before: String,
}

impl Wanted {
    /// The path of this page with one thing changed.
    fn path(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut wanted = Self { before: String::new(), ..self.clone() };
        change(&mut wanted);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("kind", &wanted.kind),
            ("server", &wanted.server),
            ("jail", &wanted.jail),
            ("address", &wanted.address),
            ("before", &wanted.before),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        if query.is_empty() { "/activity".to_owned() } else { format!("/activity?{query}") }
    }

    fn is_filtered(&self) -> bool {
        [&self.kind, &self.server, &self.jail, &self.address].iter().any(|filter| !filter.is_empty())
    }

    fn has(&self, server: Option<&str>, jail: Option<&str>) -> bool {
        (self.server.is_empty() || server == Some(&self.server))
            && (self.jail.is_empty() || jail == Some(&self.jail))
    }

    fn takes_event(&self, event: &Event) -> bool {
        let group = GROUPS.iter().find(|(_, word, _)| *word == self.kind);
        let kind = group.is_none_or(|(_, _, kinds)| kinds.iter().any(|kind| event.kind.starts_with(kind)));
        kind && self.has(event.server.as_deref(), event.jail.as_deref())
            && (self.address.is_empty() || event.address.as_ref() == Some(&self.address))
    }

    fn takes_deed(&self, deed: &Deed) -> bool {
        let (server, jail) = deed.place();
        self.has(server, jail) && (self.address.is_empty() || deed.is_about(&self.address))
    }
}

#[derive(Template)]
#[template(path = "activity.html")]
struct Activity {
    shell: Shell,
    wanted: Wanted,
    lines: Vec<Line>,
    older: Option<String>,
    looked_back_to: Option<Timestamp>,
}

/// One line of the list.
enum Line {
    Event(Event),
    Deed(Deed),
}

impl Line {
    fn at(&self) -> Option<StreamId> {
        StreamId::parse(match self {
            Self::Event(event) => &event.id,
            Self::Deed(deed) => &deed.id,
        })
    }
}

impl Activity {
    fn kinds(&self) -> Vec<(&'static str, String, bool)> {
        let people = self.shell.may(Right::ReadAudit).then_some(("what people did", PEOPLE));
        let groups = GROUPS.iter().map(|(says, word, _)| (*says, *word));
        let kinds = std::iter::once(("Everything", "")).chain(people).chain(groups);
        kinds
            .map(|(says, word)| {
                (says, self.wanted.path(|wanted| word.clone_into(&mut wanted.kind)), self.wanted.kind == word)
            })
            .collect()
    }

    /// The filters that are on besides the kind: the text of each, and the path without it.
    fn filters(&self) -> Vec<(String, String)> {
        let wanted = &self.wanted;
        let without = [
            ("server", &wanted.server, wanted.path(|wanted| wanted.server.clear())),
            ("jail", &wanted.jail, wanted.path(|wanted| wanted.jail.clear())),
            ("address", &wanted.address, wanted.path(|wanted| wanted.address.clear())),
        ];
        let on = without.into_iter().filter(|(_, value, _)| !value.is_empty());
        on.map(|(name, value, path)| (format!("{name} {}", visible(value)), path)).collect()
    }

    fn of_server(&self, server: &str) -> String {
        self.wanted.path(|wanted| server.clone_into(&mut wanted.server))
    }

    fn of_jail(&self, jail: &str) -> String {
        self.wanted.path(|wanted| jail.clone_into(&mut wanted.jail))
    }

    fn of_address(&self, address: &str) -> String {
        self.wanted.path(|wanted| address.clone_into(&mut wanted.address))
    }

    /// The path of the first page.
    fn newest(&self) -> String {
        self.wanted.path(|_| {})
    }

    /// The page of an address.
    fn page_of(&self, address: &str) -> Option<String> {
        address_path(address)
    }
}

/// What happened.
pub async fn show(
    State(state): State<AppState>,
    visitor: Visitor,
    Query(wanted): Query<Wanted>,
) -> Result<Page<impl Template>> {
    require_choice("kind", &wanted.kind, GROUPS.iter().map(|(_, word, _)| *word).chain([PEOPLE]))?;
    let wrong = || Problem::malformed("`before` must be the one in a link to older lines");
    let before = Some(&wanted.before).filter(|before| !before.is_empty());
    let before = before.map(|text| StreamId::parse(text).ok_or_else(wrong)).transpose()?;
    let Visitor { shell, actor, .. } = visitor;
    // Of what is read for an account for some servers, much is of others.
    let narrow = wanted.is_filtered() || !actor.access.is_for_all_servers();
    let read = if narrow { MAX_READ } else { PAGE };
    let (mut lines, mut oldest) = (Vec::new(), None);
    if wanted.kind != PEOPLE {
        let (events, more) = state.store.events_before(before, read).await?;
        // The page must not go further back in one stream than it has read of the other.
        oldest = oldest.max(events.last().filter(|_| more).map(|event| event.id));
        let shown = |event: &StoredEvent| is_shown(event, &actor.access);
        let events =
            events.into_iter().filter(shown).map(Event::of).filter(|event| wanted.takes_event(event));
        lines.extend(events.map(Line::Event));
    }
    // Whoever may not read the audit sees what happened, and not who did what.
    if shell.may(Right::ReadAudit) && (wanted.kind.is_empty() || wanted.kind == PEOPLE) {
        let page = state.store.audit_page(before.map(AuditCursor::below), read).await?;
        // Another trail may have an entry with the same id as the last one, which would then be on no page: the next page begins with both.
        let last = page.next_cursor.as_deref().and_then(AuditCursor::parse).map(AuditCursor::id);
        oldest = oldest.max(last.map(StreamId::next_above));
        let deeds = page.items.into_iter().map(Deed::of).filter(|deed| wanted.takes_deed(deed));
        lines.extend(deeds.map(Line::Deed));
    }
    let (mut lines, oldest) = cut(lines, oldest);
    offer_undo(&state, &mut lines).await?;
    let older = oldest.map(|oldest| wanted.path(|wanted| wanted.before = oldest.to_string()));
    let looked_back_to = oldest.filter(|_| narrow).map(StreamId::at);
    Ok(Page::new(Activity { shell, wanted, lines, older, looked_back_to }))
}

/// Adds an undo to each entry that can still be undone.
async fn offer_undo(state: &AppState, lines: &mut [Line]) -> Result<()> {
    let offers = state.store.undo_offers().await?;
    if offers.is_empty() {
        return Ok(());
    }
    let mut deeds: Vec<(&mut Deed, Offer)> = Vec::new();
    for line in lines {
        if let Line::Deed(deed) = line
            && let Some(offer) = offers.get(&deed.entry)
        {
            deeds.push((deed, offer.clone()));
        }
    }
    let ids: Vec<UndoId> = deeds.iter().map(|(_, offer)| offer.id.clone()).collect();
    for ((deed, Offer { id, until }), done) in deeds.into_iter().zip(state.store.undoable(&ids).await?) {
        deed.undo = done.as_ref().and_then(label).map(|label| Undo { id: id.to_string(), label, until });
    }
    Ok(())
}

/// The lines of a page, the newest first, and the id below which the next page begins. Below `oldest` one of the streams was not
/// read: the other stream's entries there belong on the next page. Entries of several streams may have the same id: they are on one
/// page, which then has a few more lines.
fn cut(mut lines: Vec<Line>, mut oldest: Option<StreamId>) -> (Vec<Line>, Option<StreamId>) {
    lines.retain(|line| oldest.is_none_or(|oldest| line.at() >= Some(oldest)));
    lines.sort_by_key(|line| std::cmp::Reverse(line.at()));
    if lines.len() > PAGE {
        oldest = lines.get(PAGE - 1).and_then(Line::at);
        lines.retain(|line| line.at() >= oldest);
    }
    (lines, oldest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_one_of_its_streams_was_not_read() {
        let place = |ms: usize| StreamId::parse(&format!("{ms}-0")).unwrap();
        let line = |ms: usize| {
            let event = StoredEvent {
                id: place(ms),
                kind: String::new(),
                server: None,
                facts: serde_json::Value::Null,
            };
            Line::Event(Event::of(event))
        };
        let places = |lines: &[Line]| lines.iter().filter_map(Line::at).collect::<Vec<_>>();
        let (lines, next) = cut(vec![line(3), line(9), line(5)], Some(place(5)));
        assert_eq!((places(&lines), next), (vec![place(9), place(5)], Some(place(5))));
        let (lines, next) = cut((1..=PAGE + 7).map(line).collect(), None);
        assert_eq!(
            (lines.len(), next),
            (PAGE, Some(place(8))),
            "the next page begins after the last line of this one"
        );
        let twins = (1..=PAGE).map(line).chain([line(1), line(1)]).collect();
        let (lines, next) = cut(twins, None);
        assert_eq!(
            (lines.len(), next),
            (PAGE + 2, Some(place(1))),
            "those with the id of the last line are not lost"
        );
        assert_eq!(cut(vec![line(1)], None).1, None, "there is no next page");
    }
}
