//! Somebody at a command line: a home of their own, the binary as it is installed, pipes and a terminal.

use std::path::PathBuf;
use std::process::Command;

use super::process::{Child, bangui, program};
use super::{PASSWORD, SOON, folder};

/// Runs a program on a terminal of its own, answers each prompt once its echo is off, and prints what the terminal shows.
const TERMINAL: &str = r#"
import os, pty, select, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown, answers, answered, deadline = b"", sys.argv[1].split("\n"), 0, time.time() + 30
while time.time() < deadline:
    prompts = len(shown) > answered and shown.endswith(b": ")
    if answers and prompts and not termios.tcgetattr(fd)[3] & termios.ECHO:
        answered = len(shown)
        os.write(fd, answers.pop(0).encode() + b"\n")
    if select.select([fd], [], [], 0.05)[0]:
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
else:
    os.kill(pid, 9)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// Somebody.
pub struct Person {
    home: tempfile::TempDir,
    /// More of their environment.
    pub environment: Vec<(String, String)>,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Person {
    pub fn new() -> Self {
        Self { home: folder(), environment: Vec::new() }
    }

    /// Somebody who has logged in there.
    pub async fn logged_in(url: &str) -> Self {
        let person = Self::new();
        person.run(&["login", url], PASSWORD).await.expect(0);
        person
    }

    /// The file that keeps the login.
    pub fn login(&self) -> PathBuf {
        self.home.path().join("config/bangui/login.json")
    }

    /// The token in it.
    pub fn token(&self) -> String {
        let text = std::fs::read_to_string(self.login()).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["token"].as_str().unwrap().to_owned()
    }

    fn with_environment(&self, command: &mut Command) {
        command.env("XDG_CONFIG_HOME", self.home.path().join("config"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// Runs a command with this on standard input; what it prints goes into pipes.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let files = folder();
        let path = |name: &str| files.path().join(name);
        std::fs::write(path("in"), input).unwrap();
        // `cat` makes pipes of files. There is no terminal behind them, wherever the test runs.
        let script = r#"cd "$0" && cat in | { setsid -w "$@" 2>err; echo $? >code; } | cat >out"#;
        let mut command = program("sh");
        command.args(["-c", script]).arg(files.path()).arg(env!("CARGO_BIN_EXE_bangui")).args(arguments);
        self.with_environment(&mut command);
        Child::run(&format!("bangui {arguments:?}"), command, SOON * 8).await;
        let read = |name: &str| String::from_utf8(std::fs::read(path(name)).unwrap()).unwrap();
        Ran { code: read("code").trim().parse().ok(), out: read("out"), err: read("err") }
    }

    /// Starts a command whose output is read as it comes.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let (first, rest) = arguments.split_first().unwrap();
        let mut command = bangui(first);
        command.args(rest);
        self.with_environment(&mut command);
        Child::start(&format!("bangui {first}"), command)
    }

    /// Runs a command on a terminal, and answers with the lines of this when it asks for secrets; all that the terminal shows.
    pub async fn on_terminal(&self, arguments: &[&str], answers: &str) -> (Option<i32>, String) {
        let mut command = program("python3");
        command.args(["-c", TERMINAL, answers, env!("CARGO_BIN_EXE_bangui")]).args(arguments);
        command.env("TERM", "xterm");
        self.with_environment(&mut command);
        Child::run(&format!("bangui {arguments:?} on a terminal"), command, SOON * 4).await
    }
}

impl Ran {
    /// Fails unless it exited with this code.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", self.out, self.err))
    }
}
