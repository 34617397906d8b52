//! The end of every login: a session begins, and the one that the browser had before ends.

use serde_json::json;

use super::{Actor, Context};
use crate::domain::access::Access;
use crate::store::{
    AuditRecord, LoginOrigin, Owner, Proof, ProofKind, SessionDetails, SessionToken, StoreError,
};

/// A session that has begun.
pub struct LoggedIn {
    /// The secret that proves it.
    pub token: SessionToken,
    /// The session itself.
    pub details: SessionDetails,
    pub(super) generation: u64,
}

/// The account that a session is of, as the login has read it.
pub(super) struct Opening<'a> {
    pub owner: &'a Owner,
    pub access: &'a Access,
    /// The generation that the login has read.
    pub generation: u64,
    /// Which second factor it has shown.
    pub factor: Option<&'static str>,
    pub origin: &'a LoginOrigin,
}

/// Begins the session; `None` if all sessions were revoked, or a second factor was set up, since the account was read.
pub(super) async fn open_session(
    context: &Context,
    opening: Opening<'_>,
) -> Result<Option<LoggedIn>, StoreError> {
    let Opening { owner, access, generation, factor, origin } = opening;
    let audit = |details: &SessionDetails| {
        let mut after = json!({ "user_agent": details.user_agent });
        if let Some(factor) = factor {
            after["second_factor"] = factor.into();
        }
        AuditRecord {
            session: Some(details.session.id),
            after,
            ..without_session(context, origin, owner).record("session.begin")
        }
    };
    let life = context.session_life();
    let begun =
        context.store.begin_session_with((owner, access), (generation, factor), origin, life, audit).await?;
    Ok(begun.map(|(token, details)| LoggedIn { token, details, generation }))
}

/// Ends the session that the browser had before. A session that is gone, or another account's, is left alone. A missing
/// confirmation by the replicas is in the audit, and no reason to refuse the login.
pub(super) async fn replace(
    context: &Context,
    origin: &LoginOrigin,
    older: Option<&Proof>,
    begun: &SessionDetails,
) -> Result<(), StoreError> {
    let Some(older) = older else { return Ok(()) };
    if !context.store.session_lives(older, context.session_life()).await? {
        return Ok(());
    }
    let owner = begun.session.owner();
    if older.account != owner.id || older.kind != ProofKind::Session {
        return Ok(());
    }
    let record = AuditRecord {
        session: Some(begun.session.id),
        target: Some(older.id.to_string()),
        ..without_session(context, origin, &owner).record("session.replace")
    };
    let ended = context.store.end_session(&owner, &older.id, &record).await;
    match context.note_unconfirmed(record, ended).await {
        Ok(_) | Err(StoreError::Unconfirmed { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The user before there is a session.
pub(super) fn without_session(context: &Context, origin: &LoginOrigin, owner: &Owner) -> Actor {
    let (username, account) = (owner.username.clone(), owner.id);
    Actor { username, account, ..Actor::without_session(origin.ip, &context.worker) }
}
