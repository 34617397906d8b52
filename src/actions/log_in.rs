//! Logging in: a password under the limits, then a session.
//!
//! Once begun, a login runs to completion even if the client hangs up: the attempt is still used, a wrong password
//! counts as a failure, a session has its audit entry, and everything is counted and logged.
//!
//! For the limits, all names that no account can have are one name, so that inventing names gains nothing: neither attempts, nor
//! places in the gate, nor keys in Redis.
//!
//! A browser that logs in while it has a session gets another one in its place: the older one ends.

use serde_json::json;

use super::attempt::{Attempt, TooManyAttempts, Verdict};
use super::{Actor, Context, Refusal, set_up};
use crate::password::gate::Turn;
use crate::password::{GateError, Origin, rules};
use crate::store::{
    Account, AuditRecord, LoginOrigin, SessionDetails, SessionId, SessionToken, StoreError, Username,
};

/// How many times a login is tried if sessions are revoked while it is under way.
const MAX_TRIES: usize = 3;

/// The name that stands for all names that no account can have. It is not one that an account can have either.
const NO_ACCOUNT: &str = "";

/// A login to be tried.
pub struct Login {
    /// The name, as it was typed.
    pub username: String,
    /// The password.
    pub password: String,
    /// Where it comes from.
    pub origin: LoginOrigin,
    /// The session that the browser has already.
    pub replaces: Option<SessionId>,
}

/// A session that has begun.
pub struct LoggedIn {
    /// The secret that proves it.
    pub token: SessionToken,
    /// The session itself.
    pub details: SessionDetails,
    generation: u64,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such account, or it has another password; the answer does not say which.
    #[error("wrong name or password")]
    Wrong,
    /// There is no account yet.
    #[error("setup is not complete")]
    SetupIncomplete,
    /// At each attempt all sessions were revoked, or the password was changed.
    #[error("the login was revoked while it was under way")]
    Overtaken,
    /// The limits refused it.
    #[error(transparent)]
    Limited(#[from] TooManyAttempts),
    /// No password could be checked.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Redis failed.
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
            | Self::Gate(GateError::Busy | GateError::Late)
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
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn log_in(context: &Context, login: Login) -> Result<LoggedIn, LoginError> {
    let task = context.clone();
    let action = async move {
        let outcome = attempt(&task, &login).await;
        report(&task, &login, outcome.as_ref().map(drop)).await;
        outcome
    };
    context.complete(action).await
}

/// Counts and logs the outcome, and records a refusal in the audit; a new session has its own entry.
async fn report(context: &Context, login: &Login, outcome: Result<(), &LoginError>) {
    let (ip, label) = (login.origin.ip, outcome.as_ref().map_or_else(|error| error.label(), |()| "success"));
    metrics::counter!("bangui_logins_total", "outcome" => label).increment(1);
    match outcome {
        Err(refused @ (LoginError::Wrong | LoginError::Limited(_))) => {
            let actor = Actor::without_session(ip, &context.worker);
            // People type passwords into the name field: only a name that an account can have is repeated.
            let (account, reason) = (Username::parse(&login.username), refused.to_string());
            context.note_refusal(Refusal { what: "login.refused", actor, account, reason }).await;
        }
        // Which of Redis, the gate and a revocation it was; those that are not said are counted in the access log.
        Err(error) => {
            if context.refusals.say_failed(ip) {
                tracing::info!(client.address = %ip, login.outcome = label, "login from {ip}: {label}: {error}");
            }
        }
        Ok(()) => tracing::info!(client.address = %ip, login.outcome = label, "login from {ip}: {label}"),
    }
}

/// Ends the session that the browser had before. A session that is gone, or another account's, is left alone. A missing
/// confirmation by the replicas is in the audit, and no reason to refuse the login.
async fn replace(context: &Context, login: &Login, begun: &SessionDetails) -> Result<(), StoreError> {
    let Some(older) = &login.replaces else { return Ok(()) };
    if !context.store.session_lives(older, context.session_life()).await? {
        return Ok(());
    }
    let record = AuditRecord {
        session: Some(begun.session.id),
        target: Some(older.to_string()),
        ..Actor::without_session(login.origin.ip, &context.worker).record("session.replace")
    };
    let ended = context.store.end_session(&begun.session.username, older, &record).await;
    match context.note_unconfirmed(record, ended).await {
        Ok(_) | Err(StoreError::Unconfirmed { .. }) => Ok(()),
        Err(error) => Err(error),
    }
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
    let outcome = match outcome {
        Ok(begun) => replace(context, login, &begun.details).await.map(|()| begun).map_err(LoginError::from),
        Err(refused) => Err(refused),
    };
    let verdict = |outcome: &Result<LoggedIn, LoginError>| match outcome {
        Ok(begun) => Verdict::Right { generation: begun.generation },
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
    if login.password.len() > rules::MAX_BYTES {
        return Err(LoginError::Wrong);
    }
    Ok((account, context.gate.enter(from).await?))
}

/// Checks the password and begins the session. If sessions were revoked, or the password was changed, between the two, the
/// check may be outdated, and the login starts again.
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
        // An unknown name matches no hash, at the cost of a wrong password.
        let hash = known.as_ref().map(|_| account.password_hash.as_str());
        if !turn.verify(&login.password, hash).await? {
            return Err(LoginError::Wrong);
        }
        let life = context.session_life();
        let audit = |details: &SessionDetails| AuditRecord {
            session: Some(details.session.id),
            after: json!({ "user_agent": details.user_agent }),
            ..Actor::without_session(login.origin.ip, &context.worker).record("session.begin")
        };
        let generation = account.generation;
        let begun = context
            .store
            .begin_session((&username, &account.access), generation, &login.origin, life, audit)
            .await?;
        if let Some((token, details)) = begun {
            return Ok(LoggedIn { token, details, generation });
        }
        if tried < MAX_TRIES {
            (account, turn) = ready(context, login, from).await?;
        } else {
            break;
        }
    }
    Err(LoginError::Overtaken)
}
