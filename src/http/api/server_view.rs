//! A server as users see it: the stored document, with sums for the jails and ages for the times.
//!
//! This is not the stored document itself, so that either can change without the other.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::hours::HoursView;
use super::time::Time;
use crate::domain::hours::AllHours;
use crate::domain::long_lists::Unread;
use crate::domain::{
    Activation, Condition, JailName, PendingRecovery, ServerName, ServerState, ServerStatus, Timestamp,
    long_lists,
};
use crate::store::{StoreError, StoredServer};

/// One server.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerView {
    #[schema(value_type = String)]
    name: ServerName,
    status: StatusView,
    pending_recovery: Option<RecoveryView>,
    last_activation: Option<ActivationView>,
    jail_service: JailServiceView,
    unread_ban_lists: Vec<UnreadBanList>,
    revision: u64,
    /// Bans and failures per hour; `null` before the first probe, and from a day after the last one.
    hours: Option<HoursView>,
    /// The jail with the most bans in this hour; `null` without bans.
    busiest_jail: Option<BusiestJail>,
}

/// The jail with the most bans in this hour.
#[derive(Debug, Serialize, ToSchema)]
pub struct BusiestJail {
    #[schema(value_type = String)]
    jail: JailName,
    bans: u64,
}

/// A jail whose list of bans is not read: the list shown is outdated or empty.
#[derive(Debug, Serialize, ToSchema)]
struct UnreadBanList {
    #[schema(value_type = String)]
    jail: JailName,
    currently_banned: u64,
    /// Why, and what to do.
    detail: String,
}

