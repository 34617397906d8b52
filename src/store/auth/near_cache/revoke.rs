//! The revoking side: every revocation goes through [`Store::revoke`], which returns once no near cache can accept what it ended.

use std::time::Duration;

use redis::Value;
use tokio::time::{sleep, timeout};

use super::wait::{Listed, Looked, Outcome, Wait};
use crate::store::auth::account_fields::AccountStanding;
use crate::store::auth::account_id::Owner;
use crate::store::{
    AuditRecord, Result, SessionId, Store, StoreError, Trail, Username, boot_now, random, scripts,
};

/// The first polls of the holders follow one another without a pause: a confirmation takes about two round trips, a poll takes one,
/// and a timer counts whole milliseconds.
const IMMEDIATE_POLLS: u32 = 6;
/// Pauses between the later ones.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(20);
/// How often the holders are polled.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// The pause for those who ended something.
    Prompt,
    /// For anyone with a token, even an invented one: each pause is twice as long as the previous one, so that waiting out a
    /// whole lease takes a dozen polls, and nobody waits more than twice as long as necessary.
    Doubling,
}
/// How long to try to record in Redis that silent holders have expired; if that fails, the next revocation does it.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(200);

/// What must end.
pub(in crate::store) enum Revocation<'a> {
    /// A session of this user's index.
    One(&'a SessionId),
    /// A session that was just checked: ended even if the index has lost it.
    Known(&'a SessionId),
    /// A token for programs of this user.
    ApiToken(&'a SessionId),
    /// All but one.
    All { keep: Option<&'a SessionId> },
    /// All but one, which gets the second id, along with a new password; `verified` is empty to set it whatever it was, and `mark`
    /// marks it as unconfirmed.
    Password {
        verified: &'a str,
        new: &'a str,
        mark: &'a str,
        renewal: Option<(&'a SessionId, &'a SessionId)>,
    },
    /// All, along with the second factors of the account; `mark` as with a password.
    Factors { mark: &'a str },
    /// All, and all tokens for programs, along with another access, if the account still has the one `before`.
    Access { before: &'a AccountStanding, after: &'a AccountStanding, mark: &'a str },
    /// All, and all tokens for programs, along with the account, if it still has this access.
    Account { before: &'a AccountStanding },
    /// Nothing: only the holders are counted.
    Nothing,
}

/// What a revocation has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Ended {
    /// There was no such session, or the password or the access is not the one that was read.
    Nothing,
    /// What had to end.
    Done,
    /// The same, and the session to keep was kept.
    AllButOne,
    /// Nothing was ended or changed: nobody else may do everything.
    LastAdmin,
}

impl Revocation<'_> {
    fn call(&self, store: &Store, owner: &Owner, audit: Option<&AuditRecord>) -> Result<scripts::Call> {
        let (keys, username) = (&store.keys, &owner.username);
        let (kind, session, renewed) = match self {
            Self::One(id) | Self::ApiToken(id) => ("one", Some(*id), None),
            Self::Known(id) => ("known", Some(*id), None),
            Self::All { keep } => ("all", *keep, None),
            Self::Password { renewal, .. } => {
                ("password", renewal.map(|(kept, _)| kept), renewal.map(|(_, renewed)| renewed))
            }
            Self::Factors { .. } => ("factors", None, None),
            Self::Access { .. } => ("access", None, None),
            Self::Account { .. } => ("delete", None, None),
            Self::Nothing => ("none", None, None),
        };
        let is_token = matches!(self, Self::ApiToken(_));
        let call = scripts::REVOKE
            .call()
            .key(keys.holders())
            .key(keys.generation(owner.id))
            .key(if is_token { keys.api_tokens(username) } else { keys.sessions(username) })
            .key(keys.account(username))
            .key(keys.setup_code());
        let call = store.with_audit_keys(call, audit.map_or(Trail::Security, |audit| audit.trail));
        let call = call
            .key(keys.token_generation(owner.id))
            .key(keys.api_tokens(username))
            .key(keys.accounts())
            .key(keys.admins())
            .key(keys.account(&Username::admin()));
        let key_of = |id| if is_token { keys.api_token(id) } else { keys.session(id) };
        let call = [session, renewed].into_iter().flatten().fold(call, |call, id| call.key(key_of(id)));
        let (verified, new, mark) = match self {
            Self::Password { verified, new, mark, .. } => (*verified, *new, *mark),
            Self::Access { mark, .. } | Self::Factors { mark } => ("", "", *mark),
            _ => ("", "", ""),
        };
        let id_of = |id: Option<&SessionId>| id.map_or(Vec::new(), |id| id.as_bytes().to_vec());
        let fresh = crate::store::hex(&random::<16>()?);
        let call = call.arg(kind).arg(id_of(session)).arg(keys.revoked()).arg(fresh);
        let call = call.arg(verified).arg(new).arg(mark).arg(id_of(renewed));
        let call = call.arg(owner.id.as_str()).arg(username.as_str());
        let (before, after) = match self {
            Self::Access { before, after, .. } => (before.fields(), after.fields()),
            Self::Account { before } => (before.fields(), Default::default()),
            _ => Default::default(),
        };
        let call = before.into_iter().chain(after).fold(call, |call, field| call.arg(field));
        Ok(match audit {
            Some(audit) => store.with_audit(call, audit),
            None => call,
        })
    }
}

impl Store {
    /// The one way to end sessions: ends them, with the audit entry in the same step, then waits until every holder has confirmed
    /// it, or a whole lease has passed.
    pub(in crate::store) async fn revoke(
        &self,
        owner: &Owner,
        revocation: Revocation<'_>,
        audit: &AuditRecord,
    ) -> Result<Ended> {
        let call = revocation.call(self, owner, Some(audit))?;
        let redis = self.shared.dialer.run_id();
        let answer = self.shared.call_confirmed(&call).await?;
        let (ended, listed) = match read(answer)? {
            Ok(done) => done,
            Err(refused) => return Ok(refused),
        };
        if ended != Ended::Nothing {
            audit.log();
        }
        let outcome = self.wait_for_holders(listed, Pace::Prompt).await;
        // If Redis was replaced in the meantime, the revocation may be lost.
        self.shared.dialer.trusted()?;
        if self.shared.dialer.run_id() != redis {
            return Err(StoreError::unavailable(
                "it was replaced by another one during the revocation".to_owned(),
            ));
        }
        let outcome = match outcome {
            Outcome::NoHolders => "no_holders",
            Outcome::Confirmed => "confirmed",
            Outcome::Lease => "lease",
            Outcome::UnknownHolders => "unknown_holders",
        };
        metrics::counter!("bangui_session_revocations_total", "wait" => outcome).increment(1);
        Ok(ended)
    }

    /// Returns once everything revoked earlier is refused everywhere, and confirmed by the replicas. For a request to end a
    /// session that is gone already, perhaps ended by a request that was cut off before its answer or was not confirmed.
    /// Concurrent calls share one wait, since anyone can make one, with an invented token.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn await_revocations(&self) -> Result<()> {
        self.revocations_awaited
            .join(async {
                let call = scripts::CACHE_BEHIND.call().key(self.keys.holders());
                if let Ok((_, listed)) = read(self.shared.call_confirmed(&call).await?)? {
                    self.wait_for_holders(listed, Pace::Doubling).await;
                }
                Ok(())
            })
            .await
    }

    /// Finds holders that confirm nothing, and waits for those that Redis may have forgotten.
    pub(super) async fn remove_silent_holders(&self) -> Result<()> {
        let call = Revocation::Nothing.call(self, &Owner::admin(), None)?;
        if let Ok((_, listed)) = read(self.shared.call(&call).await?)? {
            self.wait_for_holders(listed, Pace::Prompt).await;
        }
        Ok(())
    }

    /// Waits as the rules require, and then removes the holders for which a whole lease was waited.
    async fn wait_for_holders(&self, listed: Listed, pace: Pace) -> Outcome {
        // After the script has run: what a holder believes began before.
        let mut wait = Wait::begin(listed, boot_now());
        let (mut looks, mut pause) = (0, FIRST_PAUSE);
        loop {
            let now = boot_now();
            if let Some(outcome) = wait.outcome(now) {
                if matches!(outcome, Outcome::Lease | Outcome::UnknownHolders) {
                    self.settle(wait.listed()).await;
                }
                return outcome;
            }
            let left = wait.left(now);
            if !wait.listed().settled {
                sleep(left).await;
            } else {
                match pace {
                    Pace::Prompt if looks < IMMEDIATE_POLLS => looks += 1,
                    Pace::Prompt => {
                        sleep(pause.min(left)).await;
                        pause = (pause * 3 / 2).min(MAX_PAUSE);
                    }
                    Pace::Doubling => {
                        sleep(pause.min(left)).await;
                        pause *= 2;
                    }
                }
            }
            let mut command = redis::cmd("HMGET");
            command.arg(self.keys.holders()).arg(&["incarnation", "number"]).arg(&wait.listed().holders);
            // Without an answer nothing is confirmed; the lease ends the wait.
            let look = self.shared.query::<Vec<Option<String>>>("holders", &command);
            if let Ok(Ok(seen)) = timeout(wait.left(boot_now()), look).await
                && let [incarnation, number, applied @ ..] = seen.as_slice()
            {
                // A value that is not a number confirms nothing.
                let read = |text: &Option<String>| text.as_ref().map(|text| text.parse().unwrap_or(0));
                let applied = applied.iter().map(read).collect();
                wait.heard(&Looked { incarnation: incarnation.clone(), number: read(number), applied });
            }
        }
    }

    async fn settle(&self, listed: &Listed) {
        let call = scripts::CACHE_SETTLE
            .call()
            .key(self.keys.holders())
            .arg(&listed.incarnation)
            .arg(listed.number)
            .arg(&listed.holders);
        match timeout(SETTLE_TIMEOUT, self.shared.call::<()>(&call)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = %error, "failed to remove silent near caches"),
            Err(_) => tracing::debug!("timed out removing silent near caches"),
        }
    }
}

/// The answer of a script that lists holders, or how it has refused.
fn read(answer: Vec<Value>) -> Result<std::result::Result<(Ended, Listed), Ended>> {
    let corrupt = |what: &dyn std::fmt::Display| {
        StoreError::corrupt(format!("the answer of a revoking script cannot be read: {what}"))
    };
    let ended = match answer.first() {
        Some(Value::Int(-2)) => return Ok(Err(Ended::LastAdmin)),
        Some(Value::Int(done)) if *done < 0 => return Ok(Err(Ended::Nothing)),
        Some(Value::Int(0)) => Ended::Nothing,
        Some(Value::Int(2)) => Ended::AllButOne,
        Some(Value::Int(_)) => Ended::Done,
        _ => return Err(corrupt(&"it does not say whether it was done")),
    };
    let rest = Value::Array(answer.get(1..4).unwrap_or_default().to_vec());
    let (incarnation, number, settled) = redis::from_redis_value(rest).map_err(|error| corrupt(&error))?;
    let holders = Value::Array(answer.get(4..).unwrap_or_default().to_vec());
    let holders = redis::from_redis_value(holders).map_err(|error| corrupt(&error))?;
    Ok(Ok((ended, Listed { incarnation, number, settled, holders })))
}
