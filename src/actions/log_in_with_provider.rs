//! Logging in with the provider of identities (single sign-on): the browser goes there with a secret of ours, and comes back with a code, to
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
use serde_json::json;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::attempt::TooManyAttempts;
use super::manage_users::access_facts;
use super::{Actor, Context, Refusal, set_up};
use crate::domain::access::Access;
use crate::domain::{Timestamp, Username};
use crate::password::gate::NOBODY;
use crate::provider::{Identity, Provider, ProviderError, Redeem};
use crate::store::{
    Account, AccountChanged, AccountStanding, AuditRecord, LoginOrigin, NewProviderAccount, OnceHash,
    OnceKind, OnceSecret, Owner, Proof, ProofKind, ProviderAccountCreated, ProviderUser, SessionDetails,
    SessionId, SessionToken, StoreError,
};

/// How long somebody may take at the provider.
pub const KEPT_FOR: Duration = Duration::from_secs(600);
/// How many times a login is tried while its account changes.
const MAX_TRIES: usize = 8;

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
    },
    /// The session is confirmed.
    Confirmed {
        /// The page that it leads to.
        next: String,
    },
}

/// Why nobody was logged in, or nothing confirmed.
#[derive(Debug, thiserror::Error)]
pub enum SignOnError {
    /// There is no provider.
    #[error("no provider is configured")]
    NoProvider,
    /// There is no admin yet.
    #[error("setup is not complete")]
    SetupIncomplete,
    /// The address has begun too often.
    #[error(transparent)]
    Limited(#[from] TooManyAttempts),
    /// This browser has begun nothing that is not finished: another one did, or it was used, or too long ago.
    #[error("this browser has begun no such login, or it was used or took too long")]
    NotBegun,
    /// The provider says no.
    #[error("the provider refused: {0}")]
    Denied(String),
    /// Another provider answered.
    #[error("another provider has answered")]
    OtherProvider,
    /// It cannot be asked, or what came is not valid.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// None of the user's groups may do anything.
    #[error("no group of the user may do anything")]
    NoGroup,
    /// The provider names the user by nothing that an account could be named.
    #[error("the provider gave no name that an account can have")]
    NoName,
    /// Another account has the name.
    #[error("another account has the name `{0}`")]
    NameTaken(Username),
    /// The account is disabled.
    #[error("the account is disabled")]
    Disabled,
    /// The groups would take the last admin away.
    #[error("the user's groups allow less than before, and nobody else is an admin of all servers")]
    LastAdmin,
    /// Somebody else came back than the one whose session is to be confirmed.
    #[error("somebody else proved themselves than the one whose session it is")]
    SomebodyElse,
    /// The session there ended while the login was under way.
    #[error("the session at the provider has ended while the login was under way")]
    EndedThere,
    /// The account changed each time, or all its sessions were revoked.
    #[error("the account was changed while the login was under way")]
    Overtaken,
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Result<T> = std::result::Result<T, SignOnError>;

impl SignOnError {
    /// The word for metrics and logs.
    fn label(&self) -> &'static str {
        match self {
            Self::Limited(_) => "limited",
            Self::SetupIncomplete => "before_setup",
            Self::Provider(ProviderError::Away(_))
            | Self::Overtaken
            | Self::Store(
                StoreError::Unavailable { .. }
                | StoreError::Full(_)
                | StoreError::WritesRefused(_)
                | StoreError::Unconfirmed { .. },
            ) => "unavailable",
            Self::Store(_) => "error",
            _ => "refused",
        }
    }
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
    let taken = context.store.take_once(OnceKind::ProviderLogin, &place(state, browser)).await?;
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
        tracing::debug!(error = %error, "failed to take a login with the provider off the login limit");
    }
    match waiting.confirms {
        Some(session) => {
            confirm(context, back, &session, &user).await?;
            Ok(Finished::Confirmed { next: waiting.next })
        }
        None => {
            let token = log_in(context, provider, back, &identity, &user, known).await?;
            Ok(Finished::LoggedIn { token, next: waiting.next })
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
        && context.store.confirm_session(&proof.id, &actor.record("session.confirm")).await?
    {
        Ok(())
    } else {
        Err(SignOnError::NotBegun)
    }
}

/// The user before there is a session.
fn user_without_session(context: &Context, ip: IpAddr, owner: &Owner) -> Actor {
    let (username, account) = (owner.username.clone(), owner.id);
    Actor { username, account, ..Actor::without_session(ip, &context.worker) }
}

/// Makes the account what the groups say, and begins a session.
async fn log_in(
    context: &Context,
    provider: &Provider,
    back: &Return,
    identity: &Identity,
    user: &ProviderUser,
    known: &mut Option<Username>,
) -> Result<SessionToken> {
    let access = provider.access_of(&identity.groups);
    for _ in 0..MAX_TRIES {
        let account = context.store.provider_account(user).await?;
        *known = account.as_ref().map(|account| account.owner.username.clone());
        match (account, &access) {
            (None, None) => return Err(SignOnError::NoGroup),
            (None, Some(access)) => {
                let username = identity.username().ok_or(SignOnError::NoName)?;
                *known = Some(username.clone());
                create(context, back, user, &username, access).await?;
            }
            // What an admin has decided stays.
            (Some(account), _) if account.standing.disabled => return Err(SignOnError::Disabled),
            (Some(account), None) => {
                if end(context, back, &account).await? {
                    return Err(SignOnError::NoGroup);
                }
            }
            (Some(account), Some(access)) if account.standing.access != *access => {
                change(context, back, &account, access).await?;
            }
            (Some(account), Some(_)) => {
                if let Some(token) = open(context, back, identity, user, account).await? {
                    return Ok(token);
                }
            }
        }
    }
    Err(SignOnError::Overtaken)
}

async fn create(
    context: &Context,
    back: &Return,
    user: &ProviderUser,
    username: &Username,
    access: &Access,
) -> Result<()> {
    let actor = Actor::without_session(back.origin.ip, &context.worker);
    let record = AuditRecord {
        username: username.to_string(),
        after: access_facts(access),
        target: Some(username.to_string()),
        ..actor.record("user.provide")
    };
    let new = NewProviderAccount { user, username, access, unmatched_hash: NOBODY };
    let created = context.store.create_provider_account(new, &record).await;
    match context.note_unconfirmed(record, created).await? {
        ProviderAccountCreated::NameTaken => Err(SignOnError::NameTaken(username.clone())),
        ProviderAccountCreated::Done | ProviderAccountCreated::Overtaken => Ok(()),
    }
}

/// Gives the account what its user's groups allow now. Its sessions and tokens for programs end with the step.
async fn change(context: &Context, back: &Return, account: &Account, access: &Access) -> Result<()> {
    let after = AccountStanding { access: access.clone(), ..account.standing.clone() };
    let record = AuditRecord {
        target: Some(account.owner.username.to_string()),
        before: access_facts(&account.standing.access),
        after: access_facts(access),
        ..user_without_session(context, back.origin.ip, &account.owner).record("user.change")
    };
    let changed = context.store.change_account(account, &after, &record).await;
    match context.note_unconfirmed(record, changed).await? {
        AccountChanged::LastAdmin => Err(SignOnError::LastAdmin),
        AccountChanged::Done | AccountChanged::Overtaken => Ok(()),
    }
}

/// Ends the account of a user whose groups allow nothing any more; `false` if it was changed meanwhile. The last admin's stays, without
/// sessions.
async fn end(context: &Context, back: &Return, account: &Account) -> Result<bool> {
    let actor = user_without_session(context, back.origin.ip, &account.owner);
    let record = AuditRecord {
        target: Some(account.owner.username.to_string()),
        before: access_facts(&account.standing.access),
        ..actor.record("user.delete")
    };
    let deleted = context.store.delete_account(account, &record).await;
    match context.note_unconfirmed(record, deleted).await? {
        AccountChanged::Done => Ok(true),
        AccountChanged::Overtaken => Ok(false),
        AccountChanged::LastAdmin => {
            let record = actor.record("session.revoke_all");
            let ended = context.store.end_all_sessions(&account.owner, None, &record).await;
            context.note_unconfirmed(record, ended).await?;
            Ok(true)
        }
    }
}

/// Begins the session; none if all sessions of the account were revoked meanwhile.
async fn open(
    context: &Context,
    back: &Return,
    identity: &Identity,
    user: &ProviderUser,
    account: Account,
) -> Result<Option<SessionToken>> {
    let Account { owner, standing, generation, .. } = account;
    let life = context.session_life();
    let actor = user_without_session(context, back.origin.ip, &owner);
    let audit = |details: &SessionDetails| AuditRecord {
        session: Some(details.session.id),
        after: json!({ "user_agent": details.user_agent, "with": "provider" }),
        ..actor.record("session.begin")
    };
    let begun = context
        .store
        .begin_session((&owner, &standing.access), generation, &back.origin, life, audit)
        .await?;
    let Some((token, details)) = begun else { return Ok(None) };
    let id = details.session.id;
    // Nobody has the token yet: where this fails, nobody ever uses the session.
    let noted = context
        .store
        .note_provider_session(
            (&owner, &id),
            user,
            identity.sid.as_deref(),
            identity.issued_at,
            life.absolute,
        )
        .await;
    if !matches!(noted, Ok(true)) {
        let record = AuditRecord { session: Some(id), ..actor.record("session.end") };
        let ended = context.store.end_session(&owner, &id, &record).await;
        context.note_unconfirmed(record, ended).await?;
        noted?;
        return Err(SignOnError::EndedThere);
    }
    end_replaced(context, back, &owner, id).await?;
    Ok(Some(token))
}

/// Ends the session that the browser had before, as a login with a password does.
async fn end_replaced(context: &Context, back: &Return, owner: &Owner, begun: SessionId) -> Result<()> {
    let older = back.replaces.filter(|older| older.account == owner.id && older.kind == ProofKind::Session);
    let Some(older) = older else { return Ok(()) };
    if !context.store.session_lives(&older, context.session_life()).await? {
        return Ok(());
    }
    let record = AuditRecord {
        session: Some(begun),
        target: Some(older.id.to_string()),
        ..user_without_session(context, back.origin.ip, owner).record("session.replace")
    };
    let ended = context.store.end_session(owner, &older.id, &record).await;
    match context.note_unconfirmed(record, ended).await {
        Ok(_) | Err(StoreError::Unconfirmed { .. }) => Ok(()),
        Err(error) => Err(error.into()),
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
