//! `bangui reset-password`: sets a new password for the admin, or another user, and ends all their sessions. With `--second-factor` it
//! removes their second factors instead.
//!
//! Needs access to Redis and nothing else. It changes nothing else: an account that is disabled stays so.

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use super::{Failure, Outcome, REDIS_TIMEOUT, connected, one_thread, started};
use crate::actions::Actor;
use crate::config::{Environment, Flags, ResetPasswordConfig, roles};
use crate::password::{self, rules};
use crate::store::{AuditRecord, Owner, Store, StoreError, Username};

const MAX_ATTEMPTS: usize = 3;

/// Sets the password and prints what was done.
///
/// # Errors
/// If the configuration is invalid, there is no terminal to ask on, the entries differ, or Redis does not store it.
pub fn run(environment: &Environment, flags: &Flags, user: Option<&str>, factors: bool) -> Outcome {
    let username = Username::parse(user.unwrap_or(Username::ADMIN))
        .map_err(|error| Failure::Refused(format!("USER: {error}")))?;
    let config = started(roles::reset_password(environment, flags)?);
    if factors {
        println!("{}", one_thread()?.block_on(remove_factors(config, username))?);
        return Ok(());
    }
    if let Some(password) = &config.password {
        rules::check(password.expose_secret(), username.as_str())
            .map_err(|weak| Failure::Refused(format!("BANGUI_ADMIN_PASSWORD: {weak}")))?;
    }
    println!("{}", one_thread()?.block_on(reset(config, username))?);
    Ok(())
}

/// What came of a reset.
enum Reset {
    /// It is made.
    Done {
        /// Whether the account is disabled.
        disabled: bool,
    },
    /// There is no such account.
    Nobody,
    /// The account has no password.
    OfProvider,
}

/// Stores the hash of the password from the configuration or the terminal. Returns the line to print.
async fn reset(config: ResetPasswordConfig, username: Username) -> anyhow::Result<String> {
    let password = match config.password {
        Some(password) => password,
        None => {
            let name = username.clone();
            tokio::task::spawn_blocking(move || ask(&name))
                .await
                .context("failed to prompt for the password")??
        }
    };
    let hash = tokio::task::spawn_blocking(move || password::hash(password.expose_secret()))
        .await
        .context("failed to hash the password")??;
    let store = Store::open_unsupervised(&config.redis)?;
    store.keep_audit_for(config.audit_kept);
    connected(&store).await.context("nothing was changed")?;
    let target = (username.as_str() != Username::ADMIN).then(|| username.to_string());
    let record = AuditRecord { target, ..Actor::operator().record("password.reset") };
    let reset = async {
        let account = store.account(&username).await?;
        if account.as_ref().is_some_and(|account| account.provider.is_some()) {
            return Ok(Reset::OfProvider);
        }
        let disabled = account.as_ref().is_some_and(|account| account.standing.disabled);
        let owner = match account {
            Some(account) => account.owner,
            // Whoever reaches Redis may take the setup's place.
            None if username.as_str() == Username::ADMIN => Owner::admin(),
            None => return Ok(Reset::Nobody),
        };
        let done = store.reset_password(&owner, &hash, &record).await?;
        Ok::<_, StoreError>(if done { Reset::Done { disabled } } else { Reset::Nobody })
    };
    let done = timeout(REDIS_TIMEOUT, reset)
        .await
        .context("Redis did not answer: the password may or may not have been changed, try again")??;
    let disabled = match done {
        Reset::Done { disabled } => disabled,
        Reset::Nobody => bail!("there is no user {username}: an admin invites one on the page /users"),
        Reset::OfProvider => {
            bail!("the user {username} logs in with single sign-on and has no password: nothing was changed")
        }
    };
    let whose = whose(&username);
    let stays = if disabled { " The account is disabled, and stays so." } else { "" };
    Ok(format!(
        "Changed the password of {whose} and ended all their sessions; tokens for programs still work.{stays}"
    ))
}

fn whose(username: &Username) -> &str {
    if username.as_str() == Username::ADMIN { "the admin" } else { username.as_str() }
}

/// Removes all second factors. Returns the line to print.
async fn remove_factors(config: ResetPasswordConfig, username: Username) -> anyhow::Result<String> {
    let store = Store::open_unsupervised(&config.redis)?;
    store.keep_audit_for(config.audit_kept);
    connected(&store).await.context("nothing was changed")?;
    let target = (username.as_str() != Username::ADMIN).then(|| username.to_string());
    let record = AuditRecord { target, ..Actor::operator().record("factor.reset") };
    let remove = async {
        let Some(account) = store.account(&username).await? else { return Ok(None) };
        let removed = store.remove_factors(&account, &record).await?;
        Ok::<_, StoreError>(removed.then_some(account.factors.any()))
    };
    let removed = timeout(REDIS_TIMEOUT, remove)
        .await
        .context("Redis did not answer: the second factors may or may not have been removed, try again")??;
    let Some(had) = removed else { bail!("there is no user {username}") };
    let what = if had { "Removed the second factors of" } else { "There were no second factors of" };
    Ok(format!("{what} {}; all their sessions have ended. The password stays.", whose(&username)))
}

/// Asks twice, without echo.
fn ask(username: &Username) -> anyhow::Result<SecretString> {
    let prompt = |text: &str| {
        rpassword::prompt_password(text)
            .map(SecretString::from)
            .context("there is no terminal to ask on: set BANGUI_ADMIN_PASSWORD_FILE")
    };
    for _ in 0..MAX_ATTEMPTS {
        let first = prompt(&format!("New password of {username}: "))?;
        if let Err(weak) = rules::check(first.expose_secret(), username.as_str()) {
            eprintln!("Refused: {weak}.");
            continue;
        }
        if prompt("Repeat the password: ")?.expose_secret() == first.expose_secret() {
            return Ok(first);
        }
        eprintln!("The passwords differ.");
    }
    bail!("no valid password after {MAX_ATTEMPTS} attempts: nothing was changed")
}
