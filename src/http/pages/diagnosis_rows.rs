//! A finding as a page shows it: where it is, and the button or link that mends it.

use super::marks::Mark;
use super::search::{jail_path, server_path};
use super::words::Coded;
use crate::domain::Timestamp;
use crate::domain::findings::{Finding, Kind, Severity};

/// A finding.
pub struct Row {
    /// As it was found.
    pub finding: Finding,
    /// Since when.
    pub since: Timestamp,
}

/// What can be pressed beside a finding.
pub enum Mends {
    /// A form that posts there.
    Form {
        /// Where.
        path: String,
        /// What its button says.
        label: String,
    },
    /// A page where it is mended.
    Link {
        /// The path of the file.
        path: String,
        /// What it says.
        label: &'static str,
    },
}

/// How a severity is shown: its heading, what that means, mark, colour, its word in addresses.
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

    /// Where it is: what the link says, and its path; none for bangui itself.
    #[must_use]
    pub fn place(&self) -> (String, Option<String>) {
        let Finding { kind, server, jail, .. } = &self.finding;
        match (server, jail) {
            (Some(server), Some(jail)) => (format!("{server} / {jail}"), Some(jail_path(server, jail))),
            (Some(server), None) => (server.to_string(), Some(server_path(server))),
            (None, _) => match kind {
                Kind::RedisPersistence | Kind::RedisEviction | Kind::RedisMemory | Kind::RedisReplicas => {
                    ("Redis".to_owned(), Some("/cluster".to_owned()))
                }
                Kind::WorkerVersions => ("Workers".to_owned(), Some("/cluster".to_owned())),
                Kind::LimitsMet => ("Logins".to_owned(), Some("/settings".to_owned())),
                _ => ("bangui".to_owned(), None),
            },
        }
    }

    /// What mends it.
    #[must_use]
    pub fn mends(&self) -> Option<Mends> {
        let Finding { kind, server, jail, about, .. } = &self.finding;
        let link = |path, label| Some(Mends::Link { path, label });
        match (kind, server, jail) {
            (Kind::PendingRecovery, Some(server), _) => link(server_path(server), "Decide"),
            (Kind::ServerUnreachable | Kind::ServerBusy | Kind::ServerDown, Some(server), _) => {
                Some(Mends::Form {
                    path: format!("/servers/{server}/probe"),
                    label: format!("Check {server} now"),
                })
            }
            (Kind::OwnAddress, ..) => {
                let address = about.as_deref()?;
                Some(Mends::Form {
                    path: "/setup/never-ban".to_owned(),
                    label: format!("Never ban {address}"),
                })
            }
            (Kind::BanShort, Some(server), Some(jail)) => link(jail_path(server, jail), "Show settings"),
            (_, Some(server), Some(jail)) => link(jail_path(server, jail), "Show the jail"),
            (Kind::LimitsMet, ..) => link("/settings".to_owned(), "Show the limits"),
            _ => None,
        }
    }
}
