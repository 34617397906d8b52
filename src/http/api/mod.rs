//! The JSON interface: one file per resource.

pub(super) mod audit;
pub(super) mod ban_jobs;
pub(super) mod ban_orders;
pub(super) mod bans;
pub(super) mod cluster;
pub mod diagnosis;
pub mod docs;
pub(super) mod events;
pub(super) mod health;
pub(super) mod jail_changes;
pub(super) mod jail_settings;
pub(super) mod jail_switch;
pub(super) mod jails;
pub(super) mod metrics;
pub mod openapi;
pub(super) mod password;
pub(super) mod recovery;
pub(super) mod server_view;
pub(super) mod servers;
pub(super) mod session;
pub(super) mod sessions;
pub(super) mod settings;
pub mod setup;
pub mod time;
