//! The probe: is fail2ban healthy, which version is it, which jails run, with which counts.
//!
//! Counts are read by the cheapest command that the version has, never with a list of addresses: `stats` from
//! 1.1.0 on (one command), else `status` and one `status JAIL short` per jail, from 0.11.2 on. A jail that is listed but does
//! not run has counts too: see `threads.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use tokio::time::Instant;
use tracing::warn;

use super::command::Field;
use super::pickle::Value;
use super::{Client, Command, Fail2banError, Version, reply, threads};
use crate::domain::{Answer, JailCounts, JailName};

/// What else can be asked of a jail besides its counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// `polling`, `pyinotify`, `systemd`.
    pub backend: Option<String>,
    /// Whether it is idle.
    pub idle: Option<bool>,
}

/// Probes one fail2ban.
#[derive(Debug)]
pub struct Prober {
    client: Client,
    /// Invalid names that were logged already; bounded by [`MAX_STRANGE_NAMES`].
    strange: Mutex<BTreeSet<String>>,
}

const MAX_STRANGE_NAMES: usize = 1000;

/// The most pieces that are joined to one name: 1.0.2 lists a jail `[a, b, c]` as if it were three.
const MAX_PIECES: usize = 4;

impl Prober {
    /// A prober on `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, strange: Mutex::default() }
    }

    /// Ping, version and counts, all before `deadline`.
    ///
    /// # Errors
    /// `Busy` or `Down`; `Refused` is reported as `Down`, since a healthy fail2ban never refuses a command of a probe.
    pub async fn probe(&self, deadline: Instant) -> Result<Answer, Fail2banError> {
        self.ask_all(deadline).await.map_err(|error| match error {
            Fail2banError::Refused { .. } => Fail2banError::Down(error.to_string()),
            other => other,
        })
    }

    async fn ask_all(&self, deadline: Instant) -> Result<Answer, Fail2banError> {
        reply::pong(&self.client.ask(Command::Ping, deadline).await?)?;
        let answer = self.client.ask(Command::Version, deadline).await?;
        let text = reply::text(&answer)?;
        let version = Version::parse(text).filter(|version| *version >= Version::HAS_SHORT_STATUS).ok_or_else(|| {
            Fail2banError::Down(format!(
                "fail2ban says it is version {text:?}: {} or newer is needed to count without reading every address",
                Version::HAS_SHORT_STATUS
            ))
        })?;
        let mut jails = match self.stats(version, deadline).await? {
            Some(jails) => jails,
            None => self.short_statuses(deadline).await?,
        };
        let stalled = self.stalled(jails.keys());
        jails.retain(|jail, _| !stalled.contains(jail));
        Ok(Answer { version: text.to_owned(), jails, stalled })
    }

    /// The jails that are listed but do not run, as far as their threads show.
    fn stalled<'a>(&self, jails: impl Iterator<Item = &'a JailName>) -> BTreeSet<JailName> {
        let started = self.client.server_pid().map(|pid| threads::started(pid, jails)).unwrap_or_default();
        started
            .into_iter()
            .filter(|(_, started)| *started == Some(false))
            .map(|(jail, _)| jail.clone())
            .collect()
    }

    /// All counts by one command; none if this fail2ban does not know it (early builds of 1.1.0 do not).
    async fn stats(
        &self,
        version: Version,
        deadline: Instant,
    ) -> Result<Option<BTreeMap<JailName, JailCounts>>, Fail2banError> {
        if version < Version::HAS_STATS {
            return Ok(None);
        }
        let answer = match self.client.ask(Command::Stats, deadline).await {
            Err(Fail2banError::Refused { .. }) => return Ok(None),
            answer => answer?,
        };
        let counts = reply::stats(&answer)?;
        Ok(Some(
            counts.into_iter().filter_map(|(name, counts)| Some((self.checked(name)?, counts))).collect(),
        ))
    }

    async fn short_statuses(
        &self,
        deadline: Instant,
    ) -> Result<BTreeMap<JailName, JailCounts>, Fail2banError> {
        let mut jails = BTreeMap::new();
        for jail in listed(&self.client, deadline).await?.iter().filter_map(|name| self.checked(name)) {
            match self.client.ask(Command::ShortStatus(jail.clone()), deadline).await {
                Ok(answer) => drop(jails.insert(jail, reply::short_status(&answer)?)),
                // It was stopped since the list was read, so it is left out.
                Err(error) if error.is_unknown_jail() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(jails)
    }

    /// Backend and idleness of one jail; none if this fail2ban does not know the commands, in which case
    /// asking for the next jail only adds an error to its log.
    ///
    /// # Errors
    /// `Busy` or `Down`.
    pub async fn details(
        &self,
        jail: &JailName,
        deadline: Instant,
    ) -> Result<Option<Details>, Fail2banError> {
        let mut answers = [Value::None, Value::None];
        let commands = [Field::Backend, Field::Idle].map(|field| Command::Get(jail.clone(), field));
        for (command, slot) in commands.into_iter().zip(&mut answers) {
            match self.client.ask(command, deadline).await {
                Ok(answer) => *slot = answer,
                Err(error) if error.is_unknown_jail() => return Ok(Some(Details::default())),
                Err(Fail2banError::Refused { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let [backend, idle] = answers;
        Ok(Some(Details { backend: backend.as_str().map(str::to_owned), idle: reply::truth(&idle) }))
    }

    /// Whether this fail2ban knows `get JAIL backend` and `get JAIL idle`; none if no jail runs.
    ///
    /// # Errors
    /// `Busy` or `Down`.
    pub async fn backend_commands(&self, deadline: Instant) -> Result<Option<bool>, Fail2banError> {
        let list = listed(&self.client, deadline).await?;
        // A jail may be stopped between the list and the question, but hardly three of them.
        for jail in list.iter().filter_map(|name| self.checked(name)).take(3) {
            match self.details(&jail, deadline).await? {
                None => return Ok(Some(false)),
                Some(details) if details == Details::default() => {}
                Some(_) => return Ok(Some(true)),
            }
        }
        Ok(None)
    }

    /// The name, if it can be sent back in a command; any other is left out, and logged once.
    fn checked(&self, name: &str) -> Option<JailName> {
        match JailName::parse(name) {
            Ok(jail) => Some(jail),
            Err(_) => {
                let mut strange = self.strange.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if strange.len() < MAX_STRANGE_NAMES && strange.insert(name.to_owned()) {
                    warn!(
                        jail.name = name,
                        "skipped a jail: its name has characters that bangui does not support"
                    );
                }
                None
            }
        }
    }
}

/// The names that fail2ban lists. It joins them by a comma and a blank, which may be in a name too: if it counts fewer jails than
/// there are pieces, it is asked which pieces belong together.
///
/// # Errors
/// As [`Fail2banError`] says.
pub async fn listed(client: &Client, deadline: Instant) -> Result<Vec<String>, Fail2banError> {
    let list = client.ask(Command::Status, deadline).await?;
    let mut pieces = &reply::jail_list(&list)?[..];
    let in_pieces = reply::jail_count(&list).is_some_and(|count| count < pieces.len());
    let longest = if in_pieces { MAX_PIECES } else { 1 };
    let mut names = Vec::with_capacity(pieces.len());
    while !pieces.is_empty() {
        let mut taken = 1;
        for length in 2..=longest.min(pieces.len()) {
            let Ok(jail) = JailName::parse(&pieces[..length].join(", ")) else { continue };
            match client.ask(Command::ShortStatus(jail), deadline).await {
                Ok(_) => taken = length,
                Err(error) if error.is_unknown_jail() => {}
                Err(error) => return Err(error),
            }
        }
        names.push(pieces[..taken].join(", "));
        pieces = &pieces[taken..];
    }
    Ok(names)
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
