//! fail2ban's own programs, for what its socket cannot do: reading, checking and applying its configuration.
//!
//! Only the client reads the configuration; the server knows nothing but commands. So a jail is reloaded by
//! `fail2ban-client reload --if-exists JAIL`, and a rehearsal finds in advance what a reload would fail on (`rehearsal.py`,
//! which says why), even in a file that is not in place yet (`view.py`). Everything is never reloaded at once: one invalid
//! expression in one jail would end all of them.
//!
//! `Run` is the closed list of what is ever started, as [`super::Command`] is of what is ever sent. Every run has a deadline,
//! bounded output, no shell, no environment but `PATH` and `LC_ALL`, and arguments that are the agent's own paths and checked names.

mod error;
mod process;

pub use error::ToolError;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::domain::JailName;
use process::Output;

const CLIENT: &str = "fail2ban-client";
/// The timeout of a run that only reads.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// The timeout of a reload: it stops a jail, which runs the unban action of each of its bans. The caller gives up sooner if there is
/// no progress.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(3600);
/// The timeout of the command that starts fail2ban, which may wait until fail2ban is up.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest survey: enough for a thousand jails with a few log files each.
const MAX_SURVEY: usize = 4 * 1024 * 1024;
const MAX_WORDS: usize = 64 * 1024;
const REHEARSAL: &str = concat!(include_str!("view.py"), include_str!("rehearsal.py"));

/// What fail2ban said about its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Well,
    /// What is wrong, in fail2ban's own words.
    Wrong(String),
}

/// A jail of the configuration, on or off, with its settings as fail2ban computes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ConfiguredJail {
    /// Whether it is switched on.
    pub enabled: bool,
    /// Seconds of a ban, -1 for permanent; `None` if it cannot be computed.
    pub bantime: Option<i64>,
    /// Seconds in which failures add up.
    pub findtime: Option<i64>,
    /// Number of failures that lead to a ban.
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
    /// For each of `enabled`, `bantime`, `findtime`, `maxretry` and `ignoreip` the file that determines it.
    #[serde(default)]
    pub origins: BTreeMap<String, String>,
}

/// The whole configuration of jails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Each jail whose name can be handled.
    pub jails: BTreeMap<JailName, ConfiguredJail>,
    /// What is wrong with the files themselves.
    pub errors: Vec<String>,
    /// The files it was read from, and those that they include.
    pub files: Vec<PathBuf>,
}

/// The outcome of rehearsing the reload of one jail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rehearsal {
    /// What a reload would fail on in the jail, in fail2ban's own words, with the file and the option.
    pub errors: Vec<String>,
    /// What it would fail on in the server's own settings, which a reload sends too.
    pub server_errors: Vec<String>,
    /// Whether the jail would be started.
    pub enabled: bool,
    /// The database that a reload names: the server refuses any other than the one it has.
    pub database: Option<String>,
    /// The log target that a reload names; none if the configuration could not be read.
    pub log_target: Option<LogTarget>,
    /// The jail as the files would define it; none if the configuration could not be read.
    pub settings: Option<ConfiguredJail>,
    /// For each of `enabled`, `bantime`, `findtime`, `maxretry` and `ignoreip` the file that determines it.
    pub origins: BTreeMap<String, String>,
    /// What that file has for `ignoreip`, with its references to other values.
    pub ignoreip_as_written: Option<String>,
}

/// Where fail2ban logs, according to the configuration. fail2ban ignores the setting if it logs there already.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LogTarget {
    /// A path, or a word such as `SYSLOG`.
    pub target: String,
    /// Why it could not log there.
    pub problem: Option<String>,
}

/// Which configuration a rehearsal reads.
#[derive(Debug, Clone, Copy)]
pub enum View<'a> {
    /// The host's.
    Live,
    /// The host's, with the content of `candidate` in place of the file `drop_in`.
    With {
        /// The path under which fail2ban will read it.
        drop_in: &'a Path,
        /// What it will hold.
        candidate: &'a Path,
    },
    /// The host's without this file.
    Without(&'a Path),
}

