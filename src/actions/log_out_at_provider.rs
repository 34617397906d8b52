//! A session, or everything of a user, has ended at the identity provider: it ends here too, on every worker (back-channel logout).
//!
//! Anybody may send such a token, so a worker checks a few at a time, and everything that costs nothing before the signature. Each counts once:
//! a user's old one would otherwise end what they began after it.

use std::net::IpAddr;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::{Actor, Context, Refusal};
use crate::domain::Timestamp;
use crate::provider::{LogoutToken, ProviderError};
use crate::store::{AuditRecord, NotedSession, ProviderSession, ProviderUser, StoreError};

/// How many tokens a worker checks at once.
const AT_ONCE: usize = 8;

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// Why nothing was ended.
#[derive(Debug, thiserror::Error)]
pub enum ProviderLogoutError {
    /// There is no provider.
    #[error("no provider is configured")]
    NoProvider,
    /// Too many tokens arrive at once.
    #[error("too many logout tokens from the provider arrive at once")]
    Busy,
    /// It is not valid, or the provider cannot be asked for its keys.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// It was used before.
    #[error("the token is not valid: it was used before")]
    Used,
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Ends what the token says has ended at the provider.
///
/// # Errors
/// [`ProviderLogoutError`]; a token that is not valid is in the audit.
pub async fn log_out_at_provider(
    context: &Context,
    ip: IpAddr,
    token: String,
) -> Result<(), ProviderLogoutError> {
    let task = context.clone();
    let action = async move {
        let outcome = end(&task, ip, &token).await;
        let invalid = |error: &ProviderLogoutError| {
            matches!(error, ProviderLogoutError::Used)
                || matches!(error, ProviderLogoutError::Provider(why) if !matches!(why, ProviderError::Away(_)))
        };
        if let Err(error) = &outcome
            && invalid(error)
        {
            let actor = Actor::without_session(ip, &task.worker);
            let reason = error.to_string();
            task.note_refusal(Refusal { what: "logout.refused", actor, account: None, reason }).await;
        }
        outcome
    };
    context.complete(action).await
}

async fn end(context: &Context, ip: IpAddr, token: &str) -> Result<(), ProviderLogoutError> {
    let provider = context.provider.as_ref().ok_or(ProviderLogoutError::NoProvider)?;
    let _place = PLACES.try_acquire().map_err(|_| ProviderLogoutError::Busy)?;
    let LogoutToken { subject, sid, id, issued_at } =
        provider.check_logout(token, context.store.about_now()).await?;
    let issuer = provider.issuer().to_owned();
    if context.store.logout_token_is_used(&issuer, &id).await? {
        return Err(ProviderLogoutError::Used);
    }
    let user = subject.map(|subject| ProviderUser { issuer: issuer.clone(), subject });
    match (sid, user) {
        (Some(sid), user) => {
            let ended = ProviderSession::Sid { issuer: issuer.clone(), sid };
            let mut noted = context.store.mark_provider_logout(&ended, issued_at).await?;
            if let Some(user) = &user {
                // They may belong to that session: nothing says that they do not.
                noted.extend(context.store.sessions_of_no_sid(user).await?);
            }
            end_sessions(context, ip, noted).await?;
        }
        (None, Some(user)) => end_user(context, ip, user, issued_at).await?,
        (None, None) => {}
    }
    // Only now: if this was not done, the provider may try again with the same token.
    context.store.remember_logout_token(&issuer, &id, LogoutToken::remembered_for()).await?;
    Ok(())
}

/// Ends these sessions.
async fn end_sessions(
    context: &Context,
    ip: IpAddr,
    noted: Vec<NotedSession>,
) -> Result<(), ProviderLogoutError> {
    let each = noted.into_iter().map(|(owner, session)| async move {
        let actor = Actor {
            username: owner.username.clone(),
            account: owner.id,
            ..Actor::without_session(ip, &context.worker)
        };
        let record = AuditRecord {
            session: Some(session),
            target: Some(session.to_string()),
            ..actor.record("session.end_at_provider")
        };
        let ended = context.store.end_session(&owner, &session, &record).await;
        context.note_unconfirmed(record, ended).await
    });
    // Each may have to wait for a near cache: together, they wait once.
    for ended in join_all(each).await {
        ended?;
    }
    Ok(())
}

/// Ends all sessions of a user.
async fn end_user(
    context: &Context,
    ip: IpAddr,
    user: ProviderUser,
    issued_at: Timestamp,
) -> Result<(), ProviderLogoutError> {
    context.store.mark_provider_logout(&ProviderSession::User(user.clone()), issued_at).await?;
    let Some(account) = context.store.provider_account(&user).await? else { return Ok(()) };
    let owner = account.owner;
    let actor = Actor {
        username: owner.username.clone(),
        account: owner.id,
        ..Actor::without_session(ip, &context.worker)
    };
    let record = actor.record("session.end_at_provider");
    let ended = context.store.end_all_sessions(&owner, None, &record).await;
    context.note_unconfirmed(record, ended).await?;
    Ok(())
}
