//! A private redis-server on a unix socket. Where TCP is wanted, `proxy` is in front of it: a unix socket
//! cannot be taken by another test while this Redis is stopped and started again.
//!
//! The program under test connects as the user `bangui`, who may do what the program's own ACL rule allows and nothing else; the
//! test itself connects as the default user.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::cluster::PREFIX;
use super::process::{Child, program};
use super::{SOON, eventually, folder};

/// The user that the program connects as, and its password.
pub const USER: &str = "bangui";
pub const USER_PASSWORD: &str = "password-of-the-redis-user";

/// For the test's own commands on a busy machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// The program's own ACL rule for this prefix, as arguments of `ACL SETUSER`: the name, then what it may do.
pub fn rule(prefix: &str) -> Vec<String> {
    let rule =
        bangui::store::connection::acl::RULE.trim().strip_prefix("user ").expect("a line of an ACL file");
    let mut words: Vec<String> = rule.split(' ').map(str::to_owned).collect();
    for word in &mut words {
        if word.starts_with(['~', '&']) {
            *word = word.replace("bangui", prefix);
        } else if word == ">PASSWORD" {
            *word = format!(">{USER_PASSWORD}");
        }
    }
    words
}

/// A private redis-server.
pub struct Redis {
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Redis {
    /// Starts one with AOF on, as bangui wants it.
    pub async fn start() -> Self {
        Self::start_with(&["--appendonly", "yes"]).await
    }

    /// Starts one with these arguments; without them it has no persistence.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let mut redis = Self::prepare(arguments);
        redis.restart().await;
        redis
    }

