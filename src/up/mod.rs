//! Everything on one machine: `bangui up`.
//!
//! ```text
//! up ─┬─ redis-server      unix socket, append-only file        starts first, stops last
//!     ├─ fail2ban-server   only with --sandbox
//!     ├─ bangui agent      unix socket
//!     └─ bangui serve ×N   one listener, bound here, inherited  start last, stop first
//! ```
//!
//! A child that dies is restarted, with one exception: a child that exits by itself while `up` waits for it to become
//! ready would fail again (a wrong setting, a damaged file), so `up` stops everything and prints the
//! child's last lines. A child that was killed, or was ready before, may well start the next time.
//!
//! On SIGTERM or Ctrl-C the children stop one kind after the other, so that a worker drains while Redis still runs. If
//! `up` itself is killed, the kernel kills the children (`child.rs`).

pub mod announce;
pub mod child;
pub mod data;
pub mod listener;
pub mod log;
pub mod redis;
pub mod sandbox;
pub mod service;

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::UpConfig;
use crate::config::values::INHERITED;
use crate::net::readiness;
use crate::shutdown::Shutdown;
use announce::{Access, Announcement};
use data::DataDir;
use log::Log;
use sandbox::Sandbox;
use service::{Death, Service, Watched, bound_to_us};

/// How long each kind of child may take to become ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a child may take to stop, in addition to its drain time: requests in flight may take 10 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(12);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs everything until a signal stops it.
///
/// # Errors
/// If something cannot be started.
pub async fn run(config: UpConfig, shutdown: Shutdown) -> anyhow::Result<()> {
    let redis_server = find_program("redis-server", "redis-server")?;
    let fail2ban_server = config.sandbox.then(|| find_program("fail2ban-server", "fail2ban")).transpose()?;
    let listener = listener::bind(config.listen)?;
    let data = DataDir::open(&config.data_dir)?;
    let (report, deaths) = mpsc::channel(16);
    let mut up = Up { config, data, shutdown: shutdown.clone(), report, deaths, stages: Vec::new() };
    let feeding = CancellationToken::new();
    let _end_of_feeding = feeding.clone().drop_guard();

    let started = up.start(&redis_server, fail2ban_server.as_deref(), listener, feeding).await;
    match &started {
        Ok(announcement) if !shutdown.soft.is_cancelled() => {
            println!("{announcement}");
            up.deaths.close();
            shutdown.soft.cancelled().await;
        }
        _ => {}
    }
    up.stop().await;
    if shutdown.soft.is_cancelled() { Ok(()) } else { started.map(|_| ()) }
}

struct Up {
    config: UpConfig,
    data: DataDir,
    shutdown: Shutdown,
    /// Receives the deaths of children for `until_ready`.
    report: mpsc::Sender<Death>,
    deaths: mpsc::Receiver<Death>,
    /// In the order of their start; they stop in the opposite order, all children of a stage together.
    stages: Vec<Vec<Watched>>,
}

impl Up {
    async fn start(
        &mut self,
        redis_server: &Path,
        fail2ban_server: Option<&Path>,
        listener: TcpListener,
        feeding: CancellationToken,
    ) -> anyhow::Result<Announcement> {
        let address = listener.local_addr().context("failed to read the address of the listener")?;

        let command = redis::command(redis_server, &self.data)?;
        self.watch(vec![self.service("redis", command, Vec::new(), STOP_TIMEOUT)?]);
        let socket = self.data.socket("redis");
        self.until_ready("redis-server", async || redis::answers(socket.clone()).await).await?;

        let (socket, folder, fail2ban) = match fail2ban_server {
            Some(program) => {
                let sandbox = Sandbox::prepare(&self.data)?;
                self.watch(vec![self.service(
                    "fail2ban",
                    sandbox.command(program),
                    Vec::new(),
                    STOP_TIMEOUT,
                )?]);
                let socket = sandbox.socket().to_owned();
                self.until_ready("fail2ban-server", async || UnixStream::connect(&socket).await.is_ok())
                    .await?;
                let description = format!("a private sandbox that reads {}", sandbox.log().display());
                let config = sandbox.config();
                tokio::spawn(sandbox.feed(feeding));
                (socket, config, description)
            }
            None => {
                let socket = self.config.fail2ban_socket.clone();
                let description = describe_host(&socket).await;
                (socket, self.config.fail2ban_config.clone(), description)
            }
        };

        let (token_file, _) = self.data.secret("agent-token")?;
        let agent = self.agent(&token_file, &socket, &folder)?;
        self.watch(vec![agent]);
        let socket = self.data.socket("agent");
        self.until_ready("the agent", async || UnixStream::connect(&socket).await.is_ok()).await?;

        let (setup_file, setup_code) = self.data.secret("setup-token")?;
        let workers = self.workers(Arc::new(listener), &token_file, &setup_file)?;
        self.watch(workers);
        self.until_ready("the workers", async || readiness::ask(None, address).await.is_ok()).await?;

        let url = announce::url(address, self.config.public_url.as_ref(), self.config.host.as_deref());
        let done =
            self.config.admin_password_given || announce::setup_complete(address, &url).await == Some(true);
        let code = self.config.setup_token.is_none().then_some(setup_code);
        Ok(Announcement {
            url,
            metrics: if self.config.metrics_listen.port() == 0 {
                Vec::new()
            } else {
                (0..self.config.workers.get()).map(|n| self.metrics_of(n)).collect()
            },
            workers: self.config.workers.get(),
            access: if done { Access::LogIn } else { Access::SetUp(code) },
            fail2ban,
            data: self.data.root().to_owned(),
            logs: self.data.folder("logs"),
        })
    }

