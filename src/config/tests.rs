//! The configuration as a user meets it: environment and flags in, a config or every error out.

use std::ffi::OsString;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::variables::{self, Role};
use super::*;
use crate::domain::access;

pub(super) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub(super) fn environment(set: &[(&str, &str)]) -> Environment {
    let variables = set.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
    Environment { variables: variables.collect(), ..Environment::default() }
}

/// The minimum that a worker needs, and `set`.
pub(super) fn worker(set: &[(&str, &str)]) -> Environment {
    let mut all = vec![("BANGUI_REDIS_URL", "redis://localhost")];
    all.extend(set);
    environment(&all)
}

pub(super) fn flags(set: &[(&str, &str)]) -> Flags {
    set.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect()
}

pub(super) fn serve(set: &[(&str, &str)]) -> Result<ServeConfig, ConfigErrors> {
    roles::serve(&worker(set), &Flags::new()).map(|loaded| loaded.config)
}

pub(super) fn errors<T>(result: Result<T, ConfigErrors>) -> String {
    result.err().expect("it was taken").to_string()
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = serve(&[]).unwrap();
    assert_eq!(config.listen, Listen::Address("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(config.redis.url.expose_secret(), "redis://localhost");
    assert_eq!(config.redis.prefix, "bangui");
    assert_eq!(config.metrics_listen, None);
    assert!(config.servers.is_empty() && config.agents.token.is_none() && config.public_url.is_none());
    assert!(config.setup_token.is_none() && config.admin_password.is_none());
    assert!(config.trusted_proxies.is_empty());
    assert_eq!(config.session_idle, Duration::from_secs(1800));
    assert_eq!(config.session_absolute, Duration::from_secs(43_200));
    assert_eq!(config.probe_interval, Duration::from_secs(10));
    assert_eq!(config.crash_window, TimeDelta::seconds(60));
    assert_eq!(config.lease_ttl, Duration::from_secs(5));
    assert_eq!(config.drain, Duration::from_secs(5));
    assert_eq!((config.login_limit.burst.get(), config.login_limit.period.as_secs()), (10, 60));
    assert_eq!(
        (config.login_failure_limit.burst.get(), config.login_failure_limit.period.as_secs()),
        (100, 3600)
    );
    assert_eq!(config.session_cache, SessionCacheConfig { enabled: false, ttl: Duration::from_secs(5) });
}

#[test]
fn every_value_is_taken() {
    let config = serve(&[
        ("BANGUI_LISTEN", "[::]:80"),
        ("BANGUI_WORKERS", "4"),
        ("BANGUI_REDIS_PREFIX", "team-1:bangui"),
        ("BANGUI_REDIS_POOL_SIZE", "2"),
        ("BANGUI_SERVERS", "web-1=https://10.0.0.1:8799, local=http+unix:///run/a.sock,l=http://localhost:1, n=https://a.example?discover=dns"),
        ("BANGUI_AGENT_CA", "/ca.pem"),
        ("BANGUI_AGENT_TOKEN", &format!("{TOKEN},{TOKEN}x")),
        ("BANGUI_SETUP_TOKEN", "a-setup-token-long-enough"),
        ("BANGUI_ADMIN_PASSWORD", "correct horse"),
        ("BANGUI_PUBLIC_URL", "https://bans.example.org"),
        ("BANGUI_METRICS_LISTEN", "0.0.0.0:9100"),
        ("BANGUI_SESSION_IDLE_SECONDS", "60"),
        ("BANGUI_SESSION_ABSOLUTE_SECONDS", "60"),
        ("BANGUI_SESSION_CACHE_ENABLED", "true"),
        ("BANGUI_SESSION_CACHE_TTL_SECONDS", "0"),
        ("BANGUI_PROBE_INTERVAL_SECONDS", "1"),
        ("BANGUI_ACTIVATION_CRASH_WINDOW_SECONDS", "0"),
        ("BANGUI_LEASE_TTL_MS", "1500"),
        ("BANGUI_LOGIN_LIMIT", "1/2"),
        ("BANGUI_LOGIN_FAILURE_LIMIT", "3/4"),
        ("BANGUI_SECOND_FACTOR_ROLES", "admin, operator"),
        ("BANGUI_TRUSTED_PROXIES", "10.0.0.0/8, 2001:db8::1"),
        ("BANGUI_DRAIN_SECONDS", "0"),
        ("BANGUI_LOG_FORMAT", "text"),
    ])
    .unwrap();
    let names: Vec<_> = config.servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["web-1", "local", "l"]);
    let group = &config.groups[0];
    let expected = ("n", "a.example", 443, true);
    assert_eq!((group.name.as_str(), group.host.as_str(), group.port, group.tls), expected);
    assert_eq!(config.servers[1].url, AgentUrl::Unix("/run/a.sock".into()));
    assert!(matches!(config.servers[2].url, AgentUrl::LoopbackHttp(_)));
    assert_eq!(config.agents.token.unwrap().tokens.len(), 2);
    assert_eq!(config.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "2001:db8::1/128".parse().unwrap()]);
    assert_eq!(config.drain, Duration::ZERO);
    assert_eq!(config.second_factor_roles, [access::Role::Operator, access::Role::Admin]);
    assert!(config.session_cache.enabled);
}

