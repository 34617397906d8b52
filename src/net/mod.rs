//! What every process that listens needs: one accept loop, the limit of open files, and a way to ask whether it is ready.

pub mod listener;
pub mod open_files;
pub mod readiness;
pub mod socket;

pub use listener::{Limits, Server};
pub use socket::{Certificate, Listener};