impl UnreadBanList {
    fn all(state: &ServerState) -> Vec<Self> {
        let shown = |(jail, currently_banned, why)| {
            let detail = match why {
                Unread::Cut => {
                    "its agent sent many more bans than it had counted, or more than fit beside the other lists of the server, so the list was dropped: check that host"
                        .to_owned()
                }
                Unread::Long => format!(
                    "a list of more than {} bans is not read, nor more than {} bans of one server: ban networks, or shorten `bantime`",
                    long_lists::MAX_LIST,
                    long_lists::MAX_SERVER
                ),
            };
            Self { jail, currently_banned, detail }
        };
        long_lists::unread(state).into_iter().map(shown).collect()
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct StatusView {
    online: bool,
    condition: Condition,
    version: Option<String>,
    active_jails: usize,
    #[schema(value_type = Vec<String>)]
    missing_jails: Vec<JailName>,
    #[schema(value_type = Vec<String>)]
    stalled_jails: Vec<JailName>,
    currently_banned: u64,
    total_banned: u64,
    currently_failed: u64,
    total_failed: u64,
    checked_at: Option<Time>,
    age_ms: Option<i64>,
    error: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct RecoveryView {
    #[schema(value_type = String)]
    jail_name: JailName,
    activated_at: Time,
    detected_at: Time,
    recovered: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ActivationView {
    #[schema(value_type = String)]
    jail_name: JailName,
    at: Time,
}

#[derive(Debug, Serialize, ToSchema)]
struct JailServiceView {
    backend_cmd_supported: Option<bool>,
}

impl ServerView {
    /// Shows a server, or why its state cannot be read.
    pub fn read(
        name: &ServerName,
        stored: Result<StoredServer, StoreError>,
        hours: Option<&AllHours>,
    ) -> Self {
        stored.map(|stored| Self::new(name, stored, hours)).unwrap_or_else(|error| {
            tracing::warn!(server.name = %name, error = %error, "failed to read the state of a server");
            let status = ServerStatus { error: Some(error.to_string()), ..ServerStatus::default() };
            Self {
                name: name.clone(),
                status: StatusView::new(status, Timestamp::default()),
                pending_recovery: None,
                last_activation: None,
                jail_service: JailServiceView { backend_cmd_supported: None },
                unread_ban_lists: Vec::new(),
                revision: 0,
                hours: None,
                busiest_jail: None,
            }
        })
    }

    /// Shows what was read of the server `name`.
    pub fn new(name: &ServerName, stored: StoredServer, hours: Option<&AllHours>) -> Self {
        let StoredServer { state, revision, read_at } = stored;
        let state = Arc::unwrap_or_clone(state);
        let busiest = hours.and_then(|hours| hours.busiest_at(read_at)).cloned();
        Self {
            name: name.clone(),
            unread_ban_lists: UnreadBanList::all(&state),
            status: StatusView::new(state.status, read_at),
            pending_recovery: state.pending_recovery.map(RecoveryView::from),
            last_activation: state.last_activation.map(ActivationView::from),
            jail_service: JailServiceView { backend_cmd_supported: state.backend_commands.as_option() },
            revision,
            hours: hours.map(|all| all.hours.shown(read_at).into()),
            busiest_jail: busiest.map(|(jail, bans)| BusiestJail { jail, bans }),
        }
    }
}

impl StatusView {
    fn new(status: ServerStatus, read_at: Timestamp) -> Self {
        let totals = status.totals();
        Self {
            online: status.condition.online(),
            condition: status.condition,
            version: status.version,
            active_jails: status.jails.len(),
            missing_jails: status.missing_jails,
            stalled_jails: status.stalled_jails,
            currently_banned: totals.currently_banned,
            total_banned: totals.total_banned,
            currently_failed: totals.currently_failed,
            total_failed: totals.total_failed,
            checked_at: status.checked_at.map(Time),
            // both on Redis's clock; not below zero even if a failover set that clock back
            age_ms: status.checked_at.map(|at| (read_at - at).num_milliseconds().max(0)),
            error: status.error,
        }
    }
}

impl From<PendingRecovery> for RecoveryView {
    fn from(pending: PendingRecovery) -> Self {
        Self {
            jail_name: pending.jail_name,
            activated_at: pending.activated_at.into(),
            detected_at: pending.detected_at.into(),
            recovered: pending.recovered,
        }
    }
}

impl From<Activation> for ActivationView {
    fn from(activation: Activation) -> Self {
        Self { jail_name: activation.jail_name, at: activation.at.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BackendCommands, JailCounts};
    use chrono::TimeDelta;
    use serde_json::json;

    fn name() -> ServerName {
        ServerName::parse("web-1").unwrap()
    }

    fn now() -> Timestamp {
        chrono::DateTime::from_timestamp_micros(1_700_000_000_000_000).unwrap()
    }

    #[test]
    fn a_server_that_was_never_probed_is_offline_and_knows_nothing() {
        let stored = StoredServer { state: Arc::default(), revision: 0, read_at: now() };
        assert_eq!(
            serde_json::to_value(ServerView::new(&name(), stored, None)).unwrap(),
            json!({
                "name": "web-1",
                "status": {
                    "online": false, "condition": "unknown", "version": null, "active_jails": 0,
                    "missing_jails": [], "stalled_jails": [], "currently_banned": 0, "total_banned": 0, "currently_failed": 0,
                    "total_failed": 0, "checked_at": null, "age_ms": null, "error": null,
                },
                "pending_recovery": null,
                "last_activation": null,
                "jail_service": { "backend_cmd_supported": null },
                "unread_ban_lists": [],
                "revision": 0,
                "hours": null,
                "busiest_jail": null,
            })
        );
    }

    #[test]
    fn a_list_that_is_not_read_is_a_finding_with_its_reason() {
        let jail = |text: &str| JailName::parse(text).unwrap();
        let banned = |n| JailCounts { currently_banned: n, ..JailCounts::default() };
        let mut state = ServerState::default();
        state.status.jails =
            [(jail("sshd"), banned(1_000_000)), (jail("liar"), banned(3)), (jail("web"), banned(5))].into();
        state.cut_lists = [jail("liar"), jail("sshd")].into();
        let shown =
            ServerView::new(&name(), StoredServer { state: state.into(), revision: 1, read_at: now() }, None);
        let shown = serde_json::to_value(shown).unwrap();
        let found = shown["unread_ban_lists"].as_array().unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((&found[0]["jail"], &found[0]["currently_banned"]), (&json!("sshd"), &json!(1_000_000)));
        assert!(found[0]["detail"].as_str().unwrap().contains("more than 200000 bans"), "{found:?}");
        assert_eq!(found[1]["jail"], "liar");
    }

    #[test]
    fn jails_are_summed_and_ages_computed_on_the_same_clock() {
        let jail = |text: &str| JailName::parse(text).unwrap();
        let counts =
            JailCounts { currently_failed: 1, total_failed: 2, currently_banned: 3, total_banned: 4 };
        let activation = Activation::new(jail("sshd"), now());
        let mut state = ServerState {
            pending_recovery: Some(activation.crashed(now() + TimeDelta::seconds(5))),
            last_activation: Some(activation),
            backend_commands: BackendCommands::Supported,
            ..ServerState::default()
        };
        state.status.condition = Condition::Up;
        state.status.jails = [(jail("sshd"), counts), (jail("nginx"), counts)].into();
        state.status.checked_at = Some(now());
        let read_at = now() + TimeDelta::milliseconds(1500);
        let shown = serde_json::to_value(ServerView::new(
            &name(),
            StoredServer { state: state.into(), revision: 9, read_at },
            None,
        ));
        let shown = shown.unwrap();
        assert_eq!(shown["status"]["active_jails"], 2);
        assert_eq!(shown["status"]["total_banned"], 8);
        assert_eq!(shown["status"]["age_ms"], 1500);
        assert_eq!(
            shown["pending_recovery"],
            json!({
                "jail_name": "sshd", "activated_at": "2023-11-14T22:13:20.000000Z",
                "detected_at": "2023-11-14T22:13:25.000000Z", "recovered": false,
            })
        );
        assert_eq!(
            shown["last_activation"],
            json!({ "jail_name": "sshd", "at": "2023-11-14T22:13:20.000000Z" })
        );
        assert_eq!(shown["jail_service"]["backend_cmd_supported"], true);
    }
}
