//! Many servers: one that hangs does not delay the others, and there are enough open files for all.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::support::cluster::{SERVER, server_is};
use crate::support::process::{Child, program};
use crate::support::worker::Worker;
use crate::support::{Cluster, SOON, eventually};

/// Something that accepts connections and answers nothing.
async fn hanging() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    address
}

#[tokio::test]
async fn an_agent_that_hangs_delays_no_other() {
    let (mut cluster, _) = Cluster::with_fail2ban(0).start_surroundings().await;
    let (agent, slow) = (cluster.agent().url(), hanging().await);
    let servers = format!("{SERVER}={agent},slow=http://{slow}");
    cluster.environment.insert("BANGUI_SERVERS".to_owned(), servers);
    // The timeout of a probe is shorter than the lease.
    cluster.environment.insert("BANGUI_LEASE_TTL_MS".to_owned(), "10000".to_owned());
    cluster.add_worker().await;
    cluster.post_setup(0).await.expect(201);
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let before = cluster.agent().info().await.probes;
    // It takes its five seconds, while there is a sweep every second.
    eventually("the one that hangs to be reported", SOON, || async {
        let slow = client.get("/api/v1/servers/slow").await.body;
        (slow["status"]["condition"] == "unreachable").then_some(())
    })
    .await;
    let probes = cluster.agent().info().await.probes - before;
    assert!(probes >= 3, "{probes} probes of the other in that time");
}

#[tokio::test]
async fn a_worker_may_have_as_many_files_open_as_the_system_lets_it() {
    let (cluster, _) = Cluster::bare(0).start_surroundings().await;
    let mut command = program("sh");
    command.args(["-c", r#"ulimit -Sn 200 && exec "$0" serve"#, env!("CARGO_BIN_EXE_bangui")]);
    command.envs(&cluster.environment);
    let worker = Worker::listening(Child::start("worker", command)).await;
    let limits = format!("/proc/{}/limits", worker.process.pid().as_raw_nonzero());
    let limits = std::fs::read_to_string(limits).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
}
