//! Findings about agents, from what they report about themselves, and about the fail2ban beside them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::{Finding, Kind, Remedy, Severity, duration};
use crate::domain::{ServerName, Timestamp};

/// How far an agent's clock may be off.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(5);
/// How long before it expires a certificate is a finding.
pub const CERTIFICATE_WARNING: TimeDelta = TimeDelta::days(7);

/// An agent of another version than the worker that looks.
#[must_use]
pub fn version(server: &ServerName, agent: &str, workers: &str) -> Option<Finding> {
    (agent != workers).then(|| {
        let detail = format!(
            "The agent on {server} runs {agent}, the workers {workers}. Neighbouring versions work together; \
             what only the newer one supports is not shown."
        );
        let remedy = Remedy::text(format!(
            "Update the older of the two: install bangui {workers} on {server} and restart the agent, unless the agent is newer."
        ))
        .command("systemctl restart bangui-agent");
        let title = "The agent runs another version";
        Finding::new(Kind::AgentVersion, Severity::Warning, title, detail, remedy).on(server)
    })
}

/// An agent's clock that is wrong. `clock` is the time in its answer to a request that was sent at `asked` and answered at
/// `answered`, both on the clock that it is compared with.
#[must_use]
pub fn clock(
    server: &ServerName,
    clock: Timestamp,
    asked: Timestamp,
    answered: Timestamp,
) -> Option<Finding> {
    let (early, late) = (asked - clock, clock - answered);
    let off = early.max(late);
    (off > CLOCK_TOLERANCE).then(|| {
        let (by, way) = (duration(off.num_seconds()), if late > early { "ahead" } else { "behind" });
        let detail = format!(
            "The clock of {server} is {by} {way}. The times of its bans are shown wrong, and fail2ban may ignore log lines \
            from other machines as too old or as from the future."
        );
        let remedy = Remedy::text(format!("Have the clock of {server} set by NTP.")).command("timedatectl set-ntp true");
        let title = format!("The clock is {by} {way}");
        Finding::new(Kind::AgentClock, Severity::Warning, title, detail, remedy).on(server)
    })
}

/// A certificate that ends within [`CERTIFICATE_WARNING`], or has ended.
#[must_use]
pub fn certificate(server: &ServerName, not_after: Timestamp, now: Timestamp) -> Option<Finding> {
    let left = not_after - now;
    (left <= CERTIFICATE_WARNING).then(|| {
        let day = not_after.format("%Y-%m-%d %H:%M UTC");
        let (severity, title, detail) = if left <= TimeDelta::zero() {
            let detail = format!("Since {day} no worker trusts the agent on {server}, unless its certificate is pinned.");
            (Severity::Error, "The agent's certificate has expired".to_owned(), detail)
        } else {
            let title = format!("The agent's certificate expires in {}", duration(left.num_seconds()));
            let detail = format!("From {day} on, {server} is unreachable, unless its certificate is pinned.");
            (Severity::Warning, title, detail)
        };
        let remedy = Remedy::text(
            "Sign a new certificate and replace the file that BANGUI_AGENT_TLS_CERT names: the agent reloads it without a restart. \
             If the old one is pinned (trust=first-use), workers accept the new one once the server has been gone for ten minutes.",
        );
        let finding = Finding::new(Kind::AgentCertificate, severity, title, detail, remedy).on(server);
        finding.since(Some(not_after - CERTIFICATE_WARNING))
    })
}

/// fail2ban without a database, or with one in memory. `file` is its database as fail2ban reports it.
#[must_use]
pub fn database(server: &ServerName, file: Option<&str>) -> Option<Finding> {
    let off = file.is_none_or(|file| file == ":memory:" || file.eq_ignore_ascii_case("none"));
    off.then(|| {
        let detail = format!(
            "All bans on {server} are lost when fail2ban restarts: it reads only the failures of the last `findtime` again."
        );
        let remedy = Remedy::text(
            "Set `dbfile = /var/lib/fail2ban/fail2ban.sqlite3` under [DEFAULT] in /etc/fail2ban/fail2ban.local, then \
             restart fail2ban (which loses the present bans one last time).",
        )
        .command("systemctl restart fail2ban");
        let title = "fail2ban keeps no database";
        Finding::new(Kind::DatabaseOff, Severity::Warning, title, detail, remedy).on(server)
    })
}

