//! What is remembered of a jail's activation, and of a crash that came soon after one.

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

/// A jail that is being switched on or off, noted before and taken away after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    /// The jail.
    pub jail_name: JailName,
    /// Since when, on Redis's clock.
    #[serde(with = "ts_microseconds")]
    pub at: Timestamp,
    /// Whether it is to run.
    #[serde(default)]
    pub on: bool,
    /// The record of an activation that was there before: it comes back if nothing was changed.
    #[serde(default)]
    pub previous: Option<Activation>,
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

impl Activation {
    /// An activation of `jail_name` at `at`.
    #[must_use]
    pub fn new(jail_name: JailName, at: Timestamp) -> Self {
        Self { jail_name, at, unknown: Unknown::new() }
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
