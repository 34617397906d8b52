//! A private fail2ban for trying things out, without a firewall action.
//!
//! It has its own configuration, socket, database and log, and bans by invented log lines of failed logins, from addresses that are
//! reserved for documentation.
//!
//! Its configuration is rewritten at each start, since it contains paths. Your own changes go into `jail.local` or
//! `jail.d/`, as with any fail2ban.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rand::RngExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::data::{DataDir, is_plain, make_private, open_options, write_private};

/// At this size the log is rotated; fail2ban follows.
const MAX_LOG_SIZE: u64 = 1024 * 1024;
/// The average time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// Where the sandbox's files are.
pub struct Sandbox {
    folder: PathBuf,
    socket: PathBuf,
}

impl Sandbox {
    /// Writes the configuration.
    ///
    /// # Errors
    /// If it cannot be written, or fail2ban would misread the folder's path.
    pub fn prepare(data: &DataDir) -> anyhow::Result<Self> {
        let sandbox = Self { folder: data.folder("sandbox"), socket: data.socket("fail2ban") };
        if !is_plain(&sandbox.folder) {
            bail!(
                "fail2ban would misread the path {}: with --sandbox, choose a --data-dir of letters, digits and ._-+",
                sandbox.folder.display()
            );
        }
        sandbox.write().with_context(|| {
            format!("failed to write the sandbox's configuration in {}", sandbox.folder.display())
        })?;
        Ok(sandbox)
    }

    fn write(&self) -> anyhow::Result<()> {
        let config = self.config();
        for folder in ["", "filter.d", "action.d", "jail.d"] {
            make_private(&config.join(folder))?;
        }
        let (folder, socket) = (self.folder.display(), self.socket.display());
        let note = "# Written by `bangui up` at each start: put your changes into jail.local or jail.d/.\n";
        let main = format!(
            "{note}[DEFAULT]\nloglevel = INFO\nlogtarget = STDERR\nsyslogsocket = auto\nsocket = {socket}\n\
             pidfile = {folder}/fail2ban.pid\ndbfile = {folder}/fail2ban.sqlite3\ndbpurgeage = 1d\n\
             dbmaxmatches = 10\nallowipv6 = auto\n\n[Definition]\n"
        );
        let jails = format!(
            "{note}[DEFAULT]\nbackend = polling\nusedns = no\nfindtime = 5m\nmaxretry = 3\nbantime = 2m\n\
             ignoreself = false\naction = note[name=%(__name__)s]\nlogpath = {log}\n\n\
             [login]\nenabled = true\nfilter = login\n\n[scanner]\nenabled = true\nfilter = scanner\nmaxretry = 2\n",
            log = self.log().display()
        );
        let filter = |words: &str| {
            format!("{note}[Definition]\nfailregex = ^\\s*{words} <ADDR>$\ndatepattern = {{^LN-BEG}}\n")
        };
        let action = "[Definition]\nactionstart =\nactionstop =\nactioncheck =\nactionban =\nactionunban =\n\n\
                      [Init]\nname = default\n";
        write_private(&config.join("fail2ban.conf"), &main)?;
        write_private(&config.join("jail.conf"), &jails)?;
        write_private(&config.join("filter.d/login.conf"), &filter("login failed from"))?;
        write_private(&config.join("filter.d/scanner.conf"), &filter("forbidden path asked for by"))?;
        write_private(&config.join("action.d/note.conf"), &format!("{note}{action}"))?;
        let log = self.log();
        self.append("sandbox started").with_context(|| format!("{} cannot be written", log.display()))
    }

    /// Its configuration folder.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The log it watches.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("app.log")
    }

    /// The command that runs it. `-x` removes the socket that a killed one left.
    #[must_use]
    pub fn command(&self, program: &Path) -> Vec<OsString> {
        let (config, pid) = (self.config(), self.folder.join("fail2ban.pid"));
        let mut command: Vec<OsString> = vec![program.into(), "-f".into(), "-x".into()];
        for (flag, value) in [("-c", config.as_path()), ("-s", self.socket()), ("-p", pid.as_path())] {
            command.extend([flag.into(), value.into()]);
        }
        command.push("start".into());
        command
    }

    /// Writes log lines like those of an application under attack, until `stop`.
    pub async fn feed(self, stop: CancellationToken) {
        loop {
            let (pause, line) = {
                let mut dice = rand::rng();
                (LINE_INTERVAL.mul_f64(dice.random_range(0.5..1.5)), attack(&mut dice))
            };
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
            if let Err(error) = self.append(&line) {
                tracing::warn!("failed to write the sandbox's log {}: {error}", self.log().display());
            }
        }
    }

    fn append(&self, line: &str) -> std::io::Result<()> {
        let path = self.log();
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > MAX_LOG_SIZE) {
            fs::rename(&path, path.with_extension("log.1"))?;
        }
        let mut file = open_options().create(true).append(true).open(&path)?;
        writeln!(file, "{} {line}", chrono::Local::now().format("%Y-%m-%d %H:%M:%S"))
    }
}

/// A few persistent addresses, a few occasional ones, and now and then a login that succeeds.
fn attack(dice: &mut impl rand::Rng) -> String {
    match dice.random_range(0..10) {
        0..6 => format!("login failed from 203.0.113.{}", dice.random_range(1..=8)),
        6..9 => format!("forbidden path asked for by 198.51.100.{}", dice.random_range(1..=12)),
        _ => format!("login of alice from 203.0.113.{}", dice.random_range(200..=220)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documentation_addresses_appear_as_attackers() {
        for _ in 0..500 {
            let line = attack(&mut rand::rng());
            assert!(line.contains(" 203.0.113.") || line.contains(" 198.51.100."), "{line}");
        }
    }

    #[test]
    fn a_path_that_fail2ban_would_misread_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::open(&parent.path().join("a%b c")).unwrap();
        let refusal = Sandbox::prepare(&data).err().unwrap().to_string();
        assert!(refusal.contains("--data-dir"), "{refusal}");
    }
}