    /// One that does not run yet, but whose address is known.
    pub fn prepare(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { folder: folder(), arguments, process: None }
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Its address for `BANGUI_REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis+unix://{}?user={USER}&pass={USER_PASSWORD}", self.socket().display())
    }

    /// Lets the user work under this prefix too.
    pub async fn allow_prefix(&self, prefix: &str) {
        let rule = rule(prefix);
        let patterns = rule.iter().filter(|word| word.starts_with(['~', '&'])).map(String::as_str);
        let words: Vec<&str> = ["ACL", "SETUSER", USER].into_iter().chain(patterns).collect();
        self.command::<()>(&words).await;
    }

    /// Starts it (again) on the same socket and the same data.
    pub async fn restart(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(self.socket());
        let mut command = program("redis-server");
        command.args(["--port", "0", "--save", "", "--rdbcompression", "no", "--daemonize", "no", "--dir"]);
        command.arg(self.folder.path()).arg("--unixsocket").arg(self.socket());
        // The file is written before each answer, so that SIGKILL loses nothing: `everysec` delays a write while a slow disk
        // is still at the fsync before.
        command.args(["--appendfsync", "no"]);
        command.arg("--user").args(rule(PREFIX)).args(&self.arguments);
        self.process = Some(Child::start("redis-server", command));
        eventually("redis-server to answer", SOON, || async {
            let mut connection = self.try_connect().await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.ok()
        })
        .await;
    }

    /// SIGKILL: connections break, new ones are refused.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGSTOP: connections are accepted by the kernel and nothing is answered.
    pub fn pause(&self) {
        self.process.as_ref().unwrap().signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process.as_ref().unwrap().signal(Signal::CONT);
    }

    /// A connection, if Redis accepts one.
    pub async fn try_connect(&self) -> Option<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(format!("redis+unix://{}", self.socket().display())).unwrap();
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(COMMAND_TIMEOUT));
        client.get_multiplexed_async_connection_with_config(&patient).await.ok()
    }

    /// A connection for assertions.
    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        self.try_connect().await.unwrap()
    }

    /// Runs one command.
    pub async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut self.connection().await).await.unwrap()
    }

    /// Calls of each command so far, those inside scripts too.
    pub async fn command_counts(&self) -> BTreeMap<String, u64> {
        let text: String = self.command(&["INFO", "commandstats"]).await;
        text.lines()
            .filter_map(|line| {
                let (name, facts) = line.strip_prefix("cmdstat_")?.split_once(':')?;
                let calls = facts.strip_prefix("calls=")?.split(',').next()?.parse().ok()?;
                Some((name.to_owned(), calls))
            })
            .collect()
    }

    /// Every key, as bytes.
    pub async fn keys(&self) -> Vec<Vec<u8>> {
        self.command(&["KEYS", "*"]).await
    }

    /// All keys and values as bytes of an uncompressed dump, so that anything stored can be found in it.
    pub async fn everything(&self) -> Vec<u8> {
        let _: String = self.command(&["SAVE"]).await;
        std::fs::read(self.folder.path().join("dump.rdb")).unwrap()
    }

    /// Watches every command that reaches the server from now on.
    pub async fn monitor(&self) -> Monitor {
        Monitor::open(&self.socket()).await.unwrap()
    }
}

/// The stream of `MONITOR`.
pub struct Monitor {
    lines: Lines<BufReader<OwnedReadHalf>>,
    _writer: OwnedWriteHalf,
}

/// A `MONITOR` that records in the background, so that its record outlives the server. Sentinel closes every connection of a
/// Redis whose role it changes; the recording reconnects then.
pub struct Recording {
    seen: Arc<Mutex<Vec<MonitoredCommand>>>,
    _task: tokio::task::JoinSet<()>,
}

impl Recording {
    /// Starts recording.
    pub async fn start(redis: &Redis) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut task = tokio::task::JoinSet::new();
        let (socket, taken) = (redis.socket(), Arc::clone(&seen));
        let mut first = redis.monitor().await;
        task.spawn(async move {
            loop {
                while let Ok(Some(line)) = first.lines.next_line().await {
                    take(&line, &mut taken.lock().unwrap());
                }
                loop {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    let Some(next) = Monitor::open(&socket).await else { continue };
                    first = next;
                    break;
                }
            }
        });
        Self { seen, _task: task }
    }

    /// Every command seen until now.
    pub fn end(self) -> Vec<MonitoredCommand> {
        self.seen.lock().unwrap().clone()
    }
}

/// Takes in a line; returns its command.
fn take<'a>(line: &'a str, seen: &mut Vec<MonitoredCommand>) -> Option<&'a str> {
    let (head, command) = line.split_once("] ")?;
    let at = head.trim_start_matches('+').split(' ').next()?.parse().ok()?;
    match seen.last_mut() {
        Some(last) if head.ends_with(" lua") => last.inside.push(command.to_owned()),
        _ => seen.push(MonitoredCommand { at, command: command.to_owned(), inside: Vec::new() }),
    }
    Some(command)
}

/// One command of a client; of a script, also the commands that it ran.
#[derive(Debug, Clone)]
pub struct MonitoredCommand {
    /// Seconds since 1970, by the server's clock.
    pub at: f64,
    /// The command with its arguments, quoted and escaped as Redis prints them.
    pub command: String,
    /// The commands inside the script.
    pub inside: Vec<String>,
}

impl Monitor {
    async fn open(socket: &Path) -> Option<Self> {
        let (reader, mut writer) = UnixStream::connect(socket).await.ok()?.into_split();
        writer.write_all(b"MONITOR\r\n").await.ok()?;
        let mut lines = BufReader::new(reader).lines();
        (lines.next_line().await.ok()?.as_deref() == Some("+OK")).then_some(())?;
        Some(Self { lines, _writer: writer })
    }

    /// Ends the stream; returns every command seen until now. A marker command shows where the end is.
    pub async fn stop(mut self, redis: &Redis) -> Vec<MonitoredCommand> {
        let _: String = redis.command(&["ECHO", "end-of-monitoring"]).await;
        let mut seen: Vec<MonitoredCommand> = Vec::new();
        loop {
            let line = tokio::time::timeout(Duration::from_secs(5), self.lines.next_line());
            let line = line.await.expect("MONITOR continues").unwrap().expect("MONITOR is open");
            if take(&line, &mut seen).is_some_and(|command| command.contains("end-of-monitoring")) {
                seen.pop();
                return seen;
            }
        }
    }
}

impl MonitoredCommand {
    /// This command and those inside it.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.command.as_str()).chain(self.inside.iter().map(String::as_str))
    }

    /// The command's name in capitals.
    pub fn name(command: &str) -> String {
        command.split('"').nth(1).unwrap_or_default().to_ascii_uppercase()
    }
}

/// A key as `MONITOR` prints it.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend(['\\', byte as char]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            7 => text.push_str("\\a"),
            8 => text.push_str("\\b"),
            0x20..=0x7e => text.push(byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}
