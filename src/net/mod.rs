//! What every process that listens needs: accepting connections, the limit of open files, and asking whether it is ready.

pub mod healthcheck;
pub mod listener;
pub mod open_files;
