//! How Redis is reached, watched and checked.
//!
//! `dialer.rs` finds the address, `shared.rs` is the one multiplexed connection, `watchdog.rs` looks after it, `primary.rs` asks
//! whether it leads to the primary, `pool.rs` lends connections for what is large or blocks,
//! `subscription.rs` is a connection that messages arrive on. `authority.rs` stands for the
//! Sentinels or the masters of a Redis Cluster that name the primary, and `follow.rs` asks them again and again. `checks.rs`
//! decides whether this Redis may be used, `acl.rs` which rights its user needs; `clock.rs` has the two clocks.

pub mod acl;
pub(super) mod authority;
pub mod checks;
pub mod clock;
pub(super) mod connect;
pub(super) mod dialer;
pub(super) mod follow;
pub(super) mod named;
pub(super) mod pool;
pub(super) mod primary;
pub(super) mod redis_cluster;
pub(super) mod request;
pub(super) mod sentinel;
pub(super) mod shared;
mod slot_owner;
pub(super) mod subscription;
pub(super) mod watchdog;
