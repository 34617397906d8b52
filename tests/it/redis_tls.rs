//! A Redis that speaks TLS alone: every connection of a worker does, and an untrusted certificate is reported in plain words.

use std::collections::BTreeMap;
use std::path::Path;

use bangui::store::connection::acl::CLUSTER_RIGHTS;

use crate::support::cluster::{default_environment, server_is};
use crate::support::process::{Child, bangui};
use crate::support::redis::{Redis, USER, USER_PASSWORD};
use crate::support::sentinel::{Sentinels, connections, free_port};
use crate::support::tls::Ca;
use crate::support::worker::Worker;
use crate::support::{Cluster, SOON, eventually, folder};

/// A Redis with a certificate for 127.0.0.1 and no port without TLS, and a folder with `ca.pem`; its URL.
async fn redis_with(ca: &Ca) -> (Redis, tempfile::TempDir, String) {
    let folder = folder();
    let (cert, key) = ca.sign(&["127.0.0.1"]);
    for (name, text) in [("cert.pem", cert), ("key.pem", key), ("ca.pem", ca.pem())] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let path = |name| folder.path().join(name).display().to_string();
    let (port, cert, key, ca) = (free_port().to_string(), path("cert.pem"), path("key.pem"), path("ca.pem"));
    let tls =
        ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let more = ["--tls-auth-clients", "no", "--appendonly", "yes"];
    let redis = Redis::start_with(&[tls.as_slice(), &more].concat()).await;
    (redis, folder, format!("rediss://{USER}:{USER_PASSWORD}@127.0.0.1:{port}"))
}

async fn check(environment: &BTreeMap<String, String>) -> (Option<i32>, String) {
    let mut command = bangui("check");
    command.envs(environment);
    Child::run("bangui check", command, SOON).await
}

fn file(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn with_the_right_ca_requests_lease_messages_and_near_cache_go_over_tls() {
    let (redis, folder, url) = redis_with(&Ca::new()).await;
    let mut cluster = Cluster::with_fail2ban(2)
        .redis(redis)
        .env("BANGUI_REDIS_URL", url)
        .env("BANGUI_REDIS_CA", file(&folder.path().join("ca.pem")))
        .env("BANGUI_SESSION_CACHE_ENABLED", "true")
        .env("BANGUI_SESSION_CACHE_TTL_SECONDS", 10)
        .set_up()
        .await;
    let user = cluster.client(0).logged_in().await;
    server_is(&user, "up").await;
    eventually("both workers to hold sessions near", SOON, || async {
        (user.get("/api/v1/cluster").await.body["cache_holders"] == 2).then_some(())
    })
    .await;
    // Of each worker: for messages and for the near cache; of the leader: its channel, which others see it by. For requests one
    // each, and one for the lease of the one that has asked.
    eventually("the connections of both workers", SOON, || async {
        let list: String = cluster.redis.command(&["CLIENT", "LIST"]).await;
        let ours = list.lines().filter(|line| line.contains(&format!("user={USER} ")));
        let (subscribed, others): (Vec<&str>, Vec<&str>) = ours.partition(|line| line.contains(" sub=1 "));
        (subscribed.len() == 5 && others.len() >= 3).then_some(())
    })
    .await;
    cluster.client(1).logged_in().await.delete("/api/v1/session").await.expect(204);
    cluster.fail2ban().kill();
    server_is(&user, "down").await;
    let (code, printed) = check(&cluster.environment).await;
    assert!(
        printed.contains("redis                 answers") && code == Some(1),
        "fail2ban alone is down: {printed}"
    );
}

#[tokio::test]
async fn an_untrusted_certificate_is_reported_in_plain_words_and_nothing_is_sent() {
    let (redis, own, url) = redis_with(&Ca::new()).await;
    let elsewhere = folder();
    std::fs::write(elsewhere.path().join("ca.pem"), Ca::new().pem()).unwrap();
    let mut environment = default_environment(url);
    for ca in [Some(elsewhere.path().join("ca.pem")), None] {
        match &ca {
            Some(ca) => environment.insert("BANGUI_REDIS_CA".to_owned(), file(ca)),
            None => environment.remove("BANGUI_REDIS_CA"),
        };
        let (code, printed) = check(&environment).await;
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains("certificate") && printed.contains("BANGUI_REDIS_CA"), "{printed}");
        let worker = Worker::start("worker A", &environment).await;
        let said =
            |line: &str| (line.contains("certificate") && line.contains("BANGUI_REDIS_CA")).then_some(());
        worker.process.line("what is wrong with the certificate", SOON, said).await;
        // Strangers learn what kind of trouble it is, and no more.
        eventually("readyz to say that it is Redis", SOON, || async {
            let ready = worker.client().get("/readyz").await;
            assert!(
                !ready.text.contains("certificate") && !ready.text.contains("127.0.0.1"),
                "{}",
                ready.text
            );
            (ready.body["reason"] == "redis").then_some(())
        })
        .await;
    }
    assert_eq!(connections(&redis).await, 0);

    environment.insert("BANGUI_REDIS_CA".to_owned(), file(&own.path().join("ca.pem")));
    assert_eq!(check(&environment).await.0, Some(0));
    let other_name = environment["BANGUI_REDIS_URL"].replace("127.0.0.1", "localhost");
    environment.insert("BANGUI_REDIS_URL".to_owned(), other_name);
    let (code, printed) = check(&environment).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("other names"), "{printed}");
}

