//! How Redis is reached, watched and checked.
//!
//! `dialer.rs` finds the address (`sentinel.rs` where Sentinels name the primary), `shared.rs` is the one multiplexed
//! connection, `watchdog.rs` looks after it, `primary.rs` asks whether it leads to the primary, `pool.rs` lends connections for what is large or blocks,
//! `checks.rs` says whether this Redis may be used, `acl.rs` what its user must be allowed,
//! `clock.rs` what time it is there.

pub mod acl;
pub mod checks;
pub mod clock;
pub(super) mod connect;
pub(super) mod dialer;
pub(super) mod pool;
pub(super) mod primary;
pub(super) mod request;
pub(super) mod sentinel;
pub(super) mod shared;
pub(super) mod watchdog;
