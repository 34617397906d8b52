//! The scheduler: every worker has one, and one of them, the leader, runs the scheduled jobs.
//!
//! The loop is: wait for the lease, lead while it is held, release it. Reading order:
//!
//! * `context.rs`: what it works with;
//! * `term.rs`: how long a leader may assume that it is the leader (pure);
//! * `election.rs`: how a worker becomes and stops being the leader;
//! * `standby.rs`: how it waits for that, and watches the leader (when it may take over is decided in `domain/succession.rs`);
//! * `presence.rs`: how the leader shows that its process runs;
//! * `jobs.rs`: what a leader does, on a schedule that is stored in Redis and outlives it;
//! * `outcome.rs`, `troubles.rs`, `retry.rs`: what is logged of a step that fails, and when it is tried again;
//! * `probe.rs`: the health probe, the job that matters most;
//! * `bans.rs`: the lists of bans, which of them is due; `ban_pulls.rs`: how they are read;
//! * `discovery.rs`: agents that are found by DNS.
//!
//! Leadership is a hint; the proof is the fence that every write carries and Redis compares. So "at most one leader" does not
//! depend on the code here, which only makes changes of the leader quick and rare.

mod ban_pulls;
mod bans;
mod context;
mod discovery;
mod election;
mod jobs;
mod outcome;
mod presence;
mod probe;
mod retry;
mod standby;
mod term;
mod troubles;

pub use ban_pulls::MAX_LIST_BYTES;
pub use context::Scheduler;
pub use election::release_left_behind;
