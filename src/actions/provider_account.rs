//! The account of a user of the provider, made what their groups say, and a session for it.

use std::net::IpAddr;

use serde_json::json;

use super::attempt::TooManyAttempts;
use super::manage_users::access_facts;
use super::open_session::replace;
use super::{Actor, Context};
use crate::domain::Username;
use crate::domain::access::Access;
use crate::password::gate::NOBODY;
use crate::provider::{Identity, Provider, ProviderError};
use crate::store::{
    Account, AccountChanged, AccountStanding, AuditRecord, LoginOrigin, NewProviderAccount, Owner, Proof,
    ProviderAccountCreated, ProviderUser, SessionDetails, SessionToken, StoreError,
};

/// How many times a login is tried while its account changes.
const MAX_TRIES: usize = 8;

/// In place of a second factor: how somebody proves who they are is the provider's affair.
const AT_PROVIDER: Option<&str> = Some("provider");

/// Where somebody arrives who was at the provider.
pub(super) struct Arrival {
    /// Where the browser is.
    pub origin: LoginOrigin,
    /// The session that it has already.
    pub replaces: Option<Proof>,
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
    #[error(
        "this browser has not begun this login, or it was finished already, or it took longer than ten minutes"
    )]
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
    #[error(
        "no group of the user is in BANGUI_OIDC_ROLES, or the claim in BANGUI_OIDC_GROUPS_CLAIM is missing"
    )]
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
    #[error("the user who logged in at the provider is not the one whose session it is")]
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

pub(super) type Result<T> = std::result::Result<T, SignOnError>;

impl SignOnError {
    /// The word for metrics and logs.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Limited(_) => "limited",
            Self::SetupIncomplete => "before_setup",
            Self::Provider(ProviderError::Away(_))
            | Self::Overtaken
            | Self::Store(
                StoreError::Unavailable { .. }
                | StoreError::Full { .. }
                | StoreError::WritesRefused { .. }
                | StoreError::Unconfirmed { .. },
            ) => "unavailable",
            Self::Store(_) => "error",
            _ => "refused",
        }
    }
}

/// The user before there is a session.
pub(super) fn user_without_session(context: &Context, ip: IpAddr, owner: &Owner) -> Actor {
    let (username, account) = (owner.username.clone(), owner.id);
    Actor { username, account, ..Actor::without_session(ip, &context.worker) }
}

/// Makes the account what the groups say, and begins a session.
pub(super) async fn log_in(
    context: &Context,
    provider: &Provider,
    arrival: &Arrival,
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
                create(context, arrival, user, &username, access).await?;
            }
            // What an admin has decided stays.
            (Some(account), _) if account.standing.disabled => return Err(SignOnError::Disabled),
            (Some(account), None) => {
                if end(context, arrival, &account).await? {
                    return Err(SignOnError::NoGroup);
                }
            }
            (Some(account), Some(access)) if account.standing.access != *access => {
                change(context, arrival, &account, access).await?;
            }
            (Some(account), Some(_)) => {
                if let Some(token) = open(context, arrival, identity, user, account).await? {
                    return Ok(token);
                }
            }
        }
    }
    Err(SignOnError::Overtaken)
}

async fn create(
    context: &Context,
    arrival: &Arrival,
    user: &ProviderUser,
    username: &Username,
    access: &Access,
) -> Result<()> {
    let actor = Actor::without_session(arrival.origin.ip, &context.worker);
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
async fn change(context: &Context, arrival: &Arrival, account: &Account, access: &Access) -> Result<()> {
    let after = AccountStanding { access: access.clone(), ..account.standing.clone() };
    let record = AuditRecord {
        target: Some(account.owner.username.to_string()),
        before: access_facts(&account.standing.access),
        after: access_facts(access),
        ..user_without_session(context, arrival.origin.ip, &account.owner).record("user.change")
    };
    let changed = context.store.change_account(account, &after, &record).await;
    match context.note_unconfirmed(record, changed).await? {
        AccountChanged::LastAdmin => Err(SignOnError::LastAdmin),
        AccountChanged::Done | AccountChanged::Overtaken => Ok(()),
    }
}

/// Ends the account of a user whose groups allow nothing any more; `false` if it was changed since it was read. The last admin's stays, without
/// sessions.
async fn end(context: &Context, arrival: &Arrival, account: &Account) -> Result<bool> {
    let actor = user_without_session(context, arrival.origin.ip, &account.owner);
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

/// Begins the session; none if all sessions of the account were revoked since it was read.
async fn open(
    context: &Context,
    arrival: &Arrival,
    identity: &Identity,
    user: &ProviderUser,
    account: Account,
) -> Result<Option<SessionToken>> {
    let Account { owner, standing, generation, .. } = account;
    let life = context.session_life();
    let actor = user_without_session(context, arrival.origin.ip, &owner);
    let audit = |details: &SessionDetails| AuditRecord {
        session: Some(details.session.id),
        after: json!({ "user_agent": details.user_agent, "with": "provider" }),
        ..actor.record("session.begin")
    };
    let begun = context
        .store
        .begin_session_with(
            (&owner, &standing.access),
            (generation, AT_PROVIDER),
            &arrival.origin,
            life,
            audit,
        )
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
    replace(context, &arrival.origin, arrival.replaces.as_ref(), &details).await?;
    Ok(Some(token))
}
