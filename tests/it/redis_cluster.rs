//! A Redis Cluster: the owner of the slot is found, followed when the slot moves or a replica takes over, and left when it was
//! superseded, whether it knows or not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bangui::store::connection::acl::CLUSTER_RIGHTS;

use crate::support::cluster::server_is;
use crate::support::failover::{Load, PROMISED, SLACK, all_back, check_one_writer};
use crate::support::pair::{follows, replicated};
use crate::support::process::{Child, bangui};
use crate::support::redis::{Recording, Redis, USER, USER_PASSWORD};
use crate::support::redis_cluster::{self, MASTERS, OWNER, REPLICA, RedisCluster, try_command};
use crate::support::rounds::holds;
use crate::support::sentinel::{connections, free_port, role};
use crate::support::worker::Worker;
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually};

/// Workers, set up, with a fail2ban, a user at each, and a URL in which one node is dead and one a replica.
async fn cluster(workers: usize) -> (Cluster, RedisCluster, Vec<Client>) {
    let (owner, nodes) = redis_cluster::start().await;
    let cluster = Cluster::with_fail2ban(workers)
        .redis(owner)
        .env("BANGUI_REDIS_URL", nodes.url(&[free_port(), nodes.ports[REPLICA], nodes.ports[MASTERS[0]]]))
        .env("BANGUI_REDIS_MIN_REPLICAS", 1)
        .set_up()
        .await;
    let mut users = Vec::new();
    for n in 0..workers {
        users.push(cluster.client(n).logged_in().await);
    }
    server_is(&users[0], "up").await;
    (cluster, nodes, users)
}

async fn alive(cluster: &Cluster, users: &[Client]) {
    for worker in &cluster.workers {
        for user in users {
            user.at(worker.address).get("/api/v1/session").await.expect(200);
        }
    }
}

