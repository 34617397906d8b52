//! The refusals of logins and logouts with the identity provider.

use axum::http::StatusCode;

use super::Problem;
use crate::actions::log_in_with_provider::SignOnError;
use crate::actions::log_out_at_provider::ProviderLogoutError;
use crate::provider::ProviderError;
use crate::store::Username;

impl Problem {
    fn no_provider() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-provider",
            "There is no single sign-on",
            "no provider is configured here (BANGUI_OIDC_ISSUER): log in with a password",
        )
    }

    fn sign_on_refused(detail: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "sign-on-refused", "The single sign-on was refused", detail)
    }
}

impl From<SignOnError> for Problem {
    fn from(error: SignOnError) -> Self {
        match error {
            SignOnError::NoProvider => Self::no_provider(),
            SignOnError::SetupIncomplete => Self::conflict(
                "setup-incomplete",
                "Nobody can log in yet",
                "the first password is set on the page /setup with BANGUI_SETUP_TOKEN or, if that is not set, the code in a worker's log",
            ),
            SignOnError::Limited(limited) => limited.into(),
            SignOnError::NotBegun => Self::new(
                StatusCode::BAD_REQUEST,
                "sign-on-not-begun",
                "This login cannot be finished here",
                "this browser has not begun it, it was finished already, or it took longer than ten minutes: begin again on the login \
                 page, in one tab, with cookies allowed",
            ),
            SignOnError::Denied(reason) => Self::sign_on_refused(format!(
                "the provider did not log you in ({reason}): begin again, or ask whoever runs the provider"
            )),
            SignOnError::OtherProvider => Self::sign_on_refused(
                "the answer came from another provider than the one you were sent to: somebody may be tampering; tell an admin",
            ),
            SignOnError::Provider(ProviderError::Away(_)) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "provider-unavailable",
                "The provider cannot be reached",
                "bangui got no usable answer from the single sign-on provider, and the worker's log says why: try again in a minute, or \
                 log in with a password if you have one",
            )
            .retry_after(30),
            SignOnError::Provider(ProviderError::Code(_)) => Self::sign_on_refused(
                "the provider did not accept its own code: it may have expired; begin again, and if that does not help, have an admin \
                 read the audit",
            ),
            SignOnError::Provider(ProviderError::Token(_) | ProviderError::Lacks(_)) => {
                Self::sign_on_refused(
                    "what the provider sent about you is not valid, and the audit says what is wrong with it: begin again, and if that \
                     does not help, tell an admin",
                )
            }
            SignOnError::NoGroup => Self::sign_on_refused(
                "the provider knows you, but none of your groups may use bangui: ask for a group that BANGUI_OIDC_ROLES lists; if you are \
                 in one, an admin should check that the provider sends the groups (BANGUI_OIDC_GROUPS_CLAIM)",
            ),
            SignOnError::NoName => Self::sign_on_refused(
                "the provider gave no name (`preferred_username`) from which the name of an account could be made: tell whoever runs it",
            ),
            SignOnError::NameTaken(username) if username.as_str() == Username::ADMIN => Self::sign_on_refused(
                "an account named admin exists already, is not the one of your single sign-on, and cannot be deleted: have your name at \
                 the provider changed",
            ),
            SignOnError::NameTaken(username) => Self::sign_on_refused(format!(
                "an account named {username} exists already, and is not the one of your single sign-on: have your name at the provider \
                 changed, or have an admin delete that account on the page of users first"
            )),
            SignOnError::Disabled => {
                Self::sign_on_refused("your account is disabled: an admin can enable it on the page of users")
            }
            SignOnError::LastAdmin => Self::sign_on_refused(
                "your groups allow less than before, and nobody else is an admin of all servers: have another user whose group makes them \
                 one log in first, then log in again",
            ),
            SignOnError::SomebodyElse => Self::sign_on_refused(
                "the user who logged in at the provider is not the one whose session this is: nothing was confirmed; log in there with your \
                 own account, then try again",
            ),
            SignOnError::EndedThere => {
                Self::sign_on_refused("your session at the provider has ended since: begin again")
            }
            SignOnError::Overtaken => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "login-overtaken",
                "The login was revoked while under way",
                "your account was changed, or all its sessions were ended, while this login was under way: begin again",
            )
            .retry_after(1),
            SignOnError::Store(error) => error.into(),
        }
    }
}

impl From<ProviderLogoutError> for Problem {
    fn from(error: ProviderLogoutError) -> Self {
        match error {
            ProviderLogoutError::NoProvider => Self::no_provider(),
            ProviderLogoutError::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-logouts",
                "Too many logouts at once",
                "too many logout tokens arrive at once: send it again",
            )
            .retry_after(1),
            ProviderLogoutError::Provider(ProviderError::Away(_)) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "provider-unavailable",
                "The provider cannot be reached",
                "the keys of the provider could not be read, so the token was not checked: send it again",
            )
            .retry_after(30),
            ProviderLogoutError::Provider(error) => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid-logout-token",
                "Invalid logout token",
                error.to_string(),
            ),
            error @ ProviderLogoutError::Used => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid-logout-token",
                "Invalid logout token",
                error.to_string(),
            ),
            ProviderLogoutError::Store(error) => error.into(),
        }
    }
}
