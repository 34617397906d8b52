//! Which findings a page shows: all of a few; of many, each kind once with its first servers, and a page of its own for the rest.
//!
//! ```text
//! 30 or fewer ─▶ each
//! more ────────▶ of a kind with 3 or fewer each, of any other one line ─▶ /diagnosis?severity=warning&kind=agent-version&page=2
//! ```

use std::collections::BTreeSet;

use super::diagnosis_rows::{Row, severity};
use super::marks::{Mark, count, counted};
use super::paging::Paging;
use super::search::server_path;
use crate::domain::findings::{Finding, Kind, Severity};
use crate::domain::{ServerName, Timestamp};

/// The most findings that are all shown.
const GROUPED_ABOVE: usize = 30;
/// Of more, so many of a kind are shown each.
const FEW: usize = 3;
/// Servers that a line of many findings names.
const NAMED: usize = 5;
/// Findings of a page of one kind.
const PAGE: usize = 50;
const SEVERITIES: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Info];

/// The findings of one severity.
pub struct Part {
    /// What it is called.
    pub heading: &'static str,
    /// What that means.
    pub means: &'static str,
    /// Its mark.
    pub mark: Mark,
    /// The class of its colour.
    pub colour: &'static str,
    /// Its word in addresses.
    pub word: &'static str,
    /// How many there are.
    pub count: usize,
    /// How many of the wanted ones, on this page or another.
    pub wanted: usize,
    /// Those that are shown.
    pub lines: Vec<Line>,
}

/// One line.
pub enum Line {
    /// A finding.
    One(Box<Row>),
    /// Many of one kind.
    Many(Group),
}

/// Many findings of one kind.
pub struct Group {
    /// Which.
    pub kind: Kind,
    /// What they say, if they all say the same, or else the kind.
    pub title: String,
    /// Since when the first of them has been there.
    pub since: Timestamp,
    /// How many.
    pub count: String,
    /// The first servers, with their pages.
    pub servers: Vec<(String, String)>,
    /// How many servers more.
    pub more: Option<String>,
    /// Where all of them are.
    pub path: String,
}

/// What is shown of all findings.
pub struct Listed {
    /// By severity, those of which there are none left out.
    pub parts: Vec<Part>,
    /// The pages of one kind.
    pub paging: Paging,
    /// Whether there is nothing to show.
    pub empty: bool,
}

/// The words of the severities in addresses.
pub fn severities() -> impl Iterator<Item = &'static str> {
    SEVERITIES.into_iter().map(|of| severity(of).4)
}

/// What is wanted of `findings`, which come by severity and kind.
#[must_use]
pub fn list(findings: Vec<Finding>, wanted: (&str, &str), page: usize, checked_at: Timestamp) -> Listed {
    let only = SEVERITIES.into_iter().find(|known| severity(*known).4 == wanted.0);
    let kind = Kind::ALL.iter().copied().find(|kind| kind.word() == wanted.1);
    let counts = SEVERITIES.map(|of| findings.iter().filter(|finding| finding.severity == of).count());
    let is_wanted = |finding: &Finding| {
        only.is_none_or(|only| finding.severity == only) && kind.is_none_or(|kind| finding.kind == kind)
    };
    let rows: Vec<Row> = findings
        .into_iter()
        .filter(is_wanted)
        .map(|finding| Row { since: finding.since.unwrap_or(checked_at), finding })
        .collect();
    let of_these = SEVERITIES.map(|of| rows.iter().filter(|row| row.finding.severity == of).count());
    let (empty, mut paging) = (rows.is_empty(), Paging::default());
    let one = |row| Line::One(Box::new(row));
    let lines: Vec<(Severity, Line)> = if let Some(kind) = kind {
        let page = page.clamp(1, rows.len().div_ceil(PAGE).max(1));
        paging = Paging::by_place(page, PAGE, rows.len(), |page| path(only, kind, page));
        let rows = rows.into_iter().skip((page - 1) * PAGE).take(PAGE);
        rows.map(|row| (row.finding.severity, one(row))).collect()
    } else {
        let few = if rows.len() > GROUPED_ABOVE { FEW } else { GROUPED_ABOVE };
        let same =
            |a: &Row, b: &Row| (a.finding.severity, a.finding.kind) == (b.finding.severity, b.finding.kind);
        let mut lines = Vec::new();
        let mut rows = rows.into_iter().peekable();
        while let Some(first) = rows.next() {
            let mut of_kind = vec![first];
            while let Some(next) = rows.next_if(|next| same(&of_kind[0], next)) {
                of_kind.push(next);
            }
            let severity = of_kind[0].finding.severity;
            if of_kind.len() > few {
                lines.push((severity, Line::Many(Group::of(&of_kind))));
            } else {
                lines.extend(of_kind.into_iter().map(|row| (severity, one(row))));
            }
        }
        lines
    };
    Listed { parts: parts(counts, of_these, lines), paging, empty }
}

