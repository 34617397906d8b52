//! All connections of a worker lead to one Redis, and nothing is read from one that is no longer the primary: a failover behind
//! an address that moves only new connections, as HAProxy, a Service or a DNS name does.

use std::time::{Duration, Instant};

use crate::support::cluster::default_environment;
use crate::support::pair::{self, Pair};
use crate::support::proxy::{Mode, Proxy};
use crate::support::redis::Redis;
use crate::support::rounds::holds;
use crate::support::sentinel::connections;
use crate::support::worker::Worker;
use crate::support::{Client, Cluster, SOON, eventually};

/// Workers behind a proxy on the primary, and one that waits for the replica to become the primary.
struct Scene {
    cluster: Cluster,
    other: Worker,
    replica: Redis,
    replica_port: u16,
    proxy: Proxy,
}

impl Scene {
    async fn set_up(near_cache: bool) -> Self {
        let Pair { primary, replica, replica_port, .. } = Pair::start().await;
        let proxy = Proxy::start(primary.socket(), Mode::Pass).await;
        // Two: one of them is not the leader, and writes nothing for seconds.
        let cluster = Cluster::bare(2)
            .redis(primary)
            .env("BANGUI_REDIS_URL", proxy.redis_url())
            .env("BANGUI_SESSION_CACHE_ENABLED", near_cache)
            .env("BANGUI_SESSION_CACHE_TTL_SECONDS", 60)
            .set_up()
            .await;
        let other = Worker::start("other worker", &default_environment(replica.url())).await;
        Self { cluster, other, replica, replica_port, proxy }
    }

    /// Logged in, and known to every worker.
    async fn client(&self) -> Client {
        let client = self.cluster.client(0).logged_in().await;
        for _ in 0..3 {
            for worker in &self.cluster.workers {
                client.at(worker.address).get("/api/v1/session").await.expect(200);
            }
        }
        client
    }

    /// Waits until the replica has all that the primary has.
    async fn replicated(&self) {
        pair::replicated(&self.cluster.redis, &self.replica).await;
    }

    /// A coordinated failover with the link between the two held.
    async fn fail_over(&self) {
        pair::fail_over(&self.cluster.redis, (&self.replica, self.replica_port)).await;
        self.proxy.move_new_connections(self.replica.socket());
    }

    /// Logs out at the worker on the new primary.
    async fn log_out(&self, client: &Client) {
        let other = client.at(self.other.address);
        eventually("the logout at the new primary", SOON, || async {
            let answer = other.delete("/api/v1/session").await;
            (answer.status == 204).then_some(())
        })
        .await;
    }

    /// Asks every worker again and again: nothing may be accepted, and in the end Redis must say that the session is gone.
    async fn is_never_accepted(&self, client: &Client, least: Duration) {
        for worker in &self.cluster.workers {
            let client = client.at(worker.address);
            let begun = Instant::now();
            eventually("the session to be refused for good", SOON, || async {
                let answer = client.get("/api/v1/session").await;
                assert_ne!(answer.status, 200, "accepted {:?} after the answered logout", begun.elapsed());
                (answer.status == 401 && begun.elapsed() >= least).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_check_reads_nothing_from_a_primary_that_was_demoted() {
    let scene = Scene::set_up(false).await;
    let client = scene.client().await;
    scene.replicated().await;
    scene.fail_over().await;
    scene.log_out(&client).await;
    scene.is_never_accepted(&client, Duration::ZERO).await;
}

#[tokio::test]
async fn a_check_reads_nothing_from_a_primary_that_is_handing_over() {
    let scene = Scene::set_up(false).await;
    let client = scene.client().await;
    scene.replicated().await;
    // What `FAILOVER` does until the other one has answered: the old primary takes no writes but still calls itself the
    // primary, although the other one already is.
    scene.cluster.redis.command::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    scene.replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    scene.proxy.move_new_connections(scene.replica.socket());
    scene.log_out(&client).await;
    scene.is_never_accepted(&client, Duration::ZERO).await;
}

#[tokio::test]
async fn idle_workers_leave_a_primary_that_was_demoted() {
    let scene = Scene::set_up(false).await;
    scene.replicated().await;
    scene.fail_over().await;
    eventually("every connection to lead to the new primary", SOON, || async {
        let left = connections(&scene.cluster.redis).await == 0;
        (left && connections(&scene.replica).await > 0).then_some(())
    })
    .await;
    for worker in &scene.cluster.workers {
        worker.ready(SOON).await;
    }
}

#[tokio::test]
async fn a_near_cache_holds_no_lease_of_a_redis_that_the_rest_of_the_worker_has_left() {
    let scene = Scene::set_up(true).await;
    for n in 0..2 {
        holds(&scene.cluster.client(n), true).await;
    }
    let client = scene.client().await;
    scene.replicated().await;
    scene.fail_over().await;
    scene.log_out(&client).await;
    scene.is_never_accepted(&client, Duration::from_secs(4)).await;
}

#[tokio::test]
async fn a_connection_that_leads_elsewhere_ends_all_that_lead_to_the_old_redis() {
    // Both are primaries and neither knows about the other: only the identity distinguishes them.
    let (old, new) = (Redis::start().await, Redis::start().await);
    let proxy = Proxy::start(old.socket(), Mode::Pass).await;
    let cluster = Cluster::bare(1)
        .redis(old)
        .env("BANGUI_REDIS_URL", proxy.redis_url())
        .env("BANGUI_SESSION_CACHE_ENABLED", true)
        .set_up()
        .await;
    let client = cluster.client(0);
    holds(&client, true).await;
    proxy.move_new_connections(new.socket());
    // Only one of several connections breaks: a subscription, of the near cache or of the wake channel.
    let list: String = cluster.redis.command(&["CLIENT", "LIST"]).await;
    let ours = list.lines().find(|line| line.contains("user=bangui ") && line.contains("sub=1")).unwrap();
    let id = ours.strip_prefix("id=").unwrap().split(' ').next().unwrap();
    cluster.redis.command::<()>(&["CLIENT", "KILL", "ID", id]).await;
    eventually("every connection to have left the old one", SOON, || async {
        let left = connections(&cluster.redis).await == 0;
        (left && connections(&new).await > 0).then_some(())
    })
    .await;
}
