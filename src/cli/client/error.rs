//! Why a command for people did not do what was asked, as text for a terminal; and the exit code that follows from it.
//!
//! | | exit code |
//! |---|---|
//! | the server refused, or it was done only in part | 1 |
//! | wrong usage, or a kept login that cannot be used | 2 |
//! | no session, or one that has ended (401) | 3 |
//! | no server, no bangui, or one that cannot answer now (408, 429, 502, 503, 504) | 4 |

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::document::Document;
use super::fields;
use crate::cli::Failure;
use crate::domain::printable::printable;
use crate::http::error::TYPE_PREFIX;

/// The problem by which a worker asks for the password again.
pub const CONFIRMATION_REQUIRED: &str = "confirmation-required";
/// The problem of a login that needs a second factor.
pub const SECOND_FACTOR_REQUIRED: &str = "second-factor-required";
/// The problem of a login whose account must set up a second factor, which only a browser can lead through.
const SETUP_REQUIRED: &str = "second-factor-setup-required";
/// The problem of a login before the first password is set.
const SETUP_INCOMPLETE: &str = "setup-incomplete";
/// The problem of a wrong code.
pub const WRONG_CODE: &str = "wrong-code";
/// The problem of a wrong name or password.
const WRONG_LOGIN: &str = "wrong-login";
/// The problem of a password where passwords are switched off.
pub const PASSWORD_LOGIN_OFF: &str = "password-login-off";
/// The problems of a login with status 401, which say nothing about a session.
pub const OF_LOGINS: [&str; 5] =
    [WRONG_LOGIN, SECOND_FACTOR_REQUIRED, SETUP_REQUIRED, WRONG_CODE, "login-over"];
/// The problem of a request whose first copy has not been answered yet.
const UNDER_WAY: &str = "request-under-way";
/// The problem of a ban that needs `--force`.
const BAN_NEEDS_FORCE: &str = "ban-needs-force";
/// The longest `Retry-After` that is followed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// A refusal as the server sent it.
#[derive(Debug)]
pub struct Problem {
    /// The answer.
    pub document: Document,
    /// The URL of the server.
    pub server: String,
    /// The last part of its `type`.
    pub name: String,
    /// The `x-request-id`, which the server's log has too.
    pub request_id: Option<String>,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused.
    #[error("{}", .0.in_words())]
    Refused(Box<Problem>),
    /// There is no session.
    #[error("Not logged in: {0}")]
    NotLoggedIn(String),
    /// Nobody answered.
    #[error("cannot reach {url}: {}{}", deepest(.source), remedy(.source))]
    Unreachable {
        /// The server.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// What answered is not bangui, or something between.
    #[error(
        "{url} answered {what}, which bangui never does: is the URL right, and does the proxy in front of it reach a worker?"
    )]
    Foreign {
        /// The server.
        url: String,
        /// What it answered.
        what: String,
        /// Whether it says "not now", as a proxy without workers does.
        is_passing: bool,
    },
    /// What was asked for was not done, or only in part.
    #[error("{0}")]
    NotDone(String),
    /// Wrong usage, or a kept login that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// Nobody reads the output any more.
    #[error("the output was closed")]
    OutputClosed,
    /// This machine is at fault.
    #[error("{what}: {source}")]
    Local {
        /// What failed.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ClientError {
    /// Something failed on this machine.
    pub fn local(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Local { what, source }
    }

    /// `Ok`, unless there is something to report about what was not done.
    ///
    /// # Errors
    /// If so.
    pub fn unless_done(failed: Option<String>) -> Result<(), Self> {
        failed.map_or(Ok(()), |words| Err(Self::NotDone(words)))
    }

    /// Whether the server refused with the problem of this name.
    #[must_use]
    pub fn is_problem(&self, name: &str) -> bool {
        matches!(self, Self::Refused(problem) if problem.name == name)
    }

    /// Whether the same request may be answered otherwise soon.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused(problem) => is_passing(problem.document.status) || problem.name == UNDER_WAY,
            Self::Unreachable { source, .. } => !source.is_builder(),
            Self::Foreign { is_passing, .. } => *is_passing,
            _ => false,
        }
    }

    /// Whether the request cannot have reached the server.
    #[must_use]
    pub fn was_not_sent(&self) -> bool {
        matches!(self, Self::Unreachable { source, .. } if source.is_connect())
    }

    /// When the server says to try again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let Self::Refused(problem) = self else { return None };
        let seconds = fields::PROBLEM_RETRY.of(&problem.document.value).as_u64()?;
        Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
    }
}

