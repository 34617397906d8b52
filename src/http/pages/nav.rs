//! The menu: its places, and the counts beside them.

use std::net::IpAddr;

use super::menu_findings;
use crate::domain::access::Access;
use crate::http::auth::permissions::Right;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;

/// A place of the menu.
#[derive(Debug, PartialEq, Eq)]
pub struct MenuItem {
    /// Its name.
    pub name: &'static str,
    /// Its path.
    pub path: &'static str,
    /// The key after `g` that leads there.
    pub key: &'static str,
    /// Who sees it.
    pub right: Right,
    /// The shape of its tab on phones; empty for those under "More".
    pub icon: &'static str,
}

/// The place of the findings.
const DIAGNOSIS: &str = "/diagnosis";

/// The places, in their order.
pub const MENU: &[MenuItem] = &[
    MenuItem { name: "Servers", path: "/", key: "s", right: Right::Look, icon: "servers" },
    MenuItem { name: "Activity", path: "/activity", key: "a", right: Right::Look, icon: "activity" },
    MenuItem { name: "Jobs", path: "/jobs", key: "j", right: Right::Look, icon: "jobs" },
    MenuItem { name: "Diagnosis", path: DIAGNOSIS, key: "d", right: Right::Look, icon: "warning" },
    MenuItem { name: "Cluster", path: "/cluster", key: "c", right: Right::Look, icon: "" },
    MenuItem { name: "Settings", path: "/settings", key: "e", right: Right::Settings, icon: "" },
];

/// A count beside a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Badge {
    /// The count.
    pub number: u64,
    /// Whether something is not protected.
    pub bad: bool,
}

/// The counts of the menu, read once per page.
#[derive(Debug, Default)]
pub struct Nav {
    /// The number of open ban jobs.
    jobs: u64,
    /// The findings of the diagnosis, and whether one of them is an error; none if they were not read.
    findings: Option<Badge>,
}

impl Nav {
    /// Reads the counts for the page at `path`, of the servers that the account is for. The diagnosis makes the findings itself
    /// ([`Self::found`]).
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn read(state: &AppState, access: &Access, caller: IpAddr, path: &str) -> Result<Self> {
        let findings = async {
            if path == DIAGNOSIS {
                return Ok(None);
            }
            let (number, bad) = menu_findings::count(state, access, caller).await?;
            Ok::<_, Problem>(Some(Badge { number, bad }))
        };
        let (jobs, findings) = tokio::join!(state.open_jobs_reached(access), findings);
        Ok(Self { jobs: jobs?, findings: findings? })
    }

    /// Replaces the recorded findings with those that were just made.
    pub fn found(&mut self, (number, bad): (u64, bool)) {
        self.findings = Some(Badge { number, bad });
    }

    /// The count beside a place; none if there is nothing to count.
    #[must_use]
    pub fn badge(&self, place: &MenuItem) -> Option<Badge> {
        let badge = match place.path {
            "/jobs" => Some(Badge { number: self.jobs, bad: false }),
            DIAGNOSIS => self.findings,
            _ => None,
        };
        badge.filter(|badge| badge.number > 0)
    }
}
