//! One attempt at a password, under the limits that all workers share ([`crate::store::auth::limits`]).
//!
//! A caller that checks a password begins an attempt first and settles it with the outcome afterwards: a refusal normally comes
//! from the first step, before the password is hashed, and in a race from the second.

use std::net::IpAddr;
use std::time::Duration;

use super::Context;
use crate::password::Origin;
use crate::store::{Admission, Limit, LoginLimits, Standing, Store, StoreError};

/// Too many attempts: at passwords, codes, passkeys or logins with the provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts (limit: {})", limit.label())]
pub struct TooManyAttempts {
    /// The limit that refused.
    pub limit: Limit,
    /// How long until it admits another attempt.
    pub retry_after: Duration,
}

impl TooManyAttempts {
    pub(super) async fn counted(store: &Store, limit: Limit, retry_after: Duration) -> Self {
        log_failure(store.count_refused_login().await);
        metrics::counter!("bangui_rate_limited_total", "limit" => limit.label()).increment(1);
        Self { limit, retry_after }
    }
}

/// An attempt that was admitted and must be settled.
#[must_use]
pub struct Attempt {
    store: Store,
    account: String,
    ip: IpAddr,
    limits: LoginLimits,
    standing: Standing,
}

/// The outcome of an attempt, as the limits count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password was right: from now on the address counts as known.
    Right {
        /// The generation of the account at that time: in a later one the address is unknown again.
        generation: u64,
    },
    /// The password was right, and is not enough: no failure, and no reason to know the address.
    Incomplete,
    /// The password was wrong, which counts as a failure of the account.
    Wrong,
    /// The password was not or could not be checked: the attempt does not count.
    Unknown,
}

impl Attempt {
    /// Admits an attempt, or refuses it. `account` is the name in the limits, and `generation` that of the account, if there is one.
    pub async fn begin<E>(
        context: &Context,
        account: &str,
        generation: Option<u64>,
        ip: IpAddr,
    ) -> Result<Self, E>
    where
        E: From<TooManyAttempts> + From<StoreError>,
    {
        Self::begin_under(context, context.login_limits(), account, generation, ip).await
    }

    /// The same under other limits.
    pub(super) async fn begin_under<E>(
        context: &Context,
        limits: LoginLimits,
        account: &str,
        generation: Option<u64>,
        ip: IpAddr,
    ) -> Result<Self, E>
    where
        E: From<TooManyAttempts> + From<StoreError>,
    {
        let store = context.store.clone();
        match store.admit_login(account, generation, ip, limits).await? {
            Admission::Admitted(standing) => {
                Ok(Self { store, account: account.to_owned(), ip, limits, standing })
            }
            Admission::Refused { limit, retry_after } => {
                Err(TooManyAttempts::counted(&store, limit, retry_after).await.into())
            }
        }
    }

    /// The door of the password gate that it may use.
    pub fn origin(&self) -> Origin {
        if self.standing.known { Origin::Known } else { Origin::Anywhere }
    }

    /// Settles the attempt by the `verdict` about its outcome.
    pub async fn settle<T, E>(
        self,
        outcome: Result<T, E>,
        verdict: impl FnOnce(&Result<T, E>) -> Verdict,
    ) -> Result<T, E>
    where
        E: From<TooManyAttempts> + From<StoreError>,
    {
        let Self { store, account, ip, limits, standing } = self;
        match verdict(&outcome) {
            Verdict::Right { generation } => remember(&store, &account, ip, generation).await,
            Verdict::Incomplete => {}
            Verdict::Wrong => match store.count_failure(&account, ip, standing, limits).await? {
                Admission::Admitted(_) => {}
                Admission::Refused { limit, retry_after } => {
                    return Err(TooManyAttempts::counted(&store, limit, retry_after).await.into());
                }
            },
            Verdict::Unknown => log_failure(store.give_back_attempt(ip, limits).await),
        }
        outcome
    }
}

/// Records that this address has logged in to the account.
pub(super) async fn remember(store: &Store, account: &str, ip: IpAddr, generation: u64) {
    if let Err(error) = store.remember_address(account, ip, generation).await {
        tracing::warn!(
            error = %error, client.address = %ip,
            "failed to save the address of a login as known: the next login from it may be limited or queued like that from an unknown one"
        );
    }
}

/// Only logs: the answer matters more, and without this record the limits err on the strict side.
fn log_failure(settled: Result<(), StoreError>) {
    if let Err(error) = settled {
        tracing::debug!(error = %error, "failed to record the outcome of a password attempt");
    }
}
