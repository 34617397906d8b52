//! The refusals about passkeys.

use axum::http::StatusCode;

use super::Problem;
use crate::actions::passkeys::PasskeyError;
use crate::actions::relying_party::NoPasskeys;

impl Problem {
    /// 401: a passkey logs nobody in.
    pub(super) fn passkey_refused() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "passkey-refused",
            "The passkey was refused",
            "this passkey cannot log in here: it may have been removed, or belong to another site or to a user of single sign-on; log \
             in with the password, another passkey, or single sign-on",
        )
    }

    /// 401: the counter of a passkey went back.
    pub(super) fn passkey_copied() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "passkey-copied",
            "The passkey may have been copied",
            "its counter is not greater than when it was last used, as if there were two of it: log in without it, remove it, and add \
             another; the refusal is in the audit",
        )
    }
}

impl From<NoPasskeys> for Problem {
    fn from(why: NoPasskeys) -> Self {
        Self::conflict(
            "no-passkeys",
            "Passkeys cannot be used here",
            format!("passkeys need a public URL with https and a name: {why}; nothing was changed"),
        )
    }
}

impl From<PasskeyError> for Problem {
    fn from(error: PasskeyError) -> Self {
        match error {
            PasskeyError::Off(why) => why.into(),
            PasskeyError::Unconfirmed(error) => error.into(),
            PasskeyError::Name => Self::invalid(error.to_string()),
            PasskeyError::TooMany => Self::conflict(
                "too-many-passkeys",
                "You have too many passkeys",
                "a user may have 20 passkeys at most: remove those that are not needed; nothing was changed",
            ),
            PasskeyError::NoCeremony => Self::conflict(
                "no-passkey-begun",
                "No passkey is being added",
                "no passkey is being added here, or it took longer than five minutes, or it was used before: begin \
                 again; nothing was changed",
            ),
            // 403, not 401: the session lives.
            PasskeyError::Refused(_) => Self::new(
                StatusCode::FORBIDDEN,
                "passkey-not-added",
                "The passkey was not added",
                "what the browser sent is not a passkey for this site and this attempt: begin again; the refusal is in the audit",
            ),
            PasskeyError::Known => Self::conflict(
                "passkey-known",
                "The passkey is known already",
                "an account has this passkey already; nothing was changed",
            ),
            PasskeyError::Unknown => Self::not_found("passkey"),
            PasskeyError::Overtaken => Self::conflict(
                "account-changed",
                "Your account was changed at the same time",
                "your account or your session was changed while this change was under way, and this change was not made: \
                 reload and retry",
            ),
            PasskeyError::Store(error) => error.into(),
        }
    }
}
