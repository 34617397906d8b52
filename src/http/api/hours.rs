//! Bans and failures per hour as users see them.

use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;
use crate::domain::hours::ShownHours;

/// The number of bans and failures in each of the last 24 hours, including the current one.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoursView {
    /// When the latest hour began.
    latest: Time,
    /// Number of bans by hour, the latest hour last; `null` for an hour in which fail2ban did not answer.
    #[schema(min_items = 24, max_items = 24)]
    bans: Vec<Option<u64>>,
    /// Failures.
    #[schema(min_items = 24, max_items = 24)]
    failures: Vec<Option<u64>>,
    /// The median of the bans that are known.
    usual_bans: Option<u64>,
    /// The median of the failures that are known.
    usual_failures: Option<u64>,
}

impl From<ShownHours> for HoursView {
    fn from(hours: ShownHours) -> Self {
        let ShownHours { latest, bans, failures, usual_bans, usual_failures } = hours;
        Self { latest: latest.into(), bans, failures, usual_bans, usual_failures }
    }
}
