//! The rows of the overview: one for each server, in the group that its name belongs to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::attention::{absent, is_late, order};
use super::clock::Clock;
use super::marks::{self, count};
use super::sparkline::Sparkline;
use crate::domain::{Condition, ServerName};
use crate::store::StoredServer;

/// With more servers than this, a group in which all are up is folded.
const FOLDED_ABOVE: usize = 60;

/// How rows are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// By the name up to its last `-`.
    Name,
    /// By condition, the worst first.
    Condition,
    /// Not at all.
    Nothing,
}

impl Grouping {
    /// Each with its value in the query and the text of its link.
    pub const ALL: [(&str, &str, Self); 3] = [
        ("", "name", Self::Name),
        ("condition", "condition", Self::Condition),
        ("none", "nothing", Self::Nothing),
    ];

    /// The grouping with this value; by name for any other.
    #[must_use]
    pub fn of(value: &str) -> Self {
        Self::ALL.iter().find(|(name, ..)| *name == value).map_or(Self::Name, |(.., grouping)| *grouping)
    }
}

/// One server.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name.
    pub name: ServerName,
    /// Its condition.
    pub condition: Condition,
    /// Jails that run.
    pub running: u64,
    /// Jails that should run but do not.
    pub missing: u64,
    /// Addresses banned now, as far as is known.
    pub banned: u64,
    /// Its bans by the hour, where known; empty until they were read.
    pub hours: Option<Sparkline>,
    failing: u64,
    /// Whether it has answered before.
    answered: bool,
    late: Option<String>,
}

/// One line of the table.
#[derive(Debug)]
pub enum Line {
    /// The head of a group, with its totals.
    Group(Group),
    /// A server.
    Row(Row),
}

/// The head of a group.
#[derive(Debug, Default)]
pub struct Group {
    /// The part of the name that its servers share.
    pub name: String,
    servers: usize,
    up: usize,
    running: u64,
    banned: u64,
    failing: u64,
    /// The path that unfolds it, if it is folded.
    pub unfold: Option<String>,
}

impl Row {
    /// The row of a server, from its last probe.
    #[must_use]
    pub fn of(name: &ServerName, stored: Option<&StoredServer>, clock: &Clock, interval: Duration) -> Self {
        let name = name.clone();
        let Some(stored) = stored else {
            return Self {
                name,
                condition: Condition::Unreachable,
                running: 0,
                missing: 0,
                banned: 0,
                hours: None,
                failing: 0,
                answered: false,
                late: None,
            };
        };
        let status = &stored.state.status;
        let totals = status.totals();
        let late = is_late(status.checked_at, stored.read_at, interval);
        Self {
            name,
            condition: status.condition,
            running: if status.condition == Condition::Down { 0 } else { status.jails.len() as u64 },
            missing: if status.condition == Condition::Down {
                stored.state.expected_jails.len() as u64
            } else {
                absent(&stored.state).len() as u64
            },
            banned: if status.condition == Condition::Down { 0 } else { totals.currently_banned },
            hours: None,
            failing: totals.currently_failed,
            answered: stored.state.settled != Condition::Unknown,
            late: status.checked_at.filter(|_| late).map(|at| clock.ago(at)),
        }
    }

    /// Mark, word and colour.
    #[must_use]
    pub fn shown(&self) -> marks::Shown {
        marks::condition(self.condition)
    }

    /// Whether its counts are current.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self.condition, Condition::Unreachable | Condition::Unknown | Condition::Down)
    }

    /// `9`, or `7 of 9`.
    #[must_use]
    pub fn jails(&self) -> String {
        if !self.answered {
            "–".to_owned()
        } else if self.missing == 0 {
            count(self.running)
        } else {
            format!("{} of {}", self.running, self.running + self.missing)
        }
    }

    /// How many are banned; a dash if that is not known, as while fail2ban is down: its bans may still be in force.
    #[must_use]
    pub fn banned(&self) -> String {
        let known = self.answered && self.condition != Condition::Down;
        if known { count(self.banned) } else { "–".to_owned() }
    }

    /// How many have failed recently; a dash if that is not known.
    #[must_use]
    pub fn failing(&self) -> String {
        if self.is_known() { count(self.failing) } else { "–".to_owned() }
    }

    /// How old this is, if it is older than it should be.
    #[must_use]
    pub fn late(&self) -> &str {
        self.late.as_deref().unwrap_or_default()
    }

    fn group(&self) -> String {
        let name = self.name.as_str();
        name.rfind('-').map_or(name, |at| &name[..=at]).to_owned()
    }
}

