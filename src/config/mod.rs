//! Bootstrap configuration: environment and flags, read once, checked as a whole, fixed for the life of the process.
//!
//! ```text
//! variables.rs   one table: every variable, its flag, default, help, and the commands that read it
//! command.rs     table -> clap's command tree; clap's matches -> flags
//! sources.rs     environment + flags -> the raw text of one variable (a secret's NAME_FILE included)
//! values.rs      raw text -> a checked value, one small pure function for each kind of value
//! redis_url.rs   the same for `BANGUI_REDIS_URL`, and how passwords inside URLs are hidden; sentinel_url.rs is its
//!                form with Sentinels, cluster_url.rs that of a Redis Cluster
//! client_commands.rs  the commands for people: their arguments; client.rs which server they ask, with which token
//! roles.rs       variables -> ServeConfig, AgentConfig, ...; collects every error
//! bridge.rs      how workers and agents authenticate each other; doors.rs: how requests reach a worker
//! provider.rs    the provider of single sign-on, and who may log in with a password; provider_reader.rs reads them
//! hosts.rs       trusted proxies, and hosts that requests may be for
//! exposure.rs    what a valid configuration exposes more than necessary, for the log and for `bangui check`
//! errors.rs      the list of errors as it is printed; warnings about unknown names
//! ```
//!
//! To add a variable: a row in the table (`variables.rs`), a field here, a line in `roles.rs`. Help, flags, the list of
//! known names and `docs/configuration.md` (`make docs`) follow from the table.

mod bridge;
mod client;
pub mod client_commands;
pub mod cluster_url;
pub mod command;
mod doors;
pub mod errors;
pub mod exposure;
pub mod hosts;
pub mod provider;
mod provider_reader;
pub mod redis_url;
pub mod roles;
pub mod secrets;
pub mod sentinel_url;
pub mod sources;
mod url_parts;
pub mod values;
pub mod variables;

#[cfg(test)]
mod secret_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trust_tests;

pub use client::{ClientConfig, client};
pub use cluster_url::ClusterUrl;
pub use errors::{ConfigError, ConfigErrors};
pub use provider::{PasswordLogin, ProviderConfig};
pub use roles::Loaded;
pub use secrets::agent_tokens;
pub use sentinel_url::SentinelUrl;
pub use sources::{Environment, Flags};

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::domain::ServerName;
use crate::domain::access::Role;

/// Where a worker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address to bind.
    Address(SocketAddr),
    /// The listening socket that `bangui up` passes as standard input, so that its workers share one queue.
    Inherited,
}

/// The Redis of the cluster, and the prefix of its keys.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://`, `rediss://`, `redis+unix://`, `redis+sentinel://` or `redis+cluster://`, with its password.
    pub url: SecretString,
    /// The prefix of every key.
    pub prefix: String,
    /// The CA for `rediss://` (PEM); without it, the public CAs are trusted.
    pub ca: Option<PathBuf>,
    /// How many replicas must confirm a revocation before it is answered.
    pub min_replicas: u16,
    /// The maximum number of connections for large and blocking exchanges.
    pub pool_size: u16,
}

impl RedisConfig {
    /// Whether it is a Redis Cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        ClusterUrl::parse(self.url.expose_secret()).is_some()
    }
}

/// The address of an agent.
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
    /// The address of its agent.
    pub url: AgentUrl,
    /// `?token=shared`: workers send it the shared token even though they have a certificate.
    pub shared_token: bool,
}

/// An entry of `BANGUI_SERVERS` with `?discover=dns`: a DNS name with one address for each agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentGroup {
    /// The name of the group in messages; its servers have the names that their agents report.
    pub name: ServerName,
    /// The DNS name.
    pub host: String,
    /// The port of every agent.
    pub port: u16,
    /// Whether they use TLS; without it, only loopback addresses are accepted.
    pub tls: bool,
    /// `&trust=first-use`: each agent's first certificate is pinned, and no CA is used.
    pub first_use: bool,
    /// `&token=shared`, as in [`ServerEndpoint`].
    pub shared_token: bool,
}

/// The contents of `BANGUI_SERVERS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers {
    /// Servers that are listed by name.
    pub listed: Vec<ServerEndpoint>,
    /// DNS names whose agents are discovered.
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

/// An agent's certificate and its key: PEM files that are reloaded when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentTlsConfig {
    /// The certificate with its intermediates.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The certificate that workers show to agents, and its key: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCertConfig {
    /// The certificate with its intermediates.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How workers and agents authenticate each other, on the side of a worker.
#[derive(Debug, Clone, Default)]
pub struct AgentCredentials {
    /// Present if it is sent to any server or group.
    pub token: Option<AgentTokenConfig>,
    /// The CA of the agents' certificates; without it, the system's CAs are trusted.
    pub ca: Option<PathBuf>,
    /// The certificate for agents behind `https://`.
    pub worker_cert: Option<WorkerCertConfig>,
}

/// The shared secret of workers and agents: its current value, and the file to reload it from.
#[derive(Debug, Clone)]
pub struct AgentTokenConfig {
    /// One or two tokens of 32 characters or more; the first is the one a worker sends.
    pub tokens: Vec<SecretString>,
    /// The file they were read from, if any.
    pub file: Option<PathBuf>,
}

/// A token bucket of size `burst`, refilled over `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The size of the bucket.
    pub burst: NonZeroU32,
    /// How long an empty bucket takes to refill.
    pub period: Duration,
}

