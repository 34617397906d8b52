//! Every variable there is, in one table: name, flag, default, help, and the commands that read it.
//!
//! A variable `BANGUI_REDIS_URL` is also the flag `--redis-url`, which wins. A secret has no flag of its own, since
//! every user of a machine can read the arguments of its processes: it has `BANGUI_AGENT_TOKEN_FILE` and
//! `--agent-token-file` instead. The help texts, the parsing and the list of known names all come from here.

/// A subcommand that reads variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// One worker.
    Serve,
    /// Beside fail2ban.
    Agent,
    /// Everything on one machine.
    Up,
    /// Tries everything the configuration names.
    Check,
    /// Asks a worker whether it is ready.
    Healthcheck,
    /// The document of the HTTP interface; reads no variable.
    Openapi,
    /// A new admin password.
    ResetPassword,
}

/// One variable.
#[derive(Debug)]
pub struct Variable {
    /// `BANGUI_...`
    pub name: &'static str,
    /// What stands for the value in the help.
    pub placeholder: &'static str,
    /// The value if nothing is set.
    pub default: Option<&'static str>,
    /// Never printed, no flag, may come from a file.
    pub secret: bool,
    /// Holds URLs, whose passwords are hidden where the value is printed.
    pub holds_urls: bool,
    /// What it is for: one or two sentences.
    pub help: &'static str,
    /// Who reads it.
    pub roles: &'static [Role],
}

impl Variable {
    /// The flag without its dashes: `redis-url`, or `agent-token-file` for a secret.
    #[must_use]
    pub fn flag(&self) -> String {
        let stem = self.name.trim_start_matches("BANGUI_").to_ascii_lowercase().replace('_', "-");
        if self.secret { format!("{stem}-file") } else { stem }
    }

