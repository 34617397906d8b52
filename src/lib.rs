//! bangui: a control plane for fail2ban that runs as any number of stateless workers on one Redis.
//!
//! # Layers
//!
//! ```text
//! main -> {commands, serve, up} -> {http, scheduler, agent::server} -> {store, agent::client, fail2ban} -> settings, config -> domain
//! ```
//!
//! `http` and `scheduler` never import each other: they meet in Redis, like any two workers. A test
//! (`tests/it/layers.rs`) reads the `use crate::` lines and fails on an arrow that turns round.
pub mod agent;
pub mod commands;
pub mod config;
pub mod domain;
pub mod password;
pub mod serve;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod up;
