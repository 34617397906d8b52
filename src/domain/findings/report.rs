//! What a round of checks found, and which checks could be made: what was not judged is unknown, and not fine.

use std::collections::{HashMap, HashSet};

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

/// Kinds, one bit each: of a thousand servers, a check each would be ten thousand entries of a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kinds(u32);

const _: () = assert!(Kind::ALL.len() <= u32::BITS as usize, "each kind has its bit");

impl Kinds {
    fn add(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u32;
    }

    fn remove(&mut self, kind: Kind) {
        self.0 &= !(1 << kind as u32);
    }

    fn contain(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }
}

/// What was found, and which checks were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was found.
    pub findings: Vec<Finding>,
    /// The checks that were made anywhere.
    anywhere: Kinds,
    /// Those that were made of bangui itself.
    itself: Kinds,
    /// Those that were made of everything on a server.
    servers: HashMap<ServerName, Kinds>,
    /// Those that were made of one thing on a server, such as an address.
    things: HashSet<(Kind, ServerName, String)>,
}

impl Report {
    /// Adds a check that could be made, with what it found: on this server; none if it is about bangui itself.
    pub fn judge(
        &mut self,
        kind: Kind,
        server: Option<&ServerName>,
        found: impl IntoIterator<Item = Finding>,
    ) {
        self.anywhere.add(kind);
        match server {
            None => self.itself.add(kind),
            Some(server) => match self.servers.get_mut(server) {
                Some(kinds) => kinds.add(kind),
                None => self.servers.entry(server.clone()).or_default().add(kind),
            },
        }
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
        self.anywhere.add(kind);
        self.things.insert((kind, server.clone(), about));
        self.findings.extend(found);
    }

    /// Adds all of another report.
    pub fn merge(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.anywhere.0 |= other.anywhere.0;
        self.itself.0 |= other.itself.0;
        for (server, kinds) in other.servers {
            self.servers.entry(server).or_default().0 |= kinds.0;
        }
        self.things.extend(other.things);
    }

    /// Whether a check was made that would have found the finding of that id.
    #[must_use]
    pub fn covers(&self, id: &str) -> bool {
        let word = id.split([':', '/', '#']).next().unwrap_or_default();
        let Some(kind) = Kind::ALL.iter().copied().find(|kind| kind.word() == word) else { return false };
        let rest = &id[word.len()..];
        let place = rest.split(['/', '#']).next().unwrap_or_default();
        let Some(server) = place.strip_prefix(':') else { return self.itself.contain(kind) };
        let Ok(server) = ServerName::parse(server) else { return false };
        if self.servers.get(&server).is_some_and(|kinds| kinds.contain(kind)) {
            return true;
        }
        let about = rest.split_once('#').map(|(_, about)| about.to_owned());
        about.is_some_and(|about| self.things.contains(&(kind, server, about)))
    }

    /// Whether the check was made anywhere.
    #[must_use]
    pub fn has_judged(&self, kind: Kind) -> bool {
        self.anywhere.contain(kind)
    }

    /// Leaves out what is about other servers. Findings about several of them at once, which are about none in particular, go as a whole.
    pub fn only(&mut self, shown: impl Fn(&ServerName) -> bool) {
        let is_shown =
            |kind: Kind, server: Option<&ServerName>| server.map_or(kind != Kind::AgentNames, &shown);
        self.findings.retain(|finding| is_shown(finding.kind, finding.server.as_ref()));
        self.servers.retain(|server, _| shown(server));
        self.things.retain(|(_, server, _)| shown(server));
        self.itself.remove(Kind::AgentNames);
        self.anywhere = self.itself;
        for kinds in self.servers.values() {
            self.anywhere.0 |= kinds.0;
        }
        for (kind, ..) in &self.things {
            self.anywhere.add(*kind);
        }
    }

