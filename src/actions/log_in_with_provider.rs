//! Logging in with the identity provider (single sign-on): the browser goes there with a secret of ours, and comes back with a code, to
//! whichever worker.
//!
//! ```text
//! begin ─▶ kept in Redis, under state AND the secret in the browser's cookie ─▶ provider ─▶ finish ─▶ taken once ─▶ code redeemed
//!        ─▶ groups ─▶ role, servers ─▶ account created or changed ─▶ session
//! ```
//!
//! What is kept is found only by the browser that has begun: nobody can be logged in to somebody else's account with a link. It is taken
//! before the code is redeemed, so that neither counts twice, at any worker.
//!
//! The groups decide at each login. Where they allow something else than before, the account is changed first, which ends its sessions
//! and tokens for programs; where they allow nothing any more, the account ends with them. Redis keeps the last admin.
//!
//! The same way confirms a session before a sensitive change, where an account has no password: the provider is then asked for a proof even
//! if it knows the browser.

use std::net::IpAddr;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::attempt::TooManyAttempts;
pub use super::provider_account::SignOnError;
use super::provider_account::{Arrival, Result, log_in, user_without_session};
use super::{Actor, Context, Refusal, set_up};
use crate::domain::{Timestamp, Username};
use crate::provider::Redeem;
use crate::store::{
    LoginOrigin, OnceHash, OnceKind, OnceSecret, Proof, ProofKind, ProviderUser, SessionId, SessionToken,
    StoreError,
};

/// How long somebody may take at the provider.
pub const KEPT_FOR: Duration = Duration::from_secs(600);
/// A way to the provider, to be begun.
pub struct Start {
    /// Where it comes from.
    pub ip: IpAddr,
    /// The secret in the browser's cookie.
    pub browser: OnceSecret,
    /// The page that it leads to.
    pub next: String,
    /// The session to be confirmed; none for a login.
    pub confirms: Option<SessionId>,
    /// A form that is kept over it, as whoever has it writes it.
    pub form: Option<String>,
}

/// What a browser came back with.
pub struct Return {
    /// The state.
    pub state: Option<OnceSecret>,
    /// The secret in the browser's cookie.
    pub browser: Option<OnceSecret>,
    /// The code, if the provider sent one.
    pub code: Option<String>,
    /// Its reason, if it sent none.
    pub error: Option<String>,
    /// Who it says that it is.
    pub issuer: Option<String>,
    /// Where the browser is.
    pub origin: LoginOrigin,
    /// The session that the browser has already.
    pub replaces: Option<Proof>,
}

/// What became of it.
pub enum Finished {
    /// A session has begun.
    LoggedIn {
        /// The secret that proves it.
        token: SessionToken,
        /// The page that it leads to.
        next: String,
        /// The form that was kept.
        form: Option<String>,
    },
    /// The session is confirmed.
    Confirmed {
        /// The page that it leads to.
        next: String,
        /// The form that was kept.
        form: Option<String>,
    },
}

/// What is kept while the browser is at the provider.
#[derive(Serialize, Deserialize)]
struct Waiting {
    nonce: String,
    verifier: String,
    next: String,
    /// The session to be confirmed.
    confirms: Option<String>,
    /// When it began, in seconds since 1970.
    since: i64,
    /// A form that is kept.
    #[serde(default)]
    form: Option<String>,
}

/// Both secrets are needed to find what is kept.
fn place(state: &OnceSecret, browser: &OnceSecret) -> OnceHash {
    let digest = Sha256::new().chain_update(state.reveal()).chain_update([0]).chain_update(browser.reveal());
    OnceHash::from_bytes(digest.finalize().into())
}

/// Begins a login, or a confirmation: the address at the provider to send the browser to.
///
/// # Errors
/// [`SignOnError`]; each one is counted and logged here.
pub async fn begin(context: &Context, start: Start) -> Result<Url> {
    let ip = start.ip;
    let begun = try_begin(context, start).await;
    if let Err(error) = &begun {
        report(context, ip, None, Err(error)).await;
    }
    begun
}

async fn try_begin(context: &Context, start: Start) -> Result<Url> {
    let provider = context.provider.as_ref().ok_or(SignOnError::NoProvider)?;
    if !context.store.setup_complete().await? {
        set_up::log_code(context).await;
        return Err(SignOnError::SetupIncomplete);
    }
    // Each one takes a place in Redis: as many as passwords may be tried.
    if let Some((limit, retry_after)) = context.store.admit_attempt(start.ip, context.login_limits()).await? {
        return Err(TooManyAttempts::counted(&context.store, limit, retry_after).await.into());
    }
    let state = OnceSecret::fresh()?;
    let begun = provider.begin(state.reveal(), start.confirms.is_some()).await?;
    let waiting = Waiting {
        nonce: begun.nonce,
        verifier: begun.verifier.expose_secret().to_owned(),
        next: start.next,
        confirms: start.confirms.map(|session| session.to_string()),
        since: context.store.about_now().timestamp(),
        form: start.form,
    };
    let bytes = serde_json::to_vec(&waiting).map_err(|error| StoreError::corrupt(error.to_string()))?;
    let place = place(&state, &start.browser);
    context.store.keep_once(OnceKind::ProviderLogin, &place, &bytes, KEPT_FOR).await?;
    Ok(begun.url)
}

