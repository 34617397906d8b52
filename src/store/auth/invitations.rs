//! Invitations: how somebody gets an account.
//!
//! An admin names the account and what it may do, and passes on a link with a code: 256 random bits, of which Redis has only the SHA-256,
//! valid for a day. Who opens it sets a password, and the account begins; one script makes sure that it begins once, whichever worker
//! is asked. An invitation is void once what the account that made it may do has changed: also if it may invite
//! again by then.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::account_fields::{access_of, servers_text};
use super::account_id::{AccountId, Owner};
use super::username::Username;
use crate::domain::Timestamp;
use crate::domain::access::Access;
use crate::store::connection::clock::moment;
use crate::store::{AuditRecord, Result, Store, StoreError, random, scripts};

/// For how long an invitation is valid.
pub const VALID_SECONDS: u32 = 86_400;
/// The most invitations at a time.
const MAX_INVITATIONS: usize = 500;
/// Characters of a code and of an id: 32 bytes in base64url.
const CHARACTERS: usize = 43;

/// The secret of an invitation. Never stored, never printed but in its link.
#[derive(Clone)]
pub struct InvitationCode(SecretString);

impl InvitationCode {
    /// A new one.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn fresh() -> Result<Self> {
        Ok(Self(URL_SAFE_NO_PAD.encode(random::<32>()?).into()))
    }

    /// Reads one; `None` for anything that cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_digest(text).then(|| Self(text.to_owned().into()))
    }

    /// The text for the link.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// The invitation that it opens.
    #[must_use]
    pub fn id(&self) -> InvitationId {
        InvitationId(URL_SAFE_NO_PAD.encode(Sha256::digest(self.reveal())))
    }
}

/// Names an invitation, and opens none: the SHA-256 of its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationId(String);

impl InvitationId {
    /// Reads one; `None` for anything that cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_digest(text).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for InvitationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == CHARACTERS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// An invitation to be written.
pub struct NewInvitation<'a> {
    /// The name of the account.
    pub username: &'a Username,
    /// What it may do.
    pub access: &'a Access,
    /// Who invites.
    pub by: &'a Owner,
}

/// An invitation that can be accepted.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// The name of the account that it is for.
    pub username: Username,
    /// What the account may do.
    pub access: Access,
    /// Who invites.
    pub by: Owner,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The outcome of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invited {
    /// It is written.
    Done,
    /// There is an account of that name.
    Exists,
    /// There are too many invitations.
    TooMany,
}

/// The outcome of accepting an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The account is created.
    Done,
    /// There is no such invitation any more, or who made it may not invite any more.
    Gone,
    /// There is an account of that name.
    Exists,
}

impl Store {
    /// Writes an invitation under this code.
    ///
    /// # Errors
    /// See [`StoreError`], here and below.
    pub async fn invite(
        &self,
        code: &InvitationCode,
        new: NewInvitation<'_>,
        audit: &AuditRecord,
    ) -> Result<Invited> {
        // Those that have expired would count.
        self.invitations().await?;
        let id = code.id();
        let call = scripts::INVITATION_CREATE
            .call()
            .key(self.keys.invitation(&id))
            .key(self.keys.invitations())
            .key(self.keys.account(new.username))
            .key(self.keys.token_generation(new.by.id));
        let call = self
            .with_audit_keys(call, audit.trail)
            .arg(id.to_string())
            .arg(VALID_SECONDS)
            .arg(MAX_INVITATIONS)
            .arg(new.username.as_str())
            .arg(new.access.role.as_str())
            .arg(servers_text(&new.access.servers))
            .arg(new.by.username.as_str())
            .arg(new.by.id.as_str());
        let written: i64 = self.shared.call_confirmed(&self.with_audit(call, audit)).await?;
        Ok(match written {
            1 => {
                audit.log();
                Invited::Done
            }
            0 => Invited::Exists,
            _ => Invited::TooMany,
        })
    }

    /// The invitation of that id, if it can still be accepted.
    pub async fn invitation(&self, id: &InvitationId) -> Result<Option<Invitation>> {
        Ok(self.read_invitations(vec![id.clone()]).await?.pop().flatten())
    }

    /// All that can be accepted, the newest first. Forgets the ids of those that have expired.
    pub async fn invitations(&self) -> Result<Vec<Invitation>> {
        let command = redis::cmd("SMEMBERS").arg(self.keys.invitations()).to_owned();
        let ids: Vec<String> = self.shared.query_apart("invitation_index", &command).await?;
        let ids: Vec<InvitationId> = ids.into_iter().map(InvitationId).collect();
        let read = self.read_invitations(ids.clone()).await?;
        // An id never comes back, so there is no race with anybody.
        let gone = ids.iter().zip(&read).filter(|(_, invitation)| invitation.is_none());
        let gone: Vec<&str> = gone.map(|(id, _)| id.0.as_str()).collect();
        if !gone.is_empty() {
            let command = redis::cmd("SREM").arg(self.keys.invitations()).arg(gone).to_owned();
            self.shared.query::<()>("invitation_prune", &command).await?;
        }
        let mut invitations: Vec<Invitation> = read.into_iter().flatten().collect();
        invitations.sort_by_key(|invitation| std::cmp::Reverse(invitation.created_at));
        Ok(invitations)
    }

