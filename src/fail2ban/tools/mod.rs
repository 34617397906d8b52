//! fail2ban's own programs, for what its socket cannot do: reading, checking and applying its configuration.
//!
//! Only the client reads the configuration; the server knows commands alone. So a jail is reloaded by
//! `fail2ban-client reload --if-exists JAIL`, and what a reload would stumble over is found before by `fail2ban-client -t`
//! and by a rehearsal (`rehearsal.py`, which says why). Never by a reload of everything: one wrong expression in
//! one jail would end all of them.
//!
//! `Run` is the closed list of what is ever started, as [`super::Command`] is of what is ever sent. Every run has a deadline,
//! bounded output, no shell, no environment but `PATH`, and arguments that are the agent's own paths and checked names.

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
use process::Output;

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

/// Everything that is ever started. Nothing of a request is in it but a name of a jail, which is checked.
#[derive(Debug, Clone, Copy)]
enum Run<'a> {
    /// `fail2ban-client -t`
    Test,
    /// `fail2ban-client reload --if-exists JAIL`
    Reload(&'a JailName),
    /// `rehearsal.py survey`, in fail2ban's Python.
    Survey,
    /// `rehearsal.py rehearse JAIL`
    Rehearse(&'a JailName),
    /// `BANGUI_FAIL2BAN_START`
    Start(&'a [String]),
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
        Ok(verdict(&self.run(Run::Test, Stdio::null()).await?))
    }

    /// `fail2ban-client reload --if-exists JAIL`: starts, changes or ends this jail and touches no other.
    /// `held` is its standard input, which it does not read: a lock that must not be free before it has ended.
    ///
    /// # Errors
    /// If it cannot be run to its end; the reload may have happened all the same.
    pub async fn reload(&self, jail: &JailName, held: File) -> Result<Verdict, ToolError> {
        Ok(verdict(&self.run(Run::Reload(jail), held.into()).await?))
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
        let raw: Raw = self.read(Run::Survey).await?;
        let jails = raw.jails.into_iter();
        let jails = jails.filter_map(|(name, jail)| Some((JailName::parse(&name).ok()?, jail))).collect();
        let mut seen = BTreeSet::new();
        let errors = raw.errors.into_iter().filter(|error| seen.insert(error.clone())).collect();
        Ok(Survey { jails, errors })
    }

    /// Runs the command that starts fail2ban, as it was configured.
    ///
    /// # Errors
    /// If it cannot be run to its end.
    pub async fn start(&self, command: &[String]) -> Result<Verdict, ToolError> {
        Ok(verdict(&self.run(Run::Start(command), Stdio::null()).await?))
    }

    /// What a reload of this jail would stumble over.
    ///
    /// # Errors
    /// If it cannot be tried.
    pub async fn rehearse(&self, jail: &JailName) -> Result<Rehearsal, ToolError> {
        self.read(Run::Rehearse(jail)).await
    }

    /// The program and its arguments.
    fn line(&self, what: Run<'_>) -> Result<(OsString, Vec<OsString>), ToolError> {
        let (config, socket) = (self.config.as_os_str(), self.socket.as_os_str());
        let client = |words: &[&str]| {
            let own = [OsStr::new("-c"), config, OsStr::new("-s"), socket];
            let all = own.into_iter().chain(words.iter().map(OsStr::new));
            (OsString::from(CLIENT), all.map(OsStr::to_owned).collect())
        };
        let python = |word: &str, jail: Option<&JailName>| {
            let own = [OsStr::new("-I"), OsStr::new("-c"), OsStr::new(REHEARSAL), OsStr::new(word), config];
            let all = own.into_iter().chain(jail.map(|jail| OsStr::new(jail.as_str())));
            Ok((process::interpreter(CLIENT)?.into(), all.map(OsStr::to_owned).collect()))
        };
        match what {
            Run::Test => Ok(client(&["-t"])),
            Run::Reload(jail) => Ok(client(&["reload", "--if-exists", jail.as_str()])),
            Run::Survey => python("survey", None),
            Run::Rehearse(jail) => python("rehearse", Some(jail)),
            Run::Start(command) => {
                let (program, arguments) = command.split_first().ok_or_else(|| ToolError::Missing {
                    program: "the command that starts fail2ban".into(),
                    reason: "there is none: set BANGUI_FAIL2BAN_START".into(),
                })?;
                Ok((program.into(), arguments.iter().map(OsString::from).collect()))
            }
        }
    }

    async fn run(&self, what: Run<'_>, stdin: Stdio) -> Result<Output, ToolError> {
        let (limit, most) = match what {
            Run::Test => (READS_WITHIN, MAX_WORDS),
            Run::Survey | Run::Rehearse(_) => (READS_WITHIN, MAX_SURVEY),
            Run::Reload(_) => (RELOADS_WITHIN, MAX_WORDS),
            Run::Start(_) => (STARTS_WITHIN, MAX_WORDS),
        };
        let (program, arguments) = self.line(what)?;
        process::run(&program, &arguments, stdin, limit, most).await
    }

    async fn read<T: DeserializeOwned>(&self, what: Run<'_>) -> Result<T, ToolError> {
        let output = self.run(what, Stdio::null()).await?;
        serde_json::from_slice(&output.stdout).map_err(|error| ToolError::Strange {
            program: "fail2ban's Python".into(),
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

    /// Exhaustive by the words: a new run wants its line here, and a look at what it can do.
    #[test]
    fn these_are_all_programs_that_are_ever_started() {
        let tools = Tools::new("/run/f2b.sock", "/etc/f2b");
        let (jail, start) = (JailName::parse("sshd").unwrap(), ["systemctl", "start", "fail2ban"]);
        let start = start.map(str::to_owned);
        let all = [
            (Run::Test, "-c /etc/f2b -s /run/f2b.sock -t"),
            (Run::Reload(&jail), "-c /etc/f2b -s /run/f2b.sock reload --if-exists sshd"),
            (Run::Survey, "-I -c REHEARSAL survey /etc/f2b"),
            (Run::Rehearse(&jail), "-I -c REHEARSAL rehearse /etc/f2b sshd"),
            (Run::Start(&start), "start fail2ban"),
        ];
        for (run, words) in all {
            // Does not compile when there is one more.
            let program = match run {
                Run::Test | Run::Reload(_) => "fail2ban-client",
                Run::Survey | Run::Rehearse(_) => "python",
                Run::Start(_) => "systemctl",
            };
            // Without a fail2ban beside it there is no Python of its own to be named.
            let Ok((named, arguments)) = tools.line(run) else { continue };
            assert!(named.to_str().unwrap().contains(program), "{named:?}");
            let words_of = arguments.iter().map(|word| word.to_str().unwrap());
            let line: Vec<&str> =
                words_of.map(|word| if word == REHEARSAL { "REHEARSAL" } else { word }).collect();
            assert_eq!(line.join(" "), words);
        }
    }

    #[test]
    fn the_words_are_kept_without_times_and_process_ids_and_once() {
        let printed = "2026-11-22 22:32:46,129 fail2ban                [10664]: ERROR   Failed: no section\nfile: 'x'\n\n\
                       2026-11-22 22:32:46,129 fail2ban                [10664]: ERROR   Failed: no section\n";
        assert_eq!(said(printed), "Failed: no section\nfile: 'x'");
        assert_eq!(said("\n"), "");
    }
}
