//! The only way for requests to reach argon2: off the async threads, and with a limit on how many hashes run at once.
//!
//! A hash takes tens of milliseconds of one core and 19 MiB. So no more run at once than there are cores, and at most
//! `MAX_CONCURRENT_HASHES`; four times that may wait, for 2 s at most; further requests, and those that wait longer, get a 503.
//!
//! Anybody can fill those places with made-up names and passwords. So a request from an address that is known for the account (see
//! `store/auth/limits.rs`) has a second door, with one more hash and its own places to wait, and tries that one first.
//!
//! A request that is dropped while it waits gives its place back (the permits live in its future); a running hash is finished,
//! and keeps its place until then, since the core is busy even if nobody waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::password;

/// How long a request waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum number of hashes at once, however many cores there are: 152 MiB.
const MAX_CONCURRENT_HASHES: usize = 8;

/// Hashes at once behind the door of known addresses.
const KNOWN: usize = 1;

/// The memory that a running hash needs, in bytes.
#[cfg(test)]
pub const HASH_BYTES: usize = 19 * 1024 * 1024;

/// The maximum number of hashes at once, behind both doors, on a machine with `cores` cores.
#[cfg(test)]
pub fn most_at_once(cores: usize) -> usize {
    cores.min(MAX_CONCURRENT_HASHES) + KNOWN
}

/// Requests that may wait for each hash that may run.
const WAITING_PER_CORE: usize = 4;

/// A hash that no password matches, with the parameters of real ones, so that an unknown name costs as much as a wrong password.
pub const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$YmFuZ3VpLW5vYm9keS4$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password was neither hashed nor checked.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// As many hashes run and wait as this worker allows.
    #[error("this worker is busy checking passwords and its queue is full: try again")]
    Busy,
    /// It waited too long for the hashes before it.
    #[error(
        "this worker is busy checking passwords and did not get to this request within {}: try again",
        format_args!("{} s", TURN_TIMEOUT.as_secs())
    )]
    Late,
    /// Hashing itself failed.
    #[error("failed to hash a password")]
    Failed(#[source] anyhow::Error),
}

/// What the gate returns.
pub type Result<T> = std::result::Result<T, GateError>;

/// Where a password comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An address that has logged in to the account before, or a session of the account.
    Known,
    /// Any other address.
    Anywhere,
}

/// The gate with both doors. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PasswordGate {
    open: Door,
    known: Door,
}

/// One door.
#[derive(Debug, Clone)]
struct Door {
    /// One permit for each request that is hashed or waits.
    places: Arc<Semaphore>,
    /// One permit for each running hash.
    cores: Arc<Semaphore>,
}

impl Door {
    fn new(cores: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(cores * (1 + WAITING_PER_CORE))),
            cores: Arc::new(Semaphore::new(cores)),
        }
    }

    async fn enter(&self) -> Result<Turn> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| GateError::Busy)?;
        match tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.cores).acquire_owned()).await {
            Ok(Ok(core)) => Ok(Turn { _place: place, _core: core }),
            Ok(Err(_)) => Err(GateError::Busy),
            Err(_) => Err(GateError::Late),
        }
    }
}

impl PasswordGate {
    /// A gate for the cores of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::with_cores(
            std::thread::available_parallelism().map_or(1, usize::from).min(MAX_CONCURRENT_HASHES),
        )
    }

    /// A gate that runs `cores` hashes at once, and one more for known addresses.
    #[must_use]
    pub fn with_cores(cores: usize) -> Self {
        Self { open: Door::new(cores), known: Door::new(KNOWN) }
    }

    /// Waits for a turn, at most two seconds at each door.
    ///
    /// # Errors
    /// [`GateError::Busy`] if too many are waiting already, [`GateError::Late`] after waiting for too long.
    pub async fn enter(&self, origin: Origin) -> Result<Turn> {
        match origin {
            Origin::Anywhere => self.open.enter().await,
            Origin::Known => match self.known.enter().await {
                Err(GateError::Busy | GateError::Late) => self.open.enter().await,
                turn => turn,
            },
        }
    }

    /// Whether `password` is the one that `phc` was made from. Without a `phc` nothing matches, at the same cost.
    ///
    /// # Errors
    /// As [`enter`](Self::enter) and [`Turn`].
    pub async fn verify(&self, password: &str, phc: Option<&str>) -> Result<bool> {
        self.enter(Origin::Anywhere).await?.verify(password, phc).await
    }

    /// Hashes a new password, for somebody who has proven the old one.
    ///
    /// # Errors
    /// As [`enter`](Self::enter) and [`Turn`].
    pub async fn hash(&self, password: &str) -> Result<String> {
        self.enter(Origin::Known).await?.hash(password).await
    }
}

