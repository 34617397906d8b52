//! What an account may do: its role, and the servers that the role is for.
//!
//! A session carries the access that its account had at the login, so that a check reads nothing more; a change of an account's
//! access ends its sessions, on every worker, as a logout does. Which role a route needs is in `http/auth/permissions.rs`.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ServerName;

/// What somebody may do; each role includes the one before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at everything about its servers, and changes nothing.
    Viewer,
    /// Also bans, unbans, adds entries that are never banned and end, and asks for probes.
    Operator,
    /// Everything. The default, since a session of version 0.2 names no role and belongs to the one admin.
    #[default]
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Whether it is the admin's.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        *self == Self::Admin
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a server, or a pattern in which `*` stands for any characters, also none: `web-*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerPattern(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a server or pattern must be 1 to 63 characters of a-z, A-Z, 0-9, '.', '_', '-' and '*'")]
pub struct PatternError;

impl ServerPattern {
    /// Checks and wraps a pattern.
    ///
    /// # Errors
    /// When it is empty, too long, or has a character that no name of a server has.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*');
        let fits = (1..=63).contains(&text.len()) && text.chars().all(allowed);
        if fits { Ok(Self(text.to_owned())) } else { Err(PatternError) }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names this server.
    #[must_use]
    pub fn matches(&self, server: &ServerName) -> bool {
        self.fits(server.as_str())
    }

    /// Whether it names every server that `other` names. A pattern whose stars this one's stars do not stand for is taken for one that
    /// does not: `*` covers `web-*`, and `a*b*` does not cover `a*b`, although it could.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        // A star of `other` is a character that no name has: only a star of this one stands for it.
        self == other || self.fits(&other.0)
    }

    fn fits(&self, mut rest: &str) -> bool {
        let mut parts = self.0.split('*');
        let (first, last) = (parts.next().unwrap_or_default(), parts.next_back());
        let Some(last) = last else { return rest == first };
        let Some(after) = rest.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
            return false;
        };
        rest = after;
        // The earliest place of each part leaves the most for those that follow.
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

impl TryFrom<String> for ServerPattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::parse(&text)
    }
}

impl From<ServerPattern> for String {
    fn from(pattern: ServerPattern) -> Self {
        pattern.0
    }
}

/// A role, and the servers that it is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Access {
    /// What may be done.
    pub role: Role,
    /// With which servers; empty for all of them.
    pub servers: Vec<ServerPattern>,
}

impl Access {
    /// All of it, on all servers.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Whether it is for all servers.
    #[must_use]
    pub fn is_for_all_servers(&self) -> bool {
        self.servers.is_empty()
    }

    /// Whether it is an admin's of all servers: then there is nothing to judge.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.role.is_admin() && self.is_for_all_servers()
    }

    /// Whether it is for the server of that name; a text that is no name is no server of anybody who is bound to some.
    #[must_use]
    pub fn reaches_named(&self, server: &str) -> bool {
        self.servers.is_empty() || ServerName::parse(server).is_ok_and(|server| self.reaches(&server))
    }

    /// Whether it is for this server.
    #[must_use]
    pub fn reaches(&self, server: &ServerName) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|pattern| pattern.matches(server))
    }

    /// Whether everything that `other` allows is allowed here too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let within = |pattern: &ServerPattern| self.servers.iter().any(|own| own.covers(pattern));
        let servers =
            self.servers.is_empty() || !other.servers.is_empty() && other.servers.iter().all(within);
        self.role >= other.role && servers
    }

    /// Whether what needs this role may be done.
    #[must_use]
    pub fn includes(&self, role: Role) -> bool {
        self.role >= role
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, server: &str) -> bool {
        ServerPattern::parse(pattern).unwrap().matches(&ServerName::parse(server).unwrap())
    }

    #[test]
    fn a_pattern_names_whole_servers_and_a_star_is_any_characters() {
        assert!(matches("web-1", "web-1") && !matches("web-1", "web-12") && !matches("eb-1", "web-1"));
        assert!(matches("web-*", "web-1") && matches("web-*", "web-") && !matches("web-*", "db-web-1"));
        assert!(matches("*-eu", "db-eu") && !matches("*-eu", "db-eu-2"));
        assert!(matches("*", "x") && matches("**", "x"));
        assert!(matches("a*b*c", "a-b-b-c") && !matches("a*b*c", "a-c-b") && !matches("a*b*c", "ac"));
        assert!(!matches("ab*ba", "aba"), "the two ends do not overlap");
        assert!(!matches("Web-*", "web-1"), "names are compared as they are written");
    }

    #[test]
    fn a_text_that_could_be_no_server_is_no_pattern() {
        for text in ["", "a b", "a/b", "ä*", "a\n", &"a".repeat(64)] {
            assert_eq!(ServerPattern::parse(text), Err(PatternError), "{text:?}");
        }
    }

    #[test]
    fn an_access_covers_what_allows_no_more() {
        let access = |role, servers: &[&str]| Access {
            role,
            servers: servers.iter().map(|text| ServerPattern::parse(text).unwrap()).collect(),
        };
        let (viewer, operator, admin) = (Role::Viewer, Role::Operator, Role::Admin);
        let all = access(operator, &[]);
        assert!(
            all.covers(&all)
                && all.covers(&access(viewer, &["web-*"]))
                && !all.covers(&access(admin, &["x"]))
        );
        let web = access(operator, &["web-*", "db-1"]);
        for within in [&["web-*"][..], &["web-1"], &["web-1-*"], &["db-1", "web-*-eu"]] {
            assert!(web.covers(&access(viewer, within)), "{within:?}");
        }
        for beyond in [&[][..], &["*"], &["we*"], &["db-*"], &["web-1", "db-2"], &["*web-"]] {
            assert!(!web.covers(&access(viewer, beyond)), "{beyond:?}");
        }
    }

    #[test]
    fn an_account_that_is_bound_to_servers_reaches_no_other_and_nothing_that_is_no_name() {
        let bound = Access { role: Role::Admin, servers: vec![ServerPattern::parse("web-*").unwrap()] };
        assert!(
            bound.reaches_named("web-1") && !bound.reaches_named("db-1") && !bound.reaches_named("web 1")
        );
        assert!(!bound.is_everything() && Access::everything().is_everything());
        assert!(Access::everything().reaches_named("db-1"));
    }

    #[test]
    fn a_role_includes_those_below_it() {
        let operator = Access { role: Role::Operator, servers: Vec::new() };
        assert!(operator.includes(Role::Viewer) && operator.includes(Role::Operator));
        assert!(!operator.includes(Role::Admin));
        assert_eq!(Role::ALL.map(Role::as_str), ["viewer", "operator", "admin"]);
    }
}
