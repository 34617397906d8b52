//! The worker's end of the bridge.
//!
//! Every way in which asking can fail has its own kind, because each has its own remedy, and because an agent that cannot be
//! reached says nothing about fail2ban. Every call has one deadline in all; the agent gets four fifths of it, so that "fail2ban is
//! busy" arrives before the worker gives up. The calls about jails and bans are in `jails.rs`.

mod ban_list;
mod call;
mod credentials;
mod error;
pub mod fleet;
mod inspect;
mod jails;

pub use ban_list::{FromBan, ListError, UNPARSED_BYTES};
pub use call::AgentClient;
pub use credentials::{Credentials, Introduction};
pub use error::{AgentError, RefusedKind};

pub use super::wire::{
    BanRequest, BanResult, ChangeSettings, FileSettings, JailChanged, JailView, JobEpoch, JobKey, RolledBack,
};
