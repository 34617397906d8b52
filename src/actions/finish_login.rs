//! The second step of a login: a code of the user's app, or a recovery code, for a login that waits for it.
//!
//! Wrong codes end the login, and count under a limit of their own, a tenth of that for passwords: a code has only six digits. It holds for
//! every address, also for those that the account knows, since whoever gets here has the password; and nobody else can use it up. Each code is
//! an attempt of its address.
//!
//! A login whose account was changed, whose password was, or whose sessions were all ended since it began, is over.

use std::net::IpAddr;
use std::num::NonZeroU32;

use super::attempt::{Attempt, TooManyAttempts, Verdict, remember};
use super::open_session::{LoggedIn, Opening, open_session, replace};
use super::passkeys::PasskeyError;
use super::relying_party::NoPasskeys;
use super::{Actor, Context, Refusal};
use crate::config::RateLimit;
use crate::domain::second_factor::TypedCode;
use crate::store::{
    Account, FactorUse, Fits, LoginLimits, LoginOrigin, OnceHash, OnceSecret, Owner, Proof, StoreError,
    Username, WaitingLogin,
};

/// How many wrong codes of an account are admitted at least: as many as one login may try.
const MIN_WRONG: u32 = 5;

/// The second step.
pub struct SecondStep {
    /// By which the login continues.
    pub secret: String,
    /// What was typed.
    pub code: String,
    /// Where it comes from.
    pub origin: LoginOrigin,
    /// The session that the browser has already.
    pub replaces: Option<Proof>,
}

/// Why a login was not finished.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The code is wrong, or was used before.
    #[error("wrong code, or one that was used before")]
    Wrong,
    /// The same, and it was the last one that this login may try.
    #[error("wrong code, or one that was used before: the login has ended after too many")]
    LastWrong,
    /// There is no such login, or it does not wait any more.
    #[error("the login was finished already, took longer than five minutes, or its account was changed")]
    Over,
    /// The passkey is not of the account, or what was signed is not for this login.
    #[error("the passkey was refused: {0}")]
    Passkey(String),
    /// The counter of the passkey went back.
    #[error("the counter of the passkey went back: it may have been copied")]
    Copied,
    /// The passkey that the login was to set up was not added.
    #[error(transparent)]
    NewPasskey(PasskeyError),
    /// There are no passkeys here.
    #[error(transparent)]
    NoPasskeys(#[from] NoPasskeys),
    /// The limits refused it.
    #[error(transparent)]
    Limited(#[from] TooManyAttempts),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PasskeyError> for FinishError {
    fn from(error: PasskeyError) -> Self {
        match error {
            PasskeyError::Off(why) => why.into(),
            PasskeyError::Store(error) => error.into(),
            PasskeyError::Overtaken => Self::Over,
            error => Self::NewPasskey(error),
        }
    }
}

impl FinishError {
    /// The word for metrics and logs.
    fn label(&self) -> &'static str {
        match self {
            Self::Wrong | Self::LastWrong => "wrong_code",
            Self::Passkey(_) | Self::Copied | Self::NewPasskey(_) => "wrong_passkey",
            Self::Over | Self::NoPasskeys(_) => "over",
            Self::Limited(_) => "limited",
            Self::Store(StoreError::Corrupt { .. }) => "error",
            Self::Store(_) => "unavailable",
        }
    }
}

type Result<T> = std::result::Result<T, FinishError>;

/// The name in the limits under which wrong codes of an account count. No account has such a name.
pub(super) fn name_in_limits(owner: &Owner) -> String {
    format!("{} code", owner.username)
}

/// The limits for codes. With the default, of a million codes of which three are right at a time, ten an hour are tried.
fn limits_of_codes(limits: LoginLimits) -> LoginLimits {
    let burst = NonZeroU32::new((limits.failures.burst.get() / 10).max(MIN_WRONG)).unwrap_or(NonZeroU32::MIN);
    LoginLimits { failures: RateLimit { burst, ..limits.failures }, ..limits }
}

/// Finds a login that waits, with the account as it is now.
pub(super) async fn find(context: &Context, secret: &str) -> Result<(OnceHash, WaitingLogin, Account)> {
    let hash = OnceSecret::parse(secret).ok_or(FinishError::Over)?.hash();
    let (login, account) = find_by_hash(context, &hash).await?;
    Ok((hash, login, account))
}

