//! Both ends of the bridge between workers and fail2ban.
pub mod client;
pub mod server;
pub mod wire;
