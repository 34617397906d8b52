//! Logging in: a password under the limits, then a session.
//!
//! Waiting for a place to hash in ends with the client, and nothing has changed by then. From the hash on, the login runs to
//! its end: a wrong password counts as a failure, and a session has its audit entry, also if nobody waits for the answer.

use serde_json::json;

use super::attempt::{Attempt, TooManyAttempts, Verdict};
use super::{Actor, Context, set_up};
use crate::password::gate::Turn;
use crate::password::{GateError, rules};
use crate::store::{Account, AuditRecord, LoginOrigin, SessionDetails, SessionToken, StoreError, Username};

/// How often a login is started again because sessions were revoked while it was under way.
const MAX_TRIES: usize = 3;

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
    /// There is no such account, or it has another password; the answer does not say which.
    #[error("wrong name or password")]
    Wrong,
    /// There is no account yet.
    #[error("setup is not complete")]
    SetupIncomplete,
    /// Each time it was tried, all sessions were revoked, or the password was changed.
    #[error("the login was revoked while it was under way")]
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
    match Admitted::of(context, &login).await {
        Ok(admitted) => {
            let task = context.clone();
            let action = async move {
                let outcome = admitted.finish(&task, &login).await;
                report(&login, outcome.as_ref().map(drop));
                outcome
            };
            context.complete(action).await
        }
        Err(refused) => {
            report(&login, Err(&refused));
            Err(refused)
        }
    }
}

fn report(login: &Login, outcome: Result<(), &LoginError>) {
    let (ip, outcome) = (login.origin.ip, outcome.map_or_else(LoginError::label, |()| "success"));
    metrics::counter!("bangui_logins_total", "outcome" => outcome).increment(1);
    tracing::info!(client.address = %ip, login.outcome = outcome, "login from {ip}: {outcome}");
}

/// A login that the limits let through and that may hash a password now.
struct Admitted {
    attempt: Attempt,
    ready: Result<(Account, Turn), LoginError>,
}

impl Admitted {
    async fn of(context: &Context, login: &Login) -> Result<Self, LoginError> {
        let attempt = Attempt::begin::<LoginError>(context, &login.username, login.origin.ip).await?;
        Ok(Self { attempt, ready: ready(context, login).await })
    }

    async fn finish(self, context: &Context, login: &Login) -> Result<LoggedIn, LoginError> {
        let outcome = match self.ready {
            Ok((account, turn)) => begin(context, login, account, turn).await,
            Err(refused) => Err(refused),
        };
        let verdict = |outcome: &Result<LoggedIn, LoginError>| match outcome {
            Ok(_) => Verdict::Right,
            Err(LoginError::Wrong) => Verdict::Wrong,
            Err(_) => Verdict::Unknown,
        };
        self.attempt.settle(outcome, verdict).await
    }
}

/// The account as it is now, and the right to hash.
async fn ready(context: &Context, login: &Login) -> Result<(Account, Turn), LoginError> {
    let username = Username::parse(&login.username).unwrap_or_else(Username::admin);
    let Some(account) = context.store.account(&username).await? else {
        set_up::log_code(context).await;
        return Err(LoginError::SetupIncomplete);
    };
    if login.password.len() > *rules::LENGTH.end() {
        return Err(LoginError::Wrong);
    }
    Ok((account, context.gate.enter().await?))
}

/// Checks the password and begins the session. If sessions were revoked, or the password was changed, between the two, this
/// login may rest on what was true before, and starts again.
async fn begin(
    context: &Context,
    login: &Login,
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
            (account, turn) = ready(context, login).await?;
        } else {
            break;
        }
    }
    Err(LoginError::Overtaken)
}
