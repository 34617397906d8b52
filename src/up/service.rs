//! One supervised child: started, logged, restarted when it dies, and stopped in the end.
//!
//! A child is started through `bangui child` (see `child.rs`), so that it dies with `up`, and in a process group of
//! its own, so that Ctrl-C on the terminal reaches `up` alone and `up` decides the order in which things stop. The
//! task that watches it runs on the thread that started it, which must be the process's first: see `cli/up.rs`.

use std::ffi::OsString;
use std::fmt;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::log::Log;
use crate::config::command::{CHILD, CHILD_PARENT};
use crate::shutdown::Shutdown;

/// The pause between the death of a child and its next start; it doubles at each death in a row.
const MIN_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// After a child has run for this long, the pause is short again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// How long to wait for the last lines of a dead child.
const LAST_LINES_TIMEOUT: Duration = Duration::from_millis(300);

/// How a child is started, the first time and after each death.
#[derive(Clone)]
pub struct Service {
    /// Its name, in messages and for its log file.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// `BANGUI_` variables: these and no others.
    pub environment: Vec<(String, OsString)>,
    /// The listener to pass as standard input.
    pub listener: Option<Arc<TcpListener>>,
    /// How long it may take to stop before it is killed.
    pub stop_timeout: Duration,
    /// Where it writes.
    pub log: Log,
}

/// How a child died.
#[derive(Debug)]
pub struct Death {
    /// The child's name.
    pub name: String,
    /// What happened, as the end of a sentence: `exited with code 3`.
    pub how: String,
    /// Whether a signal ended it, which says nothing about how its next start will go.
    pub was_killed: bool,
    /// The last lines of its log.
    pub last_lines: Vec<String>,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.how)?;
        self.last_lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// A service that is running and supervised.
pub struct Watched {
    name: String,
    stop: Shutdown,
    stop_timeout: Duration,
    task: JoinHandle<()>,
}

impl Watched {
    /// The child's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stops it: SIGTERM, and SIGKILL after its timeout or when `hurry.hard` is cancelled.
    pub async fn stop(self, hurry: &Shutdown) {
        let Self { name, stop, stop_timeout, mut task } = self;
        stop.soft.cancel();
        tokio::select! {
            _ = &mut task => return,
            () = hurry.hard.cancelled() => stop.hard.cancel(),
            () = sleep(stop_timeout) => {
                tracing::warn!(child.name = name, "{name} did not stop within {} s: killing it", stop_timeout.as_secs());
                stop.hard.cancel();
            }
        }
        if timeout(Duration::from_secs(2), task).await.is_err() {
            tracing::error!(child.name = name, "failed to kill {name}");
        }
    }
}

impl Service {
    /// Starts it and keeps it running until [`Watched::stop`]. Each death is sent to `deaths`.
    #[must_use]
    pub fn watch(self, deaths: mpsc::Sender<Death>) -> Watched {
        let stop = Shutdown::manual();
        let (name, stop_timeout) = (self.name.clone(), self.stop_timeout);
        let task = tokio::spawn(self.keep_running(stop.clone(), deaths));
        Watched { name, stop, stop_timeout, task }
    }

    async fn keep_running(self, stop: Shutdown, deaths: mpsc::Sender<Death>) {
        let mut pause = MIN_PAUSE;
        loop {
            let started = Instant::now();
            let (how, was_killed) = match self.start() {
                Ok((mut child, mut copying)) => {
                    let died = tokio::select! {
                        biased;
                        status = child.wait() => Some(status),
                        () = stop.soft.cancelled() => None,
                    };
                    if died.is_none() {
                        end(&mut child, &stop).await;
                    }
                    if timeout(LAST_LINES_TIMEOUT, &mut copying).await.is_err() {
                        copying.abort();
                    }
                    match died {
                        Some(Ok(status)) => (describe(status), status.signal().is_some()),
                        Some(Err(error)) => (format!("could not be waited for: {error}"), false),
                        None => return,
                    }
                }
                Err(error) => (format!("failed to start: {error:#}"), false),
            };
            if stop.soft.is_cancelled() {
                return;
            }
            pause = if started.elapsed() >= HEALTHY_AFTER { MIN_PAUSE } else { pause };
            let jittered = pause.mul_f64(rand::rng().random_range(0.75..1.25));
            let death = Death { name: self.name.clone(), how, was_killed, last_lines: self.log.last_lines() };
            tracing::warn!(child.name = death.name, "restarting in {} ms: {death}", jittered.as_millis());
            let _ = deaths.try_send(death); // Nobody listens once everything runs.
            pause = (pause * 2).min(MAX_PAUSE);
            if stop.soft.run_until_cancelled(sleep(jittered)).await.is_none() {
                return;
            }
        }
    }

