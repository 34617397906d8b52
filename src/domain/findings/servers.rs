//! Findings about a fail2ban server, from its state alone: what the last probe saw, and what waits for a decision.

use super::{Finding, Kind, Remedy, Report, Severity, duration, quoted};
use crate::domain::transition::HUNG_AFTER;
use crate::domain::{Condition, JailName, ServerName, ServerState, Timestamp};

/// The kinds that this file judges.
const KINDS: [Kind; 7] = [
    Kind::PendingRecovery,
    Kind::ServerDown,
    Kind::ServerUnreachable,
    Kind::ServerBusy,
    Kind::ServerDegraded,
    Kind::JailNotRunning,
    Kind::BanListUnread,
];

/// All findings from the state. Nothing is judged for a server that was never probed, and no jails for one that cannot be reached
/// or does not answer.
#[must_use]
pub fn judge(server: &ServerName, state: &ServerState, now: Timestamp) -> Report {
    let mut report = Report::default();
    judge_into(&mut report, server, state, now);
    report
}

/// As [`judge`], into a report of many servers.
pub fn judge_into(report: &mut Report, server: &ServerName, state: &ServerState, now: Timestamp) {
    let condition = state.status.condition;
    if condition == Condition::Unknown {
        return;
    }
    let jails_known = matches!(condition, Condition::Up | Condition::Degraded);
    for kind in KINDS {
        let found: Vec<Finding> = match kind {
            Kind::PendingRecovery => pending_recovery(server, state).into_iter().collect(),
            Kind::ServerUnreachable => unreachable(server, state).into_iter().collect(),
            // An agent that cannot be reached says nothing about fail2ban.
            _ if condition == Condition::Unreachable => continue,
            Kind::ServerDown => down(server, state).into_iter().collect(),
            Kind::ServerBusy => busy(server, state, now).into_iter().collect(),
            _ if !jails_known => continue,
            Kind::ServerDegraded => degraded(server, state),
            Kind::BanListUnread => super::lists::unread(server, state),
            _ => not_running(server, state),
        };
        report.judge(kind, Some(server), found);
    }
}

fn down(server: &ServerName, state: &ServerState) -> Option<Finding> {
    (state.status.condition == Condition::Down).then(|| {
        let reason = state.status.error.as_deref().unwrap_or("it does not answer");
        let detail = format!(
            "Expect no new bans on {server}, and earlier ones may be gone. The agent runs and says: {reason}."
        );
        let remedy = Remedy::text(format!("See why fail2ban stopped on {server}, then start it."))
            .command("journalctl -u fail2ban -n 50; systemctl start fail2ban");
        Finding::new(Kind::ServerDown, Severity::Error, "fail2ban is down", detail, remedy).on(server)
    })
}

fn unreachable(server: &ServerName, state: &ServerState) -> Option<Finding> {
    (state.status.condition == Condition::Unreachable).then(|| {
        let reason = state.status.error.as_deref().unwrap_or("the agent does not answer");
        let detail = format!("Whether fail2ban bans on {server} is not known: {reason}.");
        let remedy =
            Remedy::text(format!("Check that the agent runs on {server} and that the workers can reach it."))
                .command("systemctl status bangui-agent")
                .action("POST", format!("/api/v1/servers/{server}/probe"));
        let title = "The agent cannot be reached";
        Finding::new(Kind::ServerUnreachable, Severity::Error, title, detail, remedy).on(server)
    })
}

fn busy(server: &ServerName, state: &ServerState, now: Timestamp) -> Option<Finding> {
    (state.status.condition == Condition::Busy).then(|| {
        let detail = match state.busy_since.map(|since| now - since) {
            Some(busy) => format!(
                "fail2ban accepts connections but has not answered for {}. It counts as down in {}; bans in force stay.",
                duration(busy.num_seconds()),
                duration((HUNG_AFTER - busy).num_seconds())
            ),
            None => "fail2ban is busy with a long command; bans in force stay, new ones wait.".to_owned(),
        };
        let remedy = Remedy::text("Wait for a minute. If it lasts, read fail2ban's log.")
            .command("tail -n 50 /var/log/fail2ban.log");
        Finding::new(Kind::ServerBusy, Severity::Warning, "fail2ban is busy", detail, remedy)
            .on(server)
            .since(state.busy_since)
    })
}

/// Jails that ran and are gone; those that fail2ban still lists are [`not_running`].
fn degraded(server: &ServerName, state: &ServerState) -> Vec<Finding> {
    let runs = state.status.jails.len();
    let missing = state.status.missing_jails.iter().filter(|jail| !state.status.stalled_jails.contains(jail));
    let found = missing.map(|jail| {
        let detail = format!(
            "Nobody switched {jail} off through bangui, and it bans nobody. Jails of {server} that run: {runs}."
        );
        let remedy = Remedy::text(format!("Reload {jail}. If it does not come back, fail2ban's log says why."))
            .command(format!("fail2ban-client reload --if-exists {}", quoted(jail.as_str())))
            .action("POST", path(server, jail, "activate"));
        Finding::new(Kind::ServerDegraded, Severity::Error, "A jail that ran is missing", detail, remedy)
            .on(server)
            .jail(jail)
    });
    found.collect()
}

fn not_running(server: &ServerName, state: &ServerState) -> Vec<Finding> {
    let found = state.status.stalled_jails.iter().map(|jail| {
        let detail = format!("fail2ban lists {jail} but does not run it: it bans nobody.");
        let remedy = Remedy::text(
            "fail2ban failed to start it: its log says why. Fix that, then switch the jail on again.",
        )
        .command(format!("grep -F -e {} /var/log/fail2ban.log | tail -n 20", quoted(jail.as_str())));
        let title = "A jail is listed but does not run";
        Finding::new(Kind::JailNotRunning, Severity::Error, title, detail, remedy).on(server).jail(jail)
    });
    found.collect()
}

