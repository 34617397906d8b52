//! Rounds of failovers that lose nothing: at each, many sessions that workers have cached are logged out at the new primary, and
//! checked at workers that may still be on the old one. The two Redises change roles again and again.

use std::time::Duration;

use bangui::store::Store;
use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::Method;
use tokio::time::sleep;

use super::{AFTER, begin_session, check, holds};
use crate::support::cluster::{default_environment, store_config};
use crate::support::pair::{self, Pair, fail_over, replicated};
use crate::support::proxy::{Mode, Proxy};
use crate::support::redis::Redis;
use crate::support::sentinel::{self, NAME, SENTINEL_USER, Sentinels, role};
use crate::support::worker::Worker;
use crate::support::{Client, Cluster, SOON, eventually};

/// Requests at once.
const CONCURRENT_REQUESTS: usize = 32;

/// The outcome of the failovers.
#[derive(Debug, Default)]
pub struct Failovers {
    pub failovers: usize,
    /// Sessions whose logout the new primary's worker answered.
    pub revocations: usize,
    /// Checks that were begun after such an answer.
    pub checks: usize,
    /// Checks that were accepted, each as a sentence.
    pub accepted: Vec<String>,
}

impl Failovers {
    fn check(&mut self, what: &str, worker: usize, status: Option<u16>) {
        self.checks += 1;
        if status == Some(200) {
            self.accepted.push(format!("failover {}: worker {worker} accepted {what}", self.failovers));
        }
    }
}

/// Coordinated failovers behind a proxy that moves only new connections, with the replication link held afterwards, until there
/// were so many revocations; `each` at each failover. Of the three workers that stay on the old primary, two have near caches.
pub async fn coordinated_failovers(revocations: usize, each: usize) -> Failovers {
    let Pair { primary, primary_port, replica, replica_port } = Pair::start().await;
    let proxy = Proxy::start(primary.socket(), Mode::Pass).await;
    let builder = Cluster::bare(2).redis(primary).env("BANGUI_REDIS_URL", proxy.redis_url());
    let builder = builder.env("BANGUI_SESSION_CACHE_TTL_SECONDS", 60).env("RUST_LOG", LOG);
    let mut cluster = builder.env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    cluster.environment.insert("BANGUI_SESSION_CACHE_ENABLED".to_owned(), "false".to_owned());
    cluster.add_worker().await;
    // One worker at each Redis, which works while that is the primary.
    let at = |redis: &Redis| default_environment(redis.url());
    let others = [
        Worker::start("worker at the first", &at(&cluster.redis)).await,
        Worker::start("worker at the second", &at(&replica)).await,
    ];
    let redises = [(&cluster.redis, primary_port), (&replica, replica_port)];
    let behind: Vec<Client> = cluster.workers.iter().map(Worker::client).collect();
    let mut tally = Failovers::default();
    for now in 0.. {
        let ((old, _), (new, new_port)) = (redises[now % 2], redises[(now + 1) % 2]);
        for (n, client) in behind.iter().enumerate() {
            holds(client, n < 2).await;
        }
        let tokens = begin_sessions(old, each).await;
        warm(&behind, &tokens).await;
        replicated(old, new).await;
        fail_over(old, (new, new_port)).await;
        proxy.move_new_connections(new.socket());
        tally.failovers += 1;
        log_out_and_check(&others[(now + 1) % 2].client(), &behind, &tokens, &mut tally).await;
        are_gone(&behind, &tokens, &mut tally).await;
        if tally.revocations >= revocations {
            break;
        }
        pair::follow(old, new_port).await;
    }
    tally
}

/// Failovers by Sentinel while a worker with a near cache is stopped (SIGSTOP): the old primary is cut off from the Sentinels and
/// keeps answering everybody else. When the stopped worker continues, requests wait at it, each sent after the answer to its
/// logout.
pub async fn sentinel_failovers(revocations: usize, each: usize) -> Failovers {
    let (primary, sentinels) = sentinel::start().await;
    let builder = Cluster::bare(2).redis(primary).env("BANGUI_REDIS_URL", sentinels.url());
    let builder = builder.env("BANGUI_SESSION_CACHE_TTL_SECONDS", 60).env("RUST_LOG", LOG);
    let cluster = builder.env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    let [holder, other] = cluster.workers.as_slice() else { unreachable!("two workers") };
    let first_port = sentinels.first_port().parse().unwrap();
    let redises = [(&cluster.redis, first_port), (&sentinels.replica, sentinels.replica_port)];
    let mut tally = Failovers::default();
    for now in 0.. {
        let ((old, _), (new, new_port)) = (redises[now % 2], redises[(now + 1) % 2]);
        for worker in &cluster.workers {
            holds(&worker.client(), true).await;
        }
        let tokens = begin_sessions(old, each).await;
        warm(&[holder.client(), other.client()], &tokens).await;
        replicated(old, new).await;
        holder.pause();
        old.command::<()>(&["ACL", "SETUSER", SENTINEL_USER, "-@all"]).await;
        sentinel_fails_over(&sentinels, new, new_port).await;
        tally.failovers += 1;
        // The stopped worker is asked below, as often as the other.
        log_out_and_check(&other.client(), &[other.client()], &tokens, &mut tally).await;
        let waiting = stream::iter(&tokens).map(|token| {
            // Each on a separate connection, since nothing is answered yet.
            let caller = holder.client().with_bearer(token);
            async move { check(&caller, AFTER).await }
        });
        let waiting = waiting.buffer_unordered(tokens.len()).collect::<Vec<_>>();
        let resumed = async {
            sleep(Duration::from_millis(300)).await;
            holder.resume();
        };
        for status in tokio::join!(waiting, resumed).0 {
            tally.check("what waited while it was stopped", 0, status);
        }
        are_gone(&[holder.client(), other.client()], &tokens, &mut tally).await;
        if tally.revocations >= revocations {
            break;
        }
        old.command::<()>(&["ACL", "SETUSER", SENTINEL_USER, "+@all"]).await;
        pair::follow(old, new_port).await;
        for n in 0..3 {
            eventually("each Sentinel to know both again", 2 * SOON, || async {
                let info: String = sentinels.ask(n, &["INFO", "sentinel"]).await?;
                info.contains("status=ok").then_some(())?;
                // Only a replica that answers may be promoted next.
                let replicas: Vec<Vec<String>> = sentinels.ask(n, &["SENTINEL", "REPLICAS", NAME]).await?;
                let fit = |facts: &Vec<String>| {
                    let fact = |name: &str| facts.iter().skip_while(move |fact| *fact != name).nth(1);
                    fact("flags").is_some_and(|flags| flags == "slave")
                        && fact("master-link-status").is_some_and(|status| status == "ok")
                };
                (replicas.len() == 1 && replicas.iter().all(fit)).then_some(())
            })
            .await;
        }
    }
    tally
}

