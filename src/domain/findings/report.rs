//! What a round of checks found, and which checks could be made: what was not judged is unknown, and not fine.

use std::collections::HashSet;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Finding, Kind};
use crate::domain::ServerName;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// It found something.
    Found,
    /// It was made, and found nothing where it could look.
    Fine,
    /// It could not be made.
    Unknown,
}

/// Where a check was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Which check.
    pub kind: Kind,
    /// On this server; none if it is about bangui itself.
    pub server: Option<ServerName>,
    /// Only for this, such as an address; none if the check covers everything there.
    pub about: Option<String>,
}

impl Scope {
    /// Whether the finding of that id would have been found here.
    #[must_use]
    pub fn covers(&self, id: &str) -> bool {
        let Some(rest) = id.strip_prefix(self.kind.word()) else { return false };
        let about = rest.split_once('#').map(|(_, about)| about);
        let place = rest.split(['/', '#']).next().unwrap_or_default();
        let server = place.strip_prefix(':');
        (place.is_empty() || server.is_some())
            && server == self.server.as_ref().map(ServerName::as_str)
            && (self.about.is_none() || self.about.as_deref() == about)
    }
}

/// What was found, and which checks were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was found.
    pub findings: Vec<Finding>,
    /// The checks that were made.
    pub judged: HashSet<Scope>,
}

impl Report {
    /// Adds a check that could be made, with what it found.
    pub fn judge(
        &mut self,
        kind: Kind,
        server: Option<&ServerName>,
        found: impl IntoIterator<Item = Finding>,
    ) {
        self.judged.insert(Scope { kind, server: server.cloned(), about: None });
        self.findings.extend(found);
    }

    /// As [`Self::judge`], for a check of one thing among others of its kind.
    pub fn judge_one(
        &mut self,
        kind: Kind,
        server: &ServerName,
        about: String,
        found: impl IntoIterator<Item = Finding>,
    ) {
        self.judged.insert(Scope { kind, server: Some(server.clone()), about: Some(about) });
        self.findings.extend(found);
    }

    /// Adds all of another report.
    pub fn merge(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.judged.extend(other.judged);
    }

    /// Whether a check was made that would have found the finding of that id: the same as asking [`Scope::covers`] of each, but
    /// faster.
    #[must_use]
    pub fn covers(&self, id: &str) -> bool {
        let word = id.split([':', '/', '#']).next().unwrap_or_default();
        let Some(kind) = Kind::ALL.iter().find(|kind| kind.word() == word) else { return false };
        let rest = &id[word.len()..];
        let place = rest.split(['/', '#']).next().unwrap_or_default();
        let server = match place.strip_prefix(':').map(ServerName::parse) {
            None => None,
            Some(Ok(server)) => Some(server),
            Some(Err(_)) => return false,
        };
        let about = rest.split_once('#').map(|(_, about)| about.to_owned());
        let scope = |about| Scope { kind: *kind, server: server.clone(), about };
        self.judged.contains(&scope(None)) || (about.is_some() && self.judged.contains(&scope(about)))
    }

    /// Whether the check was made anywhere.
    #[must_use]
    pub fn has_judged(&self, kind: Kind) -> bool {
        self.judged.iter().any(|scope| scope.kind == kind)
    }

    /// Leaves out what is about other servers. Findings about several of them at once, which are about none in particular, go as a whole.
    pub fn only(&mut self, shown: impl Fn(&ServerName) -> bool) {
        let is_shown =
            |kind: Kind, server: Option<&ServerName>| server.map_or(kind != Kind::AgentNames, &shown);
        self.findings.retain(|finding| is_shown(finding.kind, finding.server.as_ref()));
        self.judged.retain(|scope| is_shown(scope.kind, scope.server.as_ref()));
    }

    /// How each check ended, in the order of the kinds.
    #[must_use]
    pub fn checks(&self) -> Vec<(Kind, CheckState)> {
        let state = |kind: &Kind| {
            if self.findings.iter().any(|finding| finding.kind == *kind) {
                CheckState::Found
            } else if self.has_judged(*kind) {
                CheckState::Fine
            } else {
                CheckState::Unknown
            }
        };
        Kind::ALL.iter().map(|kind| (*kind, state(kind))).collect()
    }