/// The right to hash once, now; given back when it is dropped.
#[derive(Debug)]
pub struct Turn {
    _place: OwnedSemaphorePermit,
    _core: OwnedSemaphorePermit,
}

impl Turn {
    /// See [`PasswordGate::verify`].
    ///
    /// # Errors
    /// If hashing itself fails.
    pub async fn verify(self, password: &str, phc: Option<&str>) -> Result<bool> {
        let password = password.to_owned();
        let known = phc.is_some();
        let phc = phc.unwrap_or(NOBODY).to_owned();
        Ok(self.work(move || password::verify(&password, &phc)).await? && known)
    }

    /// See [`PasswordGate::hash`].
    ///
    /// # Errors
    /// If hashing itself fails.
    pub async fn hash(self, password: &str) -> Result<String> {
        let password = password.to_owned();
        self.work(move || password::hash(&password)).await?.map_err(GateError::Failed)
    }

    /// The turn ends with the hash, even if the client gives up: a running hash cannot be stopped.
    async fn work<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(self);
            done
        });
        done.await.map_err(|error| GateError::Failed(error.into()))
    }
}

impl Default for PasswordGate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn nobody_has_the_parameters_of_a_real_hash_and_is_matched_by_nothing() {
        let gate = PasswordGate::with_cores(1);
        let real = gate.hash("hunter2hunter2").await.unwrap();
        let parameters = |phc: &str| phc.rsplitn(3, '$').last().map(str::to_owned);
        let length = |phc: &str| phc.rsplit('$').next().map(str::len);
        assert_eq!((parameters(&real), length(&real)), (parameters(NOBODY), length(NOBODY)));
        let began = std::time::Instant::now();
        assert!(!gate.verify("", None).await.unwrap());
        assert!(began.elapsed() > Duration::from_millis(5), "NOBODY cannot be parsed, so nothing was hashed");
        assert!(gate.verify("hunter2hunter2", Some(&real)).await.unwrap());
        assert!(!gate.verify("hunter2hunter3", Some(&real)).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn four_wait_for_each_that_works_and_the_next_is_refused_at_once() {
        let gate = PasswordGate::with_cores(1);
        let enter = || gate.enter(Origin::Anywhere);
        let working = enter().await.unwrap();
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(enter())).collect();
        for turn in &mut waiting {
            assert!(turn.as_mut().now_or_never().is_none());
        }
        let refused = enter().now_or_never().expect("at once").expect_err("refused");
        assert!(matches!(refused, GateError::Busy));
        drop(waiting.pop());
        let mut fifth = Box::pin(enter());
        assert!(fifth.as_mut().now_or_never().is_none(), "the place of the one that went away was not free");
        drop(working);
        assert!(waiting.remove(0).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_after_two_seconds() {
        let gate = PasswordGate::with_cores(1);
        let _working = gate.enter(Origin::Anywhere).await.unwrap();
        let began = tokio::time::Instant::now();
        assert!(matches!(gate.enter(Origin::Anywhere).await, Err(GateError::Late)));
        assert_eq!(began.elapsed(), TURN_TIMEOUT);
        assert_eq!(gate.open.places.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_who_fill_every_place_keep_out_nobody_from_a_known_address() {
        let gate = PasswordGate::with_cores(1);
        let _working = gate.enter(Origin::Anywhere).await.unwrap();
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(gate.enter(Origin::Anywhere))).collect();
        assert!(waiting.iter_mut().all(|turn| turn.as_mut().now_or_never().is_none()));
        assert!(gate.enter(Origin::Anywhere).now_or_never().expect("at once").is_err());
        let known = gate.enter(Origin::Known).now_or_never().expect("at once").expect("a turn");
        // When that door is full, they may wait at the other one too.
        let mut more: Vec<_> = (0..4).map(|_| Box::pin(gate.enter(Origin::Known))).collect();
        assert!(more.iter_mut().all(|turn| turn.as_mut().now_or_never().is_none()));
        drop((known, waiting));
        assert!(more.remove(0).await.is_ok());
    }
}