const LOG: &str = "warn,bangui::worker=info";

/// Has the Sentinels promote this Redis, without waiting until they see the other one as down.
async fn sentinel_fails_over(sentinels: &Sentinels, new: &Redis, new_port: u16) {
    let port = new_port.to_string();
    eventually("the Sentinels to promote the replica", 4 * SOON, || async {
        let mut named = 0;
        for n in 0..3 {
            named += usize::from(sentinels.names(n).await.as_ref() == Some(&port));
        }
        if named == 0 {
            // Refused while a failover is running.
            let _: Option<String> = sentinels.ask(0, &["SENTINEL", "FAILOVER", NAME]).await;
        }
        (named == 3 && role(new).await? == "master").then_some(())
    })
    .await;
}

async fn begin_sessions(redis: &Redis, count: usize) -> Vec<String> {
    let store = Store::open_unsupervised(&store_config(redis)).unwrap();
    eventually("a connection to the primary", SOON, || async { store.available().ok() }).await;
    let begun = stream::iter(0..count).map(|_| eventually("a session", SOON, || begin_session(&store)));
    begun.buffer_unordered(CONCURRENT_REQUESTS).collect().await
}

/// Makes each of these workers know each session: the first check fills a near cache, the second hits.
async fn warm(clients: &[Client], tokens: &[String]) {
    let pairs = clients.iter().flat_map(|client| tokens.iter().map(move |token| (client, token)));
    let warmed = stream::iter(pairs).map(|(client, token)| async move {
        let caller = client.with_bearer(token);
        for _ in 0..2 {
            eventually("a check before the failover", SOON, || async {
                (check(&caller, AFTER).await == Some(200)).then_some(())
            })
            .await;
        }
    });
    warmed.buffer_unordered(CONCURRENT_REQUESTS).collect::<Vec<()>>().await;
}

/// Logs each out at `revoker`, and checks it at each of `behind` as soon as that is answered.
async fn log_out_and_check(revoker: &Client, behind: &[Client], tokens: &[String], tally: &mut Failovers) {
    let rounds = stream::iter(tokens).map(|token| async move {
        let caller = revoker.with_bearer(token);
        eventually("the logout at the new primary", 4 * SOON, || async {
            let request = caller.request(Method::DELETE, "/api/v1/session");
            let status = caller.try_send(request).await.ok()?.status.as_u16();
            // 401: an earlier attempt, which was answered otherwise, has ended the session.
            matches!(status, 204 | 401).then_some(())
        })
        .await;
        let checks = behind.iter().map(|client| client.with_bearer(token));
        let checks = checks.map(|caller| async move { check(&caller, AFTER).await });
        futures_util::future::join_all(checks).await
    });
    let mut rounds = rounds.buffer_unordered(CONCURRENT_REQUESTS);
    while let Some(statuses) = rounds.next().await {
        tally.revocations += 1;
        for (worker, status) in statuses.into_iter().enumerate() {
            tally.check("what was logged out", worker, status);
        }
    }
}

/// Checks each session at each of these workers until it is refused for good.
async fn are_gone(clients: &[Client], tokens: &[String], tally: &mut Failovers) {
    let pairs = clients.iter().enumerate();
    let pairs = pairs.flat_map(|(n, client)| tokens.iter().map(move |token| (n, client, token)));
    let checked = stream::iter(pairs).map(|(n, client, token)| async move {
        let caller = client.with_bearer(token);
        let seen = std::sync::Mutex::new(Vec::new());
        eventually("a refusal for good", 2 * SOON, || async {
            let status = check(&caller, AFTER).await;
            seen.lock().unwrap().push(status);
            (status == Some(401)).then_some(())
        })
        .await;
        (n, seen.into_inner().unwrap())
    });
    let mut checked = checked.buffer_unordered(CONCURRENT_REQUESTS);
    while let Some((worker, seen)) = checked.next().await {
        for status in seen {
            tally.check("what was logged out a while ago", worker, status);
        }
    }
}
