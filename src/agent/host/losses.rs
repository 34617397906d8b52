//! Before any answer, even a refusal, the agent checks that the jails that ran when the change began still run.
//!
//! A refused change was never in effect, so a jail that is gone was stopped by somebody else: a person, a package, another reload.
//! It is named all the same, and the answer does not claim that nothing has changed.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::changer::{Changed, Changer, Running};
use super::error::ChangeError;
use crate::domain::JailName;

/// How long a restart of a jail by somebody else may take, during which it does not run.
const RESTART_TIMEOUT: Duration = Duration::from_secs(4);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

impl Changer {
    /// The outcome of a change of `jail`, unless jails that ran before are not running now: then an error that names them.
    pub(in crate::agent) async fn unless_jails_were_lost(
        &self,
        before: &Running,
        jail: &JailName,
        outcome: Result<Changed, ChangeError>,
    ) -> Result<Changed, ChangeError> {
        let reason = match &outcome {
            // These say themselves what has changed, or that this is not known.
            Err(
                ChangeError::Unsettled(_)
                | ChangeError::Busy(_)
                | ChangeError::UnderWay(_)
                | ChangeError::Down(_),
            ) => return outcome,
            Err(reason) => reason.to_string(),
            Ok(_) => format!("the change of {jail} was made"),
        };
        // If the change was made, the jail itself is as requested.
        let expected = || {
            let ran = before.iter().filter(|(_, ran)| **ran).map(|(name, _)| name);
            ran.filter(|name| outcome.is_err() || *name != jail)
        };
        let deadline = Instant::now() + RESTART_TIMEOUT;
        loop {
            let missing = match self.running().await {
                Ok(now) => expected().filter(|name| now.get(*name) != Some(&true)).cloned().collect(),
                Err(unseen) if Instant::now() >= deadline => {
                    return Err(ChangeError::Unsettled(format!(
                        "{reason}\nWhether the other jails are still running is not known: {unseen}"
                    )));
                }
                Err(_) => expected().cloned().collect(),
            };
            let missing: Vec<JailName> = missing;
            if missing.is_empty() {
                return outcome;
            }
            if Instant::now() >= deadline {
                return Err(ChangeError::Unsettled(format!(
                    "{reason}\nJails that ran before this change are not running now: {}",
                    names(&missing)
                )));
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// `a, b`
pub(in crate::agent) fn names<'a>(jails: impl IntoIterator<Item = &'a JailName>) -> String {
    jails.into_iter().map(JailName::as_str).collect::<Vec<_>>().join(", ")
}
