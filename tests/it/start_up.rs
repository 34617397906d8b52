//! Start-up: a configuration that cannot work is refused with all errors at once; one that may lose data is a warning.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::cluster::{PREFIX, default_environment};
use crate::support::process::{Child, bangui};
use crate::support::proxy::{Mode, Proxy};
use crate::support::redis::Redis;
use crate::support::worker::Worker;
use crate::support::{Cluster, SOON, eventually, folder};

/// Runs a command that must refuse to start; returns what it printed.
async fn refused(role: &str, environment: &BTreeMap<String, String>) -> String {
    let mut command = bangui(role);
    command.envs(environment);
    let (code, printed) = Child::run(&format!("bangui {role}"), command, SOON).await;
    assert_eq!(code, Some(2), "{role} with {environment:?} printed: {printed}");
    assert!(!printed.contains("panicked"), "{printed}");
    printed
}

fn with<'a>(changes: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let mut environment = default_environment("redis://127.0.0.1:1".to_owned());
    environment.extend(changes.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    environment
}

const SERVERS: (&str, &str) = ("BANGUI_SERVERS", "web-1=http+unix:///nowhere/agent.sock");
const TOKEN: (&str, &str) = ("BANGUI_AGENT_TOKEN", crate::support::agent::AGENT_TOKEN);

#[tokio::test]
async fn a_redis_that_is_too_old_is_refused_with_the_reason() {
    let redis = Redis::start().await;
    let info: String = redis.command(&["INFO", "server"]).await;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap().to_owned();
    let old = format!("{:9<width$}", "6.0.", width = version.len());
    let proxy =
        Proxy::start(redis.socket(), Mode::Rewrite(version.into_bytes(), old.clone().into_bytes())).await;
    let printed = refused("serve", &default_environment(proxy.redis_url())).await;
    assert!(printed.contains(&old) && printed.contains("6.2"), "{printed}");
    assert_eq!(redis.keys().await, Vec::<Vec<u8>>::new(), "nothing was written");
}

#[tokio::test]
async fn data_of_a_newer_major_version_is_refused_with_the_reason() {
    let redis = Redis::start().await;
    let key = format!("{{{PREFIX}}}:layout");
    let _: () = redis.command(&["SET", &key, "99"]).await;
    let printed = refused("serve", &default_environment(redis.url())).await;
    assert!(printed.contains("99") && printed.contains("newer"), "{printed}");
    assert_eq!(redis.keys().await, [key.into_bytes()], "nothing was written");
}

#[tokio::test]
async fn a_missing_redis_url_is_refused() {
    let mut environment = with([]);
    environment.remove("BANGUI_REDIS_URL");
    let printed = refused("serve", &environment).await;
    assert!(printed.contains("BANGUI_REDIS_URL"), "{printed}");
}

#[tokio::test]
async fn a_missing_or_short_agent_token_is_refused_and_not_shown() {
    let printed = refused("serve", &with([SERVERS])).await;
    assert!(printed.contains("BANGUI_AGENT_TOKEN"), "{printed}");
    for token in [
        "",
        "short-and-secret",
        "31-characters-31-characters-31-",
        ",",
        &format!("{},short-and-secret", TOKEN.1),
    ] {
        let printed = refused("serve", &with([SERVERS, ("BANGUI_AGENT_TOKEN", token)])).await;
        assert!(printed.contains("BANGUI_AGENT_TOKEN"), "{printed}");
        assert!(token.is_empty() || printed.contains("32"), "{printed}");
        assert!(!printed.contains("short-and-secret") && !printed.contains(TOKEN.1), "{printed}");
        let printed = refused("agent", &with([("BANGUI_AGENT_TOKEN", token)])).await;
        assert!(printed.contains("BANGUI_AGENT_TOKEN"), "{printed}");
    }
    let printed = refused("agent", &with([])).await;
    assert!(printed.contains("BANGUI_AGENT_TOKEN"), "{printed}");
}

