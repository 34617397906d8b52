//! The list of metrics, which `/metrics` describes and `docs/operations.md` shows (`make docs`).

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A histogram of seconds.
    Seconds,
}

/// Every metric: its name, its kind, its meaning.
pub const METRICS: [(&str, Kind, &str); 22] = [
    ("bangui_http_requests_total", Kind::Counter, "HTTP requests answered, by route, method and status."),
    ("bangui_http_request_duration_seconds", Kind::Seconds, "Time to answer a request, by route."),
    ("bangui_redis_up", Kind::Gauge, "1 if Redis answered the last request, else 0."),
    ("bangui_redis_writable", Kind::Gauge, "1 if Redis accepted writes when last tried, else 0."),
    ("bangui_redis_command_duration_seconds", Kind::Seconds, "Time until Redis answered, by command."),
    ("bangui_session_checks_total", Kind::Counter, "Session checks, by source of the answer and result."),
    (
        "bangui_session_cache_holder",
        Kind::Gauge,
        "1 if this worker may answer session checks from its near cache, else 0.",
    ),
    ("bangui_session_revocations_total", Kind::Counter, "Revocations, by what the answer waited for."),
    ("bangui_scheduler_leader", Kind::Gauge, "1 if this worker is the leader, else 0."),
    (
        "bangui_scheduler_epoch",
        Kind::Gauge,
        "Fencing token (epoch) of the last term in which this worker was the leader.",
    ),
    (
        "bangui_scheduler_transitions_total",
        Kind::Counter,
        "Times this worker became or stopped being the leader, by reason.",
    ),
    (
        "bangui_scheduler_fenced_writes_total",
        Kind::Counter,
        "Scheduled writes that Redis refused because another worker is the leader.",
    ),
    (
        "bangui_probes_due_timestamp_seconds",
        Kind::Gauge,
        "Unix time at which the leader is to probe all servers next; 0 on other workers. If it has passed, nobody probes.",
    ),
    ("bangui_probes_total", Kind::Counter, "Probes made by this worker, by server and outcome."),
    ("bangui_probe_duration_seconds", Kind::Seconds, "Time until a server's agent answered, by server."),
    (
        "bangui_server_online",
        Kind::Gauge,
        "1 if the server is online (up, degraded or busy), else 0. Only the leader exports it.",
    ),
    ("bangui_jail_banned", Kind::Gauge, "Banned addresses of a jail. Only the leader exports it."),
    (
        "bangui_discovery_conflicts",
        Kind::Gauge,
        "Discovered agents whose name another agent has. Only the leader counts them.",
    ),
    ("bangui_event_clients", Kind::Gauge, "Clients connected to this worker's event stream."),
    ("bangui_ban_jobs_total", Kind::Counter, "Ban jobs finished by this worker, by outcome."),
    ("bangui_logins_total", Kind::Counter, "Logins, by outcome."),
    (
        "bangui_rate_limited_total",
        Kind::Counter,
        "Logins, confirmations and other attempts refused by a rate limit, by limit.",
    ),
];
