//! The domain: states, rules and transitions, but not how they are stored or requested.
//!
//! Everything here is pure: no async, no clock, no Redis. A transition takes the old state, the news and
//! `now`, and returns the new state and the events that follow (`transition.rs`). `now` is always Redis's
//! clock, handed in by the caller.
//!
//! A new field of a stored document needs `#[serde(default)]`. Fields that this version does not know are kept in `unknown` through
//! every rewrite, and so are words and records that it does not know (`newer.rs`), so that two neighbouring versions can share one
//! Redis.

pub mod access;
pub mod address;
pub mod ban_changes;
pub mod ban_job;
pub mod ban_mark;
pub mod change_steps;
pub mod discovery;
pub mod event;
pub mod findings;
pub mod fold;
pub mod group_roles;
mod hex_id;
pub mod hours;
pub mod jail;
pub mod jail_change;
pub mod long_lists;
pub mod name;
pub mod newer;
pub mod prefixes;
pub mod printable;
pub mod recovery;
pub mod second_factor;
pub mod server;
pub mod succession;
pub mod switches;
pub mod transition;
pub mod undo;
pub mod username;

pub use ban_job::{BanAction, BanJobId, BanJobProgress, BanJobState, OpenBanJob};
pub use ban_mark::BanMark;
pub use change_steps::{ChangeStep, StepTime};
pub use discovery::{Discovered, Discoveries};
pub use event::Event;
pub use jail::{BanTime, FindTime, JailSettings, MaxRetry, Network};
pub use jail_change::{JailChangeId, JailChangeKind, JailChangeState};
pub use name::{JailName, NameError, ServerName};
pub use recovery::{Activation, PendingRecovery, Switch, SwitchId};
pub use server::{
    Answer, BackendCommands, Condition, JailCounts, ProbeOutcome, ServerState, ServerStatus, UnreachableKind,
};

pub use undo::{UndoId, Undoable};
pub use username::Username;

/// A moment on Redis's clock.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// Fields of a stored document that this version of the program does not know: kept as they are.
pub type Unknown = std::collections::BTreeMap<String, rmpv::Value>;