    /// The variable that names the file a secret is in.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_FILE", self.name)
    }

    /// Whether a command reads it.
    #[must_use]
    pub fn is_for(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

use Role::{Agent, Check, Healthcheck, ResetPassword, Serve, Up};

const WORKER: &[Role] = &[Serve, Up];

macro_rules! variables {
    ($($ident:ident = $name:literal, $placeholder:literal, $default:expr, $kind:ident, $roles:expr, $help:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub static $ident: Variable = Variable {
                name: $name,
                placeholder: $placeholder,
                default: $default,
                secret: variables!(secret $kind),
                holds_urls: variables!(urls $kind),
                help: $help,
                roles: $roles,
            };
        )*
        /// All of them, in the order of the help.
        pub static ALL: &[&Variable] = &[$(&$ident),*];
    };
    (secret secret) => { true };
    (secret $other:ident) => { false };
    (urls urls) => { true };
    (urls $other:ident) => { false };
}

variables! {
    LISTEN = "BANGUI_LISTEN", "ADDR", Some("127.0.0.1:8080"), open, &[Serve, Up, Healthcheck],
        "Address of a worker, or of all workers of `up`";
    WORKERS = "BANGUI_WORKERS", "N", Some("2"), open, WORKER,
        "Worker processes of `up`: a positive number";
    REDIS_URL = "BANGUI_REDIS_URL", "URL", None, urls, &[Serve, Check, ResetPassword],
        "The cluster's Redis: redis://, rediss://, redis+unix:///path?db=N&password=..., or redis+sentinel://host,host/NAME";
    REDIS_PASSWORD = "BANGUI_REDIS_PASSWORD", "PASSWORD", None, secret, &[Serve, Check, ResetPassword],
        "Its password, in place of one in the URL";
    REDIS_PREFIX = "BANGUI_REDIS_PREFIX", "TEXT", Some("bangui"), open, &[Serve, Check, ResetPassword],
        "First part of every key in Redis";
    REDIS_CA = "BANGUI_REDIS_CA", "FILE", None, open, &[Serve, Check, ResetPassword],
        "The CA of the certificate behind rediss:// (PEM); without it, those that are known to the public";
    REDIS_MIN_REPLICAS = "BANGUI_REDIS_MIN_REPLICAS", "N", Some("0"), open, &[Serve, Check, ResetPassword],
        "Replicas that must confirm the end of a session or a new password before it is answered; 503 otherwise";
    REDIS_POOL_SIZE = "BANGUI_REDIS_POOL_SIZE", "N", Some("8"), open, &[Serve, Up, Check, ResetPassword],
        "Connections to Redis for large and blocking exchanges, apart from those of session checks; 0 sends large ones over the same connection";
    SERVERS = "BANGUI_SERVERS", "LIST", None, urls, &[Serve, Check],
        "Agents as name=url,name=url: https://host:port, http+unix:///path, or http:// to loopback; with ?discover=dns behind a URL, one server for each address of its host";
    AGENT_TOKEN = "BANGUI_AGENT_TOKEN", "TOKEN", None, secret, &[Serve, Agent, Check],
        "Shared secret of workers and agents: 32 characters or more, two with a comma while one is replaced";
    AGENT_LISTEN = "BANGUI_AGENT_LISTEN", "ADDR", Some("unix:/run/bangui/agent.sock"), open, &[Agent],
        "Where the agent listens: unix:/path, or an address, which needs TLS unless it is loopback";
    AGENT_TLS_CERT = "BANGUI_AGENT_TLS_CERT", "FILE", None, open, &[Agent],
        "The agent's certificate, with those between it and the CA (PEM); read again when it changes";
    AGENT_TLS_KEY = "BANGUI_AGENT_TLS_KEY", "FILE", None, open, &[Agent],
        "The key of the agent's certificate (PEM)";
    AGENT_NAME = "BANGUI_AGENT_NAME", "NAME", None, open, &[Agent],
        "What the agent is called; its certificate must carry this name";
    AGENT_CA = "BANGUI_AGENT_CA", "FILE", None, open, &[Serve, Check],
        "The CA of the agents' certificates (PEM); without it, those that the system trusts";
    FAIL2BAN_SOCKET = "BANGUI_FAIL2BAN_SOCKET", "PATH", Some("/var/run/fail2ban/fail2ban.sock"), open, &[Agent, Up],
        "The socket of fail2ban";
    FAIL2BAN_CONFIG = "BANGUI_FAIL2BAN_CONFIG", "DIR", Some("/etc/fail2ban"), open, &[Agent, Up],
        "The configuration folder of fail2ban";
    FAIL2BAN_START = "BANGUI_FAIL2BAN_START", "COMMAND", None, open, &[Agent],
        "Starts fail2ban when a crash is rolled back: words separated by spaces, no shell; without it `systemctl start fail2ban` where systemd runs";
    SETUP_TOKEN = "BANGUI_SETUP_TOKEN", "CODE", None, secret, WORKER,
        "The code that must come with the setup call, 24 characters or more; without it, a one-time code in the log, valid for a day";
    ADMIN_PASSWORD = "BANGUI_ADMIN_PASSWORD", "PASSWORD", None, secret, &[Serve, Up, ResetPassword],
        "The admin's password, stored at the first start and never overwritten; 10 to 1024 bytes";
    PUBLIC_URL = "BANGUI_PUBLIC_URL", "URL", None, urls, WORKER,
        "What users type into the browser; https makes the cookie __Host-bangui";
    METRICS_LISTEN = "BANGUI_METRICS_LISTEN", "ADDR", None, open, &[Serve],
        "An address of its own for /metrics";
    SESSION_IDLE = "BANGUI_SESSION_IDLE_SECONDS", "SECONDS", Some("1800"), open, WORKER,
        "A session ends after this time without a request";
    SESSION_ABSOLUTE = "BANGUI_SESSION_ABSOLUTE_SECONDS", "SECONDS", Some("43200"), open, WORKER,
        "A session ends this long after its login";
    SESSION_CACHE_ENABLED = "BANGUI_SESSION_CACHE_ENABLED", "BOOL", Some("false"), open, WORKER,
        "Near cache of sessions in each worker; a logout stays exact";
    SESSION_CACHE_TTL = "BANGUI_SESSION_CACHE_TTL_SECONDS", "SECONDS", Some("5"), open, WORKER,
        "How long the near cache trusts an entry; 0 also means off";
    PROBE_INTERVAL = "BANGUI_PROBE_INTERVAL_SECONDS", "SECONDS", Some("10"), open, WORKER,
        "How often each fail2ban is probed";
    CRASH_WINDOW = "BANGUI_ACTIVATION_CRASH_WINDOW_SECONDS", "SECONDS", Some("60"), open, WORKER,
        "A crash within this time of an activation is blamed on it";
    LEASE_TTL = "BANGUI_LEASE_TTL_MS", "MS", Some("5000"), open, WORKER,
        "How long the scheduler's lease lives without renewal; 1500 or more";
    LOGIN_LIMIT = "BANGUI_LOGIN_LIMIT", "N/SECONDS", Some("10/60"), open, WORKER,
        "Login attempts for each address: how many at once, and the seconds to refill them";
    LOGIN_FAILURE_LIMIT = "BANGUI_LOGIN_FAILURE_LIMIT", "N/SECONDS", Some("100/3600"), open, WORKER,
        "Failed logins for each account: how many at once, and the seconds to refill them";
    TRUSTED_PROXIES = "BANGUI_TRUSTED_PROXIES", "LIST", None, open, WORKER,
        "Networks or addresses whose X-Forwarded-For is believed, separated by commas";
    DRAIN = "BANGUI_DRAIN_SECONDS", "SECONDS", Some("5"), open, WORKER,
        "After SIGTERM: not ready, still serving (`up` does not wait unless this is set)";
    MAX_CONNECTIONS = "BANGUI_MAX_CONNECTIONS", "N", Some("1536"), open, WORKER,
        "Connections of a worker at once, 64 or more; when they run short, those that wait for their client are let go first";
    MAX_CONNECTIONS_PER_ADDRESS = "BANGUI_MAX_CONNECTIONS_PER_ADDRESS", "N", None, open, WORKER,
        "How many of them one address (IPv6: one /64) may have, but for BANGUI_TRUSTED_PROXIES; without it, a quarter";
    LOG_FORMAT = "BANGUI_LOG_FORMAT", "FORMAT", None, open, &[Serve, Agent, Up, Check, Healthcheck, ResetPassword],
        "text or json; without it, text on a terminal and json elsewhere. RUST_LOG filters";
}
