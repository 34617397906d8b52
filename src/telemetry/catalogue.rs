//! The list of metrics: what each is called, is and means. A new one goes in here.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Counts up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Seconds, in buckets.
    Seconds,
}

/// Every metric: its name, what it is, what it means.
pub const METRICS: [(&str, Kind, &str); 21] = [
    ("bangui_http_requests_total", Kind::Counter, "Answered HTTP requests, by route, method and status."),
    ("bangui_http_request_duration_seconds", Kind::Seconds, "Time to answer a request, by route."),
    ("bangui_redis_up", Kind::Gauge, "Whether Redis answered when it was last asked."),
    ("bangui_redis_writable", Kind::Gauge, "Whether Redis took writes when it was last asked."),
    ("bangui_redis_command_duration_seconds", Kind::Seconds, "Time until Redis answered, by what was asked."),
    (
        "bangui_session_checks_total",
        Kind::Counter,
        "Session checks, by where the answer came from and what it was.",
    ),
    (
        "bangui_session_cache_holder",
        Kind::Gauge,
        "Whether this worker may answer session checks from its near cache.",
    ),
    ("bangui_session_revocations_total", Kind::Counter, "Revocations, by what their answer waited for."),
    ("bangui_scheduler_leader", Kind::Gauge, "Whether this worker runs the schedule."),
    ("bangui_scheduler_epoch", Kind::Gauge, "The latest term in which this worker led."),
    ("bangui_scheduler_transitions_total", Kind::Counter, "Terms begun and ended by this worker, by reason."),
    (
        "bangui_scheduler_fenced_writes_total",
        Kind::Counter,
        "Scheduled writes refused because another leads.",
    ),
    ("bangui_probes_total", Kind::Counter, "Probes made by this worker, by server and outcome."),
    ("bangui_probe_duration_seconds", Kind::Seconds, "Time until a server's agent answered, by server."),
    ("bangui_server_online", Kind::Gauge, "Whether a server is online; told by the leader alone."),
    ("bangui_jail_banned", Kind::Gauge, "Banned addresses of a jail; told by the leader alone."),
    ("bangui_discovery_conflicts", Kind::Gauge, "Agents with a name that another has; told by the leader."),
    ("bangui_event_clients", Kind::Gauge, "Clients that follow the events at this worker."),
    ("bangui_ban_jobs_total", Kind::Counter, "Ban jobs that this worker ended, by outcome."),
    ("bangui_logins_total", Kind::Counter, "Logins, by outcome."),
    ("bangui_rate_limited_total", Kind::Counter, "Attempts at a password that a limit refused, by limit."),
];
