//! What every process needs that speaks to others.
//!
//! The accept loop, who may hold a connection, the limit of open files, a limit to log lines that strangers can cause, HTTP clients, and a
//! way to ask whether it is ready.

pub mod flood;
pub mod http_client;
mod lingering;
pub mod listener;
pub mod open_files;
pub mod places;
pub mod readiness;
pub mod socket;
mod watched;

pub use flood::Flood;
pub use listener::{Limits, MAX_CONNECTION_BYTES, MAX_UNREAD_BYTES, Server};
pub use places::Capacity;
pub use socket::{Certificate, Listener};
