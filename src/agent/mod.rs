//! Both ends of the bridge between workers and fail2ban.
//!
//! ```text
//! worker: client -- HTTP over a unix socket or loopback, wire -- server -> desk -> fail2ban
//!             \______________________ token ____________________/
//! ```
//!
//! The agent keeps no state beyond its connection to fail2ban, needs no Redis, and relays no bytes: a route
//! is a typed question of `fail2ban::Command`. A new call goes into [`wire`] (path, body), [`server`] (route)
//! and [`client`] (method).

pub mod client;
mod desk;
mod listen;
pub mod server;
pub mod token;
pub mod wire;