    fn start(&self) -> anyhow::Result<(Child, JoinHandle<()>)> {
        let (reader, writer) = std::io::pipe().context("failed to open a pipe for its log")?;
        let mut command = self.command()?;
        command.stdin(match &self.listener {
            Some(listener) => {
                Stdio::from(OwnedFd::from(listener.try_clone().context("failed to duplicate the listener")?))
            }
            None => Stdio::null(),
        });
        command.stdout(writer.try_clone().context("failed to open a pipe for its log")?).stderr(writer);
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn().context("failed to run it")?;
        let reader = pipe::Receiver::from_owned_fd(reader.into())
            .context("failed to read from the pipe of its log")?;
        Ok((child, tokio::spawn(self.log.clone().copy(reader))))
    }

    fn command(&self) -> anyhow::Result<Command> {
        let (program, arguments) = self.command.split_first().context("no program was given")?;
        let mut command = Command::new(program);
        command.args(arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BANGUI_") {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1"); // it writes to a file
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// Wraps a command so that it dies with this process.
///
/// # Errors
/// If the path of bangui itself is not found.
pub fn bound_to_us(command: impl IntoIterator<Item = OsString>) -> anyhow::Result<Vec<OsString>> {
    let own_program = std::env::current_exe().context("failed to find the path of bangui itself")?;
    let parent = std::process::id().to_string();
    let launcher =
        [own_program.into(), CHILD.into(), format!("--{CHILD_PARENT}").into(), parent.into(), "--".into()];
    Ok(launcher.into_iter().chain(command).collect())
}

/// SIGTERM to the child; SIGKILL to it and all it started when `stop.hard` is cancelled.
async fn end(child: &mut Child, stop: &Shutdown) {
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else { return };
    let _ = kill_process(pid, Signal::TERM);
    if stop.hard.run_until_cancelled(child.wait()).await.is_none() {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = child.wait().await;
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => format!("exited: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(folder: &std::path::Path, script: &str) -> Service {
        Service {
            name: "child".to_owned(),
            command: ["sh", "-c", script].map(OsString::from).to_vec(),
            environment: vec![("BANGUI_X".to_owned(), "given".into())],
            listener: None,
            stop_timeout: Duration::from_millis(300),
            log: Log::new(folder.join("child.log")),
        }
    }

    async fn until(what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..200 {
            if done() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("{what}: not within 4 s");
    }

    #[tokio::test]
    async fn a_child_that_dies_is_reported_and_restarted() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let script = format!("echo $BANGUI_X >> {}; echo last words; exit 3", count.display());
        let (report, mut deaths) = mpsc::channel(4);
        let watched = service(folder.path(), &script).watch(report);
        let death = timeout(Duration::from_secs(5), deaths.recv()).await.unwrap().unwrap();
        assert_eq!(death.to_string(), "child exited with code 3\n  last words");
        until("a second start", || {
            std::fs::read_to_string(&count).is_ok_and(|text| text == "given\ngiven\n")
        })
        .await;
        watched.stop(&Shutdown::manual()).await;
    }

    #[tokio::test]
    async fn a_child_that_does_not_stop_is_killed_with_everything_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let script = format!("trap '' TERM; sleep 97 & echo $$ $! > {}; wait; sleep 97", pids.display());
        let watched = service(folder.path(), &script).watch(mpsc::channel(4).0);
        let read = || std::fs::read_to_string(&pids).unwrap_or_default();
        until("a start", || read().ends_with('\n')).await;
        watched.stop(&Shutdown::manual()).await;
        // A killed grandchild stays a zombie where nobody reaps orphans; gone or zombie, it does not run.
        let runs = |pid: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        };
        until("the end of both", || !read().split_whitespace().any(runs)).await;
    }
}
