//! A private fail2ban from Debian's package: its own configuration, socket, database, log file, and no firewall
//! action. It bans because real lines are written to the real log files that its jails watch.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::process::{Child, program};
use super::{SOON, eventually, folder};

/// A private fail2ban.
pub struct Fail2ban {
    folder: tempfile::TempDir,
    process: Option<Child>,
    /// Its `TZ`; without one, the machine's zone.
    zone: Option<String>,
}

/// Fails a test that `make test-fail2ban-1.1` leaves out: tests that start fail2ban must run with each version of it.
fn must_run_with_every_version() {
    // The thread of a test has the test's name, unless one thread runs all tests.
    let thread = std::thread::current();
    let Some(test) = thread.name().filter(|name| name.contains("::")) else { return };
    if env!("CARGO_CRATE_NAME") == "it" && !is_run_with_every_version(test) {
        let module = test.split("::").next().unwrap();
        panic!("`{test}` starts a fail2ban: add {module}:: to FAIL2BAN_TESTS of the Makefile");
    }
}

/// Whether a filter of `FAIL2BAN_TESTS` is a part of this name, which is how cargo reads them.
pub fn is_run_with_every_version(test: &str) -> bool {
    let makefile = include_str!("../../../Makefile").replace("\\\n", " ");
    let filters = makefile.lines().find_map(|line| line.strip_prefix("FAIL2BAN_TESTS = ")).unwrap();
    filters.split_ascii_whitespace().any(|filter| test.contains(filter))
}

impl Fail2ban {
    /// Starts a fail2ban with these jails; each bans at the first failure, for ten minutes.
    pub async fn start(jails: &[&str]) -> Self {
        Self::start_in_zone(jails, None).await
    }

    /// Starts a fail2ban in this time zone.
    pub async fn start_in_zone(jails: &[&str], zone: Option<&str>) -> Self {
        must_run_with_every_version();
        let mut fail2ban = Self { folder: folder(), process: None, zone: zone.map(str::to_owned) };
        fail2ban.configure(jails);
        fail2ban.start_again().await;
        fail2ban
    }

    fn configure(&self, jails: &[&str]) {
        let run = self.folder.path().display();
        let write = |name: &str, text: &str| {
            let path = self.config().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        // The empty section at the end is needed: without it the server dies right after it is ready.
        write(
            "fail2ban.conf",
            &format!(
                "[DEFAULT]\nloglevel = INFO\nlogtarget = {run}/f2b.log\nsyslogsocket = auto\n\
                 socket = {run}/f2b.sock\npidfile = {run}/f2b.pid\ndbfile = {run}/f2b.sqlite3\n\
                 dbpurgeage = 1d\ndbmaxmatches = 10\nallowipv6 = auto\n[Definition]\n"
            ),
        );
        let mut text =
            "[DEFAULT]\nbackend = polling\nusedns = no\nfindtime = 600\nmaxretry = 1\nbantime = 600\n\
                        ignoreself = false\n"
                .to_owned();
        for jail in jails {
            writeln!(
                text,
                "[{jail}]\nenabled = true\nfilter = app\nlogpath = {log}\naction = note[name={jail}]",
                log = self.app_log(jail).display()
            )
            .unwrap();
            std::fs::write(self.app_log(jail), "").unwrap();
        }
        write("jail.conf", &text);
        write(
            "filter.d/app.conf",
            "[Definition]\nfailregex = ^\\s*login failed from <ADDR>$\ndatepattern = {^LN-BEG}\n",
        );
        write(
            "action.d/note.conf",
            "[Definition]\nactionstart =\nactionstop =\nactioncheck =\nactionban =\nactionunban =\n\
             [Init]\nname = default\n",
        );
        std::fs::create_dir_all(self.config().join("jail.d")).unwrap();
    }

    /// The command that starts it in the foreground, as its systemd unit does.
    fn in_foreground(&self) -> std::process::Command {
        let mut command = program("fail2ban-server");
        command.envs(self.zone.as_ref().map(|zone| ("TZ", zone)));
        command.args(["-x", "-f", "-c"]).arg(self.config()).arg("-s").arg(self.socket());
        command.arg("-p").arg(self.folder.path().join("f2b.pid")).arg("start");
        command
    }

    /// The exit code of a start in the foreground that does not succeed.
    pub async fn start_in_vain(&mut self) -> Option<i32> {
        self.kill();
        Child::run("fail2ban-server", self.in_foreground(), SOON).await.0
    }

    /// Starts it as a daemon, which does not end with what started it. It ends with a separate process namespace instead.
    pub async fn start_in_background(&mut self) {
        self.kill();
        let mut command = program("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--", "sh", "-c"]);
        command.args(["fail2ban-client \"$@\" start; echo started; exec sleep 600", "sh", "-x", "-b", "-c"]);
        command.arg(self.config()).arg("-s").arg(self.socket());
        command.arg("-p").arg(self.folder.path().join("f2b.pid"));
        let process = Child::start("fail2ban-client", command);
        process.line("the end of its start", SOON * 2, |line| line.contains("started").then_some(())).await;
        self.process = Some(process);
    }

    /// Starts it after a [`Self::kill`], with the bans in its database.
    pub async fn start_again(&mut self) {
        self.kill();
        let command = self.in_foreground();
        let process = Child::start("fail2ban-server", command);
        process.line("Server ready", SOON, |line| line.contains("Server ready").then_some(())).await;
        self.process = Some(process);
    }

