//! 100,000 bans in one jail: what a page, a probe, a sync and a ban job cost.

use std::time::{Duration, Instant};

use bangui::agent::client::AgentClient;
use bangui::domain::{JailName, Network, ProbeOutcome};
use bangui::fail2ban::{Client as Fail2banClient, Command, Options};
use serde_json::{Value, json};

use crate::support::cluster::{SERVER, server_is};
use crate::support::{Client, Cluster, eventually};
use crate::{Figure, quantile};

pub const BANS: u32 = 100_000;
/// Requests of each kind of page, and probes.
const PAGES: usize = 300;
const PROBES: usize = 50;
/// Addresses of the ban jobs.
const QUICK: u32 = 5_000;
const SLOW: u32 = 500;
pub const LONG: Duration = Duration::from_secs(300);

pub async fn measure() -> Vec<Figure> {
    let mut cluster = Cluster::with_fail2ban(1)
        .jails(&["web", "quick"])
        .env("BANGUI_PROBE_INTERVAL_SECONDS", 300)
        .env("RUST_LOG", "warn,bangui::worker=info,bangui::jobs::bans=info")
        .set_up()
        .await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write(
        "action.d/true.conf",
        "[Definition]\nactionban = true\nactionunban = true\n[Init]\nname = default\n",
    );
    let text = fail2ban.jail("slow", true, "").replace("note[", "true[");
    fail2ban.write("jail.d/slow.conf", &text);
    fail2ban.command(&["reload", "--if-exists", "slow"]).await;
    let direct = Fail2banClient::start(Options::new(fail2ban.socket()));
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let agent = cluster.agent().client();

    let few = probes(&agent).await;
    let none = job(&client, &direct, "quick", QUICK).await;
    let with_action = job(&client, &direct, "slow", SLOW).await;
    fill(&direct).await;
    let many = probes(&agent).await;
    let sync = sync(&cluster, &client, &direct, &agent).await;
    let pages = pages(&client).await;
    let memory =
        format!("worker {:.0} MiB, agent {:.0} MiB at most", peak(cluster.workers[0].process.pid()), {
            peak(cluster.agent().process.as_ref().unwrap().pid())
        });
    let crowded = job(&client, &direct, "web", QUICK).await;
    vec![
        Figure { what: "a page of 100 of 100,000 bans over HTTP", aim: "under 20 ms", measured: pages },
        Figure {
            what: "a probe at 100,000 bans, as a ratio to one at none",
            aim: "about 1",
            measured: format!("{:.2} (p50 {many:.2} ms and {few:.2} ms, {PROBES} each)", many / few),
        },
        Figure { what: "sync of 100,000 bans", aim: "no target", measured: sync },
        Figure { what: "resident memory after it", aim: "sane", measured: memory },
        Figure { what: "ban job without an action", aim: "no target", measured: none },
        Figure { what: "ban job with the action `true`", aim: "no target", measured: with_action },
        Figure { what: "ban job without an action beside 100,000 bans", aim: "no target", measured: crowded },
    ]
}

fn address(n: u32) -> Network {
    let [_, b, c, d] = n.to_be_bytes();
    Network::from(std::net::IpAddr::from([10 + b, 20, c, d]))
}

/// Bans [`BANS`] addresses in `web`, past bangui, as fast as fail2ban takes it.
pub async fn fill(direct: &Fail2banClient) {
    let jail = JailName::parse("web").unwrap();
    let all: Vec<Network> = (0..BANS).map(address).collect();
    for some in all.chunks(25) {
        let deadline = tokio::time::Instant::now() + LONG;
        direct.ask(Command::Ban(jail.clone(), some.into()), deadline).await.unwrap();
    }
}

/// The median, in milliseconds.
async fn probes(agent: &AgentClient) -> f64 {
    let mut took = Vec::new();
    for _ in 0..PROBES {
        let begun = Instant::now();
        let outcome = agent.probe(Duration::from_secs(5)).await;
        took.push(millis(begun));
        assert!(matches!(outcome, ProbeOutcome::Answered(_)), "{outcome:?}");
    }
    quantile(&mut took, 0.5)
}

