//! What workers and agents send each other: JSON bodies, both directions in one folder, so that the two ends cannot drift apart.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/info` | [`Info`] |
//! | `GET /v1/status` | [`Status`]: the probe |
//! | `GET /v1/jails?backend=true\|false` | [`Jails`] |
//! | `GET /v1/jails/settings`, `GET /v1/jails/{jail}/settings` | [`JailViews`]: also jails that are off |
//! | `PATCH /v1/jails/{jail}/settings` [`ChangeSettings`] | [`JailViews`] |
//! | `POST /v1/jails/{jail}/ignore` [`Ignore`] | [`JailViews`]: unbanned, and not banned from now on |
//! | `GET /v1/jails/{jail}/bans` | [`BanList`] |
//! | `POST /v1/jails/{jail}/bans`, `.../unban` [`BanRequest`] | [`BanResults`] |
//! | `DELETE /v1/jails/{jail}/bans` [`UnbanAll`] | [`UnbannedAll`] |
//! | `POST /v1/banned` [`LookupRequest`] | [`Lookups`]: in which jails |
//! | `GET /v1/changes/{id}` | [`ChangeSteps`]: of a change whose request had this id in [`CHANGE_HEADER`] |
//! | `POST /v1/rollback` [`Rollback`] | [`RolledBack`]: the jail off, fail2ban started |
//! | `POST /v1/fence` [`JobEpoch`] | [`Fenced`]: no command of an older epoch runs or will run |
//! | `GET /v1/backend-commands` | [`BackendSupport`]: the one-time detection |
//! | `POST /v1/jails/{jail}/activate`, `.../deactivate` | [`JailChanged`]: a transaction, see `change.rs` |
//!
//! Every call carries `Authorization: Bearer <agent token>`, unless the workers' certificate authenticates the caller, and
//! [`DEADLINE_HEADER`] with the time that the agent has; without it, the agent assumes [`DEFAULT_DEADLINE`] ([`CHANGE_DEADLINE`] for
//! a change). A refused call is answered with a [`Refusal`](crate::agent::refusal::Refusal) as its body:
//! 400, 404, 405 and 413 `request`, 401 `token`, 404 `jail`, 409 `stale`, 422 `configuration`, 500
//! `failed` (as before) or `unsettled`, 503 `busy`, `down` or `under-way` (a change that takes longer than the caller waits).
//! `/v1/status` reports an unresponsive fail2ban with 200, since that is the status; the other calls answer 503.

mod bans;

pub use bans::{
    Ban, BanList, BanRequest, BanResult, BanResults, Fenced, JobEpoch, JobKey, Lookup, LookupRequest,
    Lookups, MarkBan, NeverBanned, UnbanAll, UnbannedAll,
};

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::findings::jails::LogFile;
use crate::domain::{Answer, JailCounts, JailName, JailSettings, Network, ProbeOutcome, StepTime};
use crate::fail2ban::Fail2banError;

/// Within how many milliseconds the agent must answer. It gives up on fail2ban in time to say so, so that a busy fail2ban is not
/// mistaken for an unreachable agent.
pub const DEADLINE_HEADER: &str = "x-bangui-deadline-ms";

/// The default deadline, without that header.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// The default deadline of a call that changes jails: fail2ban's programs take a second or two, an undo as much again,
/// and a jail that stops runs the unban action of each of its bans.
pub const CHANGE_DEADLINE: Duration = Duration::from_secs(120);

/// The default deadline of a call for a list of bans: fail2ban takes a second for 100,000.
pub const LIST_DEADLINE: Duration = Duration::from_secs(30);

/// The header with the tag of a list of bans: see `host/list_tags.rs`.
pub const LIST_TAG_HEADER: &str = "x-bangui-list-tag";

/// The header in which a caller gives a change of a jail an id, by which it can ask the agent for its steps.
pub const CHANGE_HEADER: &str = "x-bangui-change";

/// Why an id of a change is refused.
pub const BAD_CHANGE: &str = "the id of a change must be 32 hexadecimal digits";

/// The most addresses in one look-up.
pub const MAX_LOOKUPS: usize = 500;