/// Finishes what a browser has begun, at whichever worker.
///
/// # Errors
/// [`SignOnError`]; each one is counted and logged here, as a success is.
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn finish(context: &Context, back: Return) -> Result<Finished> {
    let task = context.clone();
    let action = async move {
        let (ip, mut known) = (back.origin.ip, None);
        let outcome = try_finish(&task, &back, &mut known).await;
        report(
            &task,
            ip,
            known,
            outcome.as_ref().map(|finished| matches!(finished, Finished::LoggedIn { .. })),
        )
        .await;
        outcome
    };
    context.complete(action).await
}

/// Counts and logs the outcome, and records a refusal in the audit; a new session has its own entry.
async fn report(
    context: &Context,
    ip: IpAddr,
    account: Option<Username>,
    outcome: std::result::Result<bool, &SignOnError>,
) {
    let label = match &outcome {
        // A confirmation is no login.
        Ok(false) => return,
        Ok(true) => "success",
        Err(error) => error.label(),
    };
    metrics::counter!("bangui_logins_total", "outcome" => label).increment(1);
    match outcome {
        Ok(_) => tracing::info!(
            client.address = %ip, login.outcome = label, login.with = "provider", "login from {ip} with the provider: {label}"
        ),
        Err(error) if matches!(label, "refused" | "limited") => {
            let actor = Actor::without_session(ip, &context.worker);
            let reason = format!("with the provider: {error}");
            context.note_refusal(Refusal { what: "login.refused", actor, account, reason }).await;
        }
        Err(error) => {
            if context.refusals.say_failed(ip) {
                tracing::info!(
                    client.address = %ip, login.outcome = label, login.with = "provider",
                    "login from {ip} with the provider: {label}: {error}"
                );
            }
        }
    }
}

async fn try_finish(context: &Context, back: &Return, known: &mut Option<Username>) -> Result<Finished> {
    let provider = context.provider.as_ref().ok_or(SignOnError::NoProvider)?;
    let (Some(state), Some(browser)) = (&back.state, &back.browser) else {
        return Err(SignOnError::NotBegun);
    };
    let place = place(state, browser);
    // Strangers come with inventions: what is not there costs one read, and no write that replicas confirm.
    context.store.see_once(OnceKind::ProviderLogin, &place).await?.ok_or(SignOnError::NotBegun)?;
    let taken = context.store.take_once(OnceKind::ProviderLogin, &place).await?;
    // What a newer version has kept is as good as nothing.
    let waiting: Waiting =
        taken.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or(SignOnError::NotBegun)?;
    // RFC 9207: the browser was sent to one provider, and another one answers.
    if back.issuer.as_deref().is_some_and(|issuer| issuer != provider.issuer()) {
        return Err(SignOnError::OtherProvider);
    }
    let Some(code) = back.code.as_deref().filter(|_| back.error.is_none()) else {
        let reason = back.error.as_deref().unwrap_or("it sent no code");
        let word = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ');
        return Err(SignOnError::Denied(reason.chars().filter(word).take(60).collect()));
    };
    let verifier = SecretString::from(waiting.verifier);
    let again_since = waiting.confirms.as_ref().and_then(|_| Timestamp::from_timestamp(waiting.since, 0));
    let now = context.store.about_now();
    let redeem = Redeem { code, verifier: &verifier, nonce: &waiting.nonce, again_since, now };
    let identity = provider.redeem(redeem).await?;
    let user = ProviderUser { issuer: provider.issuer().to_owned(), subject: identity.subject.clone() };
    if let Err(error) = context.store.give_back_attempt(back.origin.ip, context.login_limits()).await {
        tracing::debug!(error = %error, "failed to give back the login attempt of a login with the provider: it counts against the login limit");
    }
    match waiting.confirms {
        Some(session) => {
            confirm(context, back, &session, &user).await?;
            Ok(Finished::Confirmed { next: waiting.next, form: waiting.form })
        }
        None => {
            let arrival = Arrival { origin: back.origin.clone(), replaces: back.replaces };
            let token = log_in(context, provider, &arrival, &identity, &user, known).await?;
            Ok(Finished::LoggedIn { token, next: waiting.next, form: waiting.form })
        }
    }
}

/// Confirms the session that asked for it, if the same browser still has it and the same user came back.
async fn confirm(context: &Context, back: &Return, session: &str, user: &ProviderUser) -> Result<()> {
    let proof =
        back.replaces.filter(|proof| proof.kind == ProofKind::Session && proof.id.to_string() == session);
    let proof = proof.ok_or(SignOnError::NotBegun)?;
    let account = context.store.provider_account(user).await?;
    let account =
        account.filter(|account| account.owner.id == proof.account).ok_or(SignOnError::SomebodyElse)?;
    let actor =
        Actor { session: Some(proof.id), ..user_without_session(context, back.origin.ip, &account.owner) };
    if context.store.session_lives(&proof, context.session_life()).await?
        && context.store.confirm_session(&proof.id, &actor.record("session.confirm_at_provider")).await?
    {
        Ok(())
    } else {
        Err(SignOnError::NotBegun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_only_with_both_secrets() {
        let (state, browser, other) =
            (OnceSecret::fresh().unwrap(), OnceSecret::fresh().unwrap(), OnceSecret::fresh().unwrap());
        assert_eq!(place(&state, &browser), place(&state, &browser));
        assert_ne!(place(&state, &browser), place(&state, &other));
        assert_ne!(place(&state, &browser), place(&other, &browser));
        assert_ne!(place(&state, &browser), place(&browser, &state));
    }
}
