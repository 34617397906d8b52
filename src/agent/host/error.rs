//! Why the agent did not do what it was asked; `server/answer.rs` turns it into the refusal that is sent.

use crate::agent::refusal::RefusalKind;
use crate::domain::JailName;
use crate::domain::name::Unchangeable;
use crate::fail2ban::Fail2banError;
use crate::fail2ban::tools::Survey;
use crate::fail2ban::tools::ToolError;

/// Why something was not done. The host is as before, unless it is [`ChangeError::Unsettled`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::agent) enum ChangeError {
    /// The request is invalid.
    #[error("{0}")]
    Request(String),
    /// Another epoch of the job is known: a newer one, or the same one from another worker.
    #[error("{reason}")]
    Stale {
        /// The reason, for people.
        reason: String,
        /// The one that is known.
        epoch: Option<u64>,
    },
    /// No such jail in the configuration.
    #[error("{0}")]
    UnknownJail(String),
    /// The configuration would be invalid, in fail2ban's own words.
    #[error("{0}")]
    Configuration(String),
    /// Another change is under way, or fail2ban is busy.
    #[error("{0}")]
    Busy(String),
    /// Begun, and neither finished nor refused yet.
    #[error("{0}")]
    UnderWay(String),
    /// fail2ban does not answer.
    #[error("{0}")]
    Down(String),
    /// Something on the host prevented it.
    #[error("{0}")]
    Failed(String),
    /// The host is not, or may not be, as before: what was begun could be neither finished nor undone yet.
    #[error("{0}")]
    Unsettled(String),
}

impl ChangeError {
    /// The kind of refusal that the caller gets.
    pub(in crate::agent) fn kind(&self) -> RefusalKind {
        match self {
            Self::Request(_) => RefusalKind::Request,
            Self::Stale { .. } => RefusalKind::Stale,
            Self::UnknownJail(_) => RefusalKind::Jail,
            Self::Configuration(_) => RefusalKind::Configuration,
            Self::Busy(_) => RefusalKind::Busy,
            Self::UnderWay(_) => RefusalKind::UnderWay,
            Self::Down(_) => RefusalKind::Down,
            Self::Failed(_) => RefusalKind::Failed,
            Self::Unsettled(_) => RefusalKind::Unsettled,
        }
    }
}

impl From<Fail2banError> for ChangeError {
    fn from(error: Fail2banError) -> Self {
        match error {
            Fail2banError::Busy(reason) => Self::Busy(reason),
            Fail2banError::Down(reason) => Self::Down(reason),
            refused @ Fail2banError::Refused { .. } => Self::Failed(refused.to_string()),
        }
    }
}

impl From<Unchangeable> for ChangeError {
    fn from(error: Unchangeable) -> Self {
        Self::Configuration(error.to_string())
    }
}

impl From<ToolError> for ChangeError {
    fn from(error: ToolError) -> Self {
        match error {
            ToolError::Late { .. } => Self::Busy(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<std::io::Error> for ChangeError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let remedy = match error.kind() {
            Kind::NotFound | Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
                " (make sure that the folder exists and that the agent may write there)"
            }
            Kind::StorageFull | Kind::QuotaExceeded => " (make room on that disk, then try again)",
            _ => "",
        };
        Self::Failed(format!(
            "the agent cannot read or write jail.d of BANGUI_FAIL2BAN_CONFIG: {error}{remedy}"
        ))
    }
}

/// Why a jail is not there. If fail2ban cannot read some file, the jail may be in that file, and should not be added again.
pub(super) fn unknown(jail: &JailName, survey: &Survey) -> ChangeError {
    if survey.errors.is_empty() {
        return ChangeError::UnknownJail(format!(
            "there is no jail {jail}, neither running nor in fail2ban's configuration: add it to jail.local or jail.d first"
        ));
    }
    ChangeError::Configuration(format!(
        "there is no jail {jail} in what fail2ban can read of its configuration: {}",
        survey.errors.join("\n")
    ))
}
