//! What every process that listens needs: accepting connections, and the limit of open files.

pub mod listener;
pub mod open_files;
