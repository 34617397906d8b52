//! What every process that listens needs: one accept loop, and the limit of open files.

pub mod listener;
pub mod open_files;
pub mod socket;

pub use listener::{Limits, Server};
pub use socket::{Certificate, Listener};