/// The words of a problem: its title, and each line of its detail, indented, so that none of them looks like a line of this program.
#[must_use]
pub fn title_and_detail(problem: &Value) -> Vec<String> {
    let title = printable(fields::PROBLEM_TITLE.text(problem)).into_owned();
    let detail = fields::PROBLEM_DETAIL.text(problem).lines().map(|line| format!("  {}", printable(line)));
    std::iter::once(title).chain(detail).collect()
}

/// Whether an answer with this status says "not now".
pub fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504)
}

impl Problem {
    /// The answer as a problem, if it is one of bangui's.
    ///
    /// # Errors
    /// Gives the answer back otherwise.
    pub fn of(document: Document, server: String, request_id: Option<String>) -> Result<Self, Document> {
        match fields::PROBLEM_TYPE.text(&document.value).strip_prefix(TYPE_PREFIX) {
            Some(name) => Ok(Self { name: name.to_owned(), server, document, request_id }),
            None => Err(document),
        }
    }

    /// Title, detail, what to do, and how to find more about it.
    fn in_words(&self) -> String {
        let mut lines = title_and_detail(&self.document.value);
        if self.name == SETUP_INCOMPLETE {
            lines.insert(1, format!("  Open {}/setup in a browser.", self.server));
        }
        lines.extend(self.advice().map(|advice| format!("  {advice}")));
        let request =
            self.request_id.as_ref().map(|id| format!(", request {}", printable(id))).unwrap_or_default();
        lines.push(format!("  (problem `{}`{request})", printable(&self.name)));
        lines.join("\n")
    }

    fn advice(&self) -> Option<String> {
        let retry = fields::PROBLEM_RETRY.of(&self.document.value).as_u64();
        match (self.document.status.as_u16(), self.name.as_str()) {
            (_, CONFIRMATION_REQUIRED) => {
                Some("Run this on a terminal, where the password can be asked for.".into())
            }
            (_, WRONG_LOGIN) => Some(
                "Is it the right user (--username NAME)? Accounts of single sign-on have no password: `bangui login --token` takes a token.".into(),
            ),
            (_, PASSWORD_LOGIN_OFF) => Some(
                "Make a token on the page of your account, and give it to `bangui login --token`.".into(),
            ),
            (_, SETUP_REQUIRED) => {
                Some("Log in on the page /login in a browser first, which sets the second factor up.".into())
            }
            (_, BAN_NEEDS_FORCE) => Some("Add --force to ban it nevertheless.".into()),
            (404, _) => Some("`bangui servers`, `bangui jails` and `bangui jobs` list what there is.".into()),
            (421, _) => Some(
                "Use a URL whose host the workers' BANGUI_PUBLIC_URL or BANGUI_ALLOWED_HOSTS names.".into(),
            ),
            (status, _) if is_passing(StatusCode::from_u16(status).unwrap_or_default()) => {
                Some(match retry {
                    Some(seconds) => format!("Try again in {seconds} s."),
                    None => "Try again later.".into(),
                })
            }
            _ => None,
        }
    }
}

/// What it was caused by in the end: what is around it names layers of the HTTP client.
fn deepest(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// What to do about a connection that was not made.
fn remedy(error: &reqwest::Error) -> &'static str {
    if deepest(error).contains("certificate") {
        ": add the CA of its certificate to those of the system, or name a PEM file with it in SSL_CERT_FILE"
    } else if error.is_timeout() {
        ": it did not answer in time"
    } else {
        ": does it run, and is the URL right?"
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NotLoggedIn(_) => Self::NotLoggedIn(error.to_string()),
            ClientError::Unreachable { .. } | ClientError::Foreign { .. } => {
                Self::Unavailable(error.to_string())
            }
            ClientError::Refused(ref problem) if is_passing(problem.document.status) => {
                Self::Unavailable(error.to_string())
            }
            ClientError::Refused(_) | ClientError::NotDone(_) | ClientError::Local { .. } => {
                Self::NotDone(error.to_string())
            }
            ClientError::Usage(words) => Self::Refused(words),
            ClientError::OutputClosed => Self::Quiet,
        }
    }
}