    /// The worst first, then by kind and place.
    pub fn sort(&mut self) {
        self.findings.sort_by(|a, b| {
            let of_kind = (a.severity, a.kind).cmp(&(b.severity, b.kind));
            of_kind.then_with(|| (&a.server, &a.jail, &a.about).cmp(&(&b.server, &b.jail, &b.about)))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::JailName;
    use crate::domain::findings::{Remedy, Severity};

    #[test]
    fn a_scope_covers_the_findings_of_its_check_at_its_place_and_no_other() {
        let web = ServerName::parse("web-1").unwrap();
        let scope = |kind, server: Option<&ServerName>, about: Option<&str>| Scope {
            kind,
            server: server.cloned(),
            about: about.map(str::to_owned),
        };
        let logs = scope(Kind::LogMissing, Some(&web), None);
        assert!(logs.covers("log-missing:web-1/sshd#/var/log/a#b"));
        assert!(!logs.covers("log-missing:web-10/sshd#/var/log/a"));
        assert!(!logs.covers("log-missing"));
        assert!(!scope(Kind::ServerDown, Some(&web), None).covers("server-downhill:web-1"));
        assert!(scope(Kind::RedisMemory, None, None).covers("redis-memory"));
        assert!(!scope(Kind::RedisMemory, None, None).covers("redis-memory:web-1"));
        assert!(!scope(Kind::RedisMemory, None, None).covers("redis-memory-of-old"));
        let mine = scope(Kind::OwnAddress, Some(&web), Some("198.51.100.23"));
        assert!(mine.covers("own-address:web-1#198.51.100.23"));
        assert!(!mine.covers("own-address:web-1#198.51.100.24"));
    }

    #[test]
    fn a_report_covers_what_one_of_its_scopes_covers() {
        let web = ServerName::parse("web-1").unwrap();
        let mut report = Report::default();
        report.judge(Kind::LogMissing, Some(&web), None);
        report.judge(Kind::RedisMemory, None, None);
        report.judge_one(Kind::OwnAddress, &web, "198.51.100.23".to_owned(), None);
        let ids = [
            "log-missing:web-1/sshd#/var/log/a#b",
            "log-missing:web-1/a/b#c",
            "log-missing:web-10/sshd#/var/log/a",
            "log-missing:web-1",
            "log-missing",
            "log-missing:",
            "log-missing-too:web-1",
            "redis-memory",
            "redis-memory:web-1",
            "redis-memory/x",
            "redis-memory#x",
            "redis-memory-of-old",
            "own-address:web-1#198.51.100.23",
            "own-address:web-1#198.51.100.24",
            "own-address:web-1",
            "of-a-newer-version:web-1",
            "",
        ];
        let covered = ids.map(|id| report.judged.iter().any(|scope| scope.covers(id)));
        assert_eq!(ids.map(|id| report.covers(id)), covered);
        assert_eq!(covered.iter().filter(|covered| **covered).count(), 7);
    }

    #[test]
    fn what_is_about_other_servers_is_left_out_with_the_checks_that_were_made_there() {
        let [web, db] = ["web-1", "db-1"].map(|name| ServerName::parse(name).unwrap());
        let finding = |kind| Finding::new(kind, Severity::Info, "", "", Remedy::text(""));
        let mut report = Report::default();
        report.judge(Kind::ServerDown, Some(&db), Some(finding(Kind::ServerDown).on(&db)));
        report.judge(Kind::LogMissing, Some(&web), None);
        report.judge(Kind::RedisMemory, None, Some(finding(Kind::RedisMemory)));
        report.judge(Kind::AgentNames, None, Some(finding(Kind::AgentNames).about("names db-1")));
        report.only(|server| *server == web);
        let left: Vec<Kind> = report.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(left, [Kind::RedisMemory]);
        let state = |kind| report.checks().into_iter().find(|(known, _)| *known == kind).unwrap().1;
        assert_eq!(state(Kind::LogMissing), CheckState::Fine);
        assert_eq!(state(Kind::ServerDown), CheckState::Unknown, "it was made elsewhere only");
        assert_eq!(state(Kind::AgentNames), CheckState::Unknown);
    }

    #[test]
    fn every_finding_is_within_the_scope_of_its_check() {
        let web = ServerName::parse("web-1").unwrap();
        let jail = JailName::parse("a/b#c").unwrap();
        for kind in Kind::ALL {
            let bare = Finding::new(*kind, Severity::Info, "", "", Remedy::text(""));
            let there = bare.clone().on(&web).jail(&jail).about("x");
            let scope = |server| Scope { kind: *kind, server, about: None };
            assert!(scope(None).covers(&bare.id()), "{kind}");
            assert!(scope(Some(web.clone())).covers(&there.id()), "{kind}");
            assert!(!scope(None).covers(&there.id()), "{kind}");
        }
    }
}
