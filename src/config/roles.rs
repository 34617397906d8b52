//! From variables to the configuration of each command. Each function reads everything before it builds anything, so that
//! all errors are found.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};

use super::bridge::{agent_tls, agent_token, agents};
use super::doors::{Doors, bound};
use super::errors::{ConfigErrors, unknown_names};
use super::exposure::Around;
use super::sources::{Environment, Flags, Reader};
use super::variables::{self as vars, Role};
use super::{
    AgentConfig, AgentListen, AuditConfig, CheckConfig, Exposure, LogFormat, RedisConfig,
    ResetPasswordConfig, ServeConfig, Servers, SessionCacheConfig, UpConfig, provider_reader, redis_url,
    secrets, values,
};

/// How long the audit may be kept: up to ten years.
const AUDIT_DAYS: std::ops::RangeInclusive<u64> = 1..=3_650;

/// A checked configuration, the log format, and warnings.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The configuration.
    pub config: T,
    /// The log format.
    pub log_format: LogFormat,
    /// To be logged once logging works.
    pub warnings: Vec<String>,
}

pub(super) fn load<T>(
    environment: &Environment,
    flags: &Flags,
    read: impl FnOnce(Reader<'_>) -> Result<T, ConfigErrors>,
) -> Result<Loaded<T>, ConfigErrors> {
    let mut reader = Reader::new(environment, flags);
    let on_terminal = if environment.log_is_terminal { LogFormat::Text } else { LogFormat::Json };
    let log_format = reader.value(&vars::LOG_FORMAT, values::log_format).unwrap_or(on_terminal);
    let warnings = unknown_names(environment.variables.keys().map(String::as_str));
    match read(reader) {
        Ok(config) => Ok(Loaded { config, log_format, warnings }),
        Err(errors) => Err(ConfigErrors { warnings, ..errors }),
    }
}

/// The configuration of `bangui serve`.
///
/// # Errors
/// With every error in the configuration.
pub fn serve(environment: &Environment, flags: &Flags) -> Result<Loaded<ServeConfig>, ConfigErrors> {
    let mut exposures = Vec::new();
    let mut loaded = load(environment, flags, |reader| read_serve(reader, &mut exposures))?;
    loaded.warnings.extend(exposures.into_iter().map(|exposure| exposure.message));
    Ok(loaded)
}

/// Builds the configuration, and adds what it exposes more than necessary to `exposures`.
fn read_serve(mut read: Reader<'_>, exposures: &mut Vec<Exposure>) -> Result<ServeConfig, ConfigErrors> {
    let listen = read.value(&vars::LISTEN, values::listen);
    let _ = read.value(&vars::WORKERS, values::positive); // Not used here, but an invalid one is never ignored.
    let metrics_listen = read.value(&vars::METRICS_LISTEN, values::address);
    let redis = redis(&mut read, true);
    let (servers, agents) = agents(&mut read);
    let setup_token = read.secret(&vars::SETUP_TOKEN, secrets::setup_token);
    let admin_password = read.secret(&vars::ADMIN_PASSWORD, secrets::password);
    let doors = Doors::read(&mut read);
    let (provider, password_login) = provider_reader::read(&mut read, doors.public_url.as_ref());
    let (idle, absolute) = session_life(&mut read);
    let probe_interval = read.value(&vars::PROBE_INTERVAL, values::seconds(values::PROBE_INTERVAL_SECONDS));
    let crash_window = read.value(&vars::CRASH_WINDOW, values::seconds(values::CRASH_WINDOW_SECONDS));
    let lease_ttl = read.value(&vars::LEASE_TTL, values::milliseconds(1500..=600_000));
    let drain = read.value(&vars::DRAIN, values::seconds(0..=3600));
    let audit_kept = read.value(&vars::AUDIT_DAYS, values::days(AUDIT_DAYS));
    let login_limit = read.value(&vars::LOGIN_LIMIT, values::rate_limit);
    let login_failure_limit = read.value(&vars::LOGIN_FAILURE_LIMIT, values::rate_limit);
    let second_factor_roles = read.value(&vars::SECOND_FACTOR_ROLES, values::roles).unwrap_or_default();
    let connections = read.value(&vars::MAX_CONNECTIONS, values::connections);
    let per_address = read.value(&vars::MAX_CONNECTIONS_PER_ADDRESS, values::connections_of_address);
    let cache_enabled = read.value(&vars::SESSION_CACHE_ENABLED, values::boolean);
    let cache_ttl = read.value(&vars::SESSION_CACHE_TTL, values::seconds(values::CACHE_TTL_SECONDS));
    let given = vars::ALL.iter().filter(|variable| read.is_set(variable)).map(|v| v.name).collect();
    let bound = listen.as_ref().and_then(bound);
    *exposures = doors.exposures(bound, redis.as_ref(), &servers, &agents);
    read.finish(|| {
        Some(ServeConfig {
            listen: listen?,
            metrics_listen,
            redis: redis?,
            servers: servers.listed,
            groups: servers.groups,
            agents,
            setup_token,
            admin_password,
            provider,
            password_login: password_login?,
            public_url: doors.public_url,
            session_idle: idle?,
            session_absolute: absolute?,
            probe_interval: probe_interval?,
            crash_window: TimeDelta::from_std(crash_window?).ok()?,
            lease_ttl: lease_ttl?,
            trusted_proxies: doors.proxies,
            trusted_proxy_hops: doors.hops,
            allowed_hosts: doors.hosts,
            drain: drain?,
            audit_kept: audit_kept?,
            login_limit: login_limit?,
            login_failure_limit: login_failure_limit?,
            second_factor_roles,
            max_connections: connections?,
            max_connections_per_address: per_address.unwrap_or(connections? / 4),
            session_cache: SessionCacheConfig { enabled: cache_enabled?, ttl: cache_ttl? },
            given,
        })
    })
}

fn redis(read: &mut Reader<'_>, required: bool) -> Option<RedisConfig> {
    let url = read.value(&vars::REDIS_URL, redis_url::parse);
    if let Some(url) = &url {
        refuse_shown_password(read, url);
    }
    let password = read.secret(&vars::REDIS_PASSWORD, |text, _| Ok(SecretString::from(text)));
    let prefix = read.value(&vars::REDIS_PREFIX, values::redis_prefix);
    let url = url.map(|url| match password {
        Some(password) => redis_url::with_password(&url, &password),
        None => url,
    });
    if url.is_none() && required {
        read.require(
            &vars::REDIS_URL,
            "workers keep everything they share in Redis: set it to redis://host:6379 or similar",
        );
    }
    let ca = read.value(&vars::REDIS_CA, values::absolute_path);
    let min_replicas = read.value(&vars::REDIS_MIN_REPLICAS, values::replicas);
    let pool_size = read.value(&vars::REDIS_POOL_SIZE, values::pool_size);
    Some(RedisConfig { url: url?, prefix: prefix?, ca, min_replicas: min_replicas?, pool_size: pool_size? })
}

/// Anyone on this machine can read the arguments of its processes. The example in the documentation is not treated as a
/// password.
fn refuse_shown_password(read: &mut Reader<'_>, url: &SecretString) {
    let passwords = redis_url::passwords(url);
    let flag = format!("--{}", vars::REDIS_URL.flag());
    let shown = || Some(redis_url::hide_passwords(url.expose_secret()));
    if !passwords.is_empty() && read.flags().contains_key(&vars::REDIS_URL.flag()) {
        let allowed = "holds a password, and every user of this machine can read the arguments of its processes: put it \
                       into the file of --redis-password-file, or the URL into BANGUI_REDIS_URL";
        read.note(flag, shown(), allowed.to_owned());
    }
    if passwords.iter().any(|password| secrets::is_example(password)) {
        read.note(vars::REDIS_URL.name.to_owned(), shown(), format!("its password {}", secrets::EXAMPLE));
    }
}

fn session_life(read: &mut Reader<'_>) -> (Option<Duration>, Option<Duration>) {
    let idle = read.value(&vars::SESSION_IDLE, values::seconds(values::SESSION_SECONDS));
    let absolute = read.value(&vars::SESSION_ABSOLUTE, values::seconds(values::SESSION_SECONDS));
    if let (Some(idle), Some(absolute)) = (idle, absolute)
        && idle > absolute
    {
        let allowed =
            format!("must not exceed BANGUI_SESSION_ABSOLUTE_SECONDS, which is {}", absolute.as_secs());
        read.note(vars::SESSION_IDLE.name.to_owned(), Some(idle.as_secs().to_string()), allowed);
    }
    (idle, absolute)
}

/// The configuration of `bangui agent`.
///
/// # Errors
/// With every error in the configuration.
pub fn agent(environment: &Environment, flags: &Flags) -> Result<Loaded<AgentConfig>, ConfigErrors> {
    load(environment, flags, |mut read| {
        let listen = read.value(&vars::AGENT_LISTEN, values::agent_listen);
        let tls = agent_tls(&mut read, listen.as_ref());
        let name = read.value(&vars::AGENT_NAME, values::host_name);
        let start = read.value(&vars::FAIL2BAN_START, values::words);
        let token = agent_token(&mut read);
        let worker_ca = read.value(&vars::WORKER_CA, values::absolute_path);
        if worker_ca.is_some() && !read.is_set(&vars::AGENT_TLS_CERT) {
            read.require(
                &vars::AGENT_TLS_CERT,
                "BANGUI_WORKER_CA authenticates workers over TLS only, so the agent needs a certificate too",
            );
        }
        if let (Some(path), Some(AgentListen::Unix(_))) = (&worker_ca, &listen) {
            let allowed =
                "is for an agent that listens on an address: on a unix socket nobody shows a certificate";
            read.note(vars::WORKER_CA.name.to_owned(), Some(path.display().to_string()), allowed.to_owned());
        }
        if token.is_none() && worker_ca.is_none() {
            read.require(
                &vars::AGENT_TOKEN,
                "an agent without it would obey anyone: `openssl rand -hex 32` makes one. Over TLS, set BANGUI_WORKER_CA instead",
            );
        }
        let socket = read.value(&vars::FAIL2BAN_SOCKET, values::absolute_path);
        let config = read.value(&vars::FAIL2BAN_CONFIG, values::absolute_path);
        read.finish(|| {
            Some(AgentConfig {
                listen: listen?,
                token,
                worker_ca,
                fail2ban_socket: socket?,
                fail2ban_config: config?,
                tls,
                name,
                start: start.unwrap_or_else(default_start),
            })
        })
    })
}

/// `systemctl`, where systemd runs.
fn default_start() -> Vec<String> {
    let systemd = std::path::Path::new("/run/systemd/system").is_dir();
    let words = ["systemctl", "start", "fail2ban"].map(str::to_owned);
    if systemd { words.into() } else { Vec::new() }
}

/// The configuration of `bangui up`. The variables of its workers are checked here too, so that an error is printed once
/// and immediately, instead of in each worker's log.
///
/// # Errors
/// With every error in the configuration.
pub fn up(environment: &Environment, flags: &Flags) -> Result<Loaded<UpConfig>, ConfigErrors> {
    let mut exposures = Vec::new();
    let mut loaded = load(environment, flags, |reader| read_up(reader, &mut exposures))?;
    loaded.warnings.extend(exposures.into_iter().map(|exposure| exposure.message));
    let reader = Reader::new(environment, flags);
    let ignored = vars::ALL.iter().filter(|v| !v.is_for(Role::Up) && reader.is_set(v));
    loaded.warnings.extend(
        ignored.map(|v| format!("ignoring {}: `bangui up` does not use it, or sets it itself", v.name)),
    );
    Ok(loaded)
}

fn read_up(mut read: Reader<'_>, exposures: &mut Vec<Exposure>) -> Result<UpConfig, ConfigErrors> {
    let (environment, flags) = (read.environment(), read.flags());
    let listen: Option<SocketAddr> = read.value(&vars::LISTEN, values::address);
    let workers = read.value(&vars::WORKERS, values::positive);
    let metrics_listen = read.value(&vars::METRICS_LISTEN, values::address);
    let metrics_listen = metrics_listen.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
    let last =
        workers.map_or(0, NonZeroU32::get).saturating_add(u32::from(metrics_listen.port())).saturating_sub(1);
    if metrics_listen.port() != 0 && last > u32::from(u16::MAX) {
        let allowed = "leaves no port for the last worker: each worker uses the next port".to_owned();
        read.note(vars::METRICS_LISTEN.name.to_owned(), Some(metrics_listen.to_string()), allowed);
    }
    let socket = read.value(&vars::FAIL2BAN_SOCKET, values::absolute_path);
    let config = read.value(&vars::FAIL2BAN_CONFIG, values::absolute_path);
    let data_dir = data_dir(environment, flags);
    if data_dir.is_none() {
        read.note(
            "--data-dir".to_owned(),
            None,
            "is not set, and neither is HOME: name the folder for the data".to_owned(),
        );
    }
    let drain_given = read.is_set(&vars::DRAIN);
    let passed_on = vars::ALL.iter().filter(|v| v.is_for(Role::Up) && v.is_for(Role::Serve) && !is_owned(v));
    let worker_env: Vec<(String, OsString)> = passed_on.flat_map(|v| read.settings_of(v)).collect();

    let mut of_worker = Reader::new(environment, flags);
    of_worker.own(&vars::LISTEN, values::INHERITED);
    of_worker.own(&vars::WORKERS, "1");
    of_worker.own(&vars::REDIS_URL, "redis+unix:///of/up");
    of_worker.disown(&[
        &vars::SERVERS,
        &vars::AGENT_TOKEN,
        &vars::AGENT_CA,
        &vars::WORKER_CERT,
        &vars::WORKER_KEY,
        &vars::METRICS_LISTEN,
        &vars::REDIS_PASSWORD,
        &vars::REDIS_PREFIX,
        &vars::REDIS_CA,
        &vars::REDIS_MIN_REPLICAS,
    ]);
    let worker = match read_serve(of_worker, exposures) {
        Ok(worker) => Some(worker),
        Err(errors) => {
            read.adopt(errors);
            None
        }
    };
    if let (Some(worker), Some(listen)) = (&worker, listen) {
        let around = Around {
            listen: Some(listen),
            public_url: worker.public_url.as_ref(),
            allowed_hosts: &worker.allowed_hosts,
            proxies: &worker.trusted_proxies,
            ..Around::default()
        };
        *exposures = around.exposures();
    }
    read.finish(|| {
        let worker = worker?;
        Some(UpConfig {
            listen: listen?,
            workers: workers?,
            public_url: worker.public_url,
            host: worker.allowed_hosts.into_iter().next(),
            metrics_listen,
            data_dir: data_dir?,
            sandbox: flags.contains_key(super::command::SANDBOX),
            fail2ban_socket: socket?,
            fail2ban_config: config?,
            setup_token: worker.setup_token,
            admin_password_given: worker.admin_password.is_some(),
            drain: if drain_given { worker.drain } else { Duration::ZERO },
            worker_env,
        })
    })
}

/// Variables of the workers that `up` always sets itself.
fn is_owned(variable: &vars::Variable) -> bool {
    [vars::LISTEN.name, vars::WORKERS.name, vars::METRICS_LISTEN.name, vars::LOG_FORMAT.name]
        .contains(&variable.name)
}

fn data_dir(environment: &Environment, flags: &Flags) -> Option<PathBuf> {
    if let Some(given) = flags.get(super::command::DATA_DIR) {
        return std::path::absolute(given).ok();
    }
    if environment.is_root {
        return Some(PathBuf::from("/var/lib/bangui"));
    }
    let absolute = |name| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data_home = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    data_home.map(|folder| folder.join("bangui"))
}

/// The configuration of `bangui check`.
///
/// # Errors
/// With every error in the configuration.
pub fn check(environment: &Environment, flags: &Flags) -> Result<Loaded<CheckConfig>, ConfigErrors> {
    load(environment, flags, |mut read| {
        let names_agents = read.is_set(&vars::SERVERS);
        let redis = redis(&mut read, !names_agents);
        let (servers, agents) = agents(&mut read);
        let listen = read.value(&vars::LISTEN, values::listen);
        let doors = Doors::read(&mut read);
        let (provider, _) = provider_reader::read(&mut read, doors.public_url.as_ref());
        let exposures = doors.exposures(listen.as_ref().and_then(bound), redis.as_ref(), &servers, &agents);
        let Servers { listed, groups } = servers;
        read.finish(|| Some(CheckConfig { redis, servers: listed, groups, agents, provider, exposures }))
    })
}

/// The address for `bangui healthcheck` without a URL.
///
/// # Errors
/// With every error in the configuration.
pub fn healthcheck(environment: &Environment, flags: &Flags) -> Result<Loaded<SocketAddr>, ConfigErrors> {
    load(environment, flags, |mut read| {
        let listen = read.value(&vars::LISTEN, values::address);
        read.finish(|| listen)
    })
}

/// The configuration of `bangui reset-password`.
///
/// # Errors
/// With every error in the configuration.
pub fn reset_password(
    environment: &Environment,
    flags: &Flags,
) -> Result<Loaded<ResetPasswordConfig>, ConfigErrors> {
    load(environment, flags, |mut read| {
        let redis = redis(&mut read, true);
        let password = read.secret(&vars::ADMIN_PASSWORD, secrets::password);
        let audit_kept = read.value(&vars::AUDIT_DAYS, values::days(AUDIT_DAYS));
        read.finish(|| Some(ResetPasswordConfig { redis: redis?, password, audit_kept: audit_kept? }))
    })
}

/// The configuration of `bangui audit`: the Redis whose audit it reads.
///
/// # Errors
/// With every error in the configuration.
pub fn audit(environment: &Environment, flags: &Flags) -> Result<Loaded<AuditConfig>, ConfigErrors> {
    load(environment, flags, |mut read| {
        let redis = redis(&mut read, true);
        let audit_kept = read.value(&vars::AUDIT_DAYS, values::days(AUDIT_DAYS));
        read.finish(|| Some(AuditConfig { redis: redis?, audit_kept: audit_kept? }))
    })
}
