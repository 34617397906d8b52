//! The refusals about second factors.

use axum::http::StatusCode;
use serde_json::json;

use super::Problem;
use crate::actions::finish_login::FinishError;
use crate::actions::log_in::Waits;
use crate::actions::second_factor::FactorError;
use crate::store::WAITS_FOR;

impl From<Waits> for Problem {
    fn from(waits: Waits) -> Self {
        let mut factors = Vec::new();
        if waits.app || waits.must_set_up {
            factors.push("app");
        }
        if waits.recovery_codes {
            factors.push("recovery-code");
        }
        if waits.passkeys {
            factors.push("passkey");
        }
        let problem = if waits.must_set_up {
            Self::new(
                StatusCode::UNAUTHORIZED,
                "second-factor-setup-required",
                "A second factor must be set up",
                "the password is right, and accounts with this role need a second factor: within five minutes, send `login` of \
                 this document to POST /api/v1/session/factor/app, and the first code of the app to POST \
                 /api/v1/session/factor/app/confirm; or, if `factors` has `passkey`, send it to POST \
                 /api/v1/session/factor/passkey; no session has begun",
            )
        } else {
            Self::new(
                StatusCode::UNAUTHORIZED,
                "second-factor-required",
                "A second factor is required",
                "the password is right, and no session has begun: within five minutes, send `login` of this document and a \
                 code of your authenticator app, or a recovery code, to POST /api/v1/session/factor, or use a passkey by POST \
                 /api/v1/session/passkey",
            )
        };
        problem
            .with("login", waits.secret.reveal())
            .with("factors", json!(factors))
            .with("expires_in_seconds", WAITS_FOR.as_secs())
    }
}

impl From<FinishError> for Problem {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::Wrong => Self::new(
                StatusCode::UNAUTHORIZED,
                "wrong-code",
                "Wrong code",
                "the code is wrong, or was used before: each code works once; the next one of the app comes within 30 s",
            ),
            FinishError::LastWrong => Self::new(
                StatusCode::UNAUTHORIZED,
                "login-over",
                "The login has ended",
                "this was the last of five wrong codes: log in with the password again",
            ),
            FinishError::Over => Self::new(
                StatusCode::UNAUTHORIZED,
                "login-over",
                "The login has ended",
                "this login was finished already, or took longer than five minutes, or the account was changed: begin again",
            ),
            FinishError::Passkey(_) => Self::passkey_refused(),
            FinishError::Copied => Self::passkey_copied(),
            FinishError::NewPasskey(error) => error.into(),
            FinishError::NoPasskeys(why) => why.into(),
            FinishError::Limited(limited) => limited.into(),
            FinishError::Store(error) => error.into(),
        }
    }
}

impl From<FactorError> for Problem {
    fn from(error: FactorError) -> Self {
        match error {
            FactorError::Unconfirmed(error) => error.into(),
            // 403, not 401: the session lives.
            FactorError::WrongCode => Self::new(
                StatusCode::FORBIDDEN,
                "wrong-code",
                "Wrong code",
                "this is not the code that an app with this secret shows now: check that the clock of the device is right; \
                 nothing was set up",
            ),
            FactorError::NoProposal => Self::conflict(
                "no-app-proposed",
                "No app is being set up",
                "no app is being set up in this session, or it took longer than ten minutes: begin again with POST \
                 /api/v1/factors/app; nothing was changed",
            ),
            FactorError::Unknown => Self::not_found("second factor"),
            FactorError::Overtaken => Self::conflict(
                "account-changed",
                "Your account was changed at the same time",
                "your account or your session was changed while this change was under way, and this change was not made: \
                 log in again",
            ),
            FactorError::Store(error) => error.into(),
        }
    }
}
