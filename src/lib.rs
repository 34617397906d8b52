//! bangui: a control plane for fail2ban that runs as any number of stateless workers on one Redis.
//!
//! # Layers
//!
//! ```text
//! main -> cli -> {worker, up} -> {http, scheduler, jobs}
//!         {http, jobs} -> actions -> {store, agent::client} -> settings -> config -> domain
//!         scheduler -> {store, agent::client}
//!         agent::server -> agent::host -> fail2ban -> domain
//! ```
//!
//! `http`, `scheduler` and `jobs` never import each other: they meet in Redis, like any two workers. No file imports in a
//! circle. A test (`tests/it/layers.rs`) follows every `use` and path in the code and fails on one against an arrow.
//!
//! # Where to start reading
//!
//! * `domain/transition.rs`: how the state of a fail2ban server changes, as pure rules;
//! * `actions/`: what users can do, the same for every caller;
//! * `store/mod.rs`: what is remembered in Redis, and by which verbs;
//! * `scheduler/mod.rs`: what the elected leader does on schedule, and `jobs/`: what any worker may claim;
//! * `http/mod.rs`: every route;
//! * `agent/wire/`: what travels to the machines that run fail2ban, and `agent/host/`: how a jail is changed there;
//! * `worker/`: the life of one worker, and `cli/`: every subcommand.

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
pub mod provider;
pub mod scheduler;
pub mod settings;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod up;
pub mod worker;
