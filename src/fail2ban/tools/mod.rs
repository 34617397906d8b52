//! fail2ban's own programs, for what its socket cannot do: reading, checking and applying its configuration.
//!
//! Only the client reads the configuration; the server knows commands alone. So a jail is reloaded by
//! `fail2ban-client reload --if-exists JAIL`, and what a reload would stumble over is found before by `fail2ban-client -t`
//! and by a rehearsal (`rehearsal.py`, which says why). Never by a reload of everything: one wrong expression in
//! one jail would end all of them.
//!
//! Every run has a deadline, bounded output, no shell, no environment but `PATH`, and arguments that are the agent's own
//! paths and checked names.

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::domain::JailName;
use process::{Output, run};

const CLIENT: &str = "fail2ban-client";
/// For a run that only reads.
const READS_WITHIN: Duration = Duration::from_secs(20);
/// For a reload: it stops a jail, which runs the unban action of each of its bans.
const RELOADS_WITHIN: Duration = Duration::from_secs(60);
/// For the command that starts fail2ban, which may wait until it is up.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// A thousand jails with a few log files each.
const MAX_SURVEY: usize = 4 * 1024 * 1024;
const MAX_WORDS: usize = 64 * 1024;
const REHEARSAL: &str = include_str!("rehearsal.py");

/// Why a program said nothing of use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// It is not there, or cannot be run.
    #[error("{program} cannot be run: {reason}")]
    Missing {
        /// Which.
        program: String,
        /// Why.
        reason: String,
    },
    /// It did not end.
    #[error("{program} has not ended within {limit:?} and was killed")]
    Late {
        /// Which.
        program: String,
        /// The deadline.
        limit: Duration,
    },
    /// It said something else than it should.
    #[error("{program} answered what this program does not understand: {said}")]
    Strange {
        /// Which.
        program: String,
        /// What it said.
        said: String,
    },
}

/// What fail2ban said of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Well,
    /// Something is, in fail2ban's own words.
    Wrong(String),
}

/// A jail of the configuration, on or off, with its settings as fail2ban computes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ConfiguredJail {
    /// Whether it is switched on.
    pub enabled: bool,
    /// Seconds of a ban, -1 for ever; none if it cannot be computed.
    pub bantime: Option<i64>,
    /// Seconds in which failures add up.
    pub findtime: Option<i64>,
    /// Failures until a ban.
    pub maxretry: Option<i64>,
    /// Addresses, networks and names that are never banned.
    pub ignoreip: Vec<String>,
    /// The filter, with its options.
    pub filter: String,
    /// The backend as written, `auto` for instance.
    pub backend: String,
    /// Log files, as patterns.
    pub log_files: Vec<String>,
    /// Journal matches.
    pub journal_matches: Vec<String>,
    /// What cannot be computed.
    pub errors: Vec<String>,
}

/// The whole configuration of jails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Each jail whose name can be handled.
    pub jails: BTreeMap<JailName, ConfiguredJail>,
    /// What is wrong with the files as such.
    pub errors: Vec<String>,
}

/// What came of trying one jail out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rehearsal {
    /// Whatever a reload would stumble over, in fail2ban's own words.
    pub errors: Vec<String>,
    /// Whether the jail would be started.
    pub enabled: bool,
    /// The database that a reload names: the server refuses another one than it has.
    pub database: Option<String>,
}

/// The programs, for one fail2ban.
#[derive(Debug, Clone)]
pub struct Tools {
    socket: PathBuf,
    config: PathBuf,
}

