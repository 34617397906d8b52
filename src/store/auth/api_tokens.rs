//! Tokens for programs: made by a user, shown once, and valid until they expire or are revoked.
//!
//! One is stored as a session is, under another key (`sessions/record.rs`), so that a check of it costs the same, a near cache keeps it,
//! and its revocation is as exact. What differs: it has no idle timeout, its use is recorded once an hour, and its generation counts
//! what ends all tokens of its owner, which are changes of what the owner may do. So no token ever may do more than its owner.

use super::account_fields::Account;
use super::account_id::Owner;
use super::near_cache::{Ended, Revocation};
use super::sessions::api_grant::ApiGrant;
use super::sessions::checks::parse_generation;
use super::sessions::document::Document;
use super::sessions::record::{API_TOUCH_INTERVAL, Record};
use super::sessions::token::{Proof, ProofKind};
use crate::domain::Timestamp;
use crate::domain::access::Access;
use crate::store::connection::clock::{micros, moment};
use crate::store::{AuditRecord, Result, SessionId, SessionToken, Store, scripts};

/// The most tokens of one account.
pub const MAX_TOKENS: usize = 50;

/// A token to be written.
pub struct NewApiToken {
    /// What it is called, and where it may be used from.
    pub grant: ApiGrant,
    /// What it may do; no more than its owner.
    pub access: Access,
    /// How long it is valid.
    pub life: std::time::Duration,
    /// The session that asks for it: nothing is written once it has ended.
    pub session: SessionId,
    /// The address that asked for it.
    pub address: std::net::IpAddr,
}

/// The outcome of making a token.
pub enum TokenCreated {
    /// Here it is, with what is shown of it later.
    Done(SessionToken, Box<ApiTokenView>),
    /// What its owner may do has changed in between, or the session that asked has ended.
    Overtaken,
    /// Its owner has too many.
    TooMany,
}

/// A token as it is listed: without its secret, which nobody has.
#[derive(Debug, Clone)]
pub struct ApiTokenView {
    /// Its id.
    pub id: SessionId,
    /// What it is limited to.
    pub grant: ApiGrant,
    /// What it may do.
    pub access: Access,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the hour; none if it never was.
    pub last_used_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Store {
    /// Writes a token of this account, with the entry that `audit` makes of it.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn create_api_token(
        &self,
        account: &Account,
        new: NewApiToken,
        audit: impl FnOnce(&SessionId) -> AuditRecord,
    ) -> Result<TokenCreated> {
        // Those that have expired would count.
        self.api_tokens(&account.owner).await?;
        let (owner, token) = (&account.owner, SessionToken::fresh_api(account.owner.id)?);
        let (id, now) = (token.id(), self.shared.clock.now_micros());
        let record = Record {
            // So that its first use is recorded, however soon: a little more than an interval ago, since this clock is an estimate.
            seen: now.saturating_sub(micros(API_TOUCH_INTERVAL * 2)),
            generation: account.token_generation,
            document: Document {
                username: owner.username.as_str().to_owned(),
                created: now,
                expires: now.saturating_add(micros(new.life)),
                ip: new.address,
                agent: 0,
                role: new.access.role,
                servers: new.access.servers,
                account: owner.id,
                api_token: Some(new.grant),
            },
        };
        let audit = audit(&id);
        let call = scripts::API_TOKEN_CREATE
            .call()
            .key(self.keys.api_token(&id))
            .key(self.keys.api_tokens(&owner.username))
            .key(self.keys.token_generation(owner.id))
            .key(self.keys.account(&owner.username))
            .key(self.keys.session(&new.session))
            .key(self.keys.generation(owner.id));
        let call = self
            .with_audit_keys(call, audit.trail)
            .arg(&id.as_bytes()[..])
            .arg(account.token_generation)
            .arg(record.encode()?)
            .arg(record.document.expires / 1_000)
            .arg(MAX_TOKENS)
            .arg(owner.id.as_str());
        let written: i64 = self.shared.call_confirmed(&self.with_audit(call, &audit)).await?;
        Ok(match (written, view_of(id, record)) {
            (1, Some(view)) => {
                audit.log();
                TokenCreated::Done(token, Box::new(view))
            }
            (-1, _) => TokenCreated::TooMany,
            _ => TokenCreated::Overtaken,
        })
    }

    /// The live tokens of an account, the newest first. Forgets the ids of those that have ended.
    pub async fn api_tokens(&self, owner: &Owner) -> Result<Vec<ApiTokenView>> {
        let index = self.keys.api_tokens(&owner.username);
        let command = redis::cmd("SMEMBERS").arg(&index).to_owned();
        let members: Vec<Vec<u8>> = self.shared.query_apart("api_token_index", &command).await?;
        let ids = members.into_iter().filter_map(|id| Some(SessionId::from_bytes(id.try_into().ok()?)));
        let ids: Vec<SessionId> = ids.collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        command.arg(self.keys.token_generation(owner.id));
        for id in &ids {
            command.arg(self.keys.api_token(id));
        }
        let mut values: Vec<Option<Vec<u8>>> = self.shared.query_apart("api_tokens", &command).await?;
        let generation = values.remove(0).as_deref().and_then(parse_generation);
        let (mut tokens, mut gone) = (Vec::with_capacity(ids.len()), Vec::new());
        for (id, value) in ids.iter().zip(values) {
            let proof = Proof { id: *id, account: owner.id, kind: ProofKind::ApiToken };
            let Some(bytes) = value else {
                gone.push(&id.as_bytes()[..]);
                continue;
            };
            // One that cannot be read was written by a newer version: it stays, and is not listed.
            if let Ok(record) = Record::decode(&bytes)
                && record.is_alive(&proof, generation)
            {
                tokens.extend(view_of(*id, record));
            }
        }
        if !gone.is_empty() {
            let command = redis::cmd("SREM").arg(&index).arg(gone).to_owned();
            self.shared.query::<()>("api_token_prune", &command).await?;
        }
        tokens.sort_by_key(|token| std::cmp::Reverse(token.created_at));
        Ok(tokens)
    }

    /// Ends a token of this account, on every worker; `false` if there is no such token of this account.
    pub async fn end_api_token(&self, owner: &Owner, id: &SessionId, audit: &AuditRecord) -> Result<bool> {
        Ok(self.revoke(owner, Revocation::ApiToken(id), audit).await? != Ended::Nothing)
    }

    /// Removes tokens whose generation is over: they are refused already, and would only lie there until they expire.
    pub(super) async fn remove_dead_tokens(&self, ids: Vec<Vec<u8>>) {
        let ids = ids.into_iter().filter_map(|id| Some(SessionId::from_bytes(id.try_into().ok()?)));
        let keys: Vec<Vec<u8>> = ids.map(|id| self.keys.api_token(&id)).collect();
        if keys.is_empty() {
            return;
        }
        let command = redis::cmd("UNLINK").arg(keys).to_owned();
        if let Err(error) = self.shared.query::<()>("api_token_remove", &command).await {
            tracing::debug!(error = %error, "failed to remove tokens that have ended: they stay until they expire");
        }
    }
}

fn view_of(id: SessionId, record: Record) -> Option<ApiTokenView> {
    let Record { seen, document, .. } = record;
    Some(ApiTokenView {
        id,
        grant: document.api_token?,
        access: Access { role: document.role, servers: document.servers },
        created_at: moment(document.created),
        last_used_at: (seen >= document.created).then(|| moment(seen)),
        expires_at: moment(document.expires),
    })
}
