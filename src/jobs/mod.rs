//! Work that takes long and that any worker may claim.

pub mod bans;

pub use bans::BanJobs;