#[tokio::test]
async fn nothing_starts_with_the_examples_of_a_manifest_for_secrets() {
    for name in ["BANGUI_AGENT_TOKEN", "BANGUI_SETUP_TOKEN", "BANGUI_ADMIN_PASSWORD", "BANGUI_REDIS_PASSWORD"]
    {
        let printed =
            refused("serve", &with([(name, "replace-this-example-of-32-characters-or-more")])).await;
        assert!(printed.contains(name) && printed.contains("replace-this"), "{printed}");
    }
    for token in ["replace-this-example-of-32-characters-or-more", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
    {
        let printed = refused("agent", &with([("BANGUI_AGENT_TOKEN", token)])).await;
        assert!(printed.contains("BANGUI_AGENT_TOKEN") && !printed.contains(token), "{printed}");
    }
}

#[tokio::test]
async fn a_password_in_the_list_of_processes_is_refused() {
    for role in ["serve", "check", "reset-password"] {
        let mut command = bangui(role);
        command.envs(with([])).args(["--redis-url", "redis://:hunter2@127.0.0.1:1"]);
        let (code, printed) = Child::run(&format!("bangui {role}"), command, SOON).await;
        assert_eq!(code, Some(2), "{printed}");
        assert!(printed.contains("--redis-url") && !printed.contains("hunter2"), "{printed}");
    }
}

#[tokio::test]
async fn an_unreadable_secret_file_is_refused() {
    let folder = folder();
    let nowhere = folder.path().join("nowhere").display().to_string();
    let a_folder = folder.path().display().to_string();
    for path in [&nowhere, &a_folder] {
        for (name, role) in [
            ("BANGUI_AGENT_TOKEN_FILE", "serve"),
            ("BANGUI_AGENT_TOKEN_FILE", "agent"),
            ("BANGUI_SETUP_TOKEN_FILE", "serve"),
            ("BANGUI_ADMIN_PASSWORD_FILE", "serve"),
        ] {
            let mut environment = with([SERVERS, (name, path.as_str())]);
            environment.remove("BANGUI_SETUP_TOKEN");
            let printed = refused(role, &environment).await;
            assert!(printed.contains(name) && printed.contains(path.as_str()), "{printed}");
        }
    }
}

#[tokio::test]
async fn an_invalid_number_of_workers_is_refused() {
    let folder = folder();
    for workers in ["0", "-1", "x", "", "1.5", "99999999999"] {
        let mut environment = with([("BANGUI_WORKERS", workers)]);
        environment.insert("BANGUI_LISTEN".to_owned(), "127.0.0.1:1".to_owned());
        let mut command = bangui("up");
        command.envs(&environment).arg("--data-dir").arg(folder.path());
        let (code, printed) = Child::run("bangui up", command, SOON).await;
        assert_eq!(code, Some(2), "{workers:?}: {printed}");
        assert!(
            printed.contains("BANGUI_WORKERS") || printed.contains("--workers"),
            "{workers:?}: {printed}"
        );
    }
}

#[tokio::test]
async fn all_mistakes_are_reported_together_with_the_values_that_are_not_secret() {
    let printed = refused(
        "serve",
        &with([
            ("BANGUI_LISTEN", "no-address"),
            ("BANGUI_SERVERS", "bad name=ftp://x"),
            ("BANGUI_AGENT_TOKEN", "short-and-secret"),
            ("BANGUI_PROBE_INTERVAL_SECONDS", "never"),
            ("BANGUI_LEASE_TTL_MS", "1499"),
            ("BANGUI_SESSION_IDLE_SECONDS", "-5"),
            ("BANGUI_TRUSTED_PROXIES", "10.0.0.0/33"),
            ("BANGUI_REDIS_URL", "http://user:hidden-password@x"),
        ]),
    )
    .await;
    for expected in [
        "BANGUI_LISTEN",
        "no-address",
        "BANGUI_SERVERS",
        "BANGUI_AGENT_TOKEN",
        "BANGUI_PROBE_INTERVAL_SECONDS",
        "never",
        "BANGUI_LEASE_TTL_MS",
        "1499",
        "1500",
        "BANGUI_SESSION_IDLE_SECONDS",
        "-5",
        "BANGUI_TRUSTED_PROXIES",
        "10.0.0.0/33",
        "BANGUI_REDIS_URL",
    ] {
        assert!(printed.contains(expected), "{expected} is missing: {printed}");
    }
    for secret in ["short-and-secret", "hidden-password"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2() {
    for arguments in [&["no-such-role"][..], &["serve", "--no-such-flag"], &["serve", "--listen", "x"], &[]] {
        let mut command = crate::support::process::program(env!("CARGO_BIN_EXE_bangui"));
        command.envs(with([])).args(arguments);
        let (code, printed) = Child::run("bangui", command, SOON).await;
        assert_eq!(code, Some(2), "{arguments:?}: {printed}");
    }
}

#[tokio::test]
async fn a_redis_that_may_lose_data_causes_a_warning() {
    let arguments = ["--maxmemory-policy", "allkeys-lru", "--maxmemory", "64mb"];
    let cluster = Cluster::bare(1).redis(Redis::start_with(&arguments).await).start().await;
    for word in ["allkeys-lru", "persistence"] {
        cluster.workers[0]
            .process
            .line(&format!("a warning of {word}"), SOON, |line| {
                (line.contains("WARN") && line.contains(word)).then_some(())
            })
            .await;
    }
    // A valid one is not refused.
    let cluster = Cluster::bare(1).start().await;
    let log = cluster.workers[0].process.printed();
    assert!(!log.contains("WARN"), "{log}");
}

#[tokio::test]
async fn a_warning_says_that_the_clock_is_far_from_rediss() {
    let redis = Redis::start().await;
    let (seconds, _): (String, String) = redis.command(&["TIME"]).await;
    // `TIME` answers ten digits as a bulk string; another first digit is decades away.
    let (now, then) = (format!("$10\r\n{}", &seconds[..1]), "$10\r\n2".to_owned());
    let proxy = Proxy::start(redis.socket(), Mode::Rewrite(now.into_bytes(), then.into_bytes())).await;
    let worker = Worker::start("worker A", &default_environment(proxy.redis_url())).await;
    worker
        .process
        .line("a warning of the clock", SOON, |line| {
            (line.contains("WARN") && line.contains("clock")).then_some(())
        })
        .await;
}

#[tokio::test]
async fn without_redis_a_worker_keeps_trying_says_so_and_becomes_ready_when_it_appears() {
    let (mut cluster, _) =
        Cluster::bare(1).redis(Redis::prepare(&["--appendonly", "yes"])).start_surroundings().await;
    let worker = Worker::start("worker A", &cluster.environment).await;
    let client = worker.client();
    client.get("/healthz").await.expect(200);
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.text);
    assert_eq!(ready.body["reason"], "redis", "{}", ready.text);
    client.get("/api/v1/session").await.expect(401);
    client.with_cookie(&"A".repeat(43)).get("/api/v1/session").await.problem(503);
    // Once, and then every ten minutes, however often it tries.
    eventually("a complaint", SOON, || async {
        let lines = worker.process.lines();
        lines.iter().any(|line| line.contains("Redis") && line.contains("WARN")).then_some(())
    })
    .await;
    cluster.redis.restart().await;
    worker.ready(Duration::from_secs(2)).await;
    cluster.workers.push(worker);
    cluster.post_setup(0).await.expect(201);
}

#[tokio::test]
async fn secrets_come_from_files_too() {
    let folder = folder();
    let path = folder.path().join("setup-token");
    std::fs::write(&path, format!("{}\n", crate::support::SETUP_TOKEN)).unwrap();
    let builder = Cluster::bare(1).without("BANGUI_SETUP_TOKEN");
    builder.env("BANGUI_SETUP_TOKEN_FILE", path.display()).set_up().await;
}
