//! The task that talks to fail2ban, and the handle through which commands reach it.
//!
//! Handle -> bounded queue -> task -> one connection, one command at a time. fail2ban has a single
//! command thread, so more connections would gain nothing, and would fill its queue of waiting ones, which is only
//! a few long.
//!
//! What happened distinguishes `busy` from `down`: no answer in time, or no room in the queue, is [`Busy`](Fail2banError::Busy); a
//! refused, missing or closed connection, or garbage, is [`Down`](Fail2banError::Down). After any failure the connection is
//! dropped, since replies carry no number and a late one would be taken for the answer to the next command. A connection that
//! fail2ban closed while it was idle (a restart) is replaced once, without an error. That repeats the command, which is right for
//! one that only reads; one that [changes](Command::changes) something is not repeated once it has been written, and the caller
//! learns that its effect is unknown.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{Instrument as _, debug, info};

use super::connection::{Broken, Connection};
use super::pickle::{PickleError, Value, read, write_command};
use super::{Command, Fail2banError, codec, reply};
use crate::telemetry::traces;

/// How a [`Client`] behaves. The defaults fit fail2ban; tests shorten them.
#[derive(Debug, Clone)]
pub struct Options {
    /// fail2ban's socket.
    pub socket: PathBuf,
    /// The most commands that may wait; one more is `busy`.
    pub queue: usize,
    /// The largest reply.
    pub max_reply: usize,
    /// The wait after the first failed connection; it doubles up to `max_backoff`, with jitter.
    pub min_backoff: Duration,
    /// The longest wait between two attempts to connect.
    pub max_backoff: Duration,
}

impl Options {
    /// The defaults, for the socket at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            socket: path.into(),
            queue: 64,
            max_reply: codec::MAX_REPLY,
            min_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(1),
        }
    }
}

/// A handle on the connection to fail2ban. Cheap to clone; the connection ends with the last of them.
#[derive(Debug, Clone)]
pub struct Client {
    queue: mpsc::Sender<Job>,
    /// The process at the other end of the latest connection; 0 if unknown.
    pid: Arc<AtomicI32>,
}

#[derive(Debug)]
struct Job {
    command: Command,
    deadline: Instant,
    reply: oneshot::Sender<Result<Value, Fail2banError>>,
}

impl Client {
    /// Starts the task; must be called inside a tokio runtime. Connects only when the first command comes.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let (queue, jobs) = mpsc::channel(options.queue);
        let pid = Arc::new(AtomicI32::new(0));
        let worker = Worker { options, connection: None, backoff: Backoff::default(), pid: Arc::clone(&pid) };
        tokio::spawn(worker.run(jobs));
        Self { queue, pid }
    }

    /// The process that listens on fail2ban's socket, as the kernel reported it at the latest connection; `None` before the
    /// first, or if it is in another container's namespace.
    #[must_use]
    pub fn server_pid(&self) -> Option<i32> {
        Some(self.pid.load(Relaxed)).filter(|pid| *pid > 0)
    }

    /// Sends a command and waits for its answer, at most until `deadline`.
    ///
    /// # Errors
    /// See [`Fail2banError`].
    pub async fn ask(&self, command: Command, deadline: Instant) -> Result<Value, Fail2banError> {
        if let Some(jail) = command.jail().filter(|jail| jail.is_word_of_fail2ban()) {
            // `set logtarget banip ...` would be taken for another log file.
            return Err(Fail2banError::unknown_jail(jail));
        }
        let (reply, answer) = oneshot::channel();
        let name = command.to_string();
        self.queue.try_send(Job { command, deadline, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Fail2banError::Busy(format!(
                "{} commands are already waiting for fail2ban",
                self.queue.max_capacity()
            )),
            mpsc::error::TrySendError::Closed(_) => Fail2banError::Down("the agent is stopping".into()),
        })?;
        // The task keeps the deadline itself; this timeout is for a task that is still busy with another command.
        let span = traces::call("fail2ban", &name);
        match timeout_at(deadline + Duration::from_millis(50), answer).instrument(span).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Fail2banError::Down("the agent is stopping".into())),
            Err(_) => {
                Err(Fail2banError::Busy(format!("fail2ban was busy and did not get to `{name}` in time")))
            }
        }
    }
}

struct Worker {
    options: Options,
    connection: Option<Connection>,
    backoff: Backoff,
    pid: Arc<AtomicI32>,
}