    /// How each check ended, in the order of the kinds.
    #[must_use]
    pub fn checks(&self) -> Vec<(Kind, CheckState)> {
        let mut found = Kinds::default();
        for finding in &self.findings {
            found.add(finding.kind);
        }
        let state = |kind: Kind| {
            if found.contain(kind) {
                CheckState::Found
            } else if self.has_judged(kind) {
                CheckState::Fine
            } else {
                CheckState::Unknown
            }
        };
        Kind::ALL.iter().map(|kind| (*kind, state(*kind))).collect()
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
    fn a_report_covers_the_findings_of_its_checks_at_their_places_and_no_others() {
        let web = ServerName::parse("web-1").unwrap();
        let mut report = Report::default();
        report.judge(Kind::LogMissing, Some(&web), None);
        report.judge(Kind::RedisMemory, None, None);
        report.judge_one(Kind::OwnAddress, &web, "198.51.100.23".to_owned(), None);
        let covered = [
            ("log-missing:web-1/sshd#/var/log/a#b", true),
            ("log-missing:web-1/a/b#c", true),
            ("log-missing:web-1", true),
            ("log-missing:web-10/sshd#/var/log/a", false),
            ("log-missing", false),
            ("log-missing:", false),
            ("log-missing-too:web-1", false),
            ("server-down:web-1", false),
            ("server-downhill:web-1", false),
            ("redis-memory", true),
            ("redis-memory/x", true),
            ("redis-memory#x", true),
            ("redis-memory:web-1", false),
            ("redis-memory-of-old", false),
            ("own-address:web-1#198.51.100.23", true),
            ("own-address:web-1#198.51.100.24", false),
            ("own-address:web-10#198.51.100.23", false),
            ("own-address:web-1", false),
            ("of-a-newer-version:web-1", false),
            ("", false),
        ];
        for (id, is) in covered {
            assert_eq!(report.covers(id), is, "{id}");
        }
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
        report.judge_one(Kind::OwnAddress, &db, "198.51.100.23".to_owned(), None);
        report.only(|server| *server == web);
        let left: Vec<Kind> = report.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(left, [Kind::RedisMemory]);
        let state = |kind| report.checks().into_iter().find(|(known, _)| *known == kind).unwrap().1;
        assert_eq!(state(Kind::LogMissing), CheckState::Fine);
        for elsewhere in [Kind::ServerDown, Kind::AgentNames, Kind::OwnAddress] {
            assert_eq!(state(elsewhere), CheckState::Unknown, "it was made elsewhere only");
        }
        assert!(!report.covers("server-down:db-1") && report.covers("log-missing:web-1"));
    }

    #[test]
    fn every_finding_is_covered_by_its_check_and_by_no_other() {
        let web = ServerName::parse("web-1").unwrap();
        let jail = JailName::parse("a/b#c").unwrap();
        for kind in Kind::ALL {
            let bare = Finding::new(*kind, Severity::Info, "", "", Remedy::text(""));
            let there = bare.clone().on(&web).jail(&jail).about("x");
            let covered = |server| {
                let mut report = Report::default();
                report.judge(*kind, server, None);
                let others = Kind::ALL.iter().filter(|other| report.has_judged(**other));
                assert_eq!(others.collect::<Vec<_>>(), [kind]);
                (report.covers(&bare.id()), report.covers(&there.id()))
            };
            assert_eq!(covered(None), (true, false), "{kind}");
            assert_eq!(covered(Some(&web)), (false, true), "{kind}");
        }
    }

    #[test]
    fn a_check_is_found_fine_or_unknown() {
        let web = ServerName::parse("web-1").unwrap();
        let mut report = Report::default();
        report.judge(Kind::RedisMemory, None, None);
        let found = Finding::new(Kind::ServerDown, Severity::Error, "", "", Remedy::text("")).on(&web);
        report.judge(Kind::ServerDown, Some(&web), Some(found));
        let states = report.checks();
        let of = |kind| states.iter().find(|(known, _)| *known == kind).map(|(_, state)| *state);
        assert_eq!(of(Kind::RedisMemory), Some(CheckState::Fine));
        assert_eq!(of(Kind::ServerDown), Some(CheckState::Found));
        assert_eq!(of(Kind::OwnAddress), Some(CheckState::Unknown));
        assert_eq!(states.len(), Kind::ALL.len());
    }
}
