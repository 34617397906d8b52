//! A child process that cannot outlive the test.
//!
//! It ends when the guard is dropped, with its whole process group, and also when the test binary itself is
//! killed (`SIGKILL`): `setpriv` (`util-linux`, in every Debian) sets the parent-death signal and execs. That signal is tied to
//! the *thread* that forked, so one thread that never ends forks for all tests.
//!
//! Everything the child prints is kept: tests wait for a line of it, and a failing test shows its last lines.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::eventually;

type Order = (Command, Sender<std::io::Result<std::process::Child>>);

static FORKER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (orders, taken): (Sender<Order>, Receiver<Order>) = channel();
    std::thread::spawn(move || {
        for (mut command, reply) in taken {
            let _ = reply.send(command.spawn());
        }
    });
    Mutex::new(orders)
});

/// A running child and all it has printed.
pub struct Child {
    name: String,
    child: Mutex<std::process::Child>,
    lines: Arc<Mutex<Vec<String>>>,
}

/// A program to start: the environment has only `PATH`, so that nothing of the developer's leaks in.
pub fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(path);
    command.env_clear();
    command.env("PATH", search_path());
    command
}

/// Where programs are found. `BANGUI_TEST_FAIL2BAN` names a folder with another fail2ban than the system's. Its `bin`
/// comes first, for the agents too: they take fail2ban's programs and their Python from there.
pub fn search_path() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let Some(folder) = std::env::var_os("BANGUI_TEST_FAIL2BAN") else { return path };
    let bin = std::path::PathBuf::from(folder).join("bin");
    assert!(
        bin.join("fail2ban-client").is_file(),
        "BANGUI_TEST_FAIL2BAN: there is none in {}",
        bin.display()
    );
    std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path))).unwrap()
}

/// The binary under test.
pub fn bangui(role: &str) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_bangui"));
    command.arg(role);
    command
}

impl Child {
    /// Starts `command` (see [`program`]) in a separate process group.
    pub fn start(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let (reply, started) = channel();
        FORKER.lock().unwrap().send((command, reply)).unwrap();
        let mut child =
            started.recv().unwrap().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().unwrap(), Arc::clone(&lines));
        collect(child.stderr.take().unwrap(), Arc::clone(&lines));
        Self { name: name.to_owned(), child: Mutex::new(child), lines }
    }

    /// Runs `command` to its end; returns the exit code and all it printed.
    pub async fn run(name: &str, command: Command, deadline: Duration) -> (Option<i32>, String) {
        let child = Self::start(name, command);
        let status = child.ended(deadline).await;
        child.all_is_read().await;
        (status.code(), child.printed())
    }

    /// Waits for the threads that read its output, which may end later than it. Not for long: a process that it has started may hold
    /// its output open.
    async fn all_is_read(&self) {
        let begun = tokio::time::Instant::now();
        // Each thread holds a reference until it meets the end of the output.
        while Arc::strong_count(&self.lines) > 1 && begun.elapsed() < Duration::from_secs(2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child())
    }

    /// Sends a signal to the process alone, not to its group.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&self) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child().wait();
    }

    /// SIGKILL for the process alone: what it has started keeps running, and must end by itself when the test does.
    pub fn kill_alone(self) {
        self.signal(Signal::KILL);
        let _ = self.child().wait();
        std::mem::forget(self);
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        self.child().try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub async fn ended(&self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        eventually(&what, deadline, || async { self.child().try_wait().unwrap() }).await
    }

    fn child(&self) -> std::sync::MutexGuard<'_, std::process::Child> {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Everything printed so far.
    pub fn printed(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Every line printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a line in which `pick` finds something; fails if the process ends first.
    pub async fn line<T>(&self, what: &str, deadline: Duration, pick: impl Fn(&str) -> Option<T>) -> T {
        let what = format!("{}: {what}", self.name);
        eventually(&what, deadline, || async {
            let ended = !self.runs();
            if ended {
                self.all_is_read().await;
            }
            let found = self.lines.lock().unwrap().iter().find_map(|line| pick(line));
            assert!(found.is_some() || !ended, "it has ended, before: {what}");
            found
        })
        .await
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let lines = self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let shown = lines.len().saturating_sub(40);
            eprintln!("--- {} printed ({} lines before these are left out):", self.name, shown);
            for line in &lines[shown..] {
                eprintln!("    {line}");
            }
        }
    }
}

fn collect(pipe: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(text);
            line.clear();
        }
    });
}
