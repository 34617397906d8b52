//! What is to be done, and by whom: the lease of the scheduler, its schedule, and the ban jobs that any worker may claim.

mod ban_job_about;
pub mod ban_job_views;
pub mod ban_jobs;
pub mod fence;
pub mod lease;
pub mod schedule;
