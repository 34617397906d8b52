//! Invitations: an admin names a user, and whoever has the link sets the password.
//!
//! A wrong code costs its address an attempt, from the same limit as a login, and is logged: 256 bits cannot be guessed, but who tries is
//! worth knowing. The account begins with the script that uses the invitation up, so that it begins once.

use std::net::IpAddr;

use super::attempt::TooManyAttempts;
use super::confirm_session::ConfirmationRequired;
use super::manage_users::{NotAnAdmin, access_facts};
use super::{Actor, Context, Refusal};
use crate::domain::access::Access;
use crate::password::rules::{self, WeakPassword};
use crate::password::{GateError, Origin};
use crate::store::{
    Accepted, AuditRecord, Invitation, InvitationCode, InvitationId, Invited, NewInvitation, StoreError,
    Username,
};

/// Why nobody was invited, or an invitation was not ended.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The actor may not.
    #[error(transparent)]
    NotAllowed(#[from] NotAnAdmin),
    /// The password was not confirmed.
    #[error(transparent)]
    Unconfirmed(#[from] ConfirmationRequired),
    /// Passwords log only one account in here.
    #[error("passwords are switched off for all accounts but one")]
    PasswordOff,
    /// There is a user of that name.
    #[error("there is a user of that name")]
    Exists,
    /// There are too many invitations.
    #[error("there are too many invitations")]
    TooMany,
    /// There is no such invitation.
    #[error("there is no such invitation")]
    Unknown,
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an invitation was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// There is no such invitation: it was never made, was used or revoked, has expired, or who made it may not invite any more.
    #[error("there is no such invitation")]
    Unknown,
    /// Passwords log only one account in here.
    #[error("passwords are switched off for all accounts but one")]
    PasswordOff,
    /// There is a user of that name by now.
    #[error("there is a user of that name")]
    Exists,
    /// The address has tried too often.
    #[error(transparent)]
    Limited(#[from] TooManyAttempts),
    /// The password is not acceptable.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// The password could not be hashed.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An invitation that was made, with the secret of its link, which is not shown again.
pub struct NewlyInvited {
    /// The secret.
    pub code: InvitationCode,
    /// The rest.
    pub invitation: Invitation,
}

/// Invites somebody.
///
/// # Errors
/// [`InviteError`].
pub async fn invite(
    context: &Context,
    actor: Actor,
    username: Username,
    access: Access,
) -> Result<NewlyInvited, InviteError> {
    actor.require_admin()?;
    // The password that the invited would set would log nobody in.
    if !context.password_login.admits(username.as_str()) {
        return Err(InviteError::PasswordOff);
    }
    context.require_confirmation::<InviteError>(&actor).await?;
    let task = context.clone();
    let action = async move {
        let code = InvitationCode::fresh()?;
        let record = AuditRecord {
            target: Some(username.to_string()),
            after: access_facts(&access),
            ..actor.record("user.invite")
        };
        let new = NewInvitation { username: &username, access: &access, by: &actor.owner() };
        let invited = task.store.invite(&code, new, &record).await;
        match task.note_unconfirmed(record, invited).await? {
            Invited::Done => {}
            Invited::Exists => return Err(InviteError::Exists),
            Invited::TooMany => return Err(InviteError::TooMany),
        }
        let invitation = task.store.invitation(&code.id()).await?.ok_or(InviteError::Unknown)?;
        Ok(NewlyInvited { code, invitation })
    };
    context.complete(action).await
}

/// The invitations that can be accepted.
///
/// # Errors
/// [`InviteError`].
pub async fn list(context: &Context, actor: &Actor) -> Result<Vec<Invitation>, InviteError> {
    actor.require_admin()?;
    Ok(context.store.invitations().await?)
}

/// Ends an invitation.
///
/// # Errors
/// [`InviteError`].
pub async fn revoke(context: &Context, actor: Actor, id: InvitationId) -> Result<(), InviteError> {
    actor.require_admin()?;
    context.require_confirmation::<InviteError>(&actor).await?;
    let task = context.clone();
    let action = async move {
        let invitation = task.store.invitation(&id).await?.ok_or(InviteError::Unknown)?;
        let record = AuditRecord {
            target: Some(invitation.username.to_string()),
            before: access_facts(&invitation.access),
            ..actor.record("invitation.revoke")
        };
        let ended = task.store.revoke_invitation(&id, &record).await;
        if task.note_unconfirmed(record, ended).await? { Ok(()) } else { Err(InviteError::Unknown) }
    };
    context.complete(action).await
}

/// Sets the password of the account that an invitation is for, which creates the account; returns its name. Runs to completion once
/// begun: a client that hangs up has still used the attempt.
///
/// # Errors
/// [`AcceptError`].
pub async fn accept(
    context: &Context,
    address: IpAddr,
    code: &str,
    password: String,
) -> Result<Username, AcceptError> {
    let (task, code) = (context.clone(), InvitationCode::parse(code));
    context.complete(async move { attempt(&task, address, code, &password).await }).await
}

async fn attempt(
    context: &Context,
    address: IpAddr,
    code: Option<InvitationCode>,
    password: &str,
) -> Result<Username, AcceptError> {
    let invitation = prove(context, address, code).await?;
    if !context.password_login.admits(invitation.username.as_str()) {
        return Err(AcceptError::PasswordOff);
    }
    rules::check(password, invitation.username.as_str())?;
    let turn = context.gate.enter(Origin::Known).await?;
    let hash = turn.hash(password).await?;
    let record = AuditRecord {
        after: access_facts(&invitation.access),
        target: Some(invitation.by.username.to_string()),
        username: invitation.username.to_string(),
        ..Actor::without_session(address, &context.worker).record("user.accept")
    };
    let accepted = context.store.accept_invitation(&invitation, &hash, &record).await;
    match context.note_unconfirmed(record, accepted).await? {
        Accepted::Done => Ok(invitation.username),
        Accepted::Exists => Err(AcceptError::Exists),
        Accepted::Gone => Err(AcceptError::Unknown),
    }
}

/// The invitation of the code; a wrong one uses up an attempt of its address.
async fn prove(
    context: &Context,
    address: IpAddr,
    code: Option<InvitationCode>,
) -> Result<Invitation, AcceptError> {
    let limits = context.login_limits();
    if let Some((limit, retry_after)) = context.store.admit_attempt(address, limits).await? {
        let limited = TooManyAttempts::counted(&context.store, limit, retry_after).await;
        note_refusal(context, address, limited.to_string()).await;
        return Err(limited.into());
    }
    let invitation = match code {
        Some(code) => context.store.invitation(&code.id()).await?,
        None => None,
    };
    let Some(invitation) = invitation else {
        note_refusal(context, address, AcceptError::Unknown.to_string()).await;
        return Err(AcceptError::Unknown);
    };
    if let Err(error) = context.store.give_back_attempt(address, limits).await {
        tracing::debug!(error = %error, "failed to give back the login attempt of an accepted invitation: it counts against the login limit");
    }
    Ok(invitation)
}

async fn note_refusal(context: &Context, address: IpAddr, reason: String) {
    let actor = Actor::without_session(address, &context.worker);
    context.note_refusal(Refusal { what: "invitation.refused", actor, account: None, reason }).await;
}
