//! What the diagnosis finds on real hosts, and since when.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bangui::domain::ServerName;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::Value;

use crate::support::cluster::{SERVER, server_is};
use crate::support::fail2ban::Fail2ban;
use crate::support::process::{Child, bangui};
use crate::support::redis::Redis;
use crate::support::{Client, Cluster, SOON, eventually};

/// Longer than the ten seconds for which a worker keeps an agent's answer.
const LOOKED_AGAIN: Duration = SOON.saturating_mul(2);

async fn diagnosis(client: &Client) -> Value {
    let answer = client.get("/api/v1/diagnosis").await;
    answer.expect(200);
    answer.body
}

fn find(diagnosis: &Value, id: &str) -> Option<Value> {
    diagnosis["items"].as_array().unwrap().iter().find(|item| item["id"] == id).cloned()
}

/// Waits until this finding is there.
async fn found(client: &Client, id: &str) -> Value {
    eventually(&format!("the finding {id}"), LOOKED_AGAIN, || async { find(&diagnosis(client).await, id) })
        .await
}

/// Waits until the check was made and this finding is gone.
async fn gone(client: &Client, id: &str) {
    eventually(&format!("the end of the finding {id}"), LOOKED_AGAIN, || async {
        let diagnosis = diagnosis(client).await;
        (find(&diagnosis, id).is_none() && diagnosis["not_asked"] == serde_json::json!([])).then_some(())
    })
    .await;
}

/// How the check of this kind ended.
fn check<'a>(diagnosis: &'a Value, kind: &str) -> &'a str {
    let checks = diagnosis["checks"].as_array().unwrap();
    checks.iter().find(|check| check["kind"] == kind).unwrap()["state"].as_str().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the test and its Redis are on one machine")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

fn time(item: &Value) -> DateTime<Utc> {
    item["since"].as_str().unwrap().parse().unwrap()
}

/// A running cluster whose server was probed.
async fn up(workers: usize) -> (Cluster, Client) {
    let cluster = Cluster::with_fail2ban(workers).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    (cluster, client)
}

/// The log file of the jail `app`.
fn log(fail2ban: &Fail2ban) -> std::path::PathBuf {
    fail2ban.config().parent().unwrap().join("app-app.log")
}

/// Adds a jail by hand, as an administrator would.
async fn add_jail(fail2ban: &Fail2ban, name: &str, more: &str) {
    fail2ban.write(&format!("jail.d/{name}.conf"), &fail2ban.jail(name, true, more));
    fail2ban.command(&["reload"]).await;
}

#[tokio::test]
async fn where_all_is_well_nothing_is_found_and_every_check_of_the_host_was_made() {
    let (_cluster, client) = up(1).await;
    let well = eventually("a whole diagnosis", LOOKED_AGAIN, || async {
        let diagnosis = diagnosis(&client).await;
        (diagnosis["not_asked"] == serde_json::json!([])).then_some(diagnosis)
    })
    .await;
    assert_eq!(well["items"], serde_json::json!([]), "{well}");
    for kind in [
        "server-down",
        "jail-not-running",
        "ban-list-unread",
        "log-missing",
        "log-stale",
        "database-off",
        "agent-version",
        "agent-clock",
        "filter-silent",
        "ban-short",
        "recidive-on",
        "redis-persistence",
        "redis-memory",
        "worker-versions",
        "limits-met",
    ] {
        assert_eq!(check(&well, kind), "fine", "{kind}: {well}");
    }
    // Over a unix socket there is no certificate; a user on this machine needs neither https nor an entry on a never-banned list.
    for kind in ["agent-certificate", "no-https", "own-address", "proxy-unnamed"] {
        assert_eq!(check(&well, kind), "unknown", "{kind}: {well}");
    }
    client.anonymous().get("/api/v1/diagnosis").await.problem(401);
}

#[tokio::test]
async fn a_log_that_is_missing_or_stale_is_found_and_is_fine_once_it_is_written_again() {
    let (mut cluster, client) = up(1).await;
    add_jail(cluster.fail2ban(), "web", "").await;
    let log = log(cluster.fail2ban());
    std::fs::remove_file(&log).unwrap();
    let missing_id = format!("log-missing:{SERVER}/app#{}", log.display());
    let missing = found(&client, &missing_id).await;
    assert_eq!(missing["severity"], "error", "it has no other: {missing}");

    std::fs::write(&log, "").unwrap();
    let old = SystemTime::now() - Duration::from_secs(2 * 86_400);
    std::fs::File::options().write(true).open(&log).unwrap().set_modified(old).unwrap();
    let stale = found(&client, &format!("log-stale:{SERVER}/app#{}", log.display())).await;
    assert_eq!((&stale["severity"], &stale["jail"]), (&"warning".into(), &"app".into()));
    let age = now() - time(&stale);
    assert!(age > TimeDelta::hours(47) && age < TimeDelta::hours(49), "{stale}");
    assert!(find(&diagnosis(&client).await, &missing_id).is_none());

    std::fs::write(&log, "a line\n").unwrap();
    gone(&client, &format!("log-stale:{SERVER}/app#{}", log.display())).await;
}

