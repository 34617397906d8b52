//! The refusals of actions on accounts, sessions and settings.

use axum::http::StatusCode;
use serde_json::json;

use super::Problem;
use crate::actions::attempt::TooManyAttempts;
use crate::actions::change_password::ChangePasswordError;
use crate::actions::change_settings::ChangeSettingsError;
use crate::actions::confirm_session::{ConfirmError, ConfirmationRequired};
use crate::actions::log_in::LoginError;
use crate::actions::revoke_sessions::RevokeError;
use crate::actions::set_up::SetupError;
use crate::password::rules::WeakPassword;
use crate::store::Limit;

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            // The same words for a wrong password, an unknown name and a disabled account.
            LoginError::Wrong | LoginError::Disabled => Self::new(
                StatusCode::UNAUTHORIZED,
                "wrong-login",
                "Wrong name or password",
                "the name or the password is wrong",
            ),
            LoginError::PasswordOff => Self::new(
                StatusCode::FORBIDDEN,
                "password-login-off",
                "Passwords are switched off",
                "this installation logs users in with single sign-on: use the button on the page /login; programs and the command line use a token (BANGUI_TOKEN)",
            ),
            LoginError::SecondFactor(waits) => (*waits).into(),
            LoginError::SetupIncomplete => Self::conflict(
                "setup-incomplete",
                "Nobody can log in yet",
                "the first password is set on the page /setup, or with POST /api/v1/setup: enter BANGUI_SETUP_TOKEN or, if that is not set, the code in a worker's log",
            ),
            LoginError::Overtaken => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "login-overtaken",
                "The login was revoked while under way",
                "your account was changed, or all its sessions were ended, while this login was under way: log in again",
            )
            .retry_after(1),
            LoginError::Limited(limited) => limited.into(),
            LoginError::Gate(error) => error.into(),
            LoginError::Store(error) => error.into(),
        }
    }
}

impl From<TooManyAttempts> for Problem {
    fn from(TooManyAttempts { limit, retry_after }: TooManyAttempts) -> Self {
        let of = match limit {
            Limit::Address => "from this address",
            Limit::Site => "from this network",
            Limit::Account => "with this name",
        };
        let seconds = u32::try_from(retry_after.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate-limited",
            "Too many attempts",
            format!("too many attempts {of}: try again in {seconds} s"),
        )
        .retry_after(seconds)
        .with("limit", limit.label())
    }
}

impl From<WeakPassword> for Problem {
    fn from(error: WeakPassword) -> Self {
        let (name, title) = if error.is_length() {
            ("password-length", "The password is too short or too long")
        } else {
            ("weak-password", "The password is too easy to guess")
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, name, title, error.to_string())
    }
}

impl From<ConfirmationRequired> for Problem {
    fn from(_: ConfirmationRequired) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "confirmation-required",
            "Confirm your password first",
            "this needs your password again: confirm it with POST /api/v1/session/confirm, then send this within five \
             minutes (no token can do that: log in instead); nothing was changed",
        )
    }
}

impl From<ConfirmError> for Problem {
    fn from(error: ConfirmError) -> Self {
        match error {
            // 403, not 401: the session lives, and a 401 would take its cookie away.
            ConfirmError::Wrong => Self::new(
                StatusCode::FORBIDDEN,
                "wrong-password",
                "Wrong password",
                "this is not the password of this account; nothing was confirmed",
            ),
            ConfirmError::NoPassword => Self::new(
                StatusCode::FORBIDDEN,
                "no-password",
                "This account has no password",
                "its user logs in with single sign-on: open /login/sso/confirm in the browser and log in at the provider again; nothing was confirmed",
            ),
            ConfirmError::Gone => Self::no_session(),
            ConfirmError::Limited(limited) => limited.into(),
            ConfirmError::Gate(error) => error.into(),
            ConfirmError::Store(error) => error.into(),
        }
    }
}

impl From<SetupError> for Problem {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Complete => Self::conflict(
                "setup-complete",
                "Setup is complete",
                "the admin already has a password: log in with POST /api/v1/session, or run `bangui reset-password`",
            ),
            SetupError::WrongToken => Self::new(
                StatusCode::FORBIDDEN,
                "wrong-setup-token",
                "Wrong setup code",
                "the code is wrong: it is BANGUI_SETUP_TOKEN or, if that is not set, the newest setup code in a worker's log",
            ),
            SetupError::Weak(error) => error.into(),
            SetupError::Limited(limited) => limited.into(),
            SetupError::Gate(error) => error.into(),
            SetupError::Store(error) => error.into(),
        }
    }
}

impl From<ChangePasswordError> for Problem {
    fn from(error: ChangePasswordError) -> Self {
        match error {
            // 403, not 401: the session lives, and a 401 would take its cookie away.
            ChangePasswordError::Wrong => Self::new(
                StatusCode::FORBIDDEN,
                "wrong-password",
                "Wrong password",
                "`current` is not the password of this account; nothing was changed",
            ),
            ChangePasswordError::Off => Self::new(
                StatusCode::FORBIDDEN,
                "password-login-off",
                "Passwords are switched off",
                "this account cannot log in with a password here, only with single sign-on, so a new password would be of no use; nothing was changed",
            ),
            ChangePasswordError::NoAccount => Self::no_session(),
            ChangePasswordError::Overtaken => Self::conflict(
                "password-changed",
                "The password was changed elsewhere at the same time",
                "the password was changed while this change was under way; this change was not made",
            ),
            ChangePasswordError::Weak(error) => error.into(),
            ChangePasswordError::Limited(limited) => limited.into(),
            ChangePasswordError::Gate(error) => error.into(),
            ChangePasswordError::Store(error) => error.into(),
        }
    }
}

impl From<RevokeError> for Problem {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Unknown => Self::not_found("session"),
            RevokeError::Unconfirmed(error) => error.into(),
            RevokeError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeSettingsError> for Problem {
    fn from(error: ChangeSettingsError) -> Self {
        match error {
            ChangeSettingsError::Stale { revision } => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "settings-changed",
                "The settings were changed in between",
                format!("the settings are now at revision {revision}; nothing was changed: reload and retry"),
            )
            .with("revision", revision),
            ChangeSettingsError::Unconfirmed(error) => error.into(),
            ChangeSettingsError::Invalid(mistakes) => {
                let each: Vec<String> =
                    mistakes.iter().map(|mistake| format!("{} {}", mistake.name, mistake.allowed)).collect();
                Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "invalid-settings",
                    "Invalid settings",
                    format!("{}; nothing was changed", each.join("; ")),
                )
                .with("mistakes", json!(mistakes))
            }
            ChangeSettingsError::Store(error) => error.into(),
        }
    }
}