fn parts(counts: [usize; 3], wanted: [usize; 3], lines: Vec<(Severity, Line)>) -> Vec<Part> {
    let mut parts = SEVERITIES.map(|of| {
        let (heading, means, mark, colour, word) = severity(of);
        Part { heading, means, mark, colour, word, count: 0, wanted: 0, lines: Vec::new() }
    });
    for (part, (count, wanted)) in parts.iter_mut().zip(counts.into_iter().zip(wanted)) {
        (part.count, part.wanted) = (count, wanted);
    }
    for (of, line) in lines {
        if let Some(at) = SEVERITIES.iter().position(|known| *known == of) {
            parts[at].lines.push(line);
        }
    }
    parts.into_iter().filter(|part| part.count > 0).collect()
}

fn path(only: Option<Severity>, kind: Kind, page: usize) -> String {
    let severity = only.map_or_else(String::new, |only| format!("severity={}&", severity(only).4));
    let page = if page > 1 { format!("&page={page}") } else { String::new() };
    format!("/diagnosis?{severity}kind={kind}{page}")
}

/// A kind in words: `Log missing`.
fn words_of(kind: Kind) -> String {
    let word = kind.word().replace('-', " ");
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

impl Group {
    /// Of one or more.
    fn of(rows: &[Row]) -> Self {
        let first = &rows[0].finding;
        let same = rows.iter().all(|row| row.finding.title == first.title);
        let servers: BTreeSet<&ServerName> =
            rows.iter().filter_map(|row| row.finding.server.as_ref()).collect();
        let more = servers.len().saturating_sub(NAMED);
        Self {
            kind: first.kind,
            title: if same { first.title.clone() } else { words_of(first.kind) },
            since: rows.iter().map(|row| row.since).min().unwrap_or_default(),
            count: count(rows.len() as u64),
            servers: servers.iter().take(NAMED).map(|name| (name.to_string(), server_path(name))).collect(),
            more: (more > 0).then(|| counted(more as u64, "more server")),
            path: path(Some(first.severity), first.kind, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::findings::agents;

    /// Findings of agents of another version, on so many servers.
    fn found(servers: usize) -> Vec<Finding> {
        let one = |n| agents::version(&ServerName::parse(&format!("web-{n:04}")).unwrap(), "0.0.1", "9.9.9");
        (1..=servers).filter_map(one).collect()
    }

    fn shown(findings: Vec<Finding>, wanted: (&str, &str), page: usize) -> (Vec<String>, Paging) {
        let listed = list(findings, wanted, page, Timestamp::UNIX_EPOCH);
        let says = |line: &Line| match line {
            Line::One(row) => row.finding.id(),
            Line::Many(group) => {
                let named: Vec<&str> = group.servers.iter().map(|(name, _)| name.as_str()).collect();
                let more = group.more.as_deref().unwrap_or_default();
                format!("{} {} on {} and {more}: {}", group.count, group.kind, named.join(" "), group.path)
            }
        };
        let lines = listed.parts.iter().flat_map(|part| part.lines.iter().map(says)).collect();
        (lines, listed.paging)
    }

    #[test]
    fn a_few_findings_are_all_shown_and_of_many_each_kind_once_with_its_first_servers() {
        assert_eq!(shown(found(30), ("", ""), 1).0.len(), 30);
        let (lines, paging) = shown(found(1_000), ("", ""), 1);
        assert_eq!(
            lines,
            ["1,000 agent-version on web-0001 web-0002 web-0003 web-0004 web-0005 and 995 more servers: \
              /diagnosis?severity=warning&kind=agent-version"]
        );
        assert!(paging.next.is_none());
        assert!(shown(found(1_000), ("error", ""), 1).0.is_empty(), "of the severity that was asked for");
        let listed = list(found(1_000), ("error", ""), 1, Timestamp::UNIX_EPOCH);
        assert_eq!((listed.empty, listed.parts[0].count), (true, 1_000), "and how many there are of others");
    }

    #[test]
    fn a_kind_has_pages_on_which_each_finding_is_once() {
        let mut all = Vec::new();
        for page in 1..=20 {
            let (lines, paging) = shown(found(1_000), ("warning", "agent-version"), page);
            assert_eq!(lines.len(), 50);
            assert_eq!(paging.next.is_some(), page < 20);
            all.extend(lines);
        }
        let ids: BTreeSet<String> = found(1_000).iter().map(Finding::id).collect();
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), ids);
        let beyond = shown(found(60), ("", "agent-version"), usize::MAX);
        assert_eq!(
            (beyond.0.len(), beyond.1.previous.as_deref()),
            (10, Some("/diagnosis?kind=agent-version"))
        );
        assert!(shown(found(60), ("", "server-down"), 1).0.is_empty());
    }
}
