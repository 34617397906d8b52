//! Findings about a jail: its log files, its filter, its times.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{Finding, Kind, Remedy, Severity, duration, quoted};
use crate::domain::{JailName, ServerName, Timestamp};

/// A log file that has not been written to for this long is stale, if another was.
pub const STALE_AFTER: i64 = 86_400;
/// A filter that has matched nothing for this long since fail2ban started is silent.
pub const SILENT_AFTER: TimeDelta = TimeDelta::hours(1);

/// The jail that bans those who were banned before.
const RECIDIVE: &str = "recidive";

/// A log file as the agent sees it. If it is neither missing nor has a size, it could not be checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// Its path, as fail2ban reports it.
    pub path: String,
    /// Whether there is no such file.
    #[serde(default)]
    pub missing: bool,
    /// Its size in bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// Seconds since it was last written to, on its own machine's clock.
    #[serde(default)]
    pub age_seconds: Option<i64>,
}

impl LogFile {
    /// Whether it could be checked.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.missing || self.size.is_some()
    }

    fn is_stale(&self) -> bool {
        self.age_seconds.is_some_and(|age| age >= STALE_AFTER)
    }
}

/// The facts about a running jail from which its findings follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JailFacts {
    /// Its name.
    pub name: JailName,
    /// Duration of a ban in seconds, -1 if permanent.
    pub bantime: Option<i64>,
    /// Seconds in which failures add up.
    pub findtime: Option<i64>,
    /// What it never bans.
    pub ignoreip: Vec<String>,
    /// Its log files; none if its agent does not look at them.
    pub logs: Option<Vec<LogFile>>,
    /// Whether it also reads the journal.
    pub reads_journal: bool,
}

/// Each log file that is missing. A jail without another source bans nobody.
#[must_use]
pub fn logs_missing(server: &ServerName, jail: &JailFacts) -> Vec<Finding> {
    let logs = jail.logs.as_deref().unwrap_or_default();
    let other_source = jail.reads_journal || logs.iter().any(|log| !log.missing);
    let found = logs.iter().filter(|log| log.missing).map(|log| {
        let (name, path) = (&jail.name, &log.path);
        let (severity, detail) = if other_source {
            (Severity::Warning, format!("{name} does not see the failures that would be logged there."))
        } else {
            (Severity::Error, format!("{name} has nothing to read and bans nobody."))
        };
        let remedy = Remedy::text(format!("Make the service log to {path}, or correct `logpath` of {name}."))
            .command(format!("fail2ban-client get {} logpath", quoted(name.as_str())));
        let title = format!("The log file {path} is missing");
        let finding = Finding::new(Kind::LogMissing, severity, title, detail, remedy);
        finding.on(server).jail(name).about(path)
    });
    found.collect()
}

/// Each log file that has not grown for a day while another of the same server has.
#[must_use]
pub fn logs_stale(server: &ServerName, jails: &[JailFacts], now: Timestamp) -> Vec<Finding> {
    let logs = || jails.iter().flat_map(|jail| jail.logs.iter().flatten().map(move |log| (jail, log)));
    let another_grows = logs().any(|(_, log)| log.age_seconds.is_some_and(|age| age < STALE_AFTER));
    let stale = logs().filter(|(_, log)| another_grows && log.is_stale());
    let found = stale.map(|(jail, log)| {
        let (name, path) = (&jail.name, &log.path);
        let age = log.age_seconds.unwrap_or_default();
        let detail = format!(
            "{path} was last written to {} ago, while other log files of {server} grow. Perhaps the service logs elsewhere \
             now: then {name} sees nothing.",
            duration(age)
        );
        let remedy = Remedy::text(format!("Find out where the service logs, and correct `logpath` of {name}."))
            .command(format!("ls -l {}", quoted(path)));
        let title = format!("The log file {path} does not grow");
        Finding::new(Kind::LogStale, Severity::Warning, title, detail, remedy)
            .on(server)
            .jail(name)
            .about(path)
            .since(TimeDelta::try_seconds(age).and_then(|age| now.checked_sub_signed(age)))
    });
    found.collect()
}

/// A filter that has matched nothing since fail2ban started, by the number of failures since then, if that is known. `recidive` is
/// silent where all is well.
#[must_use]
pub fn silent(
    server: &ServerName,
    jail: &JailFacts,
    total_failed: Option<u64>,
    online_since: Timestamp,
    now: Timestamp,
) -> Option<Finding> {
    let name = &jail.name;
    let silent = total_failed == Some(0) && name.as_str() != RECIDIVE;
    (silent && now - online_since >= SILENT_AFTER).then(|| {
        let source = if jail.reads_journal { "systemd-journal" } else { "LOGFILE" };
        let log = jail.logs.iter().flatten().next().map_or(source.to_owned(), |log| quoted(&log.path));
        let detail = format!(
            "{name} has seen no failure for {}. Either there was none, or its filter does not fit what the service logs.",
            duration((now - online_since).num_seconds())
        );
        let remedy = Remedy::text(format!(
            "Try its filter on its log: lines of failed logins should match. If the `filter` of {name} has another name, put that \
             into the command."
        ))
        .command(format!("fail2ban-regex {log} {}", quoted(name.as_str())));
        let title = "Its filter has matched nothing since fail2ban started";
        Finding::new(Kind::FilterSilent, Severity::Info, title, detail, remedy)
            .on(server)
            .jail(name)
            .since(Some(online_since))
    })
}

