//! The one scheduler of the cluster, elected among all workers.
//!
//! Every worker runs this loop: wait for the lease, lead while it is held, release it. Reading order:
//!
//! * `context.rs`: what it works with;
//! * `term.rs`: how long a leader may take itself for the leader (pure);
//! * `election.rs`: how a worker becomes and stops being the leader;
//! * `jobs.rs`: what a leader does, on a schedule that lies in Redis and outlives it;
//! * `probe.rs`: the health probe, the job that matters most;
//! * `bans.rs`: the lists of bans;
//! * `discovery.rs`: agents that are found by DNS.
//!
//! Leadership is a hint; the proof is the fence that every write carries and Redis compares. So "at most
//! one scheduler" does not depend on the code here: it only makes takeovers quick and rare.

mod bans;
mod context;
mod discovery;
mod election;
mod jobs;
mod outcome;
mod probe;
mod term;

pub use bans::MAX_LIST_BYTES;
pub use context::Scheduler;
pub use election::release_left_behind;