impl Tools {
    /// For the fail2ban with this socket and this configuration folder.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>, config: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), config: config.into() }
    }

    /// `fail2ban-client -t`: finds files that are missing or cannot be read, in all jails.
    ///
    /// # Errors
    /// If it cannot be run to its end.
    pub async fn test(&self) -> Result<Verdict, ToolError> {
        Ok(verdict(&self.client(&["-t"], Stdio::null(), READS_WITHIN).await?))
    }

    /// `fail2ban-client reload --if-exists JAIL`: starts, changes or ends this jail and touches no other.
    /// `held` is its standard input, which it does not read: a lock that must not be free before it has ended.
    ///
    /// # Errors
    /// If it cannot be run to its end; the reload may have happened all the same.
    pub async fn reload(&self, jail: &JailName, held: File) -> Result<Verdict, ToolError> {
        Ok(verdict(
            &self.client(&["reload", "--if-exists", jail.as_str()], held.into(), RELOADS_WITHIN).await?,
        ))
    }

    /// Every jail of the configuration.
    ///
    /// # Errors
    /// If it cannot be read at all.
    pub async fn survey(&self) -> Result<Survey, ToolError> {
        #[derive(Deserialize)]
        struct Raw {
            jails: BTreeMap<String, ConfiguredJail>,
            errors: Vec<String>,
        }
        let raw: Raw = self.python(&["survey".as_ref(), self.config.as_os_str()]).await?;
        let jails = raw.jails.into_iter();
        let jails = jails.filter_map(|(name, jail)| Some((JailName::parse(&name).ok()?, jail))).collect();
        Ok(Survey { jails, errors: raw.errors })
    }

    /// Runs the command that starts fail2ban, as it was configured.
    ///
    /// # Errors
    /// If it cannot be run to its end.
    pub async fn start(&self, command: &[String]) -> Result<Verdict, ToolError> {
        let (program, arguments) = command.split_first().ok_or_else(|| ToolError::Missing {
            program: "the command that starts fail2ban".into(),
            reason: "there is none: set BANGUI_FAIL2BAN_START".into(),
        })?;
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Ok(verdict(&run(OsStr::new(program), &arguments, Stdio::null(), STARTS_WITHIN, MAX_WORDS).await?))
    }

    /// What a reload of this jail would stumble over.
    ///
    /// # Errors
    /// If it cannot be tried.
    pub async fn rehearse(&self, jail: &JailName) -> Result<Rehearsal, ToolError> {
        self.python(&["rehearse".as_ref(), self.config.as_os_str(), jail.as_str().as_ref()]).await
    }

    async fn client(&self, words: &[&str], stdin: Stdio, limit: Duration) -> Result<Output, ToolError> {
        let mut arguments: Vec<OsString> =
            vec!["-c".into(), self.config.clone().into(), "-s".into(), self.socket.clone().into()];
        arguments.extend(words.iter().map(OsString::from));
        run(OsStr::new(CLIENT), &arguments, stdin, limit, MAX_WORDS).await
    }

    async fn python<T: DeserializeOwned>(&self, words: &[&OsStr]) -> Result<T, ToolError> {
        let mut arguments: Vec<OsString> = vec!["-I".into(), "-c".into(), REHEARSAL.into()];
        arguments.extend(words.iter().map(OsString::from));
        let python = process::interpreter(CLIENT)?;
        let output = run(python.as_os_str(), &arguments, Stdio::null(), READS_WITHIN, MAX_SURVEY).await?;
        serde_json::from_slice(&output.stdout).map_err(|error| ToolError::Strange {
            program: python.display().to_string(),
            said: format!("{error}: {}", output.words()),
        })
    }
}

fn verdict(output: &Output) -> Verdict {
    if output.success { Verdict::Well } else { Verdict::Wrong(said(&output.words())) }
}

/// fail2ban's words without what is different each time: `2026-11-22 22:32:46,129 fail2ban [10664]: ERROR   `.
/// What was said twice is kept once.
fn said(printed: &str) -> String {
    let mut seen = BTreeSet::new();
    let lines = printed.lines().map(|line| match line.split_once("]: ERROR") {
        Some((head, words)) if head.contains("fail2ban") => words.trim(),
        _ => line.trim_end(),
    });
    let kept: Vec<&str> = lines.filter(|line| !line.trim().is_empty() && seen.insert(*line)).collect();
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_kept_without_times_and_process_ids_and_once() {
        let printed = "2026-11-22 22:32:46,129 fail2ban                [10664]: ERROR   Failed: no section\nfile: 'x'\n\n\
                       2026-11-22 22:32:46,129 fail2ban                [10664]: ERROR   Failed: no section\n";
        assert_eq!(said(printed), "Failed: no section\nfile: 'x'");
        assert_eq!(said("\n"), "");
    }
}
