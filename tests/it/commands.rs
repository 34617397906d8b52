//! The small commands: `check` tests what the configuration names, `healthcheck` is for containers.

use std::collections::BTreeMap;

use crate::support::process::{Child, bangui};
use crate::support::redis::Redis;
use crate::support::{Cluster, SOON};

async fn run(
    role: &str,
    environment: &BTreeMap<String, String>,
    arguments: &[&str],
) -> (Option<i32>, String) {
    let mut command = bangui(role);
    command.envs(environment).args(arguments);
    Child::run(&format!("bangui {role}"), command, SOON).await
}

#[tokio::test]
async fn check_prints_a_line_for_each_check_and_succeeds_only_if_all_is_well() {
    let (mut cluster, _) = Cluster::with_fail2ban(0).start_surroundings().await;
    let (code, printed) = run("check", &cluster.environment, &[]).await;
    assert_eq!(code, Some(0), "{printed}");
    for word in ["Redis", "persistence", "eviction", "clock", "web-1"] {
        assert!(printed.to_lowercase().contains(&word.to_lowercase()), "{word} is missing: {printed}");
    }

    cluster.fail2ban().kill();
    let (code, printed) = run("check", &cluster.environment, &[]).await;
    assert_eq!(code, Some(1), "fail2ban is down: {printed}");
    cluster.agent().kill();
    let (code, printed) = run("check", &cluster.environment, &[]).await;
    assert_eq!(code, Some(1), "the agent is gone: {printed}");
    assert!(printed.contains("web-1"), "{printed}");
    cluster.redis.kill();
    let (code, printed) = run("check", &cluster.environment, &[]).await;
    assert_eq!(code, Some(1), "Redis is gone: {printed}");
    assert!(!printed.contains(crate::support::agent::AGENT_TOKEN), "{printed}");
}

#[tokio::test]
async fn check_names_the_server_and_its_version() {
    let (cluster, _) = Cluster::bare(0).start_surroundings().await;
    let info: String = cluster.redis.command(&["INFO", "server"]).await;
    let field = |name| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let name = match field("valkey_version:") {
        Some(version) => format!("Valkey {version}"),
        None => format!("Redis {}", field("redis_version:").unwrap()),
    };
    let (_, printed) = run("check", &cluster.environment, &[]).await;
    assert!(printed.contains(&name), "{printed}");
}

#[tokio::test]
async fn check_warns_of_a_redis_that_may_lose_data() {
    let redis = Redis::start_with(&["--maxmemory-policy", "volatile-ttl"]).await;
    let (cluster, _) = Cluster::bare(0).redis(redis).start_surroundings().await;
    let (code, printed) = run("check", &cluster.environment, &[]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("volatile-ttl") && printed.contains("noeviction"), "{printed}");
}

#[tokio::test]
async fn healthcheck_is_content_with_a_ready_worker_alone() {
    let mut cluster = Cluster::bare(1).env("BANGUI_DRAIN_SECONDS", 5).start().await;
    let url = format!("http://{}/readyz", cluster.workers[0].address);
    let nothing = BTreeMap::new();
    let (code, printed) = run("healthcheck", &nothing, &[&url]).await;
    assert_eq!(code, Some(0), "{printed}");
    // Without a URL it asks the worker that the environment configures, as in a container.
    let listen = BTreeMap::from([("BANGUI_LISTEN".to_owned(), cluster.workers[0].address.to_string())]);
    assert_eq!(run("healthcheck", &listen, &[]).await.0, Some(0));
    cluster.workers[0].terminate();
    crate::support::eventually("the worker not to be ready", SOON, || async {
        (cluster.client(0).get("/readyz").await.status == 503).then_some(())
    })
    .await;
    let (code, printed) = run("healthcheck", &nothing, &[&url]).await;
    assert_eq!(code, Some(1), "{printed}");
    cluster.workers[0].process.kill();
    cluster.workers.clear();
    assert_eq!(run("healthcheck", &nothing, &[&url]).await.0, Some(1));
    let (code, printed) = run("healthcheck", &nothing, &["no url"]).await;
    assert!(code.is_some_and(|code| code != 0), "{printed}");
}

#[tokio::test]
async fn what_needs_no_tls_works_on_a_machine_without_certificate_authorities() {
    let none = "/nonexistent";
    let builder = Cluster::with_fail2ban(1).env("SSL_CERT_FILE", none).env("SSL_CERT_DIR", none);
    let cluster = builder.set_up().await;
    let (code, printed) = run("check", &cluster.environment, &[]).await;
    assert_eq!(code, Some(0), "the agent on a socket: {printed}");
    let url = format!("http://{}/readyz", cluster.workers[0].address);
    let (code, printed) = run("healthcheck", &cluster.environment, &[&url]).await;
    assert_eq!(code, Some(0), "{printed}");
    let client = cluster.client(0).logged_in().await;
    crate::support::eventually("a probe of the agent on a socket", SOON, || async {
        let server = client.get("/api/v1/servers/web-1").await;
        (server.body["status"]["online"] == true).then_some(())
    })
    .await;
}
