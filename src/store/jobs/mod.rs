//! What is to be done, and by whom: the lease of the leader, the schedule, the ban jobs that any worker may claim, and the changes
//! of jails that take long.

mod ban_job_header;
pub mod ban_job_views;
pub mod ban_jobs;
pub mod fence;
pub mod jail_changes;
pub mod lease;
pub mod running_changes;
pub mod schedule;
pub mod succession;
