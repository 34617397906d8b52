//! The refusals of actions on users, invitations and tokens for programs.

use axum::http::StatusCode;

use super::Problem;
use crate::actions::api_tokens::ApiTokenError;
use crate::actions::invite_users::{AcceptError, InviteError};
use crate::actions::manage_users::{NotAnAdmin, UserError};
use crate::store::UsernameError;

impl Problem {
    /// 403: a program with a token asks for what is for people.
    #[must_use]
    pub fn token_not_allowed() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "token-not-allowed",
            "A token may not do this",
            "accounts, passwords, sessions, tokens and users are for people, whatever the role of a token: log in with \
             POST /api/v1/session, or in a browser; nothing was changed",
        )
    }

    /// 403: a token was used from a network that it is not for.
    #[must_use]
    pub fn token_network() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "token-network",
            "The token is not for this network",
            "this token may only be used from the networks that it was made for, and this address is in none of them; \
             nothing was changed, and the refusal is in the audit",
        )
    }

    fn invitations_off() -> Self {
        Self::conflict(
            "password-login-off",
            "Passwords are switched off",
            "an invitation sets a password, and only one account may log in with a password here (BANGUI_PASSWORD_LOGIN): everybody else logs in with single sign-on, without an invitation; nothing was changed",
        )
    }

    fn user_exists() -> Self {
        Self::conflict(
            "user-exists",
            "There is a user of that name",
            "there is a user of that name already; nothing was changed",
        )
    }
}

impl From<UsernameError> for Problem {
    fn from(error: UsernameError) -> Self {
        Self::invalid(format!("`username`: {error}"))
    }
}

impl From<NotAnAdmin> for Problem {
    fn from(_: NotAnAdmin) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "not-allowed",
            "Your account may not do this",
            "only an admin whose account is for all servers may manage users; nothing was changed. An admin, or \
             with single sign-on your groups, decides what your account may do",
        )
        .with("needed_role", "admin")
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        match error {
            UserError::NotAllowed(error) => error.into(),
            UserError::Unconfirmed(error) => error.into(),
            UserError::Unknown => Self::not_found("user"),
            UserError::LastAdmin => Self::conflict(
                "last-admin",
                "This is the last admin",
                "no other enabled user is an admin of all servers, and one must stay; make another user one \
                 first: nothing was changed",
            ),
            UserError::Permanent => Self::conflict(
                "admin-stays",
                "The account admin cannot be deleted",
                "the account `admin`, which the setup created, cannot be deleted: disable it; nothing was changed",
            ),
            UserError::OfProvider => Self::conflict(
                "user-of-provider",
                "The user's groups at the provider decide this",
                "this user logs in with single sign-on, and their groups at the provider decide their role and servers (BANGUI_OIDC_ROLES): change the groups; here the user can be disabled and deleted. Nothing was changed",
            ),
            UserError::Overtaken => Self::conflict(
                "user-changed",
                "The user was changed by others at the same time",
                "the user was changed again and again while this change was under way, and this change was not made: \
                 reload and retry",
            ),
            UserError::Store(error) => error.into(),
        }
    }
}

impl From<InviteError> for Problem {
    fn from(error: InviteError) -> Self {
        match error {
            InviteError::NotAllowed(error) => error.into(),
            InviteError::Unconfirmed(error) => error.into(),
            InviteError::PasswordOff => Self::invitations_off(),
            InviteError::Exists => Self::user_exists(),
            InviteError::TooMany => Self::conflict(
                "too-many-invitations",
                "There are too many invitations",
                "500 invitations wait to be accepted: revoke some, or wait until they expire after a day; nothing was changed",
            ),
            InviteError::Unknown => Self::not_found("invitation"),
            InviteError::Store(error) => error.into(),
        }
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Unknown => Self::new(
                StatusCode::NOT_FOUND,
                "no-invitation",
                "The invitation is not valid",
                "the invitation was used or revoked, or has expired after a day, or its code is wrong: ask the admin \
                 who invited you for another one",
            ),
            AcceptError::PasswordOff => Self::invitations_off(),
            AcceptError::Exists => Self::conflict(
                "user-exists",
                "There is a user of that name",
                "an account of this name has been made since the invitation: log in if it is yours, or ask the admin who invited you for \
                 another name",
            ),
            AcceptError::Limited(limited) => limited.into(),
            AcceptError::Weak(weak) => weak.into(),
            AcceptError::Gate(error) => error.into(),
            AcceptError::Store(error) => error.into(),
        }
    }
}

impl From<ApiTokenError> for Problem {
    fn from(error: ApiTokenError) -> Self {
        match error {
            ApiTokenError::NotAllowed(error) => error.into(),
            ApiTokenError::Unconfirmed(error) => error.into(),
            ApiTokenError::TooMuch => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "token-too-powerful",
                "A token may not do more than its owner",
                "its role and servers must not exceed those of your account; nothing was changed",
            ),
            ApiTokenError::Invalid(says) => Self::invalid(says),
            ApiTokenError::TooMany => Self::conflict(
                "too-many-tokens",
                "You have too many tokens",
                "a user may have 50 tokens at most: revoke those that are not needed; nothing was changed",
            ),
            ApiTokenError::Overtaken => Self::conflict(
                "account-changed",
                "Your account was changed at the same time",
                "what your account may do was changed while this token was made, and no token was made: log in again",
            ),
            ApiTokenError::Unknown => Self::not_found("token"),
            ApiTokenError::Store(error) => error.into(),
        }
    }
}
