//! A primary and its replica, each with its own port, that change roles without losing anything.

use super::redis::Redis;
use super::sentinel::{free_port, role};
use super::{SOON, eventually};

/// The two.
pub struct Pair {
    pub primary: Redis,
    pub primary_port: u16,
    pub replica: Redis,
    pub replica_port: u16,
}

impl Pair {
    /// Starts both; returns when the replica follows.
    pub async fn start() -> Self {
        let (primary_port, replica_port) = (free_port(), free_port());
        let (port, other) = (primary_port.to_string(), replica_port.to_string());
        let primary = Redis::start_with(&["--port", &port, "--repl-diskless-sync-delay", "0"]).await;
        let arguments =
            ["--port", &other, "--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", &port];
        let replica = Redis::start_with(&arguments).await;
        follows(&replica).await;
        Self { primary, primary_port, replica, replica_port }
    }
}

/// Waits until this replica follows its primary.
pub async fn follows(replica: &Redis) {
    eventually("the replica to follow", SOON, || async {
        let info: String = replica.command(&["INFO", "replication"]).await;
        info.contains("master_link_status:up").then_some(())
    })
    .await;
}

/// Waits until the replica has all that the primary has.
pub async fn replicated(primary: &Redis, replica: &Redis) {
    eventually("the replica to have everything", SOON, || async {
        let offset = async |redis: &Redis| {
            let info: String = redis.command(&["INFO", "replication"]).await;
            info.lines().find_map(|line| line.strip_prefix("master_repl_offset:")).unwrap().to_owned()
        };
        (offset(primary).await == offset(replica).await).then_some(())
    })
    .await;
}

/// A coordinated failover, which loses nothing; then the link between the two is held, so that the old primary receives nothing
/// of what is written to the new one.
pub async fn fail_over(old: &Redis, (new, new_port): (&Redis, u16)) {
    old.command::<()>(&["FAILOVER", "TO", "127.0.0.1", &new_port.to_string()]).await;
    eventually("the two to change places", SOON, || async {
        let roles = (role(old).await?, role(new).await?);
        (roles == ("slave".to_owned(), "master".to_owned())).then_some(())
    })
    .await;
    hold_link(old).await;
}

/// Holds the replication link: the replica keeps what it has, and receives nothing more.
pub async fn hold_link(replica: &Redis) {
    replica.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
}

/// Lets the replica follow the primary on this port.
pub async fn follow(replica: &Redis, port: u16) {
    replica.command::<()>(&["REPLICAOF", "127.0.0.1", &port.to_string()]).await;
    follows(replica).await;
}
