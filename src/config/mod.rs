//! Bootstrap configuration: environment and flags, read once, checked whole, fixed while the process lives.
//!
//! ```text
//! variables.rs   one table: every variable, its flag, default, help, and the commands that read it
//! command.rs     table -> clap's command tree; clap's matches -> flags
//! sources.rs     environment + flags -> the raw text of one variable (a secret's NAME_FILE included)
//! values.rs      raw text -> a checked value, one small pure function for each kind of value
//! redis_url.rs   the same for `BANGUI_REDIS_URL`, and how passwords inside URLs are hidden; sentinel_url.rs is its
//!                form with Sentinels
//! roles.rs       variables -> ServeConfig, AgentConfig, ...; collects every mistake
//! mistakes.rs    the list of mistakes as it is printed; warnings about unknown names
//! ```
//!
//! To add a variable: a `static` and a line in `ALL` (`variables.rs`), a field here, a line in `roles.rs`.
//! Help, flags and the list of known names follow from the table.
pub mod command;
pub mod mistakes;
pub mod redis_url;
pub mod roles;
pub mod sentinel_url;
pub mod sources;
mod url_parts;
pub mod values;
pub mod variables;

#[cfg(test)]
mod tests;

pub use mistakes::{Mistake, Mistakes};
pub use roles::Loaded;
pub use sentinel_url::SentinelUrl;
pub use sources::{Environment, Flags};
pub use values::agent_tokens;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use crate::domain::ServerName;

/// Where a worker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address to bind.
    Address(SocketAddr),
    /// The listening socket that `bangui up` passes as standard input, so that its workers share one queue.
    Inherited,
}

/// Which Redis, and under which prefix.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://`, `rediss://`, `redis+unix://` or one with Sentinels, with its password.
    pub url: SecretString,
    /// First part of every key.
    pub prefix: String,
    /// The CA of a `rediss://` (PEM); without it, those that are known to the public.
    pub ca: Option<PathBuf>,
    /// How many replicas must have confirmed a revocation before it is answered.
    pub min_replicas: u16,
    /// Connections for large and blocking exchanges; 0 for none.
    pub pool_size: u16,
}

/// How an agent is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentUrl {
    /// `https://host:port`
    Https(Url),
    /// `http://` to a loopback address.
    LoopbackHttp(Url),
    /// `http+unix:///path`
    Unix(PathBuf),
}

/// One entry of `BANGUI_SERVERS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEndpoint {
    /// The server's name.
    pub name: ServerName,
    /// Its agent.
    pub url: AgentUrl,
}

/// An entry of `BANGUI_SERVERS` with `?discover=dns`: a DNS name that stands for any number of agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentGroup {
    /// What the group is called in messages; its servers have the names that their agents tell.
    pub name: ServerName,
    /// The DNS name.
    pub host: String,
    /// The port of every agent.
    pub port: u16,
    /// Whether they speak TLS; without it only loopback addresses are taken.
    pub tls: bool,
}

/// What `BANGUI_SERVERS` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers {
    /// Servers with a name and an agent of their own.
    pub listed: Vec<ServerEndpoint>,
    /// DNS names behind which agents are discovered.
    pub groups: Vec<AgentGroup>,
}

/// Where an agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentListen {
    /// A TCP address, loopback unless TLS is configured.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// An agent's certificate and its key, PEM files that are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentTlsConfig {
    /// The certificate, with those between it and the CA.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The shared secret between workers and agents: its value now, and the file to read again when it changes.
#[derive(Debug, Clone)]
pub struct AgentTokenConfig {
    /// One or two tokens of 32 characters or more; the first is the one a worker sends.
    pub tokens: Vec<SecretString>,
    /// The file they were read from, if they were.
    pub file: Option<PathBuf>,
}

/// A token bucket: so many at once, and as many again over `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many may come at once.
    pub burst: NonZeroU32,
    /// How long an empty bucket takes to be full again.
    pub period: Duration,
}

/// The near cache of sessions in each worker, as the environment has it; a runtime setting may override it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCacheConfig {
    /// Whether it is wanted.
    pub enabled: bool,
    /// How long an entry is trusted; zero also means off.
    pub ttl: Duration,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What `bangui serve` runs by.