#[test]
fn every_bad_value_is_refused_by_name_and_value() {
    let cases: &[(&str, &[&str])] = &[
        ("BANGUI_LISTEN", &["", "8080", "localhost:8080", ":80", "127.0.0.1", "127.0.0.1:99999"]),
        ("BANGUI_WORKERS", &["", "0", "-1", "2.5", "two", " 2", "99999999999"]),
        ("BANGUI_REDIS_URL", &["localhost", "http://x", "redis://x/y"]),
        ("BANGUI_REDIS_PREFIX", &["", "a{b}", "a b", "ä"]),
        ("BANGUI_REDIS_POOL_SIZE", &["", "-1", "1", "101", "x"]),
        ("BANGUI_SERVERS", &["web", "web=ftp://x", "=https://x", "a b=https://x", "web=http://10.0.0.1:1"]),
        ("BANGUI_SERVERS", &["w=https://x:1,w=https://y:1", "a=https://x:1,b=https://x:1", "w=https://x/p"]),
        ("BANGUI_SERVERS", &["w=http+unix://a/b", "w=http+unix://", "w=https://u@x:1", "w=https://x?q=1"]),
        (
            "BANGUI_SERVERS",
            &[
                "w=http://x?discover=dns",
                "w=http+unix:///a?discover=dns",
                "w=https://y:1?trust=first-use",
                "w=http://localhost:1?discover=dns&trust=first-use",
                "w=http+unix:///a?token=shared",
                "w=https://y:1?token=none",
                "w=http://127.0.0.1:1?discover=dns",
            ],
        ),
        ("BANGUI_SERVERS", &["w=https://y,w=http://localhost:1?discover=dns", "w=https://x/?discover=srv"]),
        (
            "BANGUI_PUBLIC_URL",
            &["bans.example.org", "ftp://x", "https://x/path", "https://x?q=1", "https://"],
        ),
        ("BANGUI_METRICS_LISTEN", &["9100", "x:1"]),
        ("BANGUI_SESSION_IDLE_SECONDS", &["", "0", "-5", "1.5", "99999999999999999999", "50000"]),
        ("BANGUI_SESSION_ABSOLUTE_SECONDS", &["0", "x"]),
        ("BANGUI_SESSION_CACHE_ENABLED", &["", "maybe"]),
        ("BANGUI_SESSION_CACHE_TTL_SECONDS", &["-1", "x"]),
        ("BANGUI_PROBE_INTERVAL_SECONDS", &["0", "x"]),
        ("BANGUI_ACTIVATION_CRASH_WINDOW_SECONDS", &["-1", "x"]),
        ("BANGUI_LEASE_TTL_MS", &["1499", "0", "5s"]),
        ("BANGUI_LOGIN_LIMIT", &["", "10", "0/60", "10/0", "10/60/1", "-1/60", "a/b"]),
        ("BANGUI_LOGIN_FAILURE_LIMIT", &["1/", "/1"]),
        ("BANGUI_SECOND_FACTOR_ROLES", &["owner", "admin;operator", "Admin"]),
        (
            "BANGUI_TRUSTED_PROXIES",
            &[
                "10.0.0.0/33",
                "proxy.example.org",
                "10.0.0.1,x",
                "0.0.0.0/0",
                "10.0.0.1,::/0",
                "0.0.0.0/1,128.0.0.0/1",
            ],
        ),
        ("BANGUI_TRUSTED_PROXY_HOPS", &["0", "-1", "11", "x"]),
        ("BANGUI_ALLOWED_HOSTS", &["bangui.example:80", "*.example", "a/b"]),
        ("BANGUI_AUDIT_DAYS", &["", "0", "-1", "3651", "x"]),
        ("BANGUI_DRAIN_SECONDS", &["", "-1", "x"]),
        ("BANGUI_LOG_FORMAT", &["TEXT", "xml"]),
    ];
    for (name, values) in cases {
        for value in *values {
            let said = errors(serve(&[(name, value), ("BANGUI_AGENT_TOKEN", TOKEN)]));
            let shown = value.replace("u@", "***@").replace("q=1", "q=***");
            let shown = shown.replace("=dns", "=***").replace("=srv", "=***");
            let shown =
                shown.replace("=first-use", "=***").replace("=shared", "=***").replace("=none", "=***");
            assert!(said.contains(&format!("\n  {name} = {shown:?}: ")), "{name}={value}: {said}");
            assert!(said.contains("1 configuration error;"), "{name}={value}: {said}");
        }
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let set = environment(&[
        ("BANGUI_WORKERS", "none"),
        ("BANGUI_LISTEN", "x"),
        ("BANGUI_LEASE_TTL_MS", "1"),
        ("BANGUI_SERVERS", "web=https://x:1"),
        ("BANGUI_LOG_FORMAT", "loud"),
        ("BANGUI_ADMIN_PASSWORD", &"long".repeat(300)),
        ("BANGUI_AUDIT_DAYS", "0"),
    ]);
    let said = errors(roles::serve(&set, &flags(&[("drain-seconds", "soon")])));
    assert!(said.contains("9 configuration errors;"), "{said}");
    for name in
        ["WORKERS = ", "LISTEN = ", "LEASE_TTL_MS = ", "LOG_FORMAT = ", "ADMIN_PASSWORD: ", "REDIS_URL: "]
    {
        assert!(said.contains(&format!("\n  BANGUI_{name}")), "{name}: {said}");
    }
    assert!(said.contains("\n  BANGUI_AGENT_TOKEN: is not set"), "{said}");
    assert!(said.contains("\n  --drain-seconds = \"soon\": "), "{said}");
}

#[test]
fn a_misspelt_name_is_reported_beside_the_variable_that_is_missing_because_of_it() {
    let said = errors(roles::serve(&environment(&[("BANGUI_REDIS_ULR", "redis://h")]), &Flags::new()));
    assert!(
        said.contains("BANGUI_REDIS_URL: is not set") && said.contains("did you mean BANGUI_REDIS_URL?"),
        "{said}"
    );
}

#[test]
fn the_agent_needs_a_token_and_stays_on_its_machine() {
    let agent =
        |set: &[(&str, &str)]| roles::agent(&environment(set), &Flags::new()).map(|loaded| loaded.config);
    assert!(errors(agent(&[])).contains("BANGUI_AGENT_TOKEN: is not set"));
    let config = agent(&[("BANGUI_AGENT_TOKEN", TOKEN)]).unwrap();
    assert_eq!(config.listen, AgentListen::Unix("/run/bangui/agent.sock".into()));
    assert_eq!(config.fail2ban_socket.to_str(), Some("/var/run/fail2ban/fail2ban.sock"));
    assert_eq!(config.fail2ban_config.to_str(), Some("/etc/fail2ban"));
    let long = format!("unix:/{}", "x".repeat(107));
    for bad in ["0.0.0.0:8799", "[2001:db8::1]:1", "unix:", "unix:relative", "127.0.0.1", &long, ""] {
        let said = errors(agent(&[("BANGUI_AGENT_TOKEN", TOKEN), ("BANGUI_AGENT_LISTEN", bad)]));
        assert!(said.contains(&format!("BANGUI_AGENT_LISTEN = {bad:?}")), "{said}");
    }
    for bad in [
        &format!("{TOKEN},short"),
        &format!("{TOKEN},"),
        &format!("{TOKEN},{TOKEN},{TOKEN}"),
        &"ä".repeat(40),
    ] {
        assert!(agent(&[("BANGUI_AGENT_TOKEN", bad)]).is_err(), "{bad}");
    }
    let tcp = agent(&[("BANGUI_AGENT_TOKEN", TOKEN), ("BANGUI_AGENT_LISTEN", "[::1]:8799")]).unwrap();
    assert_eq!(tcp.listen, AgentListen::Tcp("[::1]:8799".parse().unwrap()));
    assert!(agent(&[("BANGUI_AGENT_TOKEN", TOKEN), ("BANGUI_FAIL2BAN_SOCKET", "x")]).is_err());
}

#[test]
fn a_flag_wins_over_its_variable() {
    let set = worker(&[("BANGUI_LISTEN", "nonsense"), ("BANGUI_DRAIN_SECONDS", "9")]);
    let loaded = roles::serve(&set, &flags(&[("listen", "127.0.0.1:1")])).ok().unwrap();
    assert_eq!(loaded.config.listen, Listen::Address("127.0.0.1:1".parse().unwrap()));
    assert_eq!(loaded.config.drain, Duration::from_secs(9));
}

#[test]
fn an_address_has_a_quarter_of_the_connections_unless_it_is_given_more() {
    let of = |set: &[_]| {
        let config = serve(set).unwrap();
        (config.max_connections, config.max_connections_per_address)
    };
    assert_eq!(of(&[]), (1536, 384));
    assert_eq!(of(&[("BANGUI_MAX_CONNECTIONS", "100")]), (100, 25));
    assert_eq!(of(&[("BANGUI_MAX_CONNECTIONS_PER_ADDRESS", "1000")]), (1536, 1000));
    for (name, value) in [("BANGUI_MAX_CONNECTIONS", "63"), ("BANGUI_MAX_CONNECTIONS_PER_ADDRESS", "0")] {
        assert!(errors(serve(&[(name, value)])).contains(name));
    }
}

#[test]
fn up_checks_what_its_workers_will_read_and_passes_it_on() {
    let bad = environment(&[("BANGUI_WORKERS", "0"), ("BANGUI_LEASE_TTL_MS", "1"), ("HOME", "/home/x")]);
    assert!(errors(roles::up(&bad, &Flags::new())).contains("2 configuration errors;"));
    let set = environment(&[
        ("HOME", "/home/x"),
        ("BANGUI_SESSION_IDLE_SECONDS", "60"),
        ("BANGUI_REDIS_URL", "ignored, even if it is wrong"),
        ("BANGUI_AGENT_TOKEN", "short"),
        ("BANGUI_ADMIN_PASSWORD", "correct horse"),
        ("BANGUI_LISTEN", "127.0.0.1:1"),
    ]);
    let loaded = roles::up(&set, &flags(&[("probe-interval-seconds", "3"), ("sandbox", "")])).ok().unwrap();
    let config = loaded.config;
    let passed: Vec<_> = config.worker_env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        passed,
        ["BANGUI_ADMIN_PASSWORD", "BANGUI_SESSION_IDLE_SECONDS", "BANGUI_PROBE_INTERVAL_SECONDS"]
    );
    assert_eq!(config.data_dir.to_str(), Some("/home/x/.local/share/bangui"));
    assert_eq!((config.workers.get(), config.drain), (2, Duration::ZERO));
    assert!(config.sandbox && config.admin_password_given);
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
}

