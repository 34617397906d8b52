//! The small commands: each asks a question or does one thing, says it in a line or two, and ends.
pub mod check;
pub mod reset_password;