/// The largest answer: some 20,000 jails.
pub const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The largest list of bans: 100,000 of them are some 6 MB.
pub const MAX_BAN_LIST: usize = 32 * 1024 * 1024;

/// Who the agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The agent's name, if `BANGUI_AGENT_NAME` is set; its certificate carries this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// 128 random bits, new at each start of its process, in hexadecimal digits: two addresses with the same ones are one agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The version of bangui it runs.
    pub agent_version: String,
    /// The version of fail2ban that it last talked to.
    pub fail2ban_version: Option<String>,
    /// Probes it has answered since its start.
    pub probes: u64,
    /// Detections of the backend commands it has made since its start.
    pub backend_detections: u64,
    /// The jail whose change was interrupted and is being undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted_change: Option<JailName>,
    /// Its machine's clock, in microseconds since 1970. None from an agent before 0.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<i64>,
    /// When the first certificate of its chain expires, in seconds since 1970; none without TLS, or from an agent before 0.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<i64>,
}

/// The answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Status {
    /// fail2ban answered.
    Up {
        /// Its version.
        version: String,
        /// Each running jail with its counts.
        jails: BTreeMap<JailName, JailCounts>,
        /// Jails that it lists but does not run.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        stalled: BTreeSet<JailName>,
    },
    /// It accepted the connection but did not answer in time.
    Busy {
        /// The reason, for people.
        reason: String,
        /// Whether it is making visible progress with a change of a jail.
        #[serde(default)]
        working: bool,
    },
    /// It does not answer, or not in its protocol.
    Down {
        /// The reason, for people.
        reason: String,
    },
}

impl From<Result<Answer, Fail2banError>> for Status {
    fn from(probe: Result<Answer, Fail2banError>) -> Self {
        match probe {
            Ok(Answer { version, jails, stalled }) => Self::Up { version, jails, stalled },
            Err(Fail2banError::Busy(reason)) => Self::Busy { reason, working: false },
            Err(error) => Self::Down { reason: error.to_string() },
        }
    }
}

impl From<Status> for ProbeOutcome {
    fn from(status: Status) -> Self {
        match status {
            Status::Up { version, jails, stalled } => Self::Answered(Answer { version, jails, stalled }),
            Status::Busy { reason, working } => Self::Busy { reason, working },
            Status::Down { reason } => Self::Down { reason },
        }
    }
}

/// One jail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jail {
    /// Its name.
    pub name: JailName,
    /// Its counts.
    #[serde(flatten)]
    pub counts: JailCounts,
    /// `polling`, `pyinotify`, `systemd`: only if asked for, and known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Whether the jail is idle: only if asked for, and known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<bool>,
}

/// All running jails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jails {
    /// By name.
    pub jails: Vec<Jail>,
}

/// Whether fail2ban answers `get JAIL backend` and `get JAIL idle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendSupport {
    /// `None` if there is no jail to ask about.
    pub supported: Option<bool>,
}

/// A request to roll back the activation of a jail that brought fail2ban down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The jail.
    pub jail: JailName,
}

/// The state after a rollback: the jail is off, and fail2ban answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The jail that was switched off.
    pub jail: JailName,
    /// Whether fail2ban had to be started.
    pub started: bool,
    /// The jails that run.
    pub running: Vec<JailName>,
    /// Jails that are switched on but do not run, each with the reason, in fail2ban's words if it has any.
    pub missing: BTreeMap<JailName, String>,
}

/// The outcome of an activation or a deactivation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailChanged {
    /// The jail.
    pub jail: JailName,
    /// Whether it runs now.
    pub active: bool,
    /// False if the jail was already in that state.
    pub changed: bool,
}

/// How far a change of a jail is. Empty if the agent does not know the change (yet, or any more).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeSteps {
    /// The steps that were taken, and the one that is being taken.
    #[serde(default)]
    pub steps: Vec<StepTime>,
}