#[test]
fn the_data_of_up_lies_where_the_user_keeps_data() {
    let dir = |environment: &Environment, given: &[(&str, &str)]| {
        roles::up(environment, &flags(given))
            .map(|loaded| loaded.config.data_dir.to_str().unwrap().to_owned())
    };
    let root = Environment { is_root: true, ..Environment::default() };
    assert_eq!(dir(&root, &[]).unwrap(), "/var/lib/bangui");
    assert_eq!(dir(&root, &[("data-dir", "/tmp/x")]).unwrap(), "/tmp/x");
    let xdg = environment(&[("HOME", "/home/x"), ("XDG_DATA_HOME", "/data")]);
    assert_eq!(dir(&xdg, &[]).unwrap(), "/data/bangui");
    assert!(errors(dir(&environment(&[]), &[])).contains("--data-dir: "));
}

#[test]
fn check_needs_only_what_it_can_try() {
    assert!(roles::check(&environment(&[]), &Flags::new()).is_err());
    let agents = environment(&[("BANGUI_SERVERS", "a=https://x:1"), ("BANGUI_AGENT_TOKEN", TOKEN)]);
    assert!(roles::check(&agents, &Flags::new()).ok().unwrap().config.redis.is_none());
    assert!(roles::reset_password(&environment(&[]), &Flags::new()).is_err());
    assert!(roles::healthcheck(&environment(&[]), &Flags::new()).is_ok());
}