impl Line {
    /// The server, if it is one.
    pub fn row(&mut self) -> Option<&mut Row> {
        match self {
            Self::Row(row) => Some(row),
            Self::Group(_) => None,
        }
    }
}

impl Group {
    fn of(name: String, rows: &[Row]) -> Self {
        let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum();
        Self {
            name,
            servers: rows.len(),
            up: rows.iter().filter(|row| row.condition == Condition::Up).count(),
            running: sum(|row| row.running),
            banned: sum(|row| row.banned),
            failing: sum(|row| row.failing),
            unfold: None,
        }
    }

    /// `4 servers, 3 up`.
    #[must_use]
    pub fn says(&self) -> String {
        let servers = marks::counted(self.servers as u64, "server");
        if self.up == self.servers {
            format!("{servers}, all up")
        } else {
            format!("{servers}, {} up", self.up)
        }
    }

    /// Jails that run.
    #[must_use]
    pub fn jails(&self) -> String {
        count(self.running)
    }

    /// Addresses banned now.
    #[must_use]
    pub fn banned(&self) -> String {
        count(self.banned)
    }

    /// Addresses that failed recently.
    #[must_use]
    pub fn failing(&self) -> String {
        count(self.failing)
    }
}

/// The lines of the table. With many servers, a group in which all are up shows only its head, unless it is `open`.
pub fn lines(rows: Vec<Row>, grouping: Grouping, open: &str, unfold: impl Fn(&str) -> String) -> Vec<Line> {
    let many = rows.len() > FOLDED_ABOVE;
    if grouping == Grouping::Nothing {
        return rows.into_iter().map(Line::Row).collect();
    }
    let mut groups: BTreeMap<(u8, String), Vec<Row>> = BTreeMap::new();
    for row in rows {
        let key = match grouping {
            Grouping::Condition => (order(row.condition), row.shown().word.to_owned()),
            _ => (0, row.group()),
        };
        groups.entry(key).or_default().push(row);
    }
    // A head for a single group would only repeat the totals.
    if groups.len() == 1 && !many {
        return groups.into_values().flatten().map(Line::Row).collect();
    }
    let mut lines = Vec::new();
    for ((_, name), rows) in groups {
        let mut head = Group::of(name, &rows);
        let folded = many && head.up == head.servers && head.servers > 1 && head.name != open;
        head.unfold = folded.then(|| unfold(&head.name));
        lines.push(Line::Group(head));
        if !folded {
            lines.extend(rows.into_iter().map(Line::Row));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, condition: Condition) -> Row {
        Row {
            name: ServerName::parse(name).unwrap(),
            condition,
            running: 2,
            missing: 0,
            banned: 3,
            hours: None,
            failing: 1,
            answered: condition != Condition::Unknown,
            late: None,
        }
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        let text = |line: &Line| match line {
            Line::Group(group) => {
                format!("{}: {}{}", group.name, group.says(), if group.unfold.is_some() { " +" } else { "" })
            }
            Line::Row(row) => row.name.to_string(),
        };
        lines.iter().map(text).collect()
    }

    #[test]
    fn servers_are_grouped_by_name_and_many_that_are_up_are_folded() {
        let few =
            vec![row("web-1", Condition::Up), row("db-1", Condition::Down), row("web-2", Condition::Up)];
        let grouped = |rows: Vec<Row>, open: &str| texts(&lines(rows, Grouping::Name, open, str::to_owned));
        assert_eq!(
            grouped(few, ""),
            ["db-: 1 server, 0 up", "db-1", "web-: 2 servers, all up", "web-1", "web-2"]
        );
        let mut many: Vec<Row> = (0..60).map(|n| row(&format!("web-{n:02}"), Condition::Up)).collect();
        many.extend([row("db-1", Condition::Down), row("db-2", Condition::Up)]);
        let folded = grouped(many.clone(), "");
        assert_eq!(folded, ["db-: 2 servers, 1 up", "db-1", "db-2", "web-: 60 servers, all up +"]);
        assert_eq!(grouped(many, "web-").len(), 64);
    }

    #[test]
    fn what_is_not_known_is_shown_as_unknown_and_never_as_zero() {
        assert_eq!(
            (row("x", Condition::Unknown).banned(), row("x", Condition::Unreachable).failing()),
            ("–".into(), "–".into())
        );
        assert_eq!(row("x", Condition::Down).banned(), "–", "a hung fail2ban keeps its bans");
        let degraded = Row { missing: 2, running: 7, ..row("x", Condition::Degraded) };
        assert_eq!(degraded.jails(), "7 of 9");
    }
}