/// Everything that is ever started. Nothing in it comes from a request but the checked name of a jail.
#[derive(Debug, Clone, Copy)]
enum Run<'a> {
    /// `fail2ban-client -t`
    Test,
    /// `fail2ban-client reload --if-exists JAIL`
    Reload(&'a JailName),
    /// `rehearsal.py survey`, in fail2ban's Python.
    Survey,
    /// `rehearsal.py rehearse JAIL [DROP_IN CANDIDATE]`
    Rehearse(&'a JailName, View<'a>),
    /// `BANGUI_FAIL2BAN_START`
    Start(&'a [String]),
}

/// The programs of one fail2ban.
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

    /// `fail2ban-client -t`: finds missing or unreadable files, in all jails.
    ///
    /// # Errors
    /// If it cannot be run to its end.
    pub async fn test(&self) -> Result<Verdict, ToolError> {
        Ok(verdict(&self.run(Run::Test, Stdio::null()).await?))
    }

    /// `fail2ban-client reload --if-exists JAIL`: starts, changes or stops this jail and touches no other.
    /// `held` becomes its standard input, which it does not read: a lock that must stay held until the program has ended.
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
            files: Vec<PathBuf>,
        }
        let raw: Raw = self.read(Run::Survey).await?;
        let jails = raw.jails.into_iter();
        let jails = jails.filter_map(|(name, jail)| Some((JailName::parse(&name).ok()?, jail))).collect();
        let mut seen = BTreeSet::new();
        let errors = raw.errors.into_iter().filter(|error| seen.insert(error.clone())).collect();
        Ok(Survey { jails, errors, files: raw.files })
    }

    /// Runs the command that starts fail2ban, as it was configured.
    ///
    /// # Errors
    /// If it cannot be run to its end.
    pub async fn start(&self, command: &[String]) -> Result<Verdict, ToolError> {
        Ok(verdict(&self.run(Run::Start(command), Stdio::null()).await?))
    }

    /// What a reload of this jail would fail on.
    ///
    /// # Errors
    /// If it cannot be tried.
    pub async fn rehearse(&self, jail: &JailName, view: View<'_>) -> Result<Rehearsal, ToolError> {
        self.read(Run::Rehearse(jail, view)).await
    }

    /// The program and its arguments.
    fn line(&self, what: Run<'_>) -> Result<(OsString, Vec<OsString>), ToolError> {
        let (config, socket) = (self.config.as_os_str(), self.socket.as_os_str());
        let client = |words: &[&str]| {
            let own = [OsStr::new("-c"), config, OsStr::new("-s"), socket];
            let all = own.into_iter().chain(words.iter().map(OsStr::new));
            (OsString::from(CLIENT), all.map(OsStr::to_owned).collect())
        };
        let python = |word: &str, more: &[&OsStr]| {
            let own = [OsStr::new("-I"), OsStr::new("-c"), OsStr::new(REHEARSAL), OsStr::new(word), config];
            let all = own.iter().chain(more).map(|word| (*word).to_owned());
            Ok((process::interpreter(CLIENT)?.into(), all.collect()))
        };
        match what {
            Run::Test => Ok(client(&["-t"])),
            Run::Reload(jail) => Ok(client(&["reload", "--if-exists", jail.as_str()])),
            Run::Survey => python("survey", &[]),
            Run::Rehearse(jail, view) => {
                let jail = OsStr::new(jail.as_str());
                match view {
                    View::Live => python("rehearse", &[jail]),
                    View::With { drop_in, candidate } => {
                        python("rehearse", &[jail, drop_in.as_os_str(), candidate.as_os_str()])
                    }
                    View::Without(drop_in) => {
                        python("rehearse", &[jail, drop_in.as_os_str(), OsStr::new("")])
                    }
                }
            }
            Run::Start(command) => {
                let (program, arguments) = command.split_first().ok_or_else(|| ToolError::Missing {
                    program: "the command that starts fail2ban".into(),
                    reason: "no start command is configured: set BANGUI_FAIL2BAN_START".into(),
                })?;
                Ok((program.into(), arguments.iter().map(OsString::from).collect()))
            }
        }
    }

    async fn run(&self, what: Run<'_>, stdin: Stdio) -> Result<Output, ToolError> {
        let (limit, most) = match what {
            Run::Test => (READ_TIMEOUT, MAX_WORDS),
            Run::Survey | Run::Rehearse(..) => (READ_TIMEOUT, MAX_SURVEY),
            Run::Reload(_) => (RELOAD_TIMEOUT, MAX_WORDS),
            Run::Start(_) => (START_TIMEOUT, MAX_WORDS),
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

/// fail2ban's words about what is wrong: without the time and process id in front (`2026-11-22 22:32:46,129 fail2ban [10664]:
/// ERROR   `), without its warnings and notes, which it also prints when nothing is wrong, and each line once.
fn said(printed: &str) -> String {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    let mut aside = Vec::new();
    // Only the first line of a message has a head.
    let mut wrong = true;
    for line in printed.lines().filter(|line| !line.trim().is_empty()) {
        let (level, words) = head(line).unwrap_or((None, line.trim_end()));
        if let Some(level) = level {
            wrong = !["WARNING", "NOTICE", "INFO", "DEBUG"].contains(&level);
        }
        if seen.insert(words) {
            if wrong { &mut kept } else { &mut aside }.push(words);
        }
    }
    if kept.is_empty() { aside } else { kept }.join("\n")
}

/// The level of a line of fail2ban's log, and what follows.
fn head(line: &str) -> Option<(Option<&str>, &str)> {
    let (head, rest) = line.split_once("]: ")?;
    let (level, words) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_level = level.len() > 3 && level.chars().all(|c| c.is_ascii_uppercase());
    (head.contains("fail2ban") && is_level).then_some((Some(level), words.trim()))
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
        let (drop_in, candidate) = (Path::new("d.local"), Path::new(".new"));
        let all = [
            (Run::Test, "-c /etc/f2b -s /run/f2b.sock -t"),
            (Run::Reload(&jail), "-c /etc/f2b -s /run/f2b.sock reload --if-exists sshd"),
            (Run::Survey, "-I -c REHEARSAL survey /etc/f2b"),
            (Run::Rehearse(&jail, View::Live), "-I -c REHEARSAL rehearse /etc/f2b sshd"),
            (
                Run::Rehearse(&jail, View::With { drop_in, candidate }),
                "-I -c REHEARSAL rehearse /etc/f2b sshd d.local .new",
            ),
            (Run::Rehearse(&jail, View::Without(drop_in)), "-I -c REHEARSAL rehearse /etc/f2b sshd d.local "),
            (Run::Start(&start), "start fail2ban"),
        ];
        for (run, words) in all {
            // Does not compile when there is one more.
            let program = match run {
                Run::Test | Run::Reload(_) => "fail2ban-client",
                Run::Survey | Run::Rehearse(..) => "python",
                Run::Start(_) => "systemctl",
            };
            // Without a fail2ban beside it there is no Python to be named.
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

    #[test]
    fn warnings_that_come_with_every_run_are_no_part_of_a_refusal() {
        let warning = "2026-11-22 22:32:46,129 fail2ban.configreader   [10664]: WARNING 'allowipv6' not defined in 'Definition'. \
                       Using default one: 'auto'\n";
        let error =
            "2026-11-22 22:32:46,129 fail2ban  [10664]: ERROR   Failed during configuration: no log file\n";
        let last = "ERROR: test configuration failed";
        assert_eq!(
            said(&format!("{warning}{error}{last}")),
            format!("Failed during configuration: no log file\n{last}")
        );
        assert_eq!(
            said(warning),
            "'allowipv6' not defined in 'Definition'. Using default one: 'auto'",
            "nothing else was said"
        );
    }
}
