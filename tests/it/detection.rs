//! Whether fail2ban answers `get JAIL backend` is asked once for the whole cluster.

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::cluster::{SERVER, server, server_is};
use crate::support::{Client, Cluster};

/// Fifty requests over all workers at once; every one must be answered, and all with the same.
async fn ask_fifty_times(cluster: &Cluster, client: &Client) {
    let answers = join_all((0..50).map(|n| {
        let client = client.at(cluster.workers[n % cluster.workers.len()].address);
        async move { client.get(&format!("/api/v1/servers/{SERVER}/jails")).await }
    }))
    .await;
    for answer in answers {
        answer.expect(200);
        let jails = answer.body["items"].as_array().unwrap();
        assert_eq!(jails.len(), 1, "{}", answer.text);
        assert_eq!(jails[0]["name"], "app");
    }
}

#[tokio::test]
async fn fifty_requests_on_three_workers_at_once_make_one_detection_and_a_restart_forgets_it() {
    let mut cluster = Cluster::with_fail2ban(3).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let up = server_is(&client, "up").await;
    assert_eq!(up["jail_service"]["backend_cmd_supported"], Value::Null);
    ask_fifty_times(&cluster, &client).await;
    assert_eq!(cluster.agent().info().await.backend_detections, 1);
    assert!(server(&client).await["jail_service"]["backend_cmd_supported"].is_boolean());
    ask_fifty_times(&cluster, &client).await;
    assert_eq!(cluster.agent().info().await.backend_detections, 1, "it is remembered");

    cluster.fail2ban().kill();
    server_is(&client, "down").await;
    cluster.fail2ban().start_again().await;
    let up = server_is(&client, "up").await;
    assert_eq!(up["jail_service"]["backend_cmd_supported"], Value::Null, "another run of fail2ban");
    ask_fifty_times(&cluster, &client).await;
    assert_eq!(cluster.agent().info().await.backend_detections, 2);
}
