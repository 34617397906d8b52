//! Both ends of the bridge between workers and fail2ban.
//!
//! ```text
//! worker: client -- HTTP over a unix socket, loopback or TLS, wire -- server -> host -> fail2ban
//!             \___ the workers' certificate, or a shared token __/
//! ```
//!
//! The agent's only state on disk is its drop-ins and the journal of a change in progress (`host/change.rs`). It needs no Redis,
//! and relays no bytes: a route is a typed command of `fail2ban::Command`, or a typed change to a jail. A new call goes into [`wire`] (path, body), [`server`] (route) and [`client`] (method).

mod certificate;
pub mod client;
pub mod host;
mod memory;
mod names;
pub mod refusal;
pub mod server;
mod tls;
pub mod token;
pub mod wire;
