//! The refusals of actions on fail2ban servers.

use axum::http::StatusCode;

use super::Problem;
use crate::actions::UnknownTarget;
use crate::actions::ban::{BanError, LockedOut};
use crate::actions::ban_jobs::{CancelError, EnqueueError};
use crate::actions::change_jail::ChangeJailError;
use crate::actions::dismiss_recovery::DismissError;
use crate::actions::roll_back::RollBackError;
use crate::actions::switch_jail::SwitchError;
use crate::actions::unban_all::UnbanAllError;
use crate::actions::undo::UndoError;
use crate::agent::client::{AgentError, RefusedKind};
use crate::domain::ban_job::MAX_JOB_ADDRESSES;
use crate::domain::transition::RecoveryChanged;
use crate::http::api::time::Time;
use crate::store::jobs::ban_jobs::MAX_OPEN_JOBS;

/// Seconds after which to try to enqueue a job again.
const RETRY_ENQUEUE_AFTER: u32 = 10;

impl From<UnknownTarget> for Problem {
    fn from(error: UnknownTarget) -> Self {
        Self::not_found(match error {
            UnknownTarget::Server => "server",
            UnknownTarget::Jail => "jail",
        })
    }
}

impl From<SwitchError> for Problem {
    fn from(error: SwitchError) -> Self {
        match error {
            SwitchError::NotMade(error) => not_made(error),
            SwitchError::Unknown(error) => Self::from(error)
                .and("whether the jail was changed is not known: check it before trying again"),
            SwitchError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeJailError> for Problem {
    fn from(error: ChangeJailError) -> Self {
        match error {
            ChangeJailError::Empty => {
                Self::invalid("name at least one of bantime, findtime, maxretry and ignoreip")
            }
            ChangeJailError::Unreadable(error) | ChangeJailError::Refused(error) => not_made(error),
            ChangeJailError::Unknown(error) => Self::from(error)
                .and("whether the settings were changed is not known: check the jail before trying again"),
            ChangeJailError::NoJail => UnknownTarget::Jail.into(),
            ChangeJailError::Store(error) => error.into(),
        }
    }
}

/// A refusal already says what it left; other errors mean that nothing was changed.
fn not_made(error: AgentError) -> Problem {
    match error {
        error @ AgentError::Refused { .. } => error.into(),
        error => Problem::from(error).and("nothing was changed"),
    }
}

impl From<BanError> for Problem {
    fn from(error: BanError) -> Self {
        match error {
            BanError::Count { named } => {
                Self::invalid(format!("`ips` must name 1 to {MAX_JOB_ADDRESSES} addresses, it names {named}"))
            }
            BanError::NoHost { ip, why } => Self::invalid(format!(
                "{ip} {why}: no host has this address, so a ban would have no effect; nothing was banned"
            )),
            BanError::NeedsForce { ip, locks_out } => {
                let why = match locks_out {
                    LockedOut::Actor => "is, or contains, the address that you ask from",
                    LockedOut::Proxy => "is, or overlaps with, a trusted proxy",
                    LockedOut::Loopback => "is, or contains, a loopback address",
                    LockedOut::Crowd => {
                        "is so large, alone or with its neighbours in the request, that it contains ordinary users"
                    }
                };
                Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "ban-needs-force",
                    "This ban would lock out more than an attacker",
                    format!("{ip} {why}; nothing was banned. To ban it nevertheless, send \"force\": true"),
                )
                .with("ip", ip.to_string())
            }
            BanError::Refused(error) => error.into(),
            BanError::Unknown(error) => {
                Self::from(error).and("whether the addresses sent first (up to 25) were changed is not known: look them up before you try again")
            }
            BanError::Enqueue(error) => error.into(),
            BanError::Store(error) => error.into(),
        }
    }
}

impl From<UnbanAllError> for Problem {
    fn from(error: UnbanAllError) -> Self {
        match error {
            UnbanAllError::Agent(error) => error.into(),
            UnbanAllError::Ban(error) => error.into(),
        }
    }
}

impl From<UndoError> for Problem {
    fn from(error: UndoError) -> Self {
        let refused = |detail: String| Self::conflict("undo-refused", "It cannot be undone", detail);
        match error {
            UndoError::Over => refused(
                "it was more than ten minutes ago, or there is no such change; nothing was changed"
                    .to_owned(),
            ),
            UndoError::Before { at, by } => {
                refused(format!("`{by}` already undid it at {}; nothing was changed", Time(at)))
            }
            UndoError::NotAllowed => Self::new(
                StatusCode::FORBIDDEN,
                "not-allowed",
                "Your account may not do this",
                "your account may not make this change, so it may not undo it either; nothing was changed. An admin, or with single \
                 sign-on your groups, decides what your account may do; for a token, make another one that may do more",
            ),
            UndoError::Changed(what) => refused(format!("{what}; nothing was changed")),
            UndoError::Target(error) => error.into(),
            UndoError::Unreadable(error) => not_made(error),
            UndoError::Switch(error) => error.into(),
            UndoError::Settings(error) => error.into(),
            UndoError::Ban(error) => error.into(),
            UndoError::Product(error) => error.into(),
            UndoError::Store(error) => error.into(),
        }
    }
}

impl From<EnqueueError> for Problem {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::TooMany => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-ban-jobs",
                "Too many ban jobs are open",
                format!(
                    "{MAX_OPEN_JOBS} ban jobs are still open: wait for one to finish, or have one cancelled"
                ),
            )
            .retry_after(RETRY_ENQUEUE_AFTER),
            EnqueueError::Gone => no_such_job(),
            EnqueueError::Store(error) => error.into(),
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::Unknown => no_such_job(),
            CancelError::Over(over) => {
                let detail = format!("the job was already {}: there is nothing to cancel", over.as_str());
                Self::conflict("ban-job-over", "The ban job is over", detail)
            }
            CancelError::AgentUnaware(error) => Self::from(error).and(
                "the job is stopped, but its agent cannot be reached yet to stop the command in flight: \
                 up to 25 more addresses may be changed until then",
            ),
            CancelError::Store(error) => error.into(),
        }
    }
}

