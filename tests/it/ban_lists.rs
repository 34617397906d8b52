//! Lists of bans over a failover that is shorter than the lease, so that the leader stays: what the new Redis lacks is written
//! again, and half a list never replaces a whole one.

use crate::scheduler::leader;
use crate::support::cluster::{SERVER, server_is};
use crate::support::pair::{Pair, hold_link, replicated};
use crate::support::proxy::{Mode, Proxy};
use crate::support::redis::Redis;
use crate::support::{Client, Cluster, SOON, eventually};

async fn is_listed(client: &Client, ip: &str) {
    eventually(&format!("{ip} in the list"), 2 * SOON, || async {
        let bans = client.get(&format!("/api/v1/servers/{SERVER}/jails/app/bans")).await;
        (bans.status == 200 && bans.text.contains(ip)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_list_that_a_failover_lost_is_written_again_by_the_leader_that_had_written_it() {
    let Pair { primary, replica, .. } = Pair::start().await;
    let proxy = Proxy::start(primary.socket(), Mode::Pass).await;
    let mut cluster = Cluster::with_fail2ban(1)
        .redis(primary)
        .env("BANGUI_REDIS_URL", proxy.redis_url())
        .env("BANGUI_LEASE_TTL_MS", 60_000)
        .set_up()
        .await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    cluster.fail2ban().command(&["set", "app", "banip", "203.0.113.1"]).await;
    is_listed(&client, "203.0.113.1").await;
    let before = leader(&cluster, &client).await;
    replicated(&cluster.redis, &replica).await;
    hold_link(&replica).await;
    cluster.fail2ban().command(&["set", "app", "banip", "203.0.113.2"]).await;
    is_listed(&client, "203.0.113.2").await;

    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    proxy.move_new_connections(replica.socket());
    hold_link(&cluster.redis).await;
    let list = ["ZRANGE", "{it}:bans:web-1/app", "0", "-1"];
    eventually("the list at the new primary", 2 * SOON, || async {
        let list: Vec<String> = replica.command(&list).await;
        list.iter().any(|ban| ban.starts_with("203.0.113.2\0")).then_some(())
    })
    .await;
    eventually("the worker to be ready again", SOON, || async {
        (client.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(leader(&cluster, &client).await, before, "a new term reads the lists in any case");
}

#[tokio::test]
async fn half_of_a_list_is_never_put_in_the_place_of_a_whole_one() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let keys =
        ["lease", "beside", "list", "known", "events", "lists", "notes"].map(|key| format!("{{m}}:{key}"));
    redis.command::<()>(&["SET", &keys[0], "owner|7"]).await;
    redis.command::<()>(&["ZADD", &keys[2], "0", "old"]).await;
    let write = redis::Script::new(include_str!("../../src/store/scripts/bans_write.lua"));
    for (there, whole) in [(2, false), (3, true), (4, false)] {
        for n in 0..there {
            redis.command::<()>(&["ZADD", &keys[1], "0", &format!("new-{n}")]).await;
        }
        let mut call = write.prepare_invoke();
        for key in &keys {
            call.key(key);
        }
        // Three were written.
        call.arg("owner|7")
            .arg(3)
            .arg(3)
            .arg(100)
            .arg("web-1")
            .arg("web-1/app")
            .arg(3)
            .arg("")
            .arg(3)
            .arg("")
            .arg(0);
        let written = call.invoke_async::<i64>(&mut connection).await;
        assert_eq!(written.is_ok(), whole, "{written:?}");
        let list: Vec<String> = redis.command(&["ZRANGE", &keys[2], "0", "-1"]).await;
        assert_eq!(list, if there == 2 { vec!["old"] } else { vec!["new-0", "new-1", "new-2"] });
        assert!(!redis.command::<bool>(&["EXISTS", &keys[1]]).await, "nothing is left beside");
    }
}
