//! Logging in: a password under the limits, then a session.
//!
//! Once begun, a login runs to its end, also if nobody waits for the answer: whoever hangs up has used the attempt all the same, a
//! wrong password counts as a failure, a session has its audit entry, and all of it is counted and logged.
//!
//! Names that no account can have share one name before the limits, so that inventing names gains nothing: neither tries, nor
//! places in the gate, nor keys in Redis.

use serde_json::json;

use super::attempt::{Attempt, TooManyAttempts, Verdict};
use super::{Actor, Context, set_up};
use crate::password::gate::Turn;
use crate::password::{GateError, Origin, rules};
use crate::store::{Account, AuditRecord, LoginOrigin, SessionDetails, SessionToken, StoreError, Username};

/// How often a login is started again because sessions were revoked while it was under way.
const MAX_TRIES: usize = 3;

/// What the limits call all names that no account can have; none of them is this one.
const NO_ACCOUNT: &str = "";

/// What somebody logs in with.
pub struct Login {
    /// The name, as it was typed.
    pub username: String,
    /// The password.
    pub password: String,
    /// Where it comes from.
    pub origin: LoginOrigin,
}

/// A session that has begun.
pub struct LoggedIn {
    /// The secret that proves it.
    pub token: SessionToken,
    /// The session itself.
    pub details: SessionDetails,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such account, or it has another password; nobody is told which.
    #[error("wrong name or password")]
    Wrong,
    /// There is no account yet.
    #[error("setup is not complete")]
    SetupIncomplete,
    /// Each time it was tried, all sessions were revoked, or the password was changed.
    #[error("the login was overtaken by revocations")]
    Overtaken,
    /// The limits refused it.
    #[error(transparent)]
    Limited(#[from] TooManyAttempts),
    /// No password could be checked.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Redis did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LoginError {
    /// The word for metrics and logs.
    fn label(&self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Limited(_) => "limited",
            Self::SetupIncomplete => "before_setup",
            Self::Overtaken
            | Self::Gate(GateError::Busy)
            | Self::Store(
                StoreError::Unavailable { .. }
                | StoreError::Full(_)
                | StoreError::WritesRefused(_)
                | StoreError::Unconfirmed { .. },
            ) => "unavailable",
            Self::Gate(_) | Self::Store(_) => "error",
        }
    }
}

/// Checks the password and begins a session.
///
/// # Errors
/// [`LoginError`]; each one is counted and logged here, as a success is.
pub async fn log_in(context: &Context, login: Login) -> Result<LoggedIn, LoginError> {
    let task = context.clone();
    let action = async move {
        let outcome = attempt(&task, &login).await;
        report(&login, outcome.as_ref().map(drop));
        outcome
    };
    context.complete(action).await
}

fn report(login: &Login, outcome: Result<(), &LoginError>) {
    let (ip, outcome) = (login.origin.ip, outcome.map_or_else(LoginError::label, |()| "success"));
    metrics::counter!("bangui_logins_total", "outcome" => outcome).increment(1);
    tracing::info!(client.address = %ip, login.outcome = outcome, "login from {ip}: {outcome}");
}

/// One login under the limits.
async fn attempt(context: &Context, login: &Login) -> Result<LoggedIn, LoginError> {
    let known = Username::parse(&login.username);
    let account = known.as_ref().map_or(NO_ACCOUNT, Username::as_str);
    let attempt = Attempt::begin::<LoginError>(context, account, login.origin.ip).await?;
    let from = attempt.origin();
    let outcome = match ready(context, login, from).await {
        Ok((account, turn)) => begin(context, login, from, account, turn).await,
        Err(refused) => Err(refused),
    };
    let verdict = |outcome: &Result<LoggedIn, LoginError>| match outcome {
        Ok(_) => Verdict::Right,
        Err(LoginError::Wrong) => Verdict::Wrong,
        Err(_) => Verdict::Unknown,
    };
    attempt.settle(outcome, verdict).await
}

/// The account as it is now, and the right to hash.
async fn ready(context: &Context, login: &Login, from: Origin) -> Result<(Account, Turn), LoginError> {
    let username = Username::parse(&login.username).unwrap_or_else(Username::admin);
    let Some(account) = context.store.account(&username).await? else {
        set_up::log_code(context).await;
        return Err(LoginError::SetupIncomplete);
    };
    if login.password.len() > *rules::LENGTH.end() {
        return Err(LoginError::Wrong);
    }
    Ok((account, context.gate.enter(from).await?))
}

/// Checks the password and begins the session. If sessions were revoked, or the password was changed, between the two, this
/// login may rest on what was true before, and starts again.
async fn begin(
    context: &Context,
    login: &Login,
    from: Origin,
    mut account: Account,
    mut turn: Turn,
) -> Result<LoggedIn, LoginError> {
    let known = Username::parse(&login.username);
    let username = known.clone().unwrap_or_else(Username::admin);
    for tried in 1..=MAX_TRIES {
        // An unknown name is matched by nothing, at the cost of a wrong password.
        let hash = known.as_ref().map(|_| account.password_hash.as_str());
        if !turn.verify(&login.password, hash).await? {
            return Err(LoginError::Wrong);
        }
        let life = context.session_life();
        // Only a login that succeeds is audited: anybody could fill the audit with the others.
        let audit = |details: &SessionDetails| AuditRecord {
            session: Some(details.session.id),
            after: json!({ "user_agent": details.user_agent }),
            ..Actor::without_session(login.origin.ip, &context.worker).record("session.begin")
        };
        let generation = account.generation;
        let begun = context.store.begin_session(&username, generation, &login.origin, life, audit).await?;
        if let Some((token, details)) = begun {
            return Ok(LoggedIn { token, details });
        }
        if tried < MAX_TRIES {
            (account, turn) = ready(context, login, from).await?;
        } else {
            break;
        }
    }
    Err(LoginError::Overtaken)
}