async fn pages(client: &Client) -> String {
    let bans = format!("/api/v1/servers/{SERVER}/jails/web/bans");
    let mut parts = Vec::new();
    for (name, query) in [("first", ""), ("deep", "&cursor=11.20.50.50"), ("search", "&q=10.20.77.")] {
        let path = format!("{bans}?limit=100{query}");
        let mut took = Vec::new();
        for _ in 0..PAGES {
            let begun = Instant::now();
            let page = client.get(&path).await;
            took.push(millis(begun));
            assert_eq!(page.expect(200).body["items"].as_array().map(Vec::len), Some(100), "{}", page.text);
        }
        parts.push(format!(
            "{name} p50 {:.1} ms, p99 {:.1} ms",
            quantile(&mut took, 0.5),
            quantile(&mut took, 0.99)
        ));
    }
    format!("{} ({PAGES} each)", parts.join("; "))
}

/// The time from the request for a probe until the list is there, and how long other clients of fail2ban and Redis waited.
async fn sync(cluster: &Cluster, client: &Client, direct: &Fail2banClient, agent: &AgentClient) -> String {
    let begun = Instant::now();
    agent.bans(&JailName::parse("web").unwrap()).await.unwrap();
    let pulled = millis(begun);
    cluster.redis.command::<()>(&["CONFIG", "SET", "slowlog-log-slower-than", "500"]).await;
    cluster.redis.command::<()>(&["SLOWLOG", "RESET"]).await;
    let begun = Instant::now();
    client.post(&format!("/api/v1/servers/{SERVER}/probe"), json!({})).await.expect(202);
    let listed = eventually("the whole list", LONG, || async {
        let page = client.get(&format!("/api/v1/servers/{SERVER}/jails/web/bans?limit=1")).await;
        page.body["items"].as_array().is_some_and(|items| !items.is_empty()).then(|| millis(begun))
    });
    let (took, longest_ping) = beside(direct, listed).await;
    let slow: Vec<redis::Value> = cluster.redis.command(&["SLOWLOG", "GET", "128"]).await;
    let longest = slow.into_iter().filter_map(|entry| {
        let redis::Value::Array(entry) = entry else { return None };
        redis::from_redis_value::<u64>(entry.get(2)?.clone()).ok()
    });
    let longest = longest
        .max()
        .map_or("under 0.5".to_owned(), |us| format!("{:.1}", Duration::from_micros(us).as_secs_f64() * 1e3));
    format!(
        "{took:.0} ms from the request to the list ({pulled:.0} ms for the agent's answer alone); longest other command: \
         fail2ban {longest_ping:.0} ms, Redis {longest} ms"
    )
}

/// Runs a ban job; returns its bans a second, and how long another client had to wait for fail2ban.
async fn job(client: &Client, direct: &Fail2banClient, jail: &str, count: u32) -> String {
    let ips: Vec<String> = (0..count).map(|n| String::from(address(5_000_000 + n))).collect();
    let begun = Instant::now();
    let put =
        client.post(&format!("/api/v1/servers/{SERVER}/jails/{jail}/bans"), json!({ "ips": ips })).await;
    let path = put.expect(202).headers["location"].to_str().unwrap().to_owned();
    let ended = eventually("the end of the job", LONG, || async {
        let job = client.get(&path).await;
        (job.body["finished_at"] != Value::Null).then(|| (begun.elapsed().as_secs_f64(), job.body.clone()))
    });
    let ((took, job), longest) = beside(direct, ended).await;
    assert_eq!((&job["state"], &job["changed"]), (&json!("done"), &json!(count)), "{job}");
    format!(
        "{:.0} bans a second ({count} addresses); longest ping of fail2ban in that time {longest:.0} ms",
        f64::from(count) / took
    )
}

/// Pings fail2ban on a separate connection until `work` is done; the longest, in milliseconds.
async fn beside<T>(direct: &Fail2banClient, work: impl Future<Output = T>) -> (T, f64) {
    let mut work = std::pin::pin!(work);
    let mut longest = 0f64;
    loop {
        let pinged = async {
            let begun = Instant::now();
            direct.ask(Command::Ping, tokio::time::Instant::now() + LONG).await.unwrap();
            let took = millis(begun);
            tokio::time::sleep(Duration::from_millis(5)).await;
            took
        };
        // A ping that is under way when the work ends is not counted.
        tokio::select! {
            done = work.as_mut() => return (done, longest),
            took = pinged => longest = longest.max(took),
        }
    }
}

pub fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// The peak resident memory of the process, in MiB.
fn peak(pid: rustix::process::Pid) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
}
