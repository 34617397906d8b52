//! Logging in: a password under the limits, then a session.
//!
//! Once begun, a login runs to completion even if the client hangs up: the attempt is still used, a wrong password
//! counts as a failure, a session has its audit entry, and everything is counted and logged.
//!
//! For the limits, all names that no account has are one name, so that inventing names gains nothing: neither attempts, nor
//! places in the gate, nor keys in Redis. Whether there is an account is read first, at the same cost either way.
//!
//! A disabled account is refused in the words of a wrong password; the audit says why.
//!
//! Where the account has a second factor, the right password begins no session: the login waits for it (`finish_login.rs`). The address does
//! not become a known one by the password alone.
//!
//! A browser that logs in while it has a session gets another one in its place: the older one ends.

use super::attempt::{Attempt, TooManyAttempts, Verdict};
pub use super::open_session::LoggedIn;
use super::open_session::{Opening, open_session, replace};
use super::{Actor, Context, Refusal, set_up};
use crate::password::gate::Turn;
use crate::password::{GateError, Origin, rules};
use crate::store::{
    Account, Factors, LoginOrigin, OnceSecret, Owner, Proof, StoreError, Username, WaitingLogin,
};

/// How many times a login is tried if sessions are revoked while it is under way.
const MAX_TRIES: usize = 3;

/// The name that stands for all names that no account has. It is not one that an account can have either.
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
    pub replaces: Option<Proof>,
}

/// A login whose password was right, and which waits for a second factor.
#[derive(Debug)]
pub struct Waits {
    /// By which it continues (`finish_login.rs`).
    pub secret: OnceSecret,
    /// Whether the account has an authenticator app.
    pub app: bool,
    /// Whether it has recovery codes left.
    pub recovery_codes: bool,
    /// Whether passkeys can be used here, and it has some, or may set one up.
    pub passkeys: bool,
    /// Whether it has none of these, and must set one up first (`set_up_at_login.rs`).
    pub must_set_up: bool,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such account, or it has another password; the answer does not say which.
    #[error("wrong name or password")]
    Wrong,
    /// The password is right, but the account is disabled, which the answer does not say.
    #[error("the account is disabled")]
    Disabled,
    /// Passwords log only one account in here, and this is not its name.
    #[error("passwords are switched off for all accounts but one")]
    PasswordOff,
    /// The password is right, and the account has a second factor, or must set one up.
    #[error("the password is right, and a second factor is required")]
    SecondFactor(Box<Waits>),
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
            Self::Wrong | Self::Disabled => "wrong",
            Self::PasswordOff => "refused",
            Self::Limited(_) => "limited",
            Self::SecondFactor(_) => "second_factor",
            Self::SetupIncomplete => "before_setup",
            Self::Overtaken
            | Self::Gate(GateError::Busy | GateError::Late)
            | Self::Store(
                StoreError::Unavailable { .. }
                | StoreError::Full { .. }
                | StoreError::WritesRefused { .. }
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
        let mut known = None;
        let outcome = attempt(&task, &login, &mut known).await;
        report(&task, &login, known, outcome.as_ref().map(drop)).await;
        outcome
    };
    context.complete(action).await
}

