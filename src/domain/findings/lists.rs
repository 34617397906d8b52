//! Findings about lists of bans that are not read: the bans hold, but the list that pages show and search is old.

use super::{Finding, Kind, Remedy, Severity, quoted};
use crate::domain::long_lists::{self, MAX_LIST, MAX_SERVER, Unread};
use crate::domain::{ServerName, ServerState};

/// One for each jail whose list is not read.
#[must_use]
pub fn unread(server: &ServerName, state: &ServerState) -> Vec<Finding> {
    let found = long_lists::unread(state).into_iter().map(|(jail, bans, why)| {
        let (title, why, remedy) = match why {
            Unread::Long => (
                "A list of bans is too long to be read",
                format!("More than {MAX_LIST} bans of a jail, or {MAX_SERVER} of a server, are not read."),
                Remedy::text(format!("Ban networks, or shorten `bantime` of {jail}; or find out why it bans so many."))
                    .command(format!("fail2ban-client get {} bantime", quoted(jail.as_str()))),
            ),
            Unread::Cut => (
                "A list of bans was dropped",
                format!("The agent sent many more bans than it had counted, or more than fit beside the other lists of {server}."),
                Remedy::text(format!(
                    "Look at {server}: its fail2ban or its agent lists more bans than it counts, or bans long texts."
                ))
                .command(format!("fail2ban-client get {} banip | wc", quoted(jail.as_str()))),
            ),
        };
        let detail = format!(
            "{jail} bans {bans} now. {why} The bans hold, but the list that is shown and searched is old or empty."
        );
        Finding::new(Kind::BanListUnread, Severity::Warning, title, detail, remedy).on(server).jail(&jail)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Condition, JailCounts, JailName};

    fn found(bans: &[(&str, u64)], cut: &[&str]) -> Vec<Finding> {
        let jail = |name: &str| JailName::parse(name).unwrap();
        let counts = |bans| JailCounts { currently_banned: bans, ..JailCounts::default() };
        let mut state = ServerState::default();
        state.status.condition = Condition::Up;
        state.status.jails = bans.iter().map(|(name, bans)| (jail(name), counts(*bans))).collect();
        state.cut_lists = cut.iter().map(|name| jail(name)).collect();
        unread(&ServerName::parse("web-1").unwrap(), &state)
    }

    #[test]
    fn a_list_is_found_from_the_first_ban_on_that_keeps_it_from_being_read() {
        assert_eq!(found(&[("sshd", 200_000), ("web", 200_000)], &[]), []);
        let long = found(&[("sshd", 200_001), ("web", 199_999)], &[]);
        assert_eq!(long.iter().map(Finding::id).collect::<Vec<_>>(), ["ban-list-unread:web-1/sshd"]);
        assert!(long[0].detail.contains("sshd bans 200001 now"), "{}", long[0].detail);
        assert_eq!((long[0].severity, long[0].since), (Severity::Warning, None));
        let many = found(&[("a", 200_000), ("b", 200_000), ("c", 1)], &[]);
        assert_eq!(many.iter().map(Finding::id).collect::<Vec<_>>(), ["ban-list-unread:web-1/b"]);
    }

    #[test]
    fn a_list_that_was_cut_off_is_found_once_and_as_long_as_its_jail_runs() {
        let cut = found(&[("liar", 3), ("sshd", 200_001)], &["gone", "liar", "sshd"]);
        let ids: Vec<String> = cut.iter().map(Finding::id).collect();
        assert_eq!(ids, ["ban-list-unread:web-1/sshd", "ban-list-unread:web-1/liar"]);
        assert_eq!(cut[1].title, "A list of bans was dropped");
    }
}
