//! What is stored about a jail's activation, and about a crash that came soon after one.

use chrono::serde::ts_microseconds;
use serde::{Deserialize, Serialize};

use super::{JailName, Timestamp, Unknown};

/// The latest activation of a jail, recorded before it is applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Activation {
    /// The jail that was activated.
    pub jail_name: JailName,
    /// When, on Redis's clock.
    #[serde(with = "ts_microseconds")]
    pub at: Timestamp,
    /// Fields of a newer version.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Names one switch of a jail: only by this id is its record ended or taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SwitchId(String);

impl SwitchId {
    /// An id with this text.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }
}

/// A jail that is being switched on or off: recorded before that, and removed once it is settled ([`super::switches`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    /// Its id; none if a version before 0.3 began it.
    #[serde(default)]
    pub id: Option<SwitchId>,
    /// The jail.
    pub jail_name: JailName,
    /// Since when, on Redis's clock.
    #[serde(with = "ts_microseconds")]
    pub at: Timestamp,
    /// Whether it is being switched on.
    #[serde(default)]
    pub on: bool,
    /// The activation that was recorded before, for versions before 0.3: they restore it if nothing was changed.
    #[serde(default)]
    pub previous: Option<Activation>,
    /// Whether the jail was expected to run before.
    #[serde(default)]
    pub expected: bool,
    /// Whether the host has made the change: it stays here only because of other switches of the same jail.
    #[serde(default)]
    pub done: bool,
    /// Whether the caller that waited for its end got no answer, and no longer waits.
    #[serde(default)]
    pub abandoned: bool,
    /// Switches of the same jail that were done or abandoned when it began, so that it comes after them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows: Vec<SwitchId>,
    /// Whether it is the end of a rollback: earlier activations of the jail are no longer blamed for a crash.
    #[serde(default)]
    pub rollback: bool,
    /// Fields of a newer version.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A server that went down, or lost jails, within the crash window of an activation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PendingRecovery {
    /// The jail whose activation is the likeliest cause.
    pub jail_name: JailName,
    /// When that jail was activated.
    #[serde(with = "ts_microseconds")]
    pub activated_at: Timestamp,
    /// When the crash was seen.
    #[serde(with = "ts_microseconds")]
    pub detected_at: Timestamp,
    /// Whether the server has come back since.
    pub recovered: bool,
    /// Fields of a newer version.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Switch {
    /// A switch that begins at `at`.
    #[must_use]
    pub fn new(id: SwitchId, jail_name: JailName, on: bool, at: Timestamp) -> Self {
        let (previous, expected, done, abandoned, rollback) = (None, false, false, false, false);
        let (id, follows, unknown) = (Some(id), Vec::new(), Unknown::new());
        Self { id, jail_name, at, on, previous, expected, done, abandoned, follows, rollback, unknown }
    }
}

impl Activation {
    /// An activation of `jail_name` at `at`.
    #[must_use]
    pub fn new(jail_name: JailName, at: Timestamp) -> Self {
        Self { jail_name, at, unknown: Unknown::new() }
    }

    /// Whether it is the same activation: a newer version may have recorded more about it.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.jail_name == other.jail_name && self.at == other.at
    }

    /// The pending recovery that a crash seen at `detected_at` makes of this activation.
    #[must_use]
    pub fn crashed(&self, detected_at: Timestamp) -> PendingRecovery {
        PendingRecovery {
            jail_name: self.jail_name.clone(),
            activated_at: self.at,
            detected_at,
            recovered: false,
            unknown: Unknown::new(),
        }
    }
}
