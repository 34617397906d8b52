//! From variables to what each command runs by. Each function reads everything first, so that all mistakes are found,
//! and builds last.
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::SecretString;

use super::mistakes::{Mistakes, unknown_names};
use super::sources::{Environment, Flags, Reader};
use super::variables::{self as vars, Role};
use super::{
    AgentConfig, AgentListen, AgentTlsConfig, AgentTokenConfig, CheckConfig, LogFormat, RedisConfig,
    ResetPasswordConfig, ServeConfig, Servers, SessionCacheConfig, UpConfig, redis_url, values,
};

/// A checked configuration, how to log, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// What to run by.
    pub config: T,
    /// How to log.
    pub log_format: LogFormat,
    /// To be logged once logging works.
    pub warnings: Vec<String>,
}

fn load<T>(
    environment: &Environment,
    flags: &Flags,
    read: impl FnOnce(Reader<'_>) -> Result<T, Mistakes>,
) -> Result<Loaded<T>, Mistakes> {
    let mut reader = Reader::new(environment, flags);
    let on_terminal = if environment.log_is_terminal { LogFormat::Text } else { LogFormat::Json };
    let log_format = reader.value(&vars::LOG_FORMAT, values::log_format).unwrap_or(on_terminal);
    let warnings = unknown_names(environment.variables.keys().map(String::as_str));
    match read(reader) {
        Ok(config) => Ok(Loaded { config, log_format, warnings }),
        Err(mistakes) => Err(Mistakes { warnings, ..mistakes }),
    }
}

/// What `bangui serve` runs by.
///
/// # Errors
/// With every mistake in the configuration.
pub fn serve(environment: &Environment, flags: &Flags) -> Result<Loaded<ServeConfig>, Mistakes> {
    load(environment, flags, read_serve)
}

fn read_serve(mut read: Reader<'_>) -> Result<ServeConfig, Mistakes> {
    let listen = read.value(&vars::LISTEN, values::listen);
    let _ = read.value(&vars::WORKERS, values::positive); // not ours, but a wrong one is never passed over
    let metrics_listen = read.value(&vars::METRICS_LISTEN, values::address);
    let redis = redis(&mut read, true);
    let (servers, agent_token, agent_ca) = agents(&mut read);
    let setup_token = read.secret(&vars::SETUP_TOKEN, values::setup_token);
    let admin_password = read.secret(&vars::ADMIN_PASSWORD, values::password);
    let public_url = read.value(&vars::PUBLIC_URL, values::public_url);
    let (idle, absolute) = session_life(&mut read);
    let probe_interval = read.value(&vars::PROBE_INTERVAL, values::seconds(values::PROBE_INTERVAL_SECONDS));
    let crash_window = read.value(&vars::CRASH_WINDOW, values::seconds(values::CRASH_WINDOW_SECONDS));
    let lease_ttl = read.value(&vars::LEASE_TTL, values::milliseconds(1500..=600_000));
    let trusted_proxies = read.value(&vars::TRUSTED_PROXIES, values::networks).unwrap_or_default();
    let drain = read.value(&vars::DRAIN, values::seconds(0..=3600));
    let login_limit = read.value(&vars::LOGIN_LIMIT, values::rate_limit);
    let login_failure_limit = read.value(&vars::LOGIN_FAILURE_LIMIT, values::rate_limit);
    let connections = read.value(&vars::MAX_CONNECTIONS, values::connections);
    let per_address = read.value(&vars::MAX_CONNECTIONS_PER_ADDRESS, values::connections_of_address);
    let cache_enabled = read.value(&vars::SESSION_CACHE_ENABLED, values::boolean);
    let cache_ttl = read.value(&vars::SESSION_CACHE_TTL, values::seconds(values::CACHE_TTL_SECONDS));
    let given = vars::ALL.iter().filter(|variable| read.is_set(variable)).map(|v| v.name).collect();
    read.finish(|| {
        Some(ServeConfig {
            listen: listen?,
            metrics_listen,
            redis: redis?,
            servers: servers.listed,
            groups: servers.groups,
            agent_token,
            agent_ca,
            setup_token,
            admin_password,
            public_url,
            session_idle: idle?,
            session_absolute: absolute?,
            probe_interval: probe_interval?,
            crash_window: TimeDelta::from_std(crash_window?).ok()?,
            lease_ttl: lease_ttl?,
            trusted_proxies,
            drain: drain?,
            login_limit: login_limit?,
            login_failure_limit: login_failure_limit?,
            max_connections: connections?,
            max_connections_per_address: per_address.unwrap_or(connections? / 4),
            session_cache: SessionCacheConfig { enabled: cache_enabled?, ttl: cache_ttl? },
            given,
        })
    })
}

fn redis(read: &mut Reader<'_>, required: bool) -> Option<RedisConfig> {
    let url = read.value(&vars::REDIS_URL, redis_url::parse);
    let password = read.secret(&vars::REDIS_PASSWORD, |text, _| Ok(SecretString::from(text)));
    let prefix = read.value(&vars::REDIS_PREFIX, values::redis_prefix);
    let url = url.map(|url| match password {
        Some(password) => redis_url::with_password(&url, &password),
        None => url,
    });
    if url.is_none() && required {
        read.require(
            &vars::REDIS_URL,
            "all that the workers share is in Redis: set it to redis://host:6379 or the like",
        );
    }
    let ca = read.value(&vars::REDIS_CA, values::absolute_path);
    let min_replicas = read.value(&vars::REDIS_MIN_REPLICAS, values::replicas);
    let pool_size = read.value(&vars::REDIS_POOL_SIZE, values::pool_size);
    Some(RedisConfig { url: url?, prefix: prefix?, ca, min_replicas: min_replicas?, pool_size: pool_size? })
}

fn agent_token(read: &mut Reader<'_>) -> Option<AgentTokenConfig> {
    read.secret(&vars::AGENT_TOKEN, |text, file| {
        let tokens = values::agent_tokens(text)?;
        Ok(AgentTokenConfig { tokens, file: file.map(PathBuf::from) })
    })
}

fn agents(read: &mut Reader<'_>) -> (Servers, Option<AgentTokenConfig>, Option<PathBuf>) {
    let servers = read.value(&vars::SERVERS, values::servers).unwrap_or_default();
    let token = agent_token(read);
    let ca = read.value(&vars::AGENT_CA, values::absolute_path);
    if servers.groups.iter().any(|group| group.tls) && !read.is_set(&vars::AGENT_CA) {
        read.require(
            &vars::AGENT_CA,
            "agents behind ?discover=dns are known by their certificates alone: name the CA that signs them and nothing \
             else; whoever holds a certificate of a public CA would be given the token",
        );
    }
    if servers != Servers::default() && token.is_none() {
        read.require(
            &vars::AGENT_TOKEN,
            "agents answer only those who know it: the token of the agents in BANGUI_SERVERS",
        );
    }
    (servers, token, ca)
}

fn session_life(read: &mut Reader<'_>) -> (Option<Duration>, Option<Duration>) {
    let idle = read.value(&vars::SESSION_IDLE, values::seconds(values::SESSION_SECONDS));
    let absolute = read.value(&vars::SESSION_ABSOLUTE, values::seconds(values::SESSION_SECONDS));
    if let (Some(idle), Some(absolute)) = (idle, absolute)
        && idle > absolute
    {
        let allowed = format!(
            "must not be longer than BANGUI_SESSION_ABSOLUTE_SECONDS, which is {}: a session that has ended cannot idle",
            absolute.as_secs()
        );
        read.note(vars::SESSION_IDLE.name.to_owned(), Some(idle.as_secs().to_string()), allowed);
    }
    (idle, absolute)
}

/// What `bangui agent` runs by.
///
/// # Errors
/// With every mistake in the configuration.
pub fn agent(environment: &Environment, flags: &Flags) -> Result<Loaded<AgentConfig>, Mistakes> {
    load(environment, flags, |mut read| {
        let listen = read.value(&vars::AGENT_LISTEN, values::agent_listen);
        let tls = agent_tls(&mut read, listen.as_ref());
        let name = read.value(&vars::AGENT_NAME, values::host_name);
        let start = read.value(&vars::FAIL2BAN_START, values::words);
        let token = agent_token(&mut read);
        if token.is_none() {
            read.require(
                &vars::AGENT_TOKEN,
                "an agent without it would obey anyone: `openssl rand -hex 32` makes one",
            );
        }
        let socket = read.value(&vars::FAIL2BAN_SOCKET, values::absolute_path);
        let config = read.value(&vars::FAIL2BAN_CONFIG, values::absolute_path);
        read.finish(|| {
            Some(AgentConfig {
                listen: listen?,
                token: token?,
                fail2ban_socket: socket?,
                fail2ban_config: config?,
                tls,
                name,
                start: start.unwrap_or_else(default_start),
            })
        })
    })
}

/// `systemctl`, where systemd is what runs the machine.
fn default_start() -> Vec<String> {
    let systemd = std::path::Path::new("/run/systemd/system").is_dir();
    let words = ["systemctl", "start", "fail2ban"].map(str::to_owned);
    if systemd { words.into() } else { Vec::new() }
}

/// Certificate and key go together, and beyond loopback there is nothing without them: tokens and addresses would
/// travel in the clear.
fn agent_tls(read: &mut Reader<'_>, listen: Option<&AgentListen>) -> Option<AgentTlsConfig> {
    let cert = read.value(&vars::AGENT_TLS_CERT, values::absolute_path);
    let key = read.value(&vars::AGENT_TLS_KEY, values::absolute_path);
    match (read.is_set(&vars::AGENT_TLS_CERT), read.is_set(&vars::AGENT_TLS_KEY)) {
        (true, false) => read.require(
            &vars::AGENT_TLS_KEY,
            "the certificate in BANGUI_AGENT_TLS_CERT has a key: name its file",
        ),
        (false, true) => read.require(
            &vars::AGENT_TLS_CERT,
            "the key in BANGUI_AGENT_TLS_KEY has a certificate: name its file",
        ),
        (false, false) => {
            if let Some(AgentListen::Tcp(address)) = listen
                && !address.ip().is_loopback()
            {
                let allowed = "is not a loopback address, where the agent must speak TLS: set BANGUI_AGENT_TLS_CERT and \
                               BANGUI_AGENT_TLS_KEY, or listen on unix:/path or 127.0.0.1";
                read.note(vars::AGENT_LISTEN.name.to_owned(), Some(address.to_string()), allowed.to_owned());
            }
        }
        (true, true) => {}
    }
    Some(AgentTlsConfig { cert: cert?, key: key? })
}

/// What `bangui up` runs by. What its workers will read is checked here too, so that a mistake shows once and at once
/// and not in each worker's log.
///
/// # Errors
/// With every mistake in the configuration.
pub fn up(environment: &Environment, flags: &Flags) -> Result<Loaded<UpConfig>, Mistakes> {
    let mut loaded = load(environment, flags, read_up)?;
    let reader = Reader::new(environment, flags);
    let ignored = vars::ALL.iter().filter(|v| !v.is_for(Role::Up) && reader.is_set(v));
    loaded.warnings.extend(ignored.map(|v| format!("{} is ignored: `bangui up` brings its own", v.name)));
    Ok(loaded)
}

fn read_up(mut read: Reader<'_>) -> Result<UpConfig, Mistakes> {
    let (environment, flags) = (read.environment(), read.flags());
    let listen: Option<SocketAddr> = read.value(&vars::LISTEN, values::address);
    let workers = read.value(&vars::WORKERS, values::positive);
    let socket = read.value(&vars::FAIL2BAN_SOCKET, values::absolute_path);
    let config = read.value(&vars::FAIL2BAN_CONFIG, values::absolute_path);
    let data_dir = data_dir(environment, flags);
    if data_dir.is_none() {
        read.note(
            "--data-dir".to_owned(),
            None,
            "is not set, and neither is HOME: say where to keep the data".to_owned(),
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
        &vars::METRICS_LISTEN,
        &vars::REDIS_PASSWORD,
        &vars::REDIS_PREFIX,
        &vars::REDIS_CA,
        &vars::REDIS_MIN_REPLICAS,
    ]);
    let worker = match read_serve(of_worker) {
        Ok(worker) => Some(worker),
        Err(mistakes) => {
            read.adopt(mistakes);
            None
        }
    };
    read.finish(|| {
        let worker = worker?;
        Some(UpConfig {
            listen: listen?,
            workers: workers?,
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

/// What `up` decides for its workers, whatever is set.
fn is_owned(variable: &vars::Variable) -> bool {
    [vars::LISTEN.name, vars::WORKERS.name, vars::LOG_FORMAT.name].contains(&variable.name)
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

/// What `bangui check` tries.
///
/// # Errors
/// With every mistake in the configuration.
pub fn check(environment: &Environment, flags: &Flags) -> Result<Loaded<CheckConfig>, Mistakes> {
    load(environment, flags, |mut read| {
        let names_agents = read.is_set(&vars::SERVERS);
        let redis = redis(&mut read, !names_agents);
        let (Servers { listed, groups }, agent_token, agent_ca) = agents(&mut read);
        read.finish(|| Some(CheckConfig { redis, servers: listed, groups, agent_token, agent_ca }))
    })
}

/// The address that `bangui healthcheck` asks without a URL.
///
/// # Errors
/// With every mistake in the configuration.
pub fn healthcheck(environment: &Environment, flags: &Flags) -> Result<Loaded<SocketAddr>, Mistakes> {
    load(environment, flags, |mut read| {
        let listen = read.value(&vars::LISTEN, values::address);
        read.finish(|| listen)
    })
}

/// What `bangui reset-password` runs by.
///
/// # Errors
/// With every mistake in the configuration.
pub fn reset_password(
    environment: &Environment,
    flags: &Flags,
) -> Result<Loaded<ResetPasswordConfig>, Mistakes> {
    load(environment, flags, |mut read| {
        let redis = redis(&mut read, true);
        let password = read.secret(&vars::ADMIN_PASSWORD, values::password);
        read.finish(|| Some(ResetPasswordConfig { redis: redis?, password }))
    })
}
