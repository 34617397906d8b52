//! The limits of logins, shared by all workers.
//!
//! Each limit is a bucket that refills steadily (GCRA), on Redis's clock. Three of them guard a login:
//!
//! | limit     | of                              | counts   | holds |
//! |-----------|---------------------------------|----------|-------|
//! | `address` | an IPv4 address or an IPv6 /64  | attempts | `BANGUI_LOGIN_LIMIT` |
//! | `site`    | an IPv6 /48                     | attempts | four times as many |
//! | `account` | the account that was named      | failures | `BANGUI_LOGIN_FAILURE_LIMIT` |
//!
//! One IPv6 customer has a /64 at least and often a /48, hence the two. The account's limit is what slows a guesser
//! with many addresses down, and must not become a weapon: it never refuses an address that has logged in to the
//! account within 30 days, and there is no lock that somebody would have to open. Nor can guessers keep out an owner who comes
//! from a new address: a refusal still uses up one of the address's attempts, so trying more often gains nothing; and once the
//! account's failures are used up, the first tenth that comes back is reserved for calm addresses ([`Standing::calm`]). An
//! address is known under the account's generation: a new password, or the end of all sessions, forgets all known addresses.
//!
//! ```text
//! admit ─▶ one round trip, before the password is hashed: takes from address and site, looks at account
//!   ├─ the account's limit refuses ─▶ the attempt is used up nevertheless
//!   ├─ the password was wrong      ─▶ count_failure   takes from account
//!   ├─ it was right                ─▶ remember        the address is known from now on
//!   └─ it was not checked at all   ─▶ give_back
//! ```
//!
//! Failures are counted when they have happened, so many concurrent attempts may all be checked. Those whose failure
//! finds the bucket empty are refused then, and learn no more than if they had come later.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::networks::{address_of, site_of};
use crate::config::RateLimit;
use crate::store::connection::clock::micros;
use crate::store::scripts;
use crate::store::scripts::Call;
use crate::store::{Result, Store};

/// How much wider a site's limit is than an address's.
const SITE_FACTOR: u32 = 4;
/// Of the failures that an account regains over time, one in this many is reserved for calm addresses.
const KEPT_OF: u32 = 10;
/// How long an address counts as one that has failed, at most; never longer than the account's failures take to come back.
const FAILED_FOR: Duration = Duration::from_secs(3600);
/// How long an address is known to an account after a login.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 86_400);

/// How many logins are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginLimits {
    /// Attempts from one address.
    pub attempts: RateLimit,
    /// Failures to log in to one account.
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

/// Whether something may proceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Admitted(Standing),
    /// It may not.
    Refused {
        /// The limit that refuses.
        limit: Limit,
        /// When it will let one through again.
        retry_after: Duration,
    },
}

/// What is known about an address that tries to log in to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The address has logged in to the account before: the account's limit does not apply to it.
    pub known: bool,
    /// The address has not failed there lately, and has not used up half of its attempts: the behaviour of a user who knows the
    /// password, not of one who guesses.
    pub calm: bool,
}

