//! One attempt at a password, under the limits that all workers share ([`crate::store::auth::limits`]).
//!
//! Whoever checks a password begins an attempt first and settles it with the outcome after: 429 comes out of the one
//! before the password is hashed, and in a race out of the other.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::StatusCode;

use crate::http::error::{Problem, Result};
use crate::http::state::AppState;
use crate::store::{Admission, Limit, LoginLimits, StoreError};

/// An attempt that was let through, and is to be settled.
#[must_use]
pub struct Attempt<'a> {
    state: &'a AppState,
    account: &'a str,
    ip: IpAddr,
    limits: LoginLimits,
    known: bool,
}

impl<'a> Attempt<'a> {
    /// Lets an attempt through, or refuses it: 429, or 503 if Redis cannot be asked.
    pub async fn begin(state: &'a AppState, account: &'a str, ip: IpAddr) -> Result<Self> {
        let limits = state.login_limits();
        match state.store.admit_login(account, ip, limits).await? {
            Admission::Admitted { known } => Ok(Self { state, account, ip, limits, known }),
            Admission::Refused { limit, retry_after } => Err(too_many(limit, retry_after)),
        }
    }

    /// Settles it: success makes the address a known one, a `wrong` password counts as a failure, and for anything else
    /// the attempt was not made.
    pub async fn settle<T>(self, outcome: Result<T>, wrong: StatusCode) -> Result<T> {
        let Self { state, account, ip, limits, known } = self;
        match outcome {
            Ok(done) => {
                told(state.store.remember_address(account, ip).await);
                Ok(done)
            }
            Err(refusal) if refusal.status() == wrong => {
                match state.store.count_failure(account, known, limits).await? {
                    Admission::Admitted { .. } => Err(refusal),
                    Admission::Refused { limit, retry_after } => Err(too_many(limit, retry_after)),
                }
            }
            Err(problem) => {
                told(state.store.give_back_attempt(ip, limits).await);
                Err(problem)
            }
        }
    }
}

/// What is settled here is worth less than the answer that is due: the limits err on the strict side without it.
fn told(settled: std::result::Result<(), StoreError>) {
    if let Err(error) = settled {
        tracing::debug!(error = %error, "the attempt at a password could not be settled");
    }
}

fn too_many(limit: Limit, retry_after: Duration) -> Problem {
    metrics::counter!("bangui_rate_limited_total", "limit" => limit.label()).increment(1);
    let of = match limit {
        Limit::Address => "from this address",
        Limit::Site => "from this network",
        Limit::Account => "with this name",
    };
    let seconds = u32::try_from(retry_after.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate-limited",
        "Too many attempts",
        format!("too many passwords were tried {of}: try again in {seconds} s"),
    )
    .retry_after(seconds)
    .with("limit", limit.label())
}