/// A jail of the configuration or of fail2ban, with its settings: those in effect if it runs, else those of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailView {
    /// Its name.
    pub name: JailName,
    /// Whether the files switch it on.
    pub enabled: bool,
    /// Whether it runs.
    pub running: bool,
    /// Whether fail2ban lists it but does not run it.
    #[serde(default)]
    pub stalled: bool,
    /// Duration of a ban in seconds, -1 if permanent; `None` if it cannot be computed.
    pub bantime: Option<i64>,
    /// Seconds in which failures add up.
    pub findtime: Option<i64>,
    /// Number of failures that lead to a ban.
    pub maxretry: Option<i64>,
    /// Addresses, networks and names that are never banned.
    pub ignoreip: Vec<String>,
    /// The filter, with its options, as the files have it.
    pub filter: String,
    /// The backend as the files have it.
    pub backend: String,
    /// Log files; patterns if the jail does not run.
    pub log_files: Vec<String>,
    /// Journal matches.
    pub journal_matches: Vec<String>,
    /// The state of the log files of a running jail. None if the agent could not check them, or from an agent before 0.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<Vec<LogFile>>,
    /// What cannot be computed, in words.
    #[serde(default)]
    pub errors: Vec<String>,
    /// What would be in effect after a reload; none if the files do not have the jail, or from an agent that does not know this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_files: Option<FileSettings>,
}

/// The settings that a jail has after a reload: what the files say now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSettings {
    /// Duration of a ban in seconds, -1 if permanent; `None` if it cannot be computed.
    #[serde(default)]
    pub bantime: Option<i64>,
    /// Seconds in which failures add up.
    #[serde(default)]
    pub findtime: Option<i64>,
    /// Number of failures that lead to a ban.
    #[serde(default)]
    pub maxretry: Option<i64>,
    /// Addresses, networks and names that are never banned.
    #[serde(default)]
    pub ignoreip: Vec<String>,
    /// For each setting the file that determines it, relative to fail2ban's folder.
    #[serde(default)]
    pub origins: BTreeMap<String, String>,
}

/// Jails with their settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailViews {
    /// By name.
    pub jails: Vec<JailView>,
    /// Which parts of its configuration fail2ban cannot read, in its own words: jails in these are missing here.
    #[serde(default)]
    pub errors: Vec<String>,
    /// fail2ban's database. None if only one jail was requested, or from an agent before 0.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
}

/// Where fail2ban keeps its bans across a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// The file, as fail2ban reports it; none if it has no database.
    #[serde(default)]
    pub file: Option<String>,
}

/// New settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeSettings {
    /// What is to be set.
    pub settings: JailSettings,
    /// Also after the next reload or restart: through the files, as a transaction.
    #[serde(default)]
    pub persistent: bool,
}

/// A network to be unbanned and never banned again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    /// An address or a network.
    pub network: Network,
    /// Also after the next reload or restart.
    #[serde(default)]
    pub persistent: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_agent_before_0_3_says_nothing_of_its_clock_its_certificate_its_log_files_and_the_database() {
        let info = json!({ "agent_version": "0.2.0", "fail2ban_version": null, "probes": 1, "backend_detections": 0 });
        let read: Info = serde_json::from_value(info.clone()).unwrap();
        assert_eq!((read.clock, read.certificate_not_after), (None, None));
        assert_eq!(
            serde_json::to_value(read).unwrap(),
            info,
            "and an older worker is sent nothing new in their place"
        );

        let jail = json!({
            "name": "sshd", "enabled": true, "running": true, "stalled": false, "bantime": 600, "findtime": 600,
            "maxretry": 5, "ignoreip": [], "filter": "sshd", "backend": "auto", "log_files": ["/var/log/auth.log"],
            "journal_matches": [], "errors": [],
        });
        let views = json!({ "jails": [jail], "errors": [] });
        let read: JailViews = serde_json::from_value(views.clone()).unwrap();
        assert_eq!((&read.jails[0].logs, &read.database), (&None, &None));
        assert_eq!(serde_json::to_value(read).unwrap(), views);
    }

    #[test]
    fn what_a_newer_agent_adds_is_passed_over() {
        let log = json!({ "path": "/a", "missing": false, "size": 5, "age_seconds": 7, "inode": 9 });
        let read: LogFile = serde_json::from_value(log).unwrap();
        assert!(read.is_known() && read.age_seconds == Some(7));
        let database = json!({ "file": null, "size": 7 });
        assert_eq!(serde_json::from_value::<Database>(database).unwrap(), Database { file: None });
    }
}