/// Counts and logs the outcome, and records a refusal in the audit; a new session has its own entry.
async fn report(
    context: &Context,
    login: &Login,
    account: Option<Username>,
    outcome: Result<(), &LoginError>,
) {
    let (ip, label) = (login.origin.ip, outcome.as_ref().map_or_else(|error| error.label(), |()| "success"));
    metrics::counter!("bangui_logins_total", "outcome" => label).increment(1);
    match outcome {
        Err(
            refused @ (LoginError::Wrong
            | LoginError::Disabled
            | LoginError::PasswordOff
            | LoginError::Limited(_)),
        ) => {
            let actor = Actor::without_session(ip, &context.worker);
            // People type passwords into the name field: only the name of an account is repeated.
            let reason = refused.to_string();
            context.note_refusal(Refusal { what: "login.refused", actor, account, reason }).await;
        }
        Err(error @ LoginError::SecondFactor(_)) => {
            tracing::info!(client.address = %ip, login.outcome = label, "login from {ip}: {label}: {error}");
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

/// One login under the limits. `known` becomes the name of the account that it is for, if there is one.
async fn attempt(
    context: &Context,
    login: &Login,
    known: &mut Option<Username>,
) -> Result<LoggedIn, LoginError> {
    // Before anything is read: whether there is such an account is not said.
    if !context.password_login.admits(&login.username) {
        return Err(LoginError::PasswordOff);
    }
    let found = find(context, login).await?;
    *known = found.as_ref().map(|account| account.owner.username.clone());
    let name = known.as_ref().map_or(NO_ACCOUNT, Username::as_str);
    let generation = found.as_ref().map(|account| account.generation);
    let attempt = Attempt::begin::<LoginError>(context, name, generation, login.origin.ip).await?;
    let from = attempt.origin();
    let outcome = match turn(context, login, from).await {
        Ok(turn) => begin(context, login, from, found, turn).await,
        Err(refused) => Err(refused),
    };
    let outcome = match outcome {
        Ok(begun) => {
            let older = login.replaces.as_ref();
            replace(context, &login.origin, older, &begun.details)
                .await
                .map(|()| begun)
                .map_err(LoginError::from)
        }
        Err(refused) => Err(refused),
    };
    let verdict = |outcome: &Result<LoggedIn, LoginError>| match outcome {
        Ok(begun) => Verdict::Right { generation: begun.generation },
        Err(LoginError::Wrong | LoginError::Disabled) => Verdict::Wrong,
        Err(LoginError::SecondFactor(_)) => Verdict::Incomplete,
        Err(_) => Verdict::Unknown,
    };
    attempt.settle(outcome, verdict).await
}

/// The account as it is now; none if there is none of that name.
async fn find(context: &Context, login: &Login) -> Result<Option<Account>, LoginError> {
    let Ok(username) = Username::parse(&login.username) else {
        return ready(context).await.map(|()| None);
    };
    if username.as_str() == Username::ADMIN {
        let found = context.store.account(&username).await?;
        if found.is_none() {
            ready(context).await?;
        }
        return Ok(found);
    }
    let (found, ready) = tokio::join!(context.store.account(&username), ready(context));
    ready?;
    Ok(found?)
}

/// Fails before setup.
async fn ready(context: &Context) -> Result<(), LoginError> {
    if context.store.setup_complete().await? {
        return Ok(());
    }
    set_up::log_code(context).await;
    Err(LoginError::SetupIncomplete)
}

/// The right to hash.
async fn turn(context: &Context, login: &Login, from: Origin) -> Result<Turn, LoginError> {
    if login.password.len() > rules::MAX_BYTES {
        return Err(LoginError::Wrong);
    }
    Ok(context.gate.enter(from).await?)
}

/// Checks the password and begins the session. If sessions were revoked, or the password was changed, between the two, the
/// check may be outdated, and the login starts again.
async fn begin(
    context: &Context,
    login: &Login,
    from: Origin,
    mut found: Option<Account>,
    mut turn_to_hash: Turn,
) -> Result<LoggedIn, LoginError> {
    for tried in 1..=MAX_TRIES {
        // An unknown name matches no hash, at the cost of a wrong password.
        let hash = found.as_ref().and_then(Account::hash);
        let right = turn_to_hash.verify(&login.password, hash).await?;
        let Some(Account { owner, standing, generation, factors, .. }) = found.filter(|_| right) else {
            return Err(LoginError::Wrong);
        };
        if standing.disabled {
            return Err(LoginError::Disabled);
        }
        if factors.any() || context.needs_second_factor(standing.access.role) {
            return Err(LoginError::SecondFactor(Box::new(
                wait(context, &owner, generation, &factors).await?,
            )));
        }
        let opening = Opening {
            owner: &owner,
            access: &standing.access,
            generation,
            factor: None,
            origin: &login.origin,
        };
        if let Some(begun) = open_session(context, opening).await? {
            return Ok(begun);
        }
        if tried == MAX_TRIES {
            break;
        }
        found = find(context, login).await?;
        turn_to_hash = turn(context, login, from).await?;
    }
    Err(LoginError::Overtaken)
}

/// Has the login wait for its second factor.
async fn wait(
    context: &Context,
    owner: &Owner,
    generation: u64,
    factors: &Factors,
) -> Result<Waits, StoreError> {
    let secret = context.store.keep_waiting_login(&WaitingLogin::of(owner, generation)).await?;
    let must_set_up = !factors.any();
    let passkeys = (must_set_up || !factors.passkeys.is_empty()) && context.passkeys.ready().is_ok();
    Ok(Waits {
        secret,
        app: factors.app.is_some(),
        recovery_codes: factors.recovery_codes > 0,
        passkeys,
        must_set_up,
    })
}