/// The same under its hash.
pub(super) async fn find_by_hash(context: &Context, hash: &OnceHash) -> Result<(WaitingLogin, Account)> {
    let login = context.store.waiting_login(hash).await?.ok_or(FinishError::Over)?;
    let owner = login.owner()?;
    let account = context.store.account(&owner.username).await?;
    let account = account.filter(|account| {
        account.owner.id == owner.id && account.generation == login.generation() && !account.standing.disabled
    });
    Ok((login, account.ok_or(FinishError::Over)?))
}

/// Checks the code and begins a session.
///
/// # Errors
/// [`FinishError`]; each one is counted and logged here, as a success is.
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn finish(context: &Context, step: SecondStep) -> Result<LoggedIn> {
    let task = context.clone();
    let action = async move {
        let mut known = None;
        let outcome = attempt(&task, &step, &mut known).await;
        report(&task, step.origin.ip, known, outcome.as_ref().map(drop)).await;
        outcome
    };
    context.complete(action).await
}

/// Counts and logs the outcome, and records a refusal in the audit; a new session has its own entry.
pub(super) async fn report(
    context: &Context,
    ip: IpAddr,
    account: Option<Username>,
    outcome: std::result::Result<(), &FinishError>,
) {
    let label = outcome.as_ref().map_or_else(|error| error.label(), |()| "success");
    metrics::counter!("bangui_logins_total", "outcome" => label).increment(1);
    match outcome {
        Err(
            refused @ (FinishError::Wrong
            | FinishError::LastWrong
            | FinishError::Passkey(_)
            | FinishError::Copied
            | FinishError::NewPasskey(PasskeyError::Refused(_))
            | FinishError::Limited(_)),
        ) => {
            let actor = Actor::without_session(ip, &context.worker);
            let reason = refused.to_string();
            context.note_refusal(Refusal { what: "login.refused", actor, account, reason }).await;
        }
        Err(error) => {
            if context.refusals.say_failed(ip) {
                tracing::info!(client.address = %ip, login.outcome = label, "login from {ip}: {label}: {error}");
            }
        }
        Ok(()) => tracing::info!(client.address = %ip, login.outcome = label, "login from {ip}: {label}"),
    }
}

async fn attempt(context: &Context, step: &SecondStep, known: &mut Option<Username>) -> Result<LoggedIn> {
    let (hash, login, account) = find(context, &step.secret).await?;
    *known = Some(account.owner.username.clone());
    let ip = step.origin.ip;
    let name = name_in_limits(&account.owner);
    let limits = limits_of_codes(context.login_limits());
    let attempt = Attempt::begin_under::<FinishError>(context, limits, &name, None, ip).await?;
    let outcome = use_code(context, step, &hash, &login, &account).await;
    let factor = attempt.settle(outcome, verdict).await?;
    let opening = Opening {
        owner: &account.owner,
        access: &account.standing.access,
        generation: login.generation(),
        factor: Some(factor),
        origin: &step.origin,
    };
    // All sessions were ended since the code was checked.
    let begun = open_session(context, opening).await?.ok_or(FinishError::Over)?;
    replace(context, &step.origin, step.replaces.as_ref(), &begun.details).await?;
    remember(&context.store, account.owner.username.as_str(), ip, login.generation()).await;
    Ok(begun)
}

pub(super) fn verdict<T>(outcome: &Result<T>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Incomplete,
        Err(FinishError::Wrong | FinishError::LastWrong) => Verdict::Wrong,
        Err(_) => Verdict::Unknown,
    }
}

/// Uses the code up, and says which factor it was of.
async fn use_code(
    context: &Context,
    step: &SecondStep,
    hash: &OnceHash,
    login: &WaitingLogin,
    account: &Account,
) -> Result<&'static str> {
    let (fits, factor) = match TypedCode::parse(&step.code) {
        Some(TypedCode::App(code)) => {
            let app = account.factors.app.as_ref();
            let step = app.and_then(|app| app.secret.step_of(&code, context.store.about_now()));
            match (app, step) {
                (Some(app), Some(step)) => (Fits::App((&app.secret).into(), step), "app"),
                _ => (Fits::Nothing, ""),
            }
        }
        Some(TypedCode::Recovery(code)) => (Fits::Recovery(code.hash()), "recovery-code"),
        None => (Fits::Nothing, ""),
    };
    match context.store.use_factor(hash, login, fits).await? {
        FactorUse::Accepted => Ok(factor),
        FactorUse::Wrong => Err(FinishError::Wrong),
        FactorUse::LastWrong => Err(FinishError::LastWrong),
        FactorUse::Over => Err(FinishError::Over),
    }
}
