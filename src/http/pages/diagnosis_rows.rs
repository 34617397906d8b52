//! A finding as a page shows it: its place, and the button or link that helps to fix it.

use super::marks::Mark;
use super::search::{jail_path, server_path};
use super::shell::Shell;
use super::words::Coded;
use crate::domain::Timestamp;
use crate::domain::findings::{Finding, Kind, Severity};
use crate::http::auth::permissions::Right;

/// A finding.
pub struct Row {
    /// The finding itself.
    pub finding: Finding,
    /// Since when.
    pub since: Timestamp,
}

/// The button or link beside a finding.
pub enum Fix {
    /// A button that fixes it.
    Form {
        /// The path that it posts to.
        path: String,
        /// The label of the button.
        label: String,
    },
    /// A link to the page where it can be fixed.
    Link {
        /// The path of the page.
        path: String,
        /// The text of the link.
        label: &'static str,
    },
}

/// How a severity is shown: its heading, what that means, its mark, its colour, and its word in URLs.
#[must_use]
pub fn severity(severity: Severity) -> (&'static str, &'static str, Mark, &'static str, &'static str) {
    match severity {
        Severity::Error => {
            ("Not protected", "bans do not happen as they should", Mark::SQUARE, "bad", "error")
        }
        Severity::Warning => ("At risk", "works now, may not tomorrow", Mark::TRIANGLE, "warn", "warning"),
        Severity::Info => ("Worth knowing", "nothing is wrong", Mark::INFO, "muted", "info"),
    }
}

impl Row {
    /// What it means.
    #[must_use]
    pub fn detail(&self) -> Coded<'_> {
        Coded(&self.finding.detail)
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> Coded<'_> {
        Coded(&self.finding.remedy.text)
    }

    /// Its place: the text of the link, and its path; none for bangui itself.
    #[must_use]
    pub fn place(&self, shell: &Shell) -> (String, Option<String>) {
        let Finding { kind, server, jail, .. } = &self.finding;
        match (server, jail) {
            (Some(server), Some(jail)) => (format!("{server} / {jail}"), Some(jail_path(server, jail))),
            (Some(server), None) => (server.to_string(), Some(server_path(server))),
            (None, _) => match kind {
                Kind::RedisPersistence | Kind::RedisEviction | Kind::RedisMemory | Kind::RedisReplicas => {
                    ("Redis".to_owned(), Some("/cluster".to_owned()))
                }
                Kind::WorkerVersions => ("Workers".to_owned(), Some("/cluster".to_owned())),
                Kind::LimitsMet => {
                    ("Logins".to_owned(), shell.may(Right::Settings).then(|| "/settings".to_owned()))
                }
                _ => ("bangui".to_owned(), None),
            },
        }
    }

    /// The button or link that helps to fix it.
    #[must_use]
    pub fn fix(&self, shell: &Shell) -> Option<Fix> {
        let Finding { kind, server, jail, about, .. } = &self.finding;
        let link = |path, label| Some(Fix::Link { path, label });
        match (kind, server, jail) {
            (Kind::PendingRecovery, Some(server), _) => {
                let label = if shell.may(Right::Recover) { "Decide" } else { "Show the server" };
                link(server_path(server), label)
            }
            (Kind::ServerUnreachable | Kind::ServerBusy | Kind::ServerDown, Some(server), _) => {
                shell.may(Right::Probe).then(|| Fix::Form {
                    path: format!("/servers/{server}/probe"),
                    label: format!("Check {server} now"),
                })
            }
            (Kind::OwnAddress, ..) if shell.may(Right::NeverBanForGood) => {
                let address = about.as_deref()?;
                Some(Fix::Form { path: "/setup/never-ban".to_owned(), label: format!("Never ban {address}") })
            }
            (Kind::BanShort, Some(server), Some(jail)) => link(jail_path(server, jail), "Show settings"),
            (_, Some(server), Some(jail)) => link(jail_path(server, jail), "Show the jail"),
            (Kind::LimitsMet, ..) if shell.may(Right::Settings) => {
                link("/settings".to_owned(), "Show the limits")
            }
            _ => None,
        }
    }
}