    /// As [`Self::start_again`], with a configuration that may keep it from starting; returns whether it starts.
    pub async fn try_start_again(&mut self) -> bool {
        self.kill();
        let process = Child::start("fail2ban-server", self.in_foreground());
        let up = eventually("fail2ban to be up or to end", SOON * 4, || async {
            let runs = process.runs();
            (process.printed().contains("Server ready") || !runs).then_some(runs)
        })
        .await;
        self.process = up.then_some(process);
        up
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<rustix::process::Pid> {
        self.process.as_ref().filter(|process| process.runs()).map(Child::pid)
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGSTOP: it accepts connections (the kernel does) and answers nothing.
    pub fn pause(&self) {
        self.process.as_ref().unwrap().signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process.as_ref().unwrap().signal(Signal::CONT);
    }

    /// Runs `fail2ban-client` with these words, as an administrator would, past bangui.
    pub async fn command(&self, words: &[&str]) {
        let (well, printed) = self.try_command(words).await;
        assert!(well, "{words:?}: {printed}");
    }

    /// Runs SQL statements on its database, which nobody else has open.
    pub async fn change_database(&self, statements: &str) {
        let mut command = program("python3");
        let script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.executescript(sys.argv[2]); db.commit()";
        command.args(["-c", script]).arg(self.folder.path().join("f2b.sqlite3")).arg(statements);
        let (code, printed) = Child::run("python3", command, SOON).await;
        assert_eq!(code, Some(0), "{printed}");
    }

    /// Writes a file of its configuration, without a reload.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.config().join(name), text).unwrap();
    }

    /// The text of another jail, `enabled` or not, that watches the log of `jail`; with `more` lines.
    pub fn jail(&self, name: &str, enabled: bool, more: &str) -> String {
        let log = self.app_log(name);
        std::fs::write(&log, "").unwrap();
        format!(
            "[{name}]\nenabled = {enabled}\nfilter = app\nlogpath = {}\naction = note[name={name}]\n{more}\n",
            log.display()
        )
    }

    /// Writes an action `slow`, which takes so many seconds for each address.
    pub fn write_slow_action(&self, ban: f32, unban: f32) {
        let sleep = |seconds: f32| if seconds > 0.0 { format!("sleep {seconds}") } else { String::new() };
        let (ban, unban) = (sleep(ban), sleep(unban));
        let text =
            format!("[Definition]\nactionban = {ban}\nactionunban = {unban}\n[Init]\nname = default\n");
        self.write("action.d/slow.conf", &text);
    }

    /// Writes this jail with the action `slow`.
    pub fn write_slow_jail(&self, name: &str, enabled: bool) {
        let text = self.jail(name, enabled, "").replace("note[", "slow[");
        self.write(&format!("jail.d/{name}.conf"), &text);
    }

    /// Starts a jail `slow`, which takes so many seconds to ban an address.
    pub async fn start_slow_jail(&self, ban: f32) {
        self.write_slow_action(ban, 0.0);
        self.write_slow_jail("slow", true);
        self.command(&["reload", "--if-exists", "slow"]).await;
    }

    /// Every file of `jail.d` by name, also hidden ones, except the agent's lock, which stays.
    pub fn jail_d(&self) -> std::collections::BTreeMap<String, String> {
        let entries = std::fs::read_dir(self.config().join("jail.d")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with(".bangui-lock"))
            .map(|path| {
                (
                    path.file_name().unwrap().to_str().unwrap().to_owned(),
                    std::fs::read_to_string(path).unwrap(),
                )
            })
            .collect()
    }

    /// What `fail2ban-client` prints, and whether it succeeds.
    pub async fn try_command(&self, words: &[&str]) -> (bool, String) {
        let (code, printed) = Child::run("fail2ban-client", self.client(words), SOON).await;
        (code == Some(0), printed)
    }

    /// `fail2ban-client` with these words, to be run.
    pub fn client(&self, words: &[&str]) -> std::process::Command {
        let mut command = program("fail2ban-client");
        command.arg("-c").arg(self.config()).arg("-s").arg(self.socket());
        command.arg("-p").arg(self.folder.path().join("f2b.pid")).args(words);
        command
    }

    /// The jails it lists.
    pub async fn jails(&self) -> Vec<String> {
        // What it prints may arrive a moment after its end.
        let list = eventually("the list of jails", SOON, || async {
            let (_, printed) = self.try_command(&["status"]).await;
            Some(printed.lines().find_map(|line| line.split_once("Jail list:"))?.1.to_owned())
        })
        .await;
        list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    }

    /// Whether it says that `jail` bans `ip`.
    pub async fn bans(&self, jail: &str, ip: &str) -> bool {
        eventually("an answer to `banned`", SOON, || async {
            let (_, printed) = self.try_command(&["get", jail, "banned", ip]).await;
            Some(printed.trim().to_owned()).filter(|printed| !printed.is_empty())
        })
        .await
            == "1"
    }

    /// Waits until this ban is listed again. A jail that starts reads its bans from the database and lists each about a second later.
    pub async fn bans_again(&self, jail: &str, ip: &str) {
        eventually("a ban of before", SOON, || async { self.bans(jail, ip).await.then_some(()) }).await;
    }

    /// Writes the log line of a failed login that `jail` watches for.
    pub fn log_failure(&self, jail: &str, ip: &str) {
        self.log_failure_at(jail, ip, chrono::Local::now().format("%Y-%m-%d %H:%M:%S"));
    }

    /// With this time in front.
    pub fn log_failure_at(&self, jail: &str, ip: &str, time: impl std::fmt::Display) {
        let mut log = std::fs::OpenOptions::new().append(true).open(self.app_log(jail)).unwrap();
        writeln!(log, "{time} login failed from {ip}").unwrap();
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("f2b.sock")
    }

    /// Its configuration folder.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Its own log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("f2b.log")).unwrap_or_default()
    }

    pub fn app_log(&self, jail: &str) -> PathBuf {
        Path::new(self.folder.path()).join(format!("{jail}-app.log"))
    }
}
