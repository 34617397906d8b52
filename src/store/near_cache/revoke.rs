//! The revoking side: every revocation goes through [`Store::revoke`], which answers when no near cache can accept what it
//! ended.

use std::time::Duration;

use redis::Value;
use tokio::time::sleep;

use super::super::clock::micros;
use super::super::{Result, SessionId, Store, StoreError, Username, boot_now, scripts};
use super::state::LEASE;

/// For this long after Redis turned out to be another one, holders it does not know may still answer.
const UNKNOWN_HOLDERS: Duration = Duration::from_millis(2_500);
const FIRST_LOOK: Duration = Duration::from_micros(300);
const SLOWEST_LOOK: Duration = Duration::from_millis(20);

/// What is to end.
pub(in super::super) enum Revocation<'a> {
    /// A session of this user's index.
    One(&'a SessionId),
    /// A session that was just checked: also one that an index which lost data does not know.
    Known(&'a SessionId),
    /// All but one.
    All { keep: Option<&'a SessionId> },
    /// All but one, with the password; `verified` is empty to set it whatever it was.
    Password { verified: &'a str, new: &'a str, keep: Option<&'a SessionId> },
}

impl Revocation<'_> {
    fn call(&self, store: &Store, username: &Username) -> scripts::Call {
        let keys = &store.keys;
        let (kind, session) = match self {
            Self::One(id) => ("one", Some(*id)),
            Self::Known(id) => ("known", Some(*id)),
            Self::All { keep } => ("all", *keep),
            Self::Password { keep, .. } => ("password", *keep),
        };
        let mut call = scripts::REVOKE
            .call()
            .key(keys.revocations())
            .key(keys.holders())
            .key(keys.generation(username))
            .key(keys.sessions(username))
            .key(keys.account(username))
            .key(keys.setup_code());
        if let Some(id) = session {
            call = call.key(keys.session(id));
        }
        let (verified, new) = match self {
            Self::Password { verified, new, .. } => (*verified, *new),
            _ => ("", ""),
        };
        call.arg(kind)
            .arg(session.map_or(&[][..], |id| &id.as_bytes()[..]))
            .arg(keys.revoked())
            .arg(micros(UNKNOWN_HOLDERS))
            .arg(verified)
            .arg(new)
    }
}

impl Store {
    /// The one way to end sessions: ends them, then waits until every holder has confirmed, or a lease has passed. `false` if
    /// there was no such session, or the password is not the verified one.
    pub(in super::super) async fn revoke(
        &self,
        username: &Username,
        revocation: Revocation<'_>,
    ) -> Result<bool> {
        let answer: Vec<Value> = self.shared.call_confirmed(&revocation.call(self, username)).await?;
        // After the script has run: what a holder believes began before.
        let end = boot_now() + LEASE;
        let mut answer = answer.into_iter();
        let mut next = || answer.next().ok_or_else(|| corrupt("it is too short"));
        let done: i64 = read(next()?)?;
        if done < 0 {
            return Ok(false);
        }
        let number: u64 = read(next()?)?;
        let whole: bool = read(next()?)?;
        let holders = answer.map(read::<String>).collect::<Result<Vec<_>>>()?;
        let outcome = if whole {
            wait_until(end).await;
            "unknown_holders"
        } else if holders.is_empty() {
            "no_holders"
        } else {
            self.wait_for(number, holders, end).await
        };
        metrics::counter!("bangui_session_revocations_total", "wait" => outcome).increment(1);
        Ok(done == 1)
    }

    /// Waits for confirmations, and takes those holders off the list that a whole lease was waited for.
    async fn wait_for(&self, number: u64, mut holders: Vec<String>, end: Duration) -> &'static str {
        let mut pause = FIRST_LOOK;
        while boot_now() < end {
            sleep(pause.min(end.saturating_sub(boot_now()))).await;
            pause = (pause * 3 / 2).min(SLOWEST_LOOK);
            let mut command = redis::cmd("HMGET");
            command.arg(self.keys.holders()).arg(&holders);
            // Without an answer nothing is confirmed; the lease ends the wait.
            let Ok(applied) = self.shared.query::<Vec<Option<String>>>("holders", &command).await else {
                continue;
            };
            let confirmed = |applied: &Option<String>| {
                let Some(applied) = applied.as_deref() else { return false };
                applied == "left" || applied.parse().is_ok_and(|applied: u64| applied >= number)
            };
            let mut applied = applied.iter().map(confirmed);
            holders.retain(|_| !applied.next().unwrap_or(false));
            if holders.is_empty() {
                return "confirmed";
            }
        }
        let removal = redis::cmd("HDEL").arg(self.keys.holders()).arg(&holders).to_owned();
        if let Err(error) = self.shared.query::<()>("holders_remove", &removal).await {
            tracing::debug!(error = %error, "silent holders stay listed: the next revocation waits for them again");
        }
        "lease"
    }
}

async fn wait_until(end: Duration) {
    while let Some(left) = end.checked_sub(boot_now()).filter(|left| !left.is_zero()) {
        sleep(left).await;
    }
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("the answer of the revoking script: {what}"))
}

fn read<T: redis::FromRedisValue>(value: Value) -> Result<T> {
    redis::from_redis_value(value).map_err(|error| corrupt(&error.to_string()))
}