impl Worker {
    /// Ends when the last handle is gone.
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            // If the caller has gone, or its deadline has passed in the queue, do not spend fail2ban's time.
            if job.reply.is_closed() {
                continue;
            }
            let answer = if Instant::now() >= job.deadline {
                Err(Fail2banError::Busy(format!("fail2ban was not free for `{}` in time", job.command)))
            } else {
                self.answer(&job.command, job.deadline).await
            };
            let _ = job.reply.send(answer);
        }
    }

    async fn answer(&mut self, command: &Command, deadline: Instant) -> Result<Value, Fail2banError> {
        let request = write_command(&command.words()).map_err(|error| Fail2banError::Refused {
            class: "not sent".into(),
            message: error.to_string(),
        })?;
        let frame = self.exchange(&request, command, deadline).await?;
        // A reply that cannot be read, or says that fail2ban is shutting down, is the last one on its connection.
        let answer = parsed(frame).await.and_then(|read| {
            read.map_err(|error| {
                Fail2banError::Down(format!("fail2ban's reply to `{command}` cannot be read: {error}"))
            })
            .and_then(reply::answer)
        });
        if matches!(answer, Err(Fail2banError::Down(_))) {
            self.connection = None;
        }
        answer
    }

    /// One exchange, on a second connection if the first turns out to have been closed while idle.
    async fn exchange(
        &mut self,
        request: &[u8],
        command: &Command,
        deadline: Instant,
    ) -> Result<codec::Frame, Fail2banError> {
        for _ in 0..2 {
            let mut connection = self.connected(deadline).await?;
            match connection.exchange(request, self.options.max_reply, deadline).await {
                Ok(frame) => {
                    self.connection = Some(connection);
                    return Ok(frame);
                }
                Err(Broken::BeforeReply) if command.changes() => {
                    return Err(Fail2banError::Down(format!(
                        "fail2ban closed the connection before it answered `{command}`: whether it took effect is not known"
                    )));
                }
                Err(Broken::BeforeReply) if connection.used => {
                    debug!("fail2ban closed an idle connection: reconnecting");
                }
                Err(Broken::BeforeReply) => break,
                Err(Broken::Because(error)) => return Err(error),
            }
        }
        let error = Fail2banError::Down("fail2ban closed the connection without an answer".into());
        self.backoff.failed(&self.options, &error);
        Err(error)
    }

    /// Takes the open connection out, or opens one; the caller puts it back if it may be used again.
    async fn connected(&mut self, deadline: Instant) -> Result<Connection, Fail2banError> {
        if let Some(connection) = self.connection.take().filter(|connection| !connection.is_stale()) {
            return Ok(connection);
        }
        self.backoff.wait(deadline).await?;
        match Connection::open(&self.options.socket, deadline).await {
            Ok(connection) => {
                info!(fail2ban.socket = %self.options.socket.display(), "connected to fail2ban");
                self.backoff = Backoff::default();
                self.pid.store(connection.pid(), Relaxed);
                Ok(connection)
            }
            Err(error) => {
                self.backoff.failed(&self.options, &error);
                Err(error)
            }
        }
    }
}

/// Parses off the async threads: a reply may have millions of instructions.
async fn parsed(frame: codec::Frame) -> Result<Result<Value, PickleError>, Fail2banError> {
    let parsing = tokio::task::spawn_blocking(move || read(frame.pickle().unwrap_or_default()));
    parsing.await.map_err(|_| Fail2banError::Down("the agent is stopping".into()))
}

/// When to connect again after a failure.
#[derive(Default)]
struct Backoff {
    failed: Option<(Duration, Instant, Fail2banError)>,
}

impl Backoff {
    /// Waits until then; a command whose deadline is sooner fails at once with the reason of the last failure.
    async fn wait(&self, deadline: Instant) -> Result<(), Fail2banError> {
        match &self.failed {
            Some((_, until, error)) if *until >= deadline => Err(error.clone()),
            Some((_, until, _)) => {
                sleep_until(*until).await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn failed(&mut self, options: &Options, error: &Fail2banError) {
        let step = match &self.failed {
            Some((step, ..)) => (*step * 2).min(options.max_backoff),
            None => options.min_backoff,
        };
        let jittered = step.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.failed = Some((step, Instant::now() + jittered, error.clone()));
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
