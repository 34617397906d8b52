//! bangui: a control plane for fail2ban that runs as any number of stateless workers on one Redis.
//!
//! # Layers
//!
//! ```text
//! main -> cli -> {worker, up} -> {http, jobs} -> actions -> {store, agent::client} -> settings -> config -> domain
//!                                {scheduler, agent::server} -> {store, agent::client, fail2ban} -> settings -> config -> domain
//! ```
//!
//! `http`, `scheduler` and `jobs` never import each other: they meet in Redis, like any two workers. A test
//! (`tests/it/layers.rs`) reads the `use crate::` lines and fails on an arrow that turns round.
//!
//! # Where to start reading
//!
//! `actions/` is what users do, whoever asks for it. `domain/transition.rs` is what is true. `store/mod.rs` is what is remembered, `scheduler/mod.rs` who acts on
//! schedule, `jobs/` who carries out what takes long, `http/mod.rs` what users call, `agent/wire.rs` what travels to the machines that run fail2ban, and
//! `worker/` the life of one worker.

pub mod actions;
pub mod agent;
pub mod cause;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod fail2ban;
pub mod http;
pub mod jobs;
pub mod net;
pub mod password;
pub mod scheduler;
pub mod settings;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod up;
pub mod worker;
