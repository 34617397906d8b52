//! The probe: is fail2ban well, which version is it, which jails run, with which counts.
//!
//! Counts come by the cheapest command that the version has, never with a list of addresses: `stats` from
//! 1.1.0 on (one command), else `status` and one `status JAIL short` per jail, from 0.11.2 on. A jail that is listed and does
//! not run has counts too: see `threads.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use tokio::time::Instant;
use tracing::warn;

use super::command::Field;
use super::pickle::Value;
use super::{Client, Command, Fail2banError, Version, reply, threads};
use crate::domain::{Answer, JailCounts, JailName};

/// What one jail says of itself beyond its counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// `polling`, `pyinotify`, `systemd`.
    pub backend: Option<String>,
    /// Whether it is idle.
    pub idle: Option<bool>,
}

/// Asks fail2ban how it is.
#[derive(Debug)]
pub struct Prober {
    client: Client,
    /// Names already complained of; bounded by [`MAX_STRANGE_NAMES`].
    strange: Mutex<BTreeSet<String>>,
}

const MAX_STRANGE_NAMES: usize = 1000;

/// `[a, b, c]` is one jail, and 1.0.2 lists it as if it were three.
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
    /// `Busy` or `Down`; `Refused` is reported as `Down`, since no command of a probe is ever refused by a fail2ban
    /// that is well.
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

    /// Those that are listed and do not run, as far as their threads show.
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
                // Stopped since the list was read: it does not run, which is what leaving it out says.
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

    /// Whether this fail2ban answers `get JAIL backend` and `get JAIL idle`; none if no jail runs.
    ///
    /// # Errors
    /// `Busy` or `Down`.
    pub async fn backend_commands(&self, deadline: Instant) -> Result<Option<bool>, Fail2banError> {
        let list = listed(&self.client, deadline).await?;
        // A jail may be stopped between the list and the question; three of them are no chance.
        for jail in list.iter().filter_map(|name| self.checked(name)).take(3) {
            match self.details(&jail, deadline).await? {
                None => return Ok(Some(false)),
                Some(details) if details == Details::default() => {}
                Some(_) => return Ok(Some(true)),
            }
        }
        Ok(None)
    }

    /// The name as one that can be sent back in a command; others are left out, and logged once.
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

/// The names that fail2ban lists. It joins them by a comma and a blank, which may be in a name too: if there are fewer than
/// pieces, it is asked which of them belong together.
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