    async fn read_invitations(&self, ids: Vec<InvitationId>) -> Result<Vec<Option<Invitation>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for id in &ids {
            let key = self.keys.invitation(id);
            pipeline.cmd("HMGET").arg(&key).arg(&FIELDS).cmd("PTTL").arg(key);
        }
        let read: Vec<redis::Value> = self.shared.pipeline_apart("invitations", &pipeline).await?;
        let now = self.shared.clock.now_micros();
        let mut read = read.into_iter();
        let corrupt = |error: redis::ParsingError| StoreError::corrupt(error.to_string());
        let each = ids.into_iter().map(|id| {
            let (Some(fields), Some(left)) = (read.next(), read.next()) else { return Ok(None) };
            let fields = redis::from_redis_value::<Vec<Option<String>>>(fields).map_err(corrupt)?;
            let left = redis::from_redis_value::<i64>(left).map_err(corrupt)?;
            invitation_of(id, &fields, now.saturating_add(left.max(0).saturating_mul(1_000)))
        });
        each.collect()
    }

    /// Creates the account of an invitation with this password.
    pub async fn accept_invitation(
        &self,
        invitation: &Invitation,
        password_hash: &str,
        audit: &AuditRecord,
    ) -> Result<Accepted> {
        let (username, mark) = (&invitation.username, self.mark()?);
        loop {
            let id = AccountId::fresh()?;
            let call = scripts::INVITATION_ACCEPT
                .call()
                .key(self.keys.invitation(&invitation.id))
                .key(self.keys.invitations())
                .key(self.keys.account(username))
                .key(self.keys.generation(id))
                .key(self.keys.token_generation(id))
                .key(self.keys.accounts())
                .key(self.keys.admins())
                .key(self.keys.account(&invitation.by.username))
                .key(self.keys.token_generation(invitation.by.id));
            let call = self
                .with_audit_keys(call, audit.trail)
                .arg(invitation.id.to_string())
                .arg(password_hash)
                .arg(id.as_str())
                .arg(&mark)
                .arg(username.as_str())
                .arg(invitation.access.role.as_str())
                .arg(servers_text(&invitation.access.servers))
                .arg(invitation.by.username.as_str())
                .arg(invitation.by.id.as_str());
            let accepted: i64 = self.shared.call_confirmed(&self.with_audit(call, audit)).await?;
            return Ok(match accepted {
                1 => {
                    audit.log();
                    self.clear_mark(username, &mark).await;
                    Accepted::Done
                }
                -1 => Accepted::Exists,
                // Of 47 random bits: one account in many millions meets another.
                -3 => continue,
                _ => Accepted::Gone,
            });
        }
    }

    /// Ends an invitation; `false` if it had ended.
    pub async fn revoke_invitation(&self, id: &InvitationId, audit: &AuditRecord) -> Result<bool> {
        let call =
            scripts::INVITATION_REVOKE.call().key(self.keys.invitation(id)).key(self.keys.invitations());
        let call = self.with_audit_keys(call, audit.trail).arg(id.to_string());
        let ended: bool = self.shared.call_confirmed(&self.with_audit(call, audit)).await?;
        if ended {
            audit.log();
        }
        Ok(ended)
    }
}

/// The fields of an invitation's hash.
const FIELDS: [&str; 6] = ["username", "role", "servers", "by", "by_id", "created_at"];

fn invitation_of(id: InvitationId, fields: &[Option<String>], expires: i64) -> Result<Option<Invitation>> {
    let [Some(username), Some(role), Some(servers), Some(by), Some(by_id), Some(created_at)] = fields else {
        return Ok(None);
    };
    let corrupt = |what: &str| StoreError::corrupt(format!("an invitation has no readable {what}"));
    let by = Owner {
        username: Username::parse(by).map_err(|_| corrupt("inviter"))?,
        id: AccountId::parse(by_id).ok_or_else(|| corrupt("inviter"))?,
    };
    Ok(Some(Invitation {
        id,
        username: Username::parse(username).map_err(|_| corrupt("name"))?,
        access: access_of(role, servers).map_err(|_| corrupt("access"))?,
        by,
        created_at: moment(created_at.parse().map_err(|_| corrupt("time"))?),
        expires_at: moment(expires),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_never_its_own_id_and_anything_else_is_none() {
        let code = InvitationCode::fresh().unwrap();
        assert_eq!(InvitationCode::parse(code.reveal()).unwrap().id(), code.id());
        assert_ne!(code.reveal(), code.id().to_string());
        for other in ["", "x", "ä", &"A".repeat(42), &"A".repeat(44), &format!("{}/", "A".repeat(42))] {
            assert!(
                InvitationCode::parse(other).is_none() && InvitationId::parse(other).is_none(),
                "{other:?}"
            );
        }
    }
}
