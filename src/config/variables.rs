//! Every variable in one table: name, flag, default, help, and the commands that read it.
//!
//! A variable such as `BANGUI_REDIS_URL` is also a flag, `--redis-url`, which takes precedence. A secret has no flag, since every
//! user of a machine can read the arguments of its processes: it has `BANGUI_AGENT_TOKEN_FILE` and `--agent-token-file` instead.
//! The help texts, the parsing, the list of known names and the table of `docs/configuration.md` all come from here.

/// A subcommand that reads variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `bangui serve`
    Serve,
    /// `bangui agent`
    Agent,
    /// `bangui up`
    Up,
    /// `bangui check`
    Check,
    /// `bangui healthcheck`
    Healthcheck,
    /// `bangui openapi`, which reads no variable.
    Openapi,
    /// `bangui reset-password`
    ResetPassword,
    /// `bangui audit`: the entries as the API lists them; with `verify`, whether the audit in Redis is whole.
    Audit,
    /// The commands for people, which ask a worker: `bangui login` and so on.
    Client,
    /// `bangui completions` and `bangui man`, which read no variable.
    Shell,
}

/// One variable.
#[derive(Debug)]
pub struct Variable {
    /// `BANGUI_...`
    pub name: &'static str,
    /// The placeholder of the value in the help.
    pub placeholder: &'static str,
    /// The value if nothing is set.
    pub default: Option<&'static str>,
    /// Never printed, has no flag, may come from a file.
    pub secret: bool,
    /// Holds URLs, whose passwords are hidden where the value is printed.
    pub holds_urls: bool,
    /// What it is for: one or two sentences.
    pub help: &'static str,
    /// The commands that read it.
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

use Role::{Agent, Audit, Check, Client, Healthcheck, ResetPassword, Serve, Up};

const WORKER: &[Role] = &[Serve, Up];
const STORE: &[Role] = &[Serve, Check, ResetPassword, Audit];
/// The commands that ask a worker as a person would.
const PEOPLE: &[Role] = &[Client, Audit];
/// `check` reports how far a worker with this configuration would be open.
const CHECKED: &[Role] = &[Serve, Up, Check];

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
    LISTEN = "BANGUI_LISTEN", "ADDR", Some("127.0.0.1:8080"), open, &[Serve, Up, Check, Healthcheck],
        "Address that the worker, or all workers of `up`, listen on";
    WORKERS = "BANGUI_WORKERS", "N", Some("2"), open, WORKER,
        "Number of worker processes of `up`";
    REDIS_URL = "BANGUI_REDIS_URL", "URL", None, urls, STORE,
        "The Redis that all workers share: redis://, rediss://, redis+unix:///path?db=N&password=..., redis+sentinel://host,host/NAME, or redis+cluster://host,host";
    REDIS_PASSWORD = "BANGUI_REDIS_PASSWORD", "PASSWORD", None, secret, STORE,
        "Password of Redis; replaces the one in the URL";
    REDIS_PREFIX = "BANGUI_REDIS_PREFIX", "TEXT", Some("bangui"), open, STORE,
        "Prefix of every key in Redis";
    REDIS_CA = "BANGUI_REDIS_CA", "FILE", None, open, STORE,
        "CA of Redis's certificate for rediss:// (PEM); without it, the public CAs are trusted";
    REDIS_MIN_REPLICAS = "BANGUI_REDIS_MIN_REPLICAS", "N", Some("0"), open, STORE,
        "Number of replicas that must confirm a logout, a revocation or a new password; if fewer do, the answer is 503";
    REDIS_POOL_SIZE = "BANGUI_REDIS_POOL_SIZE", "N", Some("8"), open, &[Serve, Up, Check, ResetPassword, Audit],
        "Maximum number of connections to Redis for large and blocking exchanges, which keeps them from delaying session checks; one of them always waits for events. 0 sends large exchanges over the connection that everything else uses";
    SERVERS = "BANGUI_SERVERS", "LIST", None, urls, &[Serve, Check],
        "Agents as name=url,name=url: https://host:port, http+unix:///path, or http:// to loopback. With ?discover=dns after a URL: one server for each address of its host, and with &trust=first-use agents are known by the certificate that each showed first. With ?token=shared an https:// agent is sent the shared token even though workers have a certificate";
    AGENT_TOKEN = "BANGUI_AGENT_TOKEN", "TOKEN", None, secret, &[Serve, Agent, Check],
        "Shared secret of workers and agents: 32 characters or more; two, separated by a comma, during a rotation. Anyone who learns it controls every agent that accepts it";
    AGENT_LISTEN = "BANGUI_AGENT_LISTEN", "ADDR", Some("unix:/run/bangui/agent.sock"), open, &[Agent],
        "Address that the agent listens on: unix:/path, or IP:port, which needs TLS unless it is loopback";
    AGENT_TLS_CERT = "BANGUI_AGENT_TLS_CERT", "FILE", None, open, &[Agent],
        "The agent's certificate with its intermediates (PEM); reloaded when the file changes";
    AGENT_TLS_KEY = "BANGUI_AGENT_TLS_KEY", "FILE", None, open, &[Agent],
        "Private key of the agent's certificate (PEM)";
    AGENT_NAME = "BANGUI_AGENT_NAME", "NAME", None, open, &[Agent],
        "Name of the agent, for discovery by DNS; its certificate must carry this name";
    AGENT_CA = "BANGUI_AGENT_CA", "FILE", None, open, &[Serve, Check],
        "CA of the agents' certificates (PEM); without it, the system's CAs are trusted";
    WORKER_CA = "BANGUI_WORKER_CA", "FILE", None, open, &[Agent],
        "Certificates of workers, or the CA that signs them (PEM): over TLS, the agent obeys only clients with such a certificate, and needs no token; reloaded when the file changes";
    WORKER_CERT = "BANGUI_WORKER_CERT", "FILE", None, open, &[Serve, Check],
        "Certificate that workers present to agents behind https:// (PEM); those agents are sent no token; read at the start";
    WORKER_KEY = "BANGUI_WORKER_KEY", "FILE", None, open, &[Serve, Check],
        "Private key of the workers' certificate (PEM)";
    FAIL2BAN_SOCKET = "BANGUI_FAIL2BAN_SOCKET", "PATH", Some("/var/run/fail2ban/fail2ban.sock"), open, &[Agent, Up],
        "Socket of fail2ban";
    FAIL2BAN_CONFIG = "BANGUI_FAIL2BAN_CONFIG", "DIR", Some("/etc/fail2ban"), open, &[Agent, Up],
        "Configuration folder of fail2ban";
    FAIL2BAN_START = "BANGUI_FAIL2BAN_START", "COMMAND", None, open, &[Agent],
        "Command that starts fail2ban when a crash is rolled back: words separated by spaces, no shell. Without it, `systemctl start fail2ban` where systemd runs";
    SETUP_TOKEN = "BANGUI_SETUP_TOKEN", "CODE", None, secret, WORKER,
        "Setup code, with which the first password is set, 24 characters or more; without it, a worker logs a one-time code, valid for a day";
    ADMIN_PASSWORD = "BANGUI_ADMIN_PASSWORD", "PASSWORD", None, secret, &[Serve, Up, ResetPassword],
        "The admin's password, 12 characters or more, not a common one. Workers store it at the first start and never overwrite it; `reset-password USER` makes it the password of that user";
    PUBLIC_URL = "BANGUI_PUBLIC_URL", "URL", None, urls, CHECKED,
        "The address that users type into the browser; with https, the cookie is __Host-bangui";
    ALLOWED_HOSTS = "BANGUI_ALLOWED_HOSTS", "LIST", None, open, CHECKED,
        "Hosts that requests may be for, in addition to that of BANGUI_PUBLIC_URL: names or addresses without ports, separated by commas; others are answered 421. With neither variable: any host, or only loopback names if BANGUI_LISTEN is a loopback address";
    METRICS_LISTEN = "BANGUI_METRICS_LISTEN", "ADDR", None, open, WORKER,
        "Separate address for /metrics. With `up`, the first worker uses this port and the others the following ones. Without it, `up` gives each worker a free port of 127.0.0.1, and `serve` serves metrics at BANGUI_LISTEN";
    SESSION_IDLE = "BANGUI_SESSION_IDLE_SECONDS", "SECONDS", Some("1800"), open, WORKER,
        "A session expires after this time without a request";
    SESSION_ABSOLUTE = "BANGUI_SESSION_ABSOLUTE_SECONDS", "SECONDS", Some("43200"), open, WORKER,
        "A session expires this long after its login";
    SESSION_CACHE_ENABLED = "BANGUI_SESSION_CACHE_ENABLED", "BOOL", Some("false"), open, WORKER,
        "Caches sessions in each worker (the near cache); a logout still takes effect everywhere at once";
    SESSION_CACHE_TTL = "BANGUI_SESSION_CACHE_TTL_SECONDS", "SECONDS", Some("5"), open, WORKER,
        "How long the near cache keeps an entry; 0 switches it off";
    PROBE_INTERVAL = "BANGUI_PROBE_INTERVAL_SECONDS", "SECONDS", Some("10"), open, WORKER,
        "How often each fail2ban is probed";
    CRASH_WINDOW = "BANGUI_ACTIVATION_CRASH_WINDOW_SECONDS", "SECONDS", Some("60"), open, WORKER,
        "A crash within this time after a jail's activation is attributed to it";
    LEASE_TTL = "BANGUI_LEASE_TTL_MS", "MS", Some("5000"), open, WORKER,
        "How long the leader's lease lasts without renewal; 1500 or more";
    LOGIN_LIMIT = "BANGUI_LOGIN_LIMIT", "N/SECONDS", Some("10/60"), open, WORKER,
        "Login attempts per address: burst, and seconds to refill it";
    LOGIN_FAILURE_LIMIT = "BANGUI_LOGIN_FAILURE_LIMIT", "N/SECONDS", Some("100/3600"), open, WORKER,
        "Failed logins per account: burst, and seconds to refill it";
    PASSWORD_LOGIN = "BANGUI_PASSWORD_LOGIN", "WHO", Some("on"), open, CHECKED,
        "Who may log in with a password: `on` for everybody who has one, or `only:NAME` for one account, which can then log in even if the provider of BANGUI_OIDC_ISSUER is down";
    OIDC_ISSUER = "BANGUI_OIDC_ISSUER", "URL", None, urls, CHECKED,
        "Single sign-on: the issuer of a provider (OpenID Connect), exactly as its tokens have it in `iss`; https://. Needs BANGUI_PUBLIC_URL, below which the provider sends browsers back to /login/callback";
    OIDC_CLIENT_ID = "BANGUI_OIDC_CLIENT_ID", "ID", None, open, CHECKED,
        "The id that the provider has for this installation";
    OIDC_CLIENT_SECRET = "BANGUI_OIDC_CLIENT_SECRET", "SECRET", None, secret, CHECKED,
        "The secret for that id; without it, this is a public client, which PKCE alone protects";
    OIDC_ROLES = "BANGUI_OIDC_ROLES", "LIST", None, open, CHECKED,
        "What the provider's groups may do, as GROUP=ROLE,GROUP=ROLE@SERVER+SERVER; in the name of a group, a comma is %2C and a percent sign %25. The highest role counts. Whoever is in none of these groups gets no account, or loses theirs at the next login";
    OIDC_GROUPS_CLAIM = "BANGUI_OIDC_GROUPS_CLAIM", "CLAIM", Some("groups"), open, CHECKED,
        "The claim that has somebody's groups, in the ID token or else in the answer of the provider's userinfo endpoint; dots lead into objects: realm_access.roles";
    OIDC_NAME = "BANGUI_OIDC_NAME", "NAME", Some("single sign-on"), open, CHECKED,
        "The provider's name on the button of the login page";
    SECOND_FACTOR_ROLES = "BANGUI_SECOND_FACTOR_ROLES", "LIST", None, open, WORKER,
        "Roles that need a second factor, separated by commas: viewer, operator, admin. Users without one must set one up at their next login; single sign-on is not affected";
    TRUSTED_PROXIES = "BANGUI_TRUSTED_PROXIES", "LIST", None, open, CHECKED,
        "Proxies whose X-Forwarded-For is trusted: networks or addresses, separated by commas; as narrow as possible, since each of them can claim any address";
    TRUSTED_PROXY_HOPS = "BANGUI_TRUSTED_PROXY_HOPS", "N", None, open, CHECKED,
        "Instead of BANGUI_TRUSTED_PROXIES, where nobody else can reach the workers: the number of proxies in front of them; the client is the Nth address of X-Forwarded-For from the right";
    AUDIT_DAYS = "BANGUI_AUDIT_DAYS", "DAYS", Some("90"), open, &[Serve, Up, ResetPassword, Audit],
        "How long audit entries are kept, up to 16 MiB per trail";
    DRAIN = "BANGUI_DRAIN_SECONDS", "SECONDS", Some("5"), open, WORKER,
        "How long a worker keeps serving after SIGTERM while it reports not ready (`up` does not wait unless this is set)";
    MAX_CONNECTIONS = "BANGUI_MAX_CONNECTIONS", "N", Some("1536"), open, WORKER,
        "Maximum number of connections of a worker, 64 or more; when they run short, the connections that are idle longest are closed first";
    MAX_CONNECTIONS_PER_ADDRESS = "BANGUI_MAX_CONNECTIONS_PER_ADDRESS", "N", None, open, WORKER,
        "Maximum number of connections per address (IPv6: per /64), except for BANGUI_TRUSTED_PROXIES; without it, a quarter of BANGUI_MAX_CONNECTIONS";
    URL = "BANGUI_URL", "URL", None, urls, PEOPLE,
        "URL of bangui, for the commands that ask its API: https://host:port of the load balancer or a worker; without it, that of the last `bangui login`";
    TOKEN = "BANGUI_TOKEN", "TOKEN", None, secret, PEOPLE,
        "Token for the bangui at BANGUI_URL, which must be set too: a session's token, or a token for programs. If BANGUI_TOKEN is not set, the token of the last `bangui login` is used";
    LOG_FORMAT = "BANGUI_LOG_FORMAT", "FORMAT", None, open, &[Serve, Agent, Up, Check, Healthcheck, ResetPassword, Audit],
        "text or json; without it, text on a terminal and json elsewhere. RUST_LOG sets the level";
}