#[tokio::test]
async fn a_short_ban_recidive_and_a_silent_filter_are_worth_knowing() {
    let (mut cluster, client) = up(1).await;
    add_jail(cluster.fail2ban(), "short", "bantime = 60").await;
    add_jail(cluster.fail2ban(), "recidive", "").await;
    for id in [format!("ban-short:{SERVER}/short"), format!("recidive-on:{SERVER}/recidive")] {
        assert_eq!(found(&client, &id).await["severity"], "info");
    }
    // fail2ban has been up for two hours, as far as bangui knows.
    let began = now() - TimeDelta::hours(2);
    let store = cluster.connected_store().await;
    let server = ServerName::parse(SERVER).unwrap();
    let shifted = store.change_server(&server, |mut state, _| {
        state.online_since = Some(began);
        Ok::<_, std::convert::Infallible>(Some((state, Vec::new())))
    });
    shifted.await.unwrap();
    let silent = found(&client, &format!("filter-silent:{SERVER}/app")).await;
    assert_eq!(time(&silent).timestamp(), began.timestamp());
    let all = diagnosis(&client).await;
    assert!(find(&all, &format!("filter-silent:{SERVER}/recidive")).is_none(), "{all}");
    cluster.fail2ban().log_failure("app", "203.0.113.7");
    gone(&client, &format!("filter-silent:{SERVER}/app")).await;
}

#[tokio::test]
async fn a_fail2ban_without_a_database_is_at_risk() {
    let (mut cluster, client) = up(1).await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write("fail2ban.local", "[DEFAULT]\ndbfile = None\n[Definition]\n");
    fail2ban.start_again().await;
    let off = found(&client, &format!("database-off:{SERVER}")).await;
    assert_eq!(off["severity"], "warning");
    let command = off["command"].as_str().unwrap();
    assert!(command.contains("restart fail2ban"), "{off}");
}

#[tokio::test]
async fn a_server_that_is_down_has_been_so_since_the_probe_that_saw_it_at_any_worker_and_even_if_one_died() {
    let (mut cluster, client) = up(2).await;
    cluster.fail2ban().kill();
    server_is(&client, "down").await;
    let id = format!("server-down:{SERVER}");
    // The leader has recorded it before anybody asked for a diagnosis.
    let store = cluster.connected_store().await;
    let noted = eventually("the note of the probe", SOON, || async {
        store.finding_notes().await.unwrap().get(&id).map(|seen| seen.first)
    })
    .await;
    let down = found(&client, &id).await;
    assert_eq!((&down["severity"], time(&down)), (&"error".into(), noted));
    for worker in &cluster.workers {
        worker.process.kill();
    }
    let new = cluster.add_worker().await;
    let client = cluster.client(new).logged_in().await;
    assert_eq!(time(&found(&client, &id).await), noted);

    cluster.fail2ban().start_again().await;
    server_is(&client, "up").await;
    gone(&client, &id).await;
    cluster.fail2ban().kill();
    assert!(time(&found(&client, &id).await) > noted, "it began again");
}

#[tokio::test]
async fn an_unreachable_agent_is_reported_as_such_and_nothing_else_about_its_server() {
    let (mut cluster, client) = up(1).await;
    cluster.agent().kill();
    let unreachable = found(&client, &format!("server-unreachable:{SERVER}")).await;
    assert_eq!(unreachable["action"]["path"], format!("/api/v1/servers/{SERVER}/probe"));
    let all = diagnosis(&client).await;
    for kind in ["server-down", "log-missing", "agent-clock", "database-off"] {
        assert_eq!(check(&all, kind), "unknown", "{kind}: {all}");
    }
}

/// A request as it arrives behind a proxy.
async fn forwarded(client: &Client, headers: &[(&str, &str)]) -> Value {
    let request = client.request(Method::GET, "/api/v1/diagnosis");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    client.send(request).await.expect(200).body.clone()
}