/// Agents of different processes that report one name: `(server, name, instance)` of each that has a name.
#[must_use]
pub fn same_name<'a>(agents: impl Iterator<Item = (&'a ServerName, &'a str, &'a str)>) -> Vec<Finding> {
    let lowercase = |name: &'a str| {
        let has_capitals = name.bytes().any(|byte| byte.is_ascii_uppercase());
        if has_capitals { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) }
    };
    let mut by_name: Vec<(Cow<'a, str>, &str, &ServerName)> =
        agents.map(|(server, name, instance)| (lowercase(name), instance, server)).collect();
    by_name.sort_unstable();
    let mut found = Vec::new();
    for same in by_name.chunk_by(|a, b| a.0 == b.0) {
        let instances: BTreeMap<&str, &ServerName> =
            same.iter().map(|(_, instance, server)| (*instance, *server)).collect();
        if instances.len() > 1 {
            let servers: BTreeSet<&str> = instances.into_values().map(ServerName::as_str).collect();
            let servers: Vec<&str> = servers.into_iter().collect();
            let name = &same[0].0;
            let how = format!("The agents of {} report the same name, {name}.", servers.join(", "));
            found.push(conflict(name, &how));
        }
    }
    found
}

/// A name that discovery found twice; `how` says where.
#[must_use]
pub fn conflict(name: &str, how: &str) -> Finding {
    let detail = format!("{how} One of them may not be monitored.");
    let remedy = Remedy::text("Give each agent a unique name (BANGUI_AGENT_NAME, and in its certificate).");
    let title = format!("More than one agent is called {name}");
    Finding::new(Kind::AgentNames, Severity::Error, title, detail, remedy).about(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> ServerName {
        ServerName::parse("web-1").unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn the_same_version_is_fine_and_any_other_is_not() {
        assert_eq!(version(&web(), "0.2.0", "0.2.0"), None);
        assert!(version(&web(), "0.2.1", "0.2.0").is_some());
    }

    #[test]
    fn a_clock_may_be_off_by_five_seconds_beyond_the_time_of_the_question() {
        let found = |agent| clock(&web(), at(agent), at(100), at(103)).map(|found| found.title);
        assert_eq!(found(95), None);
        assert_eq!(found(108), None);
        assert_eq!(found(94).unwrap(), "The clock is 6 s behind");
        assert_eq!(found(109).unwrap(), "The clock is 6 s ahead");
    }

    #[test]
    fn a_certificate_is_a_finding_seven_days_before_its_end_and_an_error_after_it() {
        let week = 7 * 86_400;
        let found = |left| certificate(&web(), at(10 * week), at(10 * week - left));
        assert_eq!(found(week + 1), None);
        let warned = found(week).unwrap();
        assert_eq!((warned.severity, warned.since), (Severity::Warning, Some(at(9 * week))));
        assert_eq!(found(1).unwrap().severity, Severity::Warning);
        assert_eq!(found(0).unwrap().severity, Severity::Error);
    }

    #[test]
    fn a_database_in_memory_counts_as_no_database() {
        for off in [None, Some(":memory:"), Some("None")] {
            assert!(database(&web(), off).is_some(), "{off:?}");
        }
        assert_eq!(database(&web(), Some("/var/lib/fail2ban/fail2ban.sqlite3")), None);
    }

    #[test]
    fn one_agent_behind_two_servers_has_one_name_and_two_agents_of_one_name_are_found() {
        let found = |agents: &[(&str, &'static str, &'static str)]| {
            let server = |(server, ..): &(&str, &str, &str)| ServerName::parse(server).unwrap();
            let servers: Vec<ServerName> = agents.iter().map(server).collect();
            same_name(
                servers.iter().zip(agents).map(|(server, (_, name, instance))| (server, *name, *instance)),
            )
        };
        assert_eq!(found(&[("a", "node", "1"), ("b", "node", "1"), ("c", "other", "2")]), []);
        let found = found(&[("a", "node", "1"), ("c", "other", "3"), ("b", "Node", "2")]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id(), "agent-names#node");
        assert!(found[0].detail.contains("a, b"), "{}", found[0].detail);
    }
}