/// A ban that is shorter than the time in which failures add up.
#[must_use]
pub fn short_ban(server: &ServerName, jail: &JailFacts) -> Option<Finding> {
    let (ban, find) = (jail.bantime?, jail.findtime?);
    (ban >= 0 && ban < find).then(|| {
        let name = &jail.name;
        let detail = format!(
            "{name} bans for {} but counts failures for {}: an attacker who waits out each ban can try more often than one who stays below `maxretry`.",
            duration(ban),
            duration(find)
        );
        let remedy = Remedy::text(format!("Set `bantime` of {name} to {find} seconds or more."))
            .action("PATCH", format!("/api/v1/servers/{server}/jails/{}", name.to_segment()));
        let title = "Its bantime is shorter than its findtime";
        Finding::new(Kind::BanShort, Severity::Info, title, detail, remedy).on(server).jail(name)
    })
}

/// The jail `recidive`, which makes an unban elsewhere incomplete.
#[must_use]
pub fn recidive(server: &ServerName, jail: &JailFacts) -> Option<Finding> {
    let name = &jail.name;
    (name.as_str() == RECIDIVE).then(|| {
        let detail = "It bans an address again, for longer and from all services, once other jails have banned it repeatedly. \
                      Unbanning it in the other jail alone does not let it in.";
        let remedy = Remedy::text("To let somebody in, unban the address in `recidive` too.");
        let title = "recidive is on";
        Finding::new(Kind::RecidiveOn, Severity::Info, title, detail, remedy).on(server).jail(name)
    })
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

    fn jail(name: &str) -> JailFacts {
        JailFacts {
            name: JailName::parse(name).unwrap(),
            bantime: None,
            findtime: None,
            ignoreip: Vec::new(),
            logs: None,
            reads_journal: false,
        }
    }

    fn log(path: &str, age: i64) -> LogFile {
        LogFile { path: path.to_owned(), missing: false, size: Some(1), age_seconds: Some(age) }
    }

    #[test]
    fn a_missing_log_is_a_warning_beside_another_source_and_an_error_without() {
        let gone = LogFile { path: "/gone".to_owned(), missing: true, ..LogFile::default() };
        let unknown = LogFile { path: "/unknown".to_owned(), ..LogFile::default() };
        let severity = |logs: &[&LogFile], reads_journal| {
            let logs = Some(logs.iter().map(|&log| log.clone()).collect());
            let found = logs_missing(&web(), &JailFacts { logs, reads_journal, ..jail("sshd") });
            found.into_iter().map(|found| found.severity).collect::<Vec<_>>()
        };
        assert_eq!(severity(&[&gone], false), [Severity::Error]);
        assert_eq!(severity(&[&gone], true), [Severity::Warning]);
        assert_eq!(severity(&[&gone, &log("/there", 0)], false), [Severity::Warning]);
        assert_eq!(severity(&[&unknown], false), [], "what could not be checked is not missing");
        assert_eq!(logs_missing(&web(), &jail("sshd")), [], "nor is what was not checked");
    }

    #[test]
    fn a_log_is_stale_after_a_day_if_another_has_grown_in_it() {
        let found = |ages: [i64; 2]| {
            let with = |name, age| JailFacts { logs: Some(vec![log(name, age)]), ..jail("sshd") };
            let jails = [with("/a", ages[0]), with("/b", ages[1])];
            let found = logs_stale(&web(), &jails, at(200_000));
            found.into_iter().map(|found| (found.about.unwrap(), found.since.unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(found([86_399, 0]), []);
        assert_eq!(found([86_400, 0]), [("/a".to_owned(), at(200_000 - 86_400))]);
        assert_eq!(found([86_400, 86_399]).len(), 1);
        assert_eq!(found([86_400, 86_400]), [], "a quiet machine");
    }

    #[test]
    fn a_filter_is_silent_after_an_hour_without_a_match() {
        let found =
            |name, total_failed, now| silent(&web(), &jail(name), total_failed, at(100), at(now)).is_some();
        assert!(!found("sshd", Some(0), 3_699));
        assert!(found("sshd", Some(0), 3_700));
        assert!(!found("sshd", Some(1), 3_700));
        assert!(!found("sshd", None, 3_700), "not known");
        assert!(!found("recidive", Some(0), 3_700));
    }

    #[test]
    fn a_ban_is_short_below_the_find_time_and_a_permanent_one_is_not() {
        let found =
            |bantime, findtime| short_ban(&web(), &JailFacts { bantime, findtime, ..jail("sshd") }).is_some();
        assert!(found(Some(599), Some(600)));
        assert!(!found(Some(600), Some(600)));
        assert!(!found(Some(-1), Some(600)));
        assert!(!found(None, Some(600)) && !found(Some(1), None));
    }

    #[test]
    fn recidive_is_known_by_its_name() {
        assert!(recidive(&web(), &jail("recidive")).is_some());
        assert_eq!(recidive(&web(), &jail("sshd")), None);
    }
}
