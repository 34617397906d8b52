//! The limits of logins, shared by all workers.
//!
//! Each limit is a bucket that refills steadily (GCRA), on Redis's clock. Three of them guard a login:
//!
//! | limit     | of                              | counts   | holds |
//! |-----------|---------------------------------|----------|-------|
//! | `address` | an IPv4 address or an IPv6 /64  | attempts | `BANGUI_LOGIN_LIMIT` |
//! | `site`    | an IPv6 /48                     | attempts | four times as many |
//! | `account` | the name that was typed         | failures | `BANGUI_LOGIN_FAILURE_LIMIT` |
//!
//! One IPv6 customer has a /64 at least and often a /48, hence the two. The account's limit is what slows a guesser
//! with many addresses down, and must not become a weapon: it never refuses an address that has logged in to the
//! account within 30 days, and there is no lock that somebody would have to open. A known address is known under the account's
//! generation: a new password, or the end of all sessions, forgets them all at once.
//!
//! ```text
//! admit ─▶ one round trip, before the password is hashed: takes from address and site, looks at account
//!   ├─ the password was wrong      ─▶ count_failure   takes from account
//!   ├─ it was right                ─▶ remember        the address is known from now on
//!   └─ it was not looked at at all ─▶ give_back
//! ```
//!
//! Failures are counted when they have happened, so many attempts at once may all be looked at. Those whose failure
//! finds the bucket empty are refused then, and learn no more than if they had come later.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::networks::{address_of, site_of};
use crate::config::RateLimit;
use crate::store::connection::clock::micros;
use crate::store::scripts;
use crate::store::scripts::Call;
use crate::store::{Result, Store, Username};

/// How much wider a site's limit is than an address's.
const SITE_FACTOR: u32 = 4;
/// How long an address is known to an account after a login.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);

/// How many logins are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginLimits {
    /// Attempts from one address.
    pub attempts: RateLimit,
    /// Failures with one account.
    pub failures: RateLimit,
}

/// One of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Of an IPv4 address or an IPv6 /64.
    Address,
    /// Of an IPv6 /48.
    Site,
    /// Of an account.
    Account,
}

impl Limit {
    /// Its word in metrics and answers.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Site => "site",
            Self::Account => "account",
        }
    }
}

/// Whether something may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may. `known`: this address has logged in to this account before.
    Admitted {
        /// The account's limit does not hold for it.
        known: bool,
    },
    /// It may not.
    Refused {
        /// The limit that refuses.
        limit: Limit,
        /// When it will let one through again.
        retry_after: Duration,
    },
}

impl Store {
    /// Asks whether a login may be tried, in one round trip.
    ///
    /// # Errors
    /// As [`crate::store::StoreError`] tells, here and below.
    pub async fn admit_login(&self, account: &str, ip: IpAddr, limits: LoginLimits) -> Result<Admission> {
        let attempts = self.attempts(ip, limits);
        let mut pipeline = redis::pipe();
        take(&attempts, 1).append_to(&mut pipeline);
        take(&[self.failures(account, limits)], 0).append_to(&mut pipeline);
        pipeline.cmd("GET").arg(self.keys.known(account, ip));
        pipeline
            .cmd("GET")
            .arg(self.keys.generation(&Username::parse(account).unwrap_or_else(Username::admin)));
        type Answer = (Taken, Taken, Option<String>, Option<String>);
        let (attempted, failed, known, generation): Answer =
            self.shared.pipeline("login_admit", &pipeline).await?;
        let known = known.is_some() && known == generation;
        if let Some(refusal) = refusal(&attempts, attempted) {
            return Ok(refusal);
        }
        if !known && let (1.., wait) = failed {
            self.give_back_attempt(ip, limits).await?;
            return Ok(Admission::Refused {
                limit: Limit::Account,
                retry_after: Duration::from_millis(wait),
            });
        }
        Ok(Admission::Admitted { known })
    }

    /// Counts a wrong password. Refused: so many others were counted meanwhile that this one should not have been
    /// tried.
    pub async fn count_failure(&self, account: &str, known: bool, limits: LoginLimits) -> Result<Admission> {
        let failures = [self.failures(account, limits)];
        let taken = self.shared.call(&take(&failures, 1)).await?;
        let refusal = refusal(&failures, taken).filter(|_| !known);
        Ok(refusal.unwrap_or(Admission::Admitted { known }))
    }