fn no_such_job() -> Problem {
    Problem::not_found("ban job, or it ended more than a day ago")
}

impl From<RecoveryChanged> for Problem {
    fn from(changed: RecoveryChanged) -> Self {
        let detected_at = Time(changed.detected_at).to_string();
        Self::conflict(
            "recovery-changed",
            "Another recovery has become pending",
            format!("the recovery that is pending now was detected at {detected_at}; nothing was changed"),
        )
        .with("detected_at", detected_at)
    }
}

impl From<DismissError> for Problem {
    fn from(error: DismissError) -> Self {
        match error {
            DismissError::Changed(changed) => changed.into(),
            DismissError::Store(error) => error.into(),
        }
    }
}

impl From<RollBackError> for Problem {
    fn from(error: RollBackError) -> Self {
        match error {
            RollBackError::NonePending { server } => Self::conflict(
                "no-pending-recovery",
                "No recovery is pending",
                format!(
                    "server `{server}` neither went down nor lost jails after an activation, or is already back, or its warning was dismissed; nothing was changed"
                ),
            ),
            RollBackError::Changed(changed) => changed.into(),
            // Refusals of these kinds say that nothing was changed.
            RollBackError::Agent(
                error @ AgentError::Refused { kind: RefusedKind::Jail | RefusedKind::Failed, .. },
            ) => Self::from(error).and("the recovery stays pending"),
            RollBackError::Agent(error) => {
                Self::from(error).and("the jail may be off already; the recovery stays pending")
            }
            RollBackError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::api::time;

    #[test]
    fn a_changed_recovery_is_a_conflict_that_names_the_one_there_is() {
        let detected_at = time::parse("2026-01-31T12:00:00.000001Z").unwrap();
        let problem = Problem::from(RecoveryChanged { detected_at });
        assert_eq!(problem.status(), StatusCode::CONFLICT);
        assert!(format!("{problem:?}").contains("2026-01-31T12:00:00.000001Z"));
    }
}
