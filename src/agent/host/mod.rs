//! What the agent does on its host: changes of jails as transactions, bans, and the questions that fail2ban answers.
//!
//! `service.rs` is the list of what it can do. A change of a jail is `change.rs`, with its files (`files.rs`), what it writes
//! (`dropin.rs`), its trial before it takes effect (`trial.rs`), the other jails that were lost (`losses.rs`), how
//! long it waits (`waiting.rs`), which step it is at (`steps.rs`) and its undo (`undo.rs`; after a crash `rollback.rs`, with
//! `under_way.rs`); `special.rs` has the changes that are not transactions. `jails.rs` shows jails, `logs.rs` checks their log
//! files, `bans.rs` bans and unbans.

pub(super) mod bans;
pub(super) mod change;
pub(super) mod changer;
pub mod dropin;
pub(super) mod error;
mod files;
mod jails;
mod list_tags;
mod logs;
mod losses;
mod rollback;
pub(super) mod service;
mod special;
mod steps;
mod trial;
mod under_way;
mod undo;
mod waiting;