#[tokio::test]
async fn the_callers_own_address_and_missing_https_are_found_behind_a_named_proxy() {
    let cluster = Cluster::with_fail2ban(1).env("BANGUI_TRUSTED_PROXIES", "127.0.0.0/8").set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let from = [("x-forwarded-for", "198.51.100.23")];
    let id = format!("own-address:{SERVER}#198.51.100.23");
    eventually("the own address to be found", LOOKED_AGAIN, || async {
        find(&forwarded(&client, &from).await, &id)
    })
    .await;
    let plain = forwarded(&client, &from).await;
    assert!(find(&plain, "no-https").is_some() && find(&plain, "proxy-unnamed").is_none(), "{plain}");
    let tls = forwarded(&client, &[from[0], ("x-forwarded-proto", "https")]).await;
    // Over TLS the cookie has another name, a bearer token has none.
    assert_eq!(check(&tls, "no-https"), "fine", "{tls}");
    let path = format!("/api/v1/servers/{SERVER}/jails/app/ignore");
    client.post(&path, serde_json::json!({ "network": "198.51.100.0/24" })).await.expect(200);
    eventually("the own address to be on a list", LOOKED_AGAIN, || async {
        let all = forwarded(&client, &from).await;
        (check(&all, "own-address") == "fine").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_is_not_named_is_found_by_what_it_forwards() {
    let (_cluster, client) = up(1).await;
    let all = forwarded(&client, &[("x-forwarded-for", "198.51.100.23")]).await;
    assert!(find(&all, "proxy-unnamed#127.0.0.1").is_some(), "{all}");
    assert_eq!(check(&all, "no-https"), "unknown", "{all}");
}

#[tokio::test]
async fn a_redis_that_evicts_is_nearly_full_and_lacks_a_replica_is_found_and_so_are_limits_that_refuse_often()
{
    let redis = Redis::start().await;
    let mut cluster = Cluster::bare(1).redis(redis).env("BANGUI_LOGIN_LIMIT", "5/3600").set_up().await;
    let client = cluster.client(0).logged_in().await;
    // One worker wants a replica, which is not needed for what was done at the other.
    cluster.environment.insert("BANGUI_REDIS_MIN_REPLICAS".to_owned(), "1".to_owned());
    let wanting = cluster.add_worker().await;
    let client = client.at(cluster.workers[wanting].address);
    let all = diagnosis(&client).await;
    assert!(find(&all, "redis-replicas").is_some(), "{all}");
    assert!(find(&all, "redis-eviction").is_none() && find(&all, "redis-memory").is_none(), "{all}");
    assert_eq!(check(&all, "limits-met"), "fine", "{all}");

    let info: String = cluster.redis.command(&["INFO", "memory"]).await;
    let used: u64 =
        info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    let limit = (used + used / 50).to_string();
    for (name, value) in [("maxmemory-policy", "volatile-ttl"), ("maxmemory", limit.as_str())] {
        cluster.redis.command::<()>(&["CONFIG", "SET", name, value]).await;
    }
    let all = diagnosis(&client).await;
    assert!(find(&all, "redis-eviction").is_some() && find(&all, "redis-memory").is_some(), "{all}");
    for (name, value) in [("maxmemory", "0"), ("maxmemory-policy", "noeviction")] {
        cluster.redis.command::<()>(&["CONFIG", "SET", name, value]).await;
    }

    let wrong = serde_json::json!({ "password": "not the password of anybody" });
    for _ in 0..30 {
        let answer = client.anonymous().post("/api/v1/session", wrong.clone()).await;
        assert!([401, 429].contains(&answer.status.as_u16()), "{}", answer.text);
    }
    assert!(find(&diagnosis(&client).await, "limits-met").is_some());
}

/// A worker of another version, as its heartbeat shows it.
async fn neighbour(cluster: &Cluster, version: &str, started: DateTime<Utc>) {
    let id = serde_json::from_value("neighbour-1".into()).unwrap();
    let info = bangui::store::WorkerInfo {
        hostname: "elsewhere".into(),
        pid: 1,
        version: version.into(),
        unnamed_proxy: None,
    };
    cluster.connected_store().await.heartbeat(&id, &info, started).await.unwrap();
}

#[tokio::test]
async fn workers_of_two_versions_are_found_after_an_hour_and_a_restart_does_not_begin_it_again() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let version = env!("CARGO_PKG_VERSION");
    // The mix began when this worker came, a moment ago.
    neighbour(&cluster, "0.0.1", now() - TimeDelta::hours(9)).await;
    let all = diagnosis(&client).await;
    assert_eq!(check(&all, "worker-versions"), "fine", "{version} came a moment ago: {all}");
    // But it is recorded: pretend that was more than an hour ago.
    let began = now() - TimeDelta::minutes(61);
    let key = format!("{{{}}}:findings", crate::support::cluster::PREFIX);
    let note: Option<String> = cluster.redis.command(&["HGET", &key, "worker-versions"]).await;
    assert!(note.is_some());
    let note = format!("{}:{}", began.timestamp_micros(), now().timestamp_micros());
    cluster.redis.command::<()>(&["HSET", &key, "worker-versions", &note]).await;
    neighbour(&cluster, "0.0.1", now()).await;
    let mixed = find(&diagnosis(&client).await, "worker-versions").unwrap();
    assert_eq!(time(&mixed).timestamp_micros(), began.timestamp_micros());
}

async fn run_check(environment: &BTreeMap<String, String>) -> (Option<i32>, String) {
    let mut command = bangui("check");
    command.envs(environment);
    Child::run("bangui check", command, SOON * 2).await
}

#[tokio::test]
async fn check_prints_the_findings_and_what_is_only_worth_knowing_does_not_fail_it() {
    let (mut cluster, _) = Cluster::with_fail2ban(0).start_surroundings().await;
    add_jail(cluster.fail2ban(), "short", "bantime = 60").await;
    let (code, printed) = run_check(&cluster.environment).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("info  ban-short web-1/short"), "{printed}");
    std::fs::remove_file(log(cluster.fail2ban())).unwrap();
    let (code, printed) = run_check(&cluster.environment).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAIL  log-missing web-1/app"), "{printed}");
}
