//! What changes of jails work with, and the types that describe a change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::files::Files;
use super::steps::StepLog;
use super::under_way::Rollback;
use crate::config::AgentConfig;
use crate::domain::{JailName, JailSettings, Network};
use crate::fail2ban::Client;
use crate::fail2ban::tools::Tools;

/// How a jail is to be changed.
#[derive(Debug, Clone)]
pub(in crate::agent) enum Edit {
    /// Switches it on.
    Activate,
    /// Switches it off.
    Deactivate,
    /// Sets these settings, from now on and after every restart.
    Set(JailSettings),
    /// Adds a network that is never banned.
    Ignore(Network),
}

/// A change in progress.
pub(in crate::agent) struct Plan<'a> {
    pub(in crate::agent) jail: &'a JailName,
    pub(in crate::agent) edit: &'a Edit,
    /// Whether the jail is to run in the end.
    pub(in crate::agent) active: bool,
    /// Whether fail2ban is to reload the jail; if not, only the file changes.
    pub(in crate::agent) reloads: bool,
}

/// The outcome of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) struct Changed {
    /// Whether the jail runs.
    pub(in crate::agent) active: bool,
    /// Whether anything was changed: not if it was as requested already.
    pub(in crate::agent) changed: bool,
}

/// The jails that fail2ban lists, and whether each runs. What cannot be known counts as running.
pub(in crate::agent) type Running = BTreeMap<JailName, bool>;

/// Changes jails, one at a time.
pub(in crate::agent) struct Changer {
    pub(in crate::agent) files: Files,
    pub(in crate::agent) tools: Tools,
    pub(in crate::agent) client: Client,
    pub(in crate::agent) working: Mutex<Option<Working>>,
    /// Which step each of the latest changes is at.
    pub(in crate::agent) steps: StepLog,
    /// fail2ban's log file, where its process cannot be seen.
    pub(in crate::agent) log: Mutex<Option<PathBuf>>,
    /// The latest rollback, until its outcome has been delivered.
    pub(in crate::agent) rollback: Mutex<Option<Rollback>>,
    pub(in crate::agent) socket: PathBuf,
    /// The command that starts fail2ban.
    pub(in crate::agent) start: Vec<String>,
}

impl Changer {
    pub(in crate::agent) fn new(config: &AgentConfig, client: Client, tools: Tools) -> Arc<Self> {
        let start = config.start.clone();
        let socket = config.fail2ban_socket.clone();
        Arc::new(Self {
            files: Files::new(&config.fail2ban_config),
            tools,
            client,
            working: Mutex::default(),
            steps: StepLog::default(),
            log: Mutex::default(),
            rollback: Mutex::default(),
            socket,
            start,
        })
    }
}

/// What fail2ban is working on.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Working {
    pub(super) jail: JailName,
    pub(super) since: Instant,
    /// When progress was last seen; the beginning if it cannot be seen.
    pub(super) seen: Instant,
    /// Whether progress can be seen.
    pub(super) visible: bool,
}
