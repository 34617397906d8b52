//! Whether fail2ban answers `get JAIL backend` is asked once for the whole cluster.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;

use crate::support::cluster::{SERVER, server, server_is};
use crate::support::{Client, Cluster, SOON, eventually};

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

#[tokio::test]
async fn a_detection_whose_client_hung_up_is_finished_and_leaves_its_lock_to_nobody() {
    let mut cluster = Cluster::with_fail2ban(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    cluster.fail2ban().pause();
    let lock = format!("{{it}}:detecting:{SERVER}");
    let (asking, path) = (client.clone(), format!("/api/v1/servers/{SERVER}/jails"));
    let asked = tokio::spawn(async move { asking.try_send(asking.request(Method::GET, &path)).await });
    eventually("the detection to begin", SOON, || async {
        // From here on it does not run out by itself.
        cluster.redis.command::<bool>(&["PERSIST", &lock]).await.then_some(())
    })
    .await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    cluster.fail2ban().resume();
    eventually("the lock to be given back", SOON, || async {
        (!cluster.redis.command::<bool>(&["EXISTS", &lock]).await).then_some(())
    })
    .await;
    client.get(&format!("/api/v1/servers/{SERVER}/jails")).await.expect(200);
}