/// The near cache of sessions in each worker; a runtime setting may override this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCacheConfig {
    /// Whether it is on.
    pub enabled: bool,
    /// How long an entry is kept; zero switches the cache off.
    pub ttl: Duration,
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text, for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Something that a valid configuration exposes more than necessary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// Its short name.
    pub what: &'static str,
    /// What is exposed, and the remedy.
    pub message: String,
}

/// The configuration of `bangui serve`.
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
    /// DNS names whose agents are discovered.
    pub groups: Vec<AgentGroup>,
    /// How they and this worker authenticate each other.
    pub agents: AgentCredentials,
    /// The code that the setup call must carry; without it, a one-time code is generated.
    pub setup_token: Option<SecretString>,
    /// Provisions the admin at first start.
    pub admin_password: Option<SecretString>,
    /// The provider of single sign-on.
    pub provider: Option<ProviderConfig>,
    /// Who may log in with a password.
    pub password_login: PasswordLogin,
    /// The address that users type into the browser.
    pub public_url: Option<Url>,
    /// A session expires after this time without a request.
    pub session_idle: Duration,
    /// A session expires this long after its login.
    pub session_absolute: Duration,
    /// How often every server is probed.
    pub probe_interval: Duration,
    /// A crash within this time after an activation is attributed to it.
    pub crash_window: TimeDelta,
    /// How long the leader's lease lasts without renewal.
    pub lease_ttl: Duration,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// The number of proxies in front of the workers, as an alternative to `trusted_proxies`.
    pub trusted_proxy_hops: Option<NonZeroU8>,
    /// Hosts that requests may be for, besides that of `public_url`; without port.
    pub allowed_hosts: Vec<String>,
    /// How long to keep serving after SIGTERM, while not ready.
    pub drain: Duration,
    /// How long entries of the audit are kept.
    pub audit_kept: Duration,
    /// Login attempts per address.
    pub login_limit: RateLimit,
    /// Failed logins per account.
    pub login_failure_limit: RateLimit,
    /// Roles that need a second factor.
    pub second_factor_roles: Vec<Role>,
    /// Connections at once.
    pub max_connections: usize,
    /// How many of them one address may have.
    pub max_connections_per_address: usize,
    /// The near cache of sessions.
    pub session_cache: SessionCacheConfig,
    /// The variables that were set by environment or flag.
    pub given: BTreeSet<&'static str>,
}

/// The configuration of `bangui agent`.
#[derive(Clone)]
pub struct AgentConfig {
    /// Where the agent listens.
    pub listen: AgentListen,
    /// The tokens that requests must carry; `None` where `worker_ca` decides.
    pub token: Option<AgentTokenConfig>,
    /// Certificates of workers, or of the CA that signs them: over TLS, only clients with such a certificate are answered.
    pub worker_ca: Option<PathBuf>,
    /// fail2ban's socket.
    pub fail2ban_socket: PathBuf,
    /// fail2ban's configuration folder.
    pub fail2ban_config: PathBuf,
    /// Its certificate; always present where it listens on TCP beyond loopback.
    pub tls: Option<AgentTlsConfig>,
    /// Its name, which its certificate carries.
    pub name: Option<String>,
    /// The command that starts fail2ban; empty if unknown.
    pub start: Vec<String>,
}

/// The configuration of `bangui up`.
#[derive(Clone)]
pub struct UpConfig {
    /// The address that the workers share.
    pub listen: SocketAddr,
    /// Worker processes.
    pub workers: NonZeroU32,
    /// The address that users type into the browser.
    pub public_url: Option<Url>,
    /// A host that the workers accept requests for, besides that of `public_url`.
    pub host: Option<String>,
    /// The address for the metrics of the first worker; the others use the following ports. Port 0 gives each worker any free port.
    pub metrics_listen: SocketAddr,
    /// The folder for the files of Redis and the sandbox.
    pub data_dir: PathBuf,
    /// Whether to run a private fail2ban too.
    pub sandbox: bool,
    /// fail2ban's socket, without the sandbox.
    pub fail2ban_socket: PathBuf,
    /// fail2ban's configuration folder, without the sandbox.
    pub fail2ban_config: PathBuf,
    /// The code for the setup call, if the user set one; otherwise `up` generates it.
    pub setup_token: Option<SecretString>,
    /// Whether the user set an admin password, which makes setup unnecessary.
    pub admin_password_given: bool,
    /// How long the workers drain: zero unless the user set it, for a quick Ctrl-C.
    pub drain: Duration,
    /// What the user set for the workers, as environment variables. Contains secrets.
    pub worker_env: Vec<(String, OsString)>,
}

/// The configuration of `bangui check`, which tests only what is configured.
#[derive(Clone)]
pub struct CheckConfig {
    /// The cluster's Redis.
    pub redis: Option<RedisConfig>,
    /// The agents.
    pub servers: Vec<ServerEndpoint>,
    /// DNS names whose agents are discovered.
    pub groups: Vec<AgentGroup>,
    /// How they and the workers authenticate each other.
    pub agents: AgentCredentials,
    /// The provider of single sign-on.
    pub provider: Option<ProviderConfig>,
    /// What the configuration exposes more than necessary.
    pub exposures: Vec<Exposure>,
}

/// The configuration of `bangui reset-password`.
#[derive(Clone)]
pub struct ResetPasswordConfig {
    /// The cluster's Redis.
    pub redis: RedisConfig,
    /// The new password; without it, the command asks on the terminal.
    pub password: Option<SecretString>,
    /// How long entries of the audit are kept.
    pub audit_kept: Duration,
}

/// What `bangui audit` needs.
#[derive(Clone)]
pub struct AuditConfig {
    /// The Redis that all workers share.
    pub redis: RedisConfig,
    /// How long entries of the audit are kept.
    pub audit_kept: Duration,
}
