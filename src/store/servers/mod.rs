//! What is known about each fail2ban server: its state, the activations of its jails, its bans, and the servers that DNS names.

pub mod activations;
mod ban_notes;
pub mod ban_search;
pub mod bans;
pub mod discovered;
mod document;
pub mod hours;
pub mod state;
