//! Long-running work that any worker may claim.

pub mod bans;

pub use bans::BanJobs;
