//! The count of findings in the menu, from what probes and the last diagnoses recorded, so that no page has to ask agents for it.

use std::net::IpAddr;

use chrono::TimeDelta;

use crate::domain::access::Access;
use crate::domain::address::host_behind;
use crate::domain::findings::seen::FindingTimes;
use crate::domain::findings::workers::MIXED_AFTER;
use crate::domain::findings::{Finding, Kind};
use crate::http::error::Result;
use crate::http::state::AppState;
use crate::store::Store;

/// The kinds of findings that mean that bans do not happen as they should.
const NOT_PROTECTED: [Kind; 5] = [
    Kind::PendingRecovery,
    Kind::ServerDown,
    Kind::ServerUnreachable,
    Kind::ServerDegraded,
    Kind::JailNotRunning,
];

/// The number of findings for a user at this address, and whether one means that something is not protected.
///
/// # Errors
/// If Redis fails.
pub async fn count(state: &AppState, access: &Access, caller: IpAddr) -> Result<(u64, bool)> {
    let store: &Store = &state.store;
    let notes = store.finding_notes().await?;
    let own = host_behind(caller).to_string();
    let now = store.about_now();
    let due = |(id, seen): &(&String, &FindingTimes)| {
        concerns(id, Some(&own)) && is_shown(id, access) && is_due(id, now - seen.first)
    };
    let is_bad = |id: &str| NOT_PROTECTED.iter().any(|kind| kind_of(id) == kind.word());
    let (mut number, mut bad) = (0, false);
    for (id, _) in notes.iter().filter(due) {
        number += 1;
        bad = bad || is_bad(id);
    }
    Ok((number, bad))
}

/// As [`crate::domain::findings::Report::only`] judges the finding of this id.
fn is_shown(id: &str, access: &Access) -> bool {
    if access.is_for_all_servers() {
        return true;
    }
    let place = id.split('#').next().unwrap_or_default();
    match place.split_once(':') {
        Some((_, place)) => access.reaches_named(place.split('/').next().unwrap_or_default()),
        None => kind_of(id) != Kind::AgentNames.word(),
    }
}

/// Whether it has lasted long enough to be a finding: some kinds are only recorded at first.
fn is_due(id: &str, lasts: TimeDelta) -> bool {
    kind_of(id) != Kind::WorkerVersions.word() || lasts >= MIXED_AFTER
}

/// The count of findings that were just made, independent of what was recorded before.
#[must_use]
pub fn of(findings: &[Finding]) -> (u64, bool) {
    (findings.len() as u64, findings.iter().any(|finding| NOT_PROTECTED.contains(&finding.kind)))
}

/// Whether it concerns this user: not if it is about another user's address.
fn concerns(id: &str, own: Option<&str>) -> bool {
    let kind = kind_of(id);
    if kind == Kind::OwnAddress.word() {
        return id.split_once('#').map(|(_, address)| address) == own;
    }
    true
}

fn kind_of(id: &str) -> &str {
    id.split([':', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::{Role, ServerPattern};

    #[test]
    fn the_menu_counts_nothing_of_servers_that_the_account_is_not_for() {
        let servers = vec![ServerPattern::parse("web-*").unwrap()];
        let bound = Access { role: Role::Viewer, servers };
        for shown in ["server-down:web-1", "log-missing:web-1/a#/var/log/a:b", "redis-eviction"] {
            assert!(is_shown(shown, &bound), "{shown}");
        }
        for other in ["server-down:db-1", "log-missing:db-1/web-1#web-1", "agent-names#web-1"] {
            assert!(!is_shown(other, &bound) && is_shown(other, &Access::everything()), "{other}");
        }
    }

    #[test]
    fn the_menu_counts_what_concerns_its_reader() {
        let own = Some("198.51.100.23");
        assert!(concerns("server-down:web-1", own) && concerns("redis-eviction", own));
        assert!(concerns("own-address:web-1#198.51.100.23", own));
        assert!(!concerns("own-address:web-1#198.51.100.24", own));
        assert!(!concerns("own-address:web-1#198.51.100.23", None));
        let hours = TimeDelta::hours;
        assert!(!is_due("worker-versions", TimeDelta::minutes(59)) && is_due("worker-versions", hours(1)));
        assert!(is_due("redis-eviction", hours(0)));
        assert_eq!(kind_of("log-missing:web-1/sshd#/var/log/auth.log"), "log-missing");
    }
}