fn pending_recovery(server: &ServerName, state: &ServerState) -> Option<Finding> {
    let pending = state.pending_recovery.as_ref()?;
    let jail = &pending.jail_name;
    let after = duration((pending.detected_at - pending.activated_at).num_seconds());
    let (severity, title, detail) = if pending.recovered {
        let detail = format!(
            "fail2ban went down or lost jails {after} after {jail} was switched on, and has recovered. {jail} may still run."
        );
        (Severity::Warning, format!("{server} is up again"), detail)
    } else {
        let missing: Vec<&str> = state.status.missing_jails.iter().map(JailName::as_str).collect();
        match &missing[..] {
            [] => {
                let now = match state.status.condition {
                    Condition::Down => "Expect no new bans, and earlier ones may be gone.",
                    // A hung fail2ban keeps its bans, and one that starts again may have brought them back.
                    _ => "Whether anybody is banned now is not known.",
                };
                let detail = format!("fail2ban went down {after} after {jail} was switched on. {now}");
                (Severity::Error, format!("fail2ban crashed after {jail} was switched on"), detail)
            }
            jails => {
                let detail =
                    format!("These jails were lost {after} later, and ban nobody: {}.", jails.join(", "));
                (Severity::Error, format!("Jails were lost after {jail} was switched on"), detail)
            }
        }
    };
    let remedy = Remedy::text(format!(
        "An admin can switch {jail} off and restore the rest, or dismiss this warning."
    ))
    .action("POST", format!("/api/v1/servers/{server}/recovery/rollback"));
    let finding = Finding::new(Kind::PendingRecovery, severity, title, detail, remedy);
    Some(finding.on(server).jail(jail).since(Some(pending.detected_at)))
}

fn path(server: &ServerName, jail: &JailName, what: &str) -> String {
    format!("/api/v1/servers/{server}/jails/{}/{what}", jail.to_segment())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Activation;

    fn web() -> ServerName {
        ServerName::parse("web-1").unwrap()
    }

    fn jail(name: &str) -> JailName {
        JailName::parse(name).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(seconds, 0).unwrap()
    }

    fn state(condition: Condition) -> ServerState {
        let mut state = ServerState::default();
        state.status.condition = condition;
        state
    }

    fn ids(report: &Report) -> Vec<String> {
        report.findings.iter().map(Finding::id).collect()
    }

    #[test]
    fn each_condition_but_up_has_its_finding_and_one_never_probed_has_none() {
        for (condition, expected) in [
            (Condition::Unknown, vec![]),
            (Condition::Up, vec![]),
            (Condition::Busy, vec!["server-busy:web-1"]),
            (Condition::Down, vec!["server-down:web-1"]),
            (Condition::Unreachable, vec!["server-unreachable:web-1"]),
        ] {
            assert_eq!(ids(&judge(&web(), &state(condition), at(0))), expected, "{condition:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        let judged = |condition| {
            let report = judge(&web(), &state(condition), at(0));
            KINDS.into_iter().filter(|kind| report.has_judged(*kind)).count()
        };
        assert_eq!(judged(Condition::Unknown), 0);
        assert_eq!(judged(Condition::Unreachable), 2, "the recovery, and that it is unreachable");
        assert_eq!(judged(Condition::Down), 4, "its jails are not known");
        assert_eq!(judged(Condition::Up), KINDS.len());
    }

    #[test]
    fn a_missing_jail_is_degraded_and_a_listed_one_that_does_not_run_is_reported_once() {
        let mut lost = state(Condition::Degraded);
        lost.status.missing_jails = vec![jail("sshd"), jail("web")];
        lost.status.stalled_jails = vec![jail("web"), jail("new")];
        let found = ids(&judge(&web(), &lost, at(0)));
        let expected =
            ["server-degraded:web-1/sshd", "jail-not-running:web-1/web", "jail-not-running:web-1/new"];
        assert_eq!(found, expected);
    }

    #[test]
    fn busy_says_for_how_long_and_when_it_counts_as_down() {
        let mut busy = state(Condition::Busy);
        busy.busy_since = Some(at(100));
        let found = judge(&web(), &busy, at(138)).findings.remove(0);
        assert!(found.detail.contains("for 38 s") && found.detail.contains("in 22 s"), "{}", found.detail);
        assert_eq!(found.since, Some(at(100)));
    }

    #[test]
    fn a_pending_recovery_is_an_error_until_the_server_is_back() {
        let mut crashed = state(Condition::Down);
        crashed.pending_recovery = Some(Activation::new(jail("web"), at(100)).crashed(at(123)));
        let found = &judge(&web(), &crashed, at(200)).findings[0];
        assert_eq!((found.severity, found.since), (Severity::Error, Some(at(123))));
        assert!(found.detail.contains("23 s after web"), "{}", found.detail);
        assert!(found.detail.contains("Expect no new bans"), "{}", found.detail);
        crashed.status.condition = Condition::Busy;
        let busy = judge(&web(), &crashed, at(200));
        let busy = busy.findings.iter().find(|found| found.kind == Kind::PendingRecovery).unwrap();
        assert!(busy.detail.ends_with("Whether anybody is banned now is not known."), "{}", busy.detail);
        crashed.status.condition = Condition::Up;
        crashed.pending_recovery.as_mut().unwrap().recovered = true;
        assert_eq!(judge(&web(), &crashed, at(200)).findings[0].severity, Severity::Warning);
    }
}
