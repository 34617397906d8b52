//! The outcome of a rollback, in its answer and in a jail change.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::agent::client;
use crate::domain::JailName;

/// The state after a rollback.
#[derive(Debug, Serialize, ToSchema)]
pub struct RolledBack {
    /// The jail that was switched off.
    #[schema(value_type = String)]
    jail: JailName,
    /// Whether fail2ban had to be started.
    started: bool,
    /// The jails that run.
    #[schema(value_type = Vec<String>)]
    running: Vec<JailName>,
    /// Jails that are switched on but do not run, each with the reason.
    #[schema(value_type = BTreeMap<String, String>)]
    missing: BTreeMap<JailName, String>,
}

impl From<client::RolledBack> for RolledBack {
    fn from(back: client::RolledBack) -> Self {
        let client::RolledBack { jail, started, running, missing } = back;
        Self { jail, started, running, missing }
    }
}