    fn agent(&self, token_file: &Path, socket: &Path, config: &Path) -> anyhow::Result<Service> {
        let listen = format!("unix:{}", self.data.socket("agent").display());
        let environment = vec![
            ("BANGUI_AGENT_LISTEN".to_owned(), listen.into()),
            ("BANGUI_AGENT_TOKEN_FILE".to_owned(), token_file.into()),
            ("BANGUI_FAIL2BAN_SOCKET".to_owned(), socket.into()),
            ("BANGUI_FAIL2BAN_CONFIG".to_owned(), config.into()),
            ("BANGUI_LOG_FORMAT".to_owned(), "text".into()),
        ];
        self.service("agent", vec![own_program()?, "agent".into()], environment, STOP_TIMEOUT)
    }

    fn workers(
        &self,
        listener: Arc<TcpListener>,
        token_file: &Path,
        setup_file: &Path,
    ) -> anyhow::Result<Vec<Service>> {
        let agent = format!("local=http+unix://{}", self.data.socket("agent").display());
        let drain = self.config.drain.as_secs();
        let mut environment = self.config.worker_env.clone();
        environment.extend([
            ("BANGUI_LISTEN".to_owned(), INHERITED.into()),
            ("BANGUI_REDIS_URL".to_owned(), redis::url(&self.data).into()),
            ("BANGUI_SERVERS".to_owned(), agent.into()),
            ("BANGUI_AGENT_TOKEN_FILE".to_owned(), token_file.into()),
            ("BANGUI_DRAIN_SECONDS".to_owned(), drain.to_string().into()),
            ("BANGUI_LOG_FORMAT".to_owned(), "text".into()),
        ]);
        if self.config.setup_token.is_none() {
            environment.push(("BANGUI_SETUP_TOKEN_FILE".to_owned(), setup_file.into()));
        }
        let stop_timeout = self.config.drain + STOP_TIMEOUT;
        (1..=self.config.workers.get())
            .map(|n| {
                let command = vec![own_program()?, "serve".into()];
                let mut environment = environment.clone();
                let metrics = self.metrics_of(n - 1).to_string();
                environment.push(("BANGUI_METRICS_LISTEN".to_owned(), metrics.into()));
                let worker = self.service(&format!("worker-{n}"), command, environment, stop_timeout)?;
                Ok(Service { listener: Some(Arc::clone(&listener)), ..worker })
            })
            .collect()
    }

    /// The address of the metrics of worker `n`, from 0. The configuration leaves room for all of them.
    fn metrics_of(&self, n: u32) -> SocketAddr {
        let mut address = self.config.metrics_listen;
        if address.port() != 0 {
            address.set_port(address.port().saturating_add(u16::try_from(n).unwrap_or(u16::MAX)));
        }
        address
    }

    fn service(
        &self,
        name: &str,
        command: Vec<OsString>,
        environment: Vec<(String, OsString)>,
        stop_timeout: Duration,
    ) -> anyhow::Result<Service> {
        Ok(Service {
            name: name.to_owned(),
            command: bound_to_us(command)?,
            environment,
            listener: None,
            stop_timeout,
            log: Log::new(self.data.folder("logs").join(format!("{name}.log"))),
        })
    }

    fn watch(&mut self, services: Vec<Service>) {
        self.stages.push(services.into_iter().map(|service| service.watch(self.report.clone())).collect());
    }

    /// Waits until the last started stage is ready.
    async fn until_ready(&mut self, what: &str, ready: impl AsyncFn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        let mut last_death = String::new();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.soft.cancelled() => bail!("stopped while {what} was starting"),
                Some(death) = self.deaths.recv() => {
                    if !death.was_killed && self.is_starting(&death.name) {
                        return Err(anyhow!("{what} failed to start: {death}"));
                    }
                    last_death = format!("\n{death}");
                }
                is_ready = ready() => if is_ready { return Ok(()) },
            }
            if Instant::now() >= deadline {
                let (seconds, logs) = (START_TIMEOUT.as_secs(), self.data.folder("logs"));
                bail!(
                    "timed out after {seconds} s waiting for {what}: see the logs in {}{last_death}",
                    logs.display()
                );
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Whether a child belongs to the last started stage.
    fn is_starting(&self, name: &str) -> bool {
        self.stages.last().is_some_and(|stage| stage.iter().any(|child| child.name() == name))
    }

    /// Workers first, Redis last.
    async fn stop(&mut self) {
        while let Some(stage) = self.stages.pop() {
            futures_util::future::join_all(stage.into_iter().map(|child| child.stop(&self.shutdown))).await;
        }
    }
}

fn own_program() -> anyhow::Result<OsString> {
    Ok(std::env::current_exe().context("failed to find the path of bangui itself")?.into())
}

async fn describe_host(socket: &Path) -> String {
    let shown = socket.display();
    match UnixStream::connect(socket).await {
        Ok(_) => format!("this machine's, at {shown}"),
        Err(error) => format!(
            "this machine's, at {shown}, currently unreachable: {error}.\n           \
             Start it, run `bangui up` as root, or try `bangui up --sandbox`"
        ),
    }
}

/// Finds a program on the `PATH`, or in folders for daemons that are not on a plain user's `PATH`.
fn find_program(name: &str, package: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(daemons)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        anyhow!(
            "{name} is not installed: `apt-get install {package}`, or the package {package} of your system"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_the_package_to_install() {
        let refusal = find_program("no-such-server", "some-package").unwrap_err().to_string();
        assert!(
            refusal.contains("no-such-server is not installed: `apt-get install some-package`"),
            "{refusal}"
        );
        assert!(find_program("sh", "dash").unwrap().is_absolute());
    }
}
