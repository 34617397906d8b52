//! bangui: a control plane for fail2ban that runs as any number of stateless workers on one Redis.
//!
//! # Layers
//!
//! ```text
//! main -> {http, scheduler, agent::server, up} -> {store, agent::client, fail2ban} -> settings, config -> domain
//! ```
//!
//! `http` and `scheduler` never import each other: they meet in Redis, like any two workers. A test
//! (`tests/it/layers.rs`) reads the `use crate::` lines and fails on an arrow that turns round.
pub mod agent;
pub mod config;
pub mod domain;
pub mod fail2ban;
pub mod store;
