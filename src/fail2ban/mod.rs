//! fail2ban's socket protocol, implemented without Python and without `fail2ban-client`; and fail2ban's programs, for what the
//! socket cannot do.
//!
//! ```text
//! probe -> client (one connection, one command at a time) -> codec (frames) + pickle (their content)
//!               command (what may be asked)     reply (what the answers mean)
//! tools (fail2ban's programs: check, rehearse, reload)     threads (which jails really run)     zone (its time zone)
//! ```
//!
//! fail2ban unpickles what it is sent, as root: anyone who can write to its socket is root. Hence [`Command`] is a
//! closed list, every request is built here from its variants, and no bytes from outside are ever relayed.
//! Nothing that fail2ban sends is trusted either: the reader in [`pickle`] accepts a closed set of opcodes,
//! calls nothing, and has a limit on everything that a reply could make large.
//!
//! A new command goes into [`command`] (its words), and its answer into [`reply`] (its shape). One that
//! changes something must not be sent twice: see `exchange` in [`client`] first.

pub mod client;
pub mod codec;
pub mod command;
mod connection;
pub mod pickle;
pub mod probe;
pub mod progress;
pub mod reply;
pub mod threads;
pub mod tools;
pub mod version;
pub mod zone;

pub use client::{Client, Options};
pub use command::Command;
pub use version::Version;

/// The name of the Python exception for a jail that fail2ban does not know.
const UNKNOWN_JAIL: &str = "UnknownJailException";

/// Why fail2ban gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fail2banError {
    /// It is there, but has not answered in time: its only command thread is busy with something long.
    #[error("{0}")]
    Busy(String),
    /// It is not there, or closed the connection, or what it sends is not its protocol.
    #[error("{0}")]
    Down(String),
    /// It is healthy, but refused this command.
    #[error("fail2ban refused the command: {class}: {message}")]
    Refused {
        /// The Python exception, as `module.Name`.
        class: String,
        /// The exception's arguments, as text.
        message: String,
    },
}

impl Fail2banError {
    /// fail2ban's error about a jail that it does not know.
    fn unknown_jail(jail: &crate::domain::JailName) -> Self {
        Self::Refused { class: UNKNOWN_JAIL.to_owned(), message: jail.to_string() }
    }

    /// Whether fail2ban says that there is no such jail: it was stopped since its name was read.
    #[must_use]
    pub fn is_unknown_jail(&self) -> bool {
        matches!(self, Self::Refused { class, .. } if class.ends_with(UNKNOWN_JAIL))
    }
}
