//! The trails of the audit: separate streams, so that what fills one pushes nothing out of another (`audit.rs` has the table).

use std::time::Duration;

/// How long entries are kept unless `BANGUI_AUDIT_DAYS` is set.
pub const KEPT_FOR: Duration = Duration::from_secs(90 * 86_400);

/// Where an entry belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trail {
    /// Who may do what: logins, passwords, sessions, limits.
    Security,
    /// Every other change.
    Changes,
    /// What was refused.
    Refusals,
    /// What version 0.2 wrote: it is only read.
    Earlier,
}

impl Trail {
    /// All of them, in the order of entries with the same id.
    pub const ALL: [Self; 4] = [Self::Security, Self::Changes, Self::Refusals, Self::Earlier];
    /// Those whose entries are chained.
    pub const CHAINED: [Self; 3] = [Self::Security, Self::Changes, Self::Refusals];

    /// Its word in keys and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Changes => "changes",
            Self::Refusals => "refusals",
            Self::Earlier => "earlier",
        }
    }

    /// The trail of an entry about `what` was done.
    #[must_use]
    pub fn of(what: &str) -> Self {
        match what.split('.').next() {
            Some("setup" | "session" | "password" | "user" | "invitation" | "token" | "factor") => {
                Self::Security
            }
            _ => Self::Changes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_entries_are_in_a_separate_trail() {
        for what in [
            "setup.complete",
            "session.begin",
            "session.confirm",
            "password.reset",
            "user.accept",
            "invitation.revoke",
            "token.create",
            "factor.set_app",
        ] {
            assert_eq!(Trail::of(what), Trail::Security, "{what}");
        }
        for what in ["settings.change", "jail.activate", "ban.add", "recovery.clear", "sessions"] {
            assert_eq!(Trail::of(what), Trail::Changes, "{what}");
        }
    }
}
