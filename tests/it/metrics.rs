//! `/metrics`: what an operator watches, under the documented names.

use std::net::{SocketAddr, TcpListener};

use serde_json::json;

use crate::scheduler::{leader, successor};
use crate::support::cluster::server_is;
use crate::support::{Client, Cluster, SOON, eventually};

/// The value of the first series that begins with `name`.
fn value(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find(|line| !line.starts_with('#') && line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn the_metrics_cover_requests_redis_the_schedule_and_fail2ban() {
    let mut cluster = Cluster::with_fail2ban(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    client.post("/api/v1/session", json!({ "password": "a wrong password" })).await.expect(401);
    server_is(&client, "up").await;
    cluster.fail2ban().log_failure("app", "203.0.113.7");
    let page = eventually("the ban in the metrics", SOON, || async {
        let page = client.get("/metrics").await;
        (value(&page.text, "bangui_jail_banned")? > 0.0).then_some(page)
    })
    .await;
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/plain"), "{:?}", page.headers);
    let page = page.text;
    for name in [
        "bangui_http_requests_total{",
        "bangui_http_request_duration_seconds_bucket{",
        "bangui_redis_up 1",
        "bangui_redis_command_duration_seconds_bucket{command=",
        "bangui_session_checks_total{",
        "bangui_scheduler_leader 1",
        "bangui_scheduler_epoch ",
        "bangui_scheduler_transitions_total{reason=",
        "bangui_probes_total{",
        "bangui_probe_duration_seconds",
        "bangui_server_online{server=\"web-1\"} 1",
        "bangui_jail_banned{server=\"web-1\",jail=\"app\"} 1",
        "bangui_logins_total{outcome=",
    ] {
        assert!(page.lines().any(|line| line.starts_with(name)), "{name} is not in\n{page}");
    }
    // A route is named by its pattern, so that nobody can make a million series.
    assert!(page.contains("route=\"/api/v1/servers/{server}\""), "{page}");
    assert!(!page.contains("route=\"/api/v1/servers/web-1\""), "{page}");
    client.get("/no/such/path/at/all").await.expect(404);
    assert!(!client.get("/metrics").await.text.contains("/no/such/path"));

    cluster.fail2ban().kill();
    server_is(&client, "down").await;
    eventually("the server to be offline in the metrics", SOON, || async {
        (value(&client.get("/metrics").await.text, "bangui_server_online")? == 0.0).then_some(())
    })
    .await;
    assert_eq!(value(&client.get("/metrics").await.text, "bangui_jail_banned"), Some(0.0), "no jail runs");
    cluster.redis.kill();
    eventually("Redis to be away in the metrics", SOON, || async {
        (value(&client.get("/metrics").await.text, "bangui_redis_up")? == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_metrics_can_have_an_address_of_their_own() {
    let free: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cluster = Cluster::bare(1).env("BANGUI_METRICS_LISTEN", free).start().await;
    let page = Client::new(free).get("/metrics").await;
    assert!(page.expect(200).text.contains("bangui_redis_up 1"), "{}", page.text);
    cluster.client(0).get("/metrics").await.problem(404);
    Client::new(free).get("/api/v1/setup").await.expect(404);
}

#[tokio::test]
async fn a_former_leader_exports_no_metrics_of_servers() {
    let cluster = Cluster::with_fail2ban(2).env("BANGUI_LEASE_TTL_MS", 1500).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let exports = async |n: usize| {
        let page = cluster.client(n).get("/metrics").await.text;
        ["bangui_server_online{", "bangui_jail_banned{"].map(|name| page.contains(name))
    };
    let (old, holder, _) = leader(&cluster, &client).await;
    eventually("the leader's gauges", SOON, || async { (exports(old).await == [true; 2]).then_some(()) })
        .await;
    assert_eq!(exports(1 - old).await, [false; 2]);
    cluster.workers[old].pause();
    successor(&client.at(cluster.workers[1 - old].address), &holder, SOON).await;
    cluster.workers[old].resume();
    eventually("the gauges where the leader is now", SOON, || async {
        (exports(old).await == [false; 2] && exports(1 - old).await == [true; 2]).then_some(())
    })
    .await;
}
