//! What happened, for the log, the event stream and the metrics.

use std::net::SocketAddr;

use super::{Condition, JailName};

/// Which addresses a ban event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanDelta {
    /// This address or network.
    Ip(String),
    /// How many more than were listed one by one.
    More(u64),
}

/// Something that happened to one server. The name on the wire is [`Event::kind`].
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// fail2ban answers again, or for the first time.
    CameOnline {
        /// Its version, where it said so.
        version: Option<String>,
    },
    /// fail2ban does not answer any more.
    WentOffline {
        /// Why, in the agent's words.
        reason: String,
    },
    /// It answers, but jails that should run are missing.
    Degraded {
        /// The missing jails.
        missing: Vec<JailName>,
    },
    /// It went down, or lost jails, within the crash window of an activation.
    ActivationCrashDetected {
        /// The jail that had been activated.
        jail: JailName,
        /// Whole seconds between the activation and the crash.
        seconds_since_activation: i64,
        /// The condition of the server since then.
        condition: Condition,
    },
    /// The server of a pending recovery has recovered.
    RecoveryResolved {
        /// The jail that had been activated.
        jail: JailName,
    },
    /// A user dismissed a pending recovery, or rolled the activation back.
    RecoveryCleared {
        /// The jail that had been activated.
        jail: JailName,
    },
    /// A jail is about to be activated.
    ActivationRecorded {
        /// The jail.
        jail: JailName,
    },
    /// A jail bans more than before.
    BanAdded {
        /// The jail.
        jail: JailName,
        /// Which addresses.
        what: BanDelta,
    },
    /// A jail bans less than before.
    BanRemoved {
        /// The jail.
        jail: JailName,
        /// Which addresses it no longer bans.
        what: BanDelta,
    },
    /// An agent was discovered.
    ServerAdded {
        /// Its address.
        address: SocketAddr,
    },
    /// A discovered server has been gone for so long that it was forgotten.
    ServerRemoved,
}

impl Event {
    /// The event's type in `GET /api/v1/events`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CameOnline { .. } => "server.came_online",
            Self::WentOffline { .. } => "server.went_offline",
            Self::Degraded { .. } => "server.degraded",
            Self::ActivationCrashDetected { .. } => "recovery.pending",
            Self::RecoveryResolved { .. } => "recovery.resolved",
            Self::RecoveryCleared { .. } => "recovery.cleared",
            Self::ActivationRecorded { .. } => "activation.recorded",
            Self::BanAdded { .. } => "ban.added",
            Self::BanRemoved { .. } => "ban.removed",
            Self::ServerAdded { .. } => "server.added",
            Self::ServerRemoved => "server.removed",
        }
    }

    /// The event's facts as JSON, without its kind and time.
    #[must_use]
    pub fn facts(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Self::CameOnline { version } => json!({ "version": version }),
            Self::WentOffline { reason } => json!({ "reason": reason }),
            Self::Degraded { missing } => json!({ "missing": missing }),
            Self::ActivationCrashDetected { jail, seconds_since_activation, condition } => json!({
                "jail": jail, "seconds_since_activation": seconds_since_activation, "condition": condition
            }),
            Self::BanAdded { jail, what } | Self::BanRemoved { jail, what } => match what {
                BanDelta::Ip(ip) => json!({ "jail": jail, "ip": ip }),
                BanDelta::More(more) => json!({ "jail": jail, "more": more }),
            },
            Self::ServerAdded { address } => json!({ "address": address }),
            Self::ServerRemoved => json!({}),
            Self::RecoveryResolved { jail }
            | Self::RecoveryCleared { jail }
            | Self::ActivationRecorded { jail } => {
                json!({ "jail": jail })
            }
        }
    }
}