#[tokio::test]
async fn sentinels_and_redis_are_both_spoken_to_over_tls() {
    let ca = Ca::new();
    let (redis, folder, url) = redis_with(&ca).await;
    let port: u16 = url.rsplit_once(':').unwrap().1.parse().unwrap();
    let sentinel_port = free_port();
    let path = |name| folder.path().join(name).display().to_string();
    let text = format!(
        "port 0\ntls-port {sentinel_port}\nbind 127.0.0.1\ntls-replication yes\ntls-auth-clients no\n\
         tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ndir {}\n\
         user default off\nuser watch on >another-password allcommands allchannels\n\
         sentinel monitor main 127.0.0.1 {port} 1\n",
        path("cert.pem"),
        path("key.pem"),
        path("ca.pem"),
        folder.path().display()
    );
    let _sentinel = Sentinels::process(0, folder.path(), &text);
    let cluster = Cluster::bare(1)
        .redis(redis)
        .env(
            "BANGUI_REDIS_URL",
            format!(
                "rediss+sentinel://{USER}:{USER_PASSWORD}@127.0.0.1:{sentinel_port}/main\
                 ?sentinel_user=watch&sentinel_password=another-password"
            ),
        )
        .env("BANGUI_REDIS_CA", path("ca.pem"))
        .set_up()
        .await;
    cluster.client(0).logged_in().await.get("/api/v1/session").await.expect(200);
    let mut environment = cluster.environment.clone();
    let (code, printed) = check(&environment).await;
    assert_eq!(code, Some(0), "{printed}");
    let url = environment["BANGUI_REDIS_URL"].replace("another-password", "wrong-password");
    environment.insert("BANGUI_REDIS_URL".to_owned(), url);
    let (code, printed) = check(&environment).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("no majority of the Sentinels") && !printed.contains("wrong-password"),
        "{printed}"
    );
}

/// The certificate is for the name that the node announces beside its address.
#[tokio::test]
async fn a_node_of_a_cluster_is_spoken_to_over_tls_by_the_name_that_it_announces() {
    let ca = Ca::new();
    let folder = folder();
    let (cert, key) = ca.sign(&["localhost"]);
    for (name, text) in [("cert.pem", cert), ("key.pem", key), ("ca.pem", ca.pem())] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let path = |name| folder.path().join(name).display().to_string();
    let [port, bus] = [free_port(), free_port()].map(|port| port.to_string());
    let (cert, key, authority) = (path("cert.pem"), path("key.pem"), path("ca.pem"));
    let mut arguments =
        vec!["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-announce-ip", "127.0.0.1"];
    arguments.extend([
        "--cluster-announce-hostname",
        "localhost",
        "--appendonly",
        "yes",
        "--tls-auth-clients",
        "no",
    ]);
    arguments.extend(["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key]);
    arguments.extend(["--tls-ca-cert-file", &authority, "--tls-cluster", "yes"]);
    let redis = Redis::start_with(&arguments).await;
    redis.command::<()>(&[&["ACL", "SETUSER", USER], CLUSTER_RIGHTS.as_slice()].concat()).await;
    redis.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    let url = format!("rediss+cluster://{USER}:{USER_PASSWORD}@localhost:{port}");
    let cluster = Cluster::bare(1)
        .redis(redis)
        .env("BANGUI_REDIS_URL", url)
        .env("BANGUI_REDIS_CA", &authority)
        .set_up()
        .await;
    cluster.client(0).logged_in().await.get("/api/v1/session").await.expect(200);
    let (code, printed) = check(&cluster.environment).await;
    assert!(code == Some(0) && printed.contains(&format!("name localhost:{port}")), "{printed}");
}