/// Asks every worker for this long: none may accept the session.
async fn refused(cluster: &Cluster, client: &Client, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        for worker in &cluster.workers {
            let answer = client.at(worker.address).get("/api/v1/session").await;
            assert!([401, 503].contains(&answer.status.as_u16()), "{:?}: {answer:?}", begun.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_slept_or_was_killed_under_load_is_left_and_no_logout_is_undone() {
    let (mut cluster, mut nodes, users) = cluster(3).await;

    // It sleeps through its own replacement. Until it is back there is no replica that could confirm a logout.
    cluster.environment.insert("BANGUI_REDIS_MIN_REPLICAS".to_owned(), "0".to_owned());
    let unconfirmed = cluster.add_worker().await;
    let left = cluster.client(0).logged_in().await;
    cluster.redis.pause();
    nodes.failed_over().await;
    all_back(&users, &cluster).await;
    left.at(cluster.workers[unconfirmed].address).delete("/api/v1/session").await.expect(204);
    drop(cluster.workers.remove(unconfirmed));
    cluster.redis.resume();
    refused(&cluster, &left, Duration::from_secs(3)).await;
    eventually("the old owner to follow the new one", SOON * 2, || async {
        (role(&cluster.redis).await? == "slave").then_some(())
    })
    .await;
    eventually("every connection to have left it", SOON, || async {
        (connections(&cluster.redis).await == 0).then_some(())
    })
    .await;
    alive(&cluster, &users).await;

    // Now the new owner is killed, and the old one takes over.
    follows(&cluster.redis).await;
    let old = Recording::start(&nodes.replica).await;
    let new = Recording::start(&cluster.redis).await;
    let load = Load::start(&cluster, &users);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let left = cluster.client(0).logged_in().await;
    left.delete("/api/v1/session").await.expect(204);
    let killed = Instant::now();
    nodes.replica.kill();
    let (failed_over, back) = tokio::join!(
        async {
            nodes.owner_is(OWNER, &[&cluster.redis, &nodes.masters[0], &nodes.masters[1]]).await;
            killed.elapsed()
        },
        async { all_back(&users, &cluster).await - killed },
    );
    refused(&cluster, &left, Duration::from_millis(1500)).await;
    let (right, unavailable) = load.stop().await;
    let writes = check_one_writer(vec![old.end(), new.end()]);
    println!(
        "failover by SIGKILL: the cluster {} ms, all workers back after {} ms ({:+} ms); {right} answers, {unavailable} \
         times 503, 0 times 401; {writes} accepted scheduled writes, one writer",
        failed_over.as_millis(),
        back.as_millis(),
        back.as_millis().cast_signed() - failed_over.as_millis().cast_signed(),
    );
    assert!(right > 0 && unavailable > 0 && writes > 0);
    assert!(back < failed_over + PROMISED + SLACK, "the cluster took {failed_over:?}, bangui {back:?}");
    for worker in &cluster.workers {
        left.at(worker.address).get("/api/v1/session").await.problem(401);
    }
    alive(&cluster, &users).await;
    // By the scheduler's writes, and by a message that wakes it.
    cluster.fail2ban().kill();
    server_is(&users[0], "down").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_was_superseded_without_knowing_is_left_and_a_paused_worker_accepts_nothing_from_it() {
    let (owner, nodes) = redis_cluster::start().await;
    let mut cluster = Cluster::bare(2)
        .redis(owner)
        .env("BANGUI_REDIS_URL", nodes.url(&[nodes.ports[OWNER]]))
        .env("BANGUI_SESSION_CACHE_ENABLED", true)
        .env("BANGUI_SESSION_CACHE_TTL_SECONDS", 60)
        .set_up()
        .await;
    // The third has no near cache.
    cluster.environment.insert("BANGUI_SESSION_CACHE_ENABLED".to_owned(), "false".to_owned());
    cluster.add_worker().await;
    for (n, near) in [(0, true), (1, true), (2, false)] {
        holds(&cluster.client(n), near).await;
    }
    let client = cluster.client(0).logged_in().await;
    for _ in 0..2 {
        alive(&cluster, std::slice::from_ref(&client)).await;
    }
    replicated(&cluster.redis, &nodes.replica).await;
    let paused: [&Worker; 2] = [&cluster.workers[0], &cluster.workers[2]];
    let other = &cluster.workers[1];

    paused.iter().for_each(|worker| worker.pause());
    nodes.cut_off(&cluster.redis).await;
    nodes.failed_over().await;
    eventually("the other worker to be at the new owner", SOON, || async {
        (connections(&nodes.replica).await > 0).then_some(())
    })
    .await;
    other.ready(SOON).await;
    client.at(other.address).delete("/api/v1/session").await.expect(204);
    // When they continue, there is no master to correct them, and the old owner answers as before.
    let still: Option<String> = try_command(&cluster.redis, &["GET", "{it}:layout"]).await;
    assert_eq!(still.as_deref(), Some("1.0"), "it believes that it owns the slot");
    nodes.masters.iter().for_each(Redis::pause);
    paused.iter().for_each(|worker| worker.resume());
    let resumed = Instant::now();
    while resumed.elapsed() < Duration::from_secs(4) {
        for worker in paused {
            let answer = client.at(worker.address).get("/api/v1/session").await;
            assert_eq!(answer.status, 503, "{:?} after it continued: {}", resumed.elapsed(), answer.text);
        }
    }
    // The new owner's own word alone does not keep it trusted for long, either.
    eventually("no answer without the other masters", SOON, || async {
        let answer = client.at(other.address).get("/api/v1/session").await;
        (answer.status == 503).then(|| assert!(answer.cookies().is_empty(), "{answer:?}"))
    })
    .await;
    let said =
        |line: &str| (line.contains("WARN") && line.contains("masters of the Redis Cluster")).then_some(());
    other.process.line("the reason in the log", SOON, said).await;
    let ready = other.client().get("/readyz").await;
    assert!(
        ready.status == 503 && ready.body["reason"] == "redis" && !ready.text.contains("127.0.0.1"),
        "{ready:?}"
    );
    nodes.masters.iter().for_each(Redis::resume);
    for worker in &cluster.workers {
        eventually("Redis to say that the session is gone", SOON * 2, || async {
            let answer = client.at(worker.address).get("/api/v1/session").await;
            (answer.status != 503).then(|| answer.problem(401).to_owned())
        })
        .await;
    }
    eventually("every connection to have left the old owner", SOON, || async {
        (connections(&cluster.redis).await == 0).then_some(())
    })
    .await;
    assert_eq!(role(&cluster.redis).await.as_deref(), Some("master"), "it still believes that it is one");
    nodes.connect_again();
    eventually("the old owner to follow the new one", SOON * 2, || async {
        (role(&cluster.redis).await? == "slave").then_some(())
    })
    .await;
    cluster.client(2).logged_in().await.get("/api/v1/session").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_slot_is_moved_under_load_or_its_owner_changes_places_with_a_replica() {
    let (cluster, nodes, users) = cluster(2).await;
    let from = (&cluster.redis, OWNER);
    let to = (&nodes.masters[0], MASTERS[0]);
    let left = cluster.client(0).logged_in().await;
    left.delete("/api/v1/session").await.expect(204);
    let (old, new) = (Recording::start(from.0).await, Recording::start(to.0).await);
    let load = Load::start(&cluster, &users);
    tokio::time::sleep(Duration::from_millis(300)).await;
    nodes.begin_to_move(from, to).await;
    assert!(nodes.move_keys(from.0, to.1, 5).await > 0);
    // Half here and half there: nobody is said to be logged out (the load fails at a 401), and the reason is known.
    eventually("a worker to say that it waits for the slot", SOON, || async {
        let answer = users[0].get("/api/v1/session").await;
        assert!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
        (answer.status == 503).then_some(())
    })
    .await;
    nodes.end_move(from.0, to).await;
    let moved = Instant::now();
    let back = all_back(&users, &cluster).await - moved;
    let (right, unavailable) = load.stop().await;
    let writes = check_one_writer(vec![old.end(), new.end()]);
    println!(
        "slot moved: all workers back after {} ms; {right} answers, {unavailable} times 503, 0 times 401; {writes} scheduled \
         writes, one writer",
        back.as_millis()
    );
    assert!(back < PROMISED + SLACK, "{back:?}");
    assert!(right > 0 && writes > 0);
    alive(&cluster, &users).await;
    left.get("/api/v1/session").await.problem(401);
    let count: i64 = cluster.redis.command(&["CLUSTER", "COUNTKEYSINSLOT", &nodes.slot]).await;
    assert_eq!(count, 0, "a key was written to the old owner");
    let keys = nodes.masters.each_ref().map(Redis::keys);
    let [at_new, elsewhere] = keys.map(|keys| async { keys.await.len() });
    assert!(at_new.await > 0);
    assert_eq!(elsewhere.await, 0, "a key is in another slot");
    eventually(
        "every connection to have left the old owner, but for the question who it is",
        SOON,
        || async {
            let list: String = cluster.redis.command(&["CLIENT", "LIST"]).await;
            let mut ours = list.lines().filter(|line| line.contains(&format!("user={USER} ")));
            ours.all(|line| line.contains("cmd=cluster|")).then_some(())
        },
    )
    .await;

    // A coordinated failover of the new owner.
    let replica = &nodes.replicas[0];
    replicated(to.0, replica).await;
    replica.command::<()>(&["CLUSTER", "FAILOVER"]).await;
    let all = [replica, &nodes.masters[1], &cluster.redis];
    nodes.owner_is(REPLICA + 1, &all).await;
    all_back(&users, &cluster).await;
    alive(&cluster, &users).await;
    left.get("/api/v1/session").await.problem(401);

    commands(&cluster, &nodes, &users).await;
}

async fn run(role: &str, environment: &BTreeMap<String, String>) -> (Option<i32>, String) {
    let mut command = bangui(role);
    command.envs(environment);
    Child::run(role, command, SOON).await
}

/// `check` and `reset-password` on a cluster whose slot is at the replica of the second master.
async fn commands(cluster: &Cluster, nodes: &RedisCluster, users: &[Client]) {
    let port = nodes.ports[REPLICA + 1];
    let (_, printed) = run("check", &cluster.environment).await;
    let named = format!("the masters of the Redis Cluster name 127.0.0.1:{port}");
    assert!(printed.contains(&format!("{named}, but not all of them answer")), "{printed}");
    let mut environment = cluster.environment.clone();
    environment.insert("BANGUI_REDIS_URL".to_owned(), nodes.url(&[nodes.ports[OWNER]]));
    let (code, printed) = run("check", &environment).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains(&named), "{printed}");
    let page = users[0].get("/cluster").await;
    assert!(page.text.contains(&format!("127.0.0.1:{port}")), "{}", page.text);

    let alone = Redis::start_with(&["--port", &free_port().to_string()]).await;
    alone.command::<()>(&[&["ACL", "SETUSER", USER], CLUSTER_RIGHTS.as_slice()].concat()).await;
    let port: Vec<String> = alone.command(&["CONFIG", "GET", "port"]).await;
    for (url, exit, said) in [
        (nodes.url(&[free_port()]), 1, "too few masters of the Redis Cluster"),
        (nodes.url(&[port[1].parse().unwrap()]), 1, "it is not a node of a Redis Cluster"),
        (nodes.url(&[nodes.ports[OWNER]]) + "/3", 2, "database 0 only"),
        (
            format!("redis://{USER}:{USER_PASSWORD}@127.0.0.1:{}", nodes.ports[OWNER]),
            1,
            "begins with redis+cluster://",
        ),
    ] {
        let mut environment = cluster.environment.clone();
        environment.insert("BANGUI_REDIS_URL".to_owned(), url);
        let (code, printed) = run("check", &environment).await;
        assert!(code == Some(exit) && printed.contains(said), "{said}: {code:?} {printed}");
        assert!(!printed.contains(USER_PASSWORD), "{printed}");
    }

    let mut environment = cluster.environment.clone();
    environment.insert("BANGUI_ADMIN_PASSWORD".to_owned(), format!("another {PASSWORD}"));
    let (code, printed) = run("reset-password", &environment).await;
    assert_eq!(code, Some(0), "{printed}");
    users[0].get("/api/v1/session").await.problem(401);
}