impl Store {
    /// Asks whether a login may be tried, in one round trip. `account` is the name in the limits, and `generation` that of the account,
    /// if there is one: an address is known under it.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn admit_login(
        &self,
        account: &str,
        generation: Option<u64>,
        ip: IpAddr,
        limits: LoginLimits,
    ) -> Result<Admission> {
        let attempts = self.attempts(ip, limits);
        let mut pipeline = redis::pipe();
        take(&attempts, 1).append_to(&mut pipeline);
        self.account_limit(account, ip, limits, None).append_to(&mut pipeline);
        pipeline.cmd("GET").arg(self.keys.known(account, ip));
        type Answer = (Taken, Failures, Option<String>);
        let (attempted, failures, known): Answer = self.shared.pipeline("login_admit", &pipeline).await?;
        let known = known.is_some_and(|known| generation.is_some_and(|now| known == now.to_string()));
        if let Some(refusal) = refusal(&attempts, attempted) {
            return Ok(refusal);
        }
        let (_, _, left) = attempted;
        let standing = Standing { known, calm: is_calm(left, limits.attempts, failures) };
        Ok(account_admission(standing, failures))
    }

    /// Asks whether something other than a login may be tried in which a secret could be guessed, such as the setup.
    pub async fn admit_attempt(&self, ip: IpAddr, limits: LoginLimits) -> Result<Option<(Limit, Duration)>> {
        let attempts = self.attempts(ip, limits);
        let attempted: Taken = self.shared.call(&take(&attempts, 1)).await?;
        Ok(refused(&attempts, attempted))
    }

    /// Counts a wrong password. Refused if so many others were counted in the meantime that this one should not have been
    /// tried.
    pub async fn count_failure(
        &self,
        account: &str,
        ip: IpAddr,
        standing: Standing,
        limits: LoginLimits,
    ) -> Result<Admission> {
        let failures = self.shared.call(&self.account_limit(account, ip, limits, Some(standing))).await?;
        Ok(account_admission(standing, failures))
    }

    /// Remembers that this address has logged in to this account, for as long as the account has this generation.
    pub async fn remember_address(&self, account: &str, ip: IpAddr, generation: u64) -> Result<()> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys.known(account, ip)).arg(generation).arg("EX").arg(KNOWN_FOR.as_secs());
        self.shared.query("login_remember", &command).await
    }

    /// Gives back an attempt that was taken but not made.
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

    /// A check; or, with the standing of the address that `failed`, the count of a failure.
    fn account_limit(
        &self,
        account: &str,
        ip: IpAddr,
        limits: LoginLimits,
        failed: Option<Standing>,
    ) -> Call {
        let bucket = Bucket::new(Limit::Account, self.keys.failures(account), limits.failures, 1);
        let kept = kept_for_calm(limits.failures.burst.get());
        let failed_for = limits.failures.period.min(FAILED_FOR).as_millis().to_string();
        scripts::ACCOUNT_LIMIT
            .call()
            .key(&bucket.key)
            .key(self.keys.emptied(account))
            .key(self.keys.failed(account, ip))
            .arg(u8::from(failed.is_some()))
            .arg(bucket.one)
            .arg(bucket.all)
            .arg(kept)
            .arg(failed_for)
            .arg(u8::from(failed.is_some_and(|standing| standing.calm || standing.known)))
    }
}

/// The answer of `limit_take.lua`: which bucket is empty, counted from 1, for how many milliseconds, and how many are left in the
/// first.
type Taken = (usize, u64, u64);

/// The answer of `account_limit.lua`: milliseconds until a calm address may fail, and until any other may; whether this one has
/// failed lately.
type Failures = (u64, u64, bool);

/// How many of the failures are reserved for calm addresses: at least one, if there is more than one.
fn kept_for_calm(burst: u32) -> u32 {
    (burst / KEPT_OF).max(1).min(burst - 1)
}

fn is_calm(left: u64, attempts: RateLimit, (_, _, failed_lately): Failures) -> bool {
    !failed_lately && (left + 1) * 2 >= u64::from(attempts.burst.get())
}

fn account_admission(standing: Standing, (calm, other, _): Failures) -> Admission {
    let wait = if standing.calm { calm } else { other };
    if standing.known || wait == 0 {
        return Admission::Admitted(standing);
    }
    Admission::Refused { limit: Limit::Account, retry_after: Duration::from_millis(wait) }
}

/// A bucket, in microseconds as its script counts.
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

fn refused(buckets: &[Bucket], (empty, wait, _): Taken) -> Option<(Limit, Duration)> {
    let bucket = buckets.get(empty.checked_sub(1)?)?;
    Some((bucket.limit, Duration::from_millis(wait)))
}

fn refusal(buckets: &[Bucket], taken: Taken) -> Option<Admission> {
    refused(buckets, taken).map(|(limit, retry_after)| Admission::Refused { limit, retry_after })
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
        assert_eq!(refusal(&buckets, (0, 0, 5)), None);
        let expected = Admission::Refused { limit: Limit::Site, retry_after: Duration::from_millis(7) };
        assert_eq!(refusal(&buckets, (2, 7, 0)), Some(expected));
    }

    #[test]
    fn an_address_is_calm_until_it_fails_or_has_used_half_of_its_attempts() {
        let calm = |left, burst, failed| is_calm(left, rate(burst, 60), (0, 0, failed));
        assert!(calm(9, 10, false) && calm(4, 10, false) && calm(0, 1, false) && calm(0, 2, false));
        assert!(!calm(3, 10, false) && !calm(0, 10, false) && !calm(9, 10, true));
        assert_eq!([1, 2, 5, 10, 100, 1000].map(kept_for_calm), [0, 1, 1, 1, 10, 100]);
    }

    #[test]
    fn a_calm_address_waits_for_less_and_a_known_one_for_nothing() {
        let wait = |known, calm| match account_admission(Standing { known, calm }, (5, 70, false)) {
            Admission::Refused { retry_after, .. } => Some(retry_after.as_millis()),
            Admission::Admitted(_) => None,
        };
        assert_eq!([wait(false, true), wait(false, false), wait(true, false)], [Some(5), Some(70), None]);
    }
}