#[derive(Clone)]
pub struct ServeConfig {
    /// Where HTTP is served.
    pub listen: Listen,
    /// A separate address for `/metrics`.
    pub metrics_listen: Option<SocketAddr>,
    /// The cluster's Redis.
    pub redis: RedisConfig,
    /// The fail2ban servers; may be empty.
    pub servers: Vec<ServerEndpoint>,
    /// DNS names behind which agents are discovered.
    pub groups: Vec<AgentGroup>,
    /// Present whenever there is a server or a group.
    pub agent_token: Option<AgentTokenConfig>,
    /// The CA of the agents' certificates, if it is not one that the system trusts.
    pub agent_ca: Option<PathBuf>,
    /// The code that must come with the setup call; a one-time code is made if there is none.
    pub setup_token: Option<SecretString>,
    /// Provisions the admin at first start.
    pub admin_password: Option<SecretString>,
    /// What users type into the browser.
    pub public_url: Option<Url>,
    /// A session ends after this time without a request.
    pub session_idle: Duration,
    /// A session ends this long after its login.
    pub session_absolute: Duration,
    /// How often every server is probed.
    pub probe_interval: Duration,
    /// A crash within this time of an activation is blamed on it.
    pub crash_window: TimeDelta,
    /// How long the scheduler's lease lives without renewal.
    pub lease_ttl: Duration,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// After SIGTERM: not ready, still serving.
    pub drain: Duration,
    /// Login attempts for each address.
    pub login_limit: RateLimit,
    /// Failed logins for each account.
    pub login_failure_limit: RateLimit,
    /// Connections at once.
    pub max_connections: usize,
    /// How many of them one address may have.
    pub max_connections_per_address: usize,
    /// The near cache of sessions.
    pub session_cache: SessionCacheConfig,
    /// The variables that were set, by environment or flag; the others have their defaults.
    pub given: BTreeSet<&'static str>,
}

/// What `bangui agent` runs by.
#[derive(Clone)]
pub struct AgentConfig {
    /// Where the agent listens.
    pub listen: AgentListen,
    /// Who may ask.
    pub token: AgentTokenConfig,
    /// fail2ban's socket.
    pub fail2ban_socket: PathBuf,
    /// fail2ban's configuration folder.
    pub fail2ban_config: PathBuf,
    /// Its certificate: always there where it listens on TCP beyond loopback.
    pub tls: Option<AgentTlsConfig>,
    /// What it is called; its certificate carries this name.
    pub name: Option<String>,
    /// The program that starts fail2ban, and its arguments; none if it is not known.
    pub start: Vec<String>,
}

/// What `bangui up` runs by.
#[derive(Clone)]
pub struct UpConfig {
    /// The address that the workers share.
    pub listen: SocketAddr,
    /// Worker processes.
    pub workers: NonZeroU32,
    /// Where Redis and the sandbox keep their files.
    pub data_dir: PathBuf,
    /// Also run a private fail2ban to try things on.
    pub sandbox: bool,
    /// fail2ban's socket, without the sandbox.
    pub fail2ban_socket: PathBuf,
    /// fail2ban's configuration folder, without the sandbox.
    pub fail2ban_config: PathBuf,
    /// The code for the setup call, if the user chose one; else `up` makes one.
    pub setup_token: Option<SecretString>,
    /// Whether the user gave an admin password: then there is no setup to explain.
    pub admin_password_given: bool,
    /// How long the workers drain: what the user set, else no time at all, for a quick Ctrl-C.
    pub drain: Duration,
    /// What the user set and every worker should have too, as environment variables. Holds secrets.
    pub worker_env: Vec<(String, OsString)>,
}

/// What `bangui check` tries: only what is named.
#[derive(Clone)]
pub struct CheckConfig {
    /// The cluster's Redis.
    pub redis: Option<RedisConfig>,
    /// The agents.
    pub servers: Vec<ServerEndpoint>,
    /// DNS names behind which agents are discovered.
    pub groups: Vec<AgentGroup>,
    /// Present whenever there is a server or a group.
    pub agent_token: Option<AgentTokenConfig>,
    /// The CA of the agents' certificates, if it is not one that the system trusts.
    pub agent_ca: Option<PathBuf>,
}

/// What `bangui reset-password` runs by.
#[derive(Clone)]
pub struct ResetPasswordConfig {
    /// The cluster's Redis.
    pub redis: RedisConfig,
    /// The new password; asked for on the terminal if there is none.
    pub password: Option<SecretString>,
}