    /// Remembers that this address has logged in to this account, for as long as the account has this generation.
    pub async fn remember_address(&self, account: &str, ip: IpAddr, generation: u64) -> Result<()> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys.known(account, ip)).arg(generation).arg("EX").arg(KNOWN_FOR.as_secs());
        self.shared.query("login_remember", &command).await
    }

    /// Undoes the taking of an attempt that was not made in the end.
    pub async fn give_back_attempt(&self, ip: IpAddr, limits: LoginLimits) -> Result<()> {
        let attempts = self.attempts(ip, limits);
        let call = scripts::LIMIT_GIVE_BACK.call();
        let call = attempts.iter().fold(call, |call, bucket| call.key(&bucket.key));
        let call = attempts.iter().fold(call, |call, bucket| call.arg(bucket.one));
        self.shared.call(&call).await
    }

    fn attempts(&self, ip: IpAddr, limits: LoginLimits) -> Vec<Bucket> {
        let address = Bucket::new(Limit::Address, self.keys.attempts(ip), limits.attempts, 1);
        let site = || Bucket::new(Limit::Site, self.keys.attempts_of_site(ip), limits.attempts, SITE_FACTOR);
        let wider = address_of(ip) != site_of(ip);
        std::iter::once(address).chain(wider.then(site)).collect()
    }

    fn failures(&self, account: &str, limits: LoginLimits) -> Bucket {
        Bucket::new(Limit::Account, self.keys.failures(account), limits.failures, 1)
    }
}

/// The answer of `limit_take.lua`: which bucket is empty, counted from 1, and for how many milliseconds.
type Taken = (usize, u64);

/// A bucket, in the measures of its script: microseconds.
#[derive(Debug, PartialEq, Eq)]
struct Bucket {
    limit: Limit,
    key: String,
    /// How long one takes to come back.
    one: i64,
    /// How long all of them take.
    all: i64,
}

impl Bucket {
    /// A bucket `factor` times as wide as the limit says. One takes a whole microsecond at least, which is faster than
    /// anybody can log in.
    fn new(limit: Limit, key: String, rate: RateLimit, factor: u32) -> Self {
        let burst =
            i64::from(rate.burst.saturating_mul(NonZeroU32::new(factor).unwrap_or(NonZeroU32::MIN)).get());
        let one = (micros(rate.period) / burst).max(1);
        Self { limit, key, one, all: one * burst }
    }
}

fn take(buckets: &[Bucket], cost: u32) -> Call {
    let call = buckets.iter().fold(scripts::LIMIT_TAKE.call(), |call, bucket| call.key(&bucket.key));
    buckets.iter().fold(call.arg(cost), |call, bucket| call.arg(bucket.one).arg(bucket.all))
}

fn refusal(buckets: &[Bucket], (empty, wait): Taken) -> Option<Admission> {
    let bucket = buckets.get(empty.checked_sub(1)?)?;
    Some(Admission::Refused { limit: bucket.limit, retry_after: Duration::from_millis(wait) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(burst: u32, seconds: u64) -> RateLimit {
        RateLimit { burst: burst.try_into().unwrap(), period: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_bucket_holds_its_burst_exactly_and_a_site_four_times_as_much() {
        let of = |rate, factor| {
            let bucket = Bucket::new(Limit::Address, String::new(), rate, factor);
            (bucket.one, bucket.all)
        };
        assert_eq!(of(rate(10, 60), 1), (6_000_000, 60_000_000));
        assert_eq!(of(rate(10, 60), SITE_FACTOR), (1_500_000, 60_000_000));
        assert_eq!(of(rate(7, 60), 1), (8_571_428, 7 * 8_571_428));
        assert_eq!(of(rate(u32::MAX, 1), SITE_FACTOR), (1, i64::from(u32::MAX)));
    }

    #[test]
    fn the_first_empty_bucket_refuses() {
        let bucket = |limit| Bucket::new(limit, String::new(), rate(1, 1), 1);
        let buckets = [bucket(Limit::Address), bucket(Limit::Site)];
        assert_eq!(refusal(&buckets, (0, 0)), None);
        let expected = Admission::Refused { limit: Limit::Site, retry_after: Duration::from_millis(7) };
        assert_eq!(refusal(&buckets, (2, 7)), Some(expected));
    }
}