#[test]
fn logs_are_text_on_a_terminal_and_json_elsewhere_unless_configured() {
    let mut set = worker(&[]);
    let format = |set: &Environment| roles::serve(set, &Flags::new()).ok().unwrap().log_format;
    assert_eq!(format(&set), LogFormat::Json);
    set.log_is_terminal = true;
    assert_eq!(format(&set), LogFormat::Text);
    set.variables.insert("BANGUI_LOG_FORMAT".to_owned(), "json".into());
    assert_eq!(format(&set), LogFormat::Json);
}

#[test]
fn the_command_line_is_sound_and_every_help_lists_flags_and_variables() {
    command::command().debug_assert();
    for (name, role, _) in command::COMMANDS {
        let mut root = command::command();
        let help = root.find_subcommand_mut(name).unwrap().render_long_help().to_string();
        for variable in variables::ALL {
            let flag = format!("--{} ", variable.flag());
            assert_eq!(help.contains(&flag), variable.is_for(role), "{name} {flag}: {help}");
            assert_eq!(help.contains(variable.name), variable.is_for(role), "{name} {}", variable.name);
        }
    }
    let matches = command::command().get_matches_from(["bangui", "up", "--workers", "-3", "--sandbox"]);
    let flags = command::flags(Role::Up, matches.subcommand().unwrap().1);
    assert_eq!(flags.len(), 2);
    assert_eq!(flags.get("workers").unwrap(), "-3");
}
