//! A primary, a replica and three Sentinels, each a process with its own port.
//!
//! The Sentinels have a separate user on both Redises, so that a test can cut them off from one that keeps answering everybody
//! else.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;

use redis::FromRedisValue;
use rustix::process::Signal;

use super::process::{Child, program};
use super::redis::{Redis, USER, USER_PASSWORD};
use super::{SOON, eventually, folder};

/// What the Sentinels call the primary.
pub const NAME: &str = "main";
/// The Sentinels' user, with all rights.
pub const SENTINEL_USER: &str = "sentinel";
const SENTINEL_PASSWORD: &str = "password-of-the-sentinels";
/// How long a Redis may not answer before a Sentinel takes it for down.
const DOWN_AFTER_MS: u32 = 1000;

/// The Sentinels and the replica; the primary is the Redis of the test's `Cluster`.
pub struct Sentinels {
    pub replica: Redis,
    pub replica_port: u16,
    primary_port: u16,
    ports: Vec<u16>,
    processes: Vec<Child>,
    folder: tempfile::TempDir,
}

/// A free port, for a program that needs its number beforehand. It lies below those that the system gives to
/// outgoing connections, which could otherwise take it before the program listens.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let outgoing: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    loop {
        let port = rand::random_range(10_000..outgoing);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

async fn redis(port: u16, more: &[&str]) -> Redis {
    let port = port.to_string();
    let password = format!(">{SENTINEL_PASSWORD}");
    let mut arguments = vec!["--port", &port, "--appendonly", "yes", "--repl-diskless-sync-delay", "0"];
    arguments.extend(["--user", SENTINEL_USER, "on", &password, "allcommands", "allkeys", "allchannels"]);
    arguments.extend(more);
    Redis::start_with(&arguments).await
}

fn configuration(port: u16, primary_port: u16, folder: &Path) -> String {
    format!(
        "port {port}\nbind 127.0.0.1\ndaemonize no\ndir {}\n\
         sentinel monitor {NAME} 127.0.0.1 {primary_port} 2\n\
         sentinel auth-user {NAME} {SENTINEL_USER}\nsentinel auth-pass {NAME} {SENTINEL_PASSWORD}\n\
         sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\nsentinel failover-timeout {NAME} 10000\n",
        folder.display()
    )
}

/// Starts all processes, and waits until the Sentinels know one another.
pub async fn start() -> (Redis, Sentinels) {
    let (primary_port, replica_port) = (free_port(), free_port());
    let primary = redis(primary_port, &[]).await;
    let replica = redis(replica_port, &["--replicaof", "127.0.0.1", &primary_port.to_string()]).await;
    let folder = folder();
    let mut ports = Vec::new();
    let mut processes = Vec::new();
    for n in 0..3 {
        let port = free_port();
        processes.push(Sentinels::process(
            n,
            folder.path(),
            &configuration(port, primary_port, folder.path()),
        ));
        ports.push(port);
    }
    let sentinels = Sentinels { replica, replica_port, primary_port, ports, processes, folder };
    for n in 0..3 {
        eventually("a Sentinel to know the replica and the other two", SOON * 2, || async {
            let info: String = sentinels.ask(n, &["INFO", "sentinel"]).await?;
            info.contains("status=ok").then_some(())?;
            info.contains("slaves=1,sentinels=3").then_some(())
        })
        .await;
    }
    (primary, sentinels)
}

impl Sentinels {
    /// One Sentinel with this configuration.
    pub fn process(n: usize, folder: &Path, configuration: &str) -> Child {
        std::fs::write(folder.join(format!("sentinel-{n}.conf")), configuration).unwrap();
        Self::resumed(n, folder)
    }

    /// Starts one with the configuration file as that Sentinel has rewritten it.
    fn resumed(n: usize, folder: &Path) -> Child {
        let file = folder.join(format!("sentinel-{n}.conf"));
        let mut command = program("redis-server");
        command.arg(&file).arg("--sentinel");
        Child::start(&format!("sentinel {n}"), command)
    }

    /// Kills one.
    pub fn kill(&self, n: usize) {
        self.processes[n].kill();
    }

    /// Stops one, which then accepts connections and answers nothing; or lets it continue.
    pub fn pause(&self, n: usize, paused: bool) {
        self.processes[n].signal(if paused { Signal::STOP } else { Signal::CONT });
    }

    /// Starts a killed one again: with all it knew, or, as from an old disk, with its first configuration.
    pub fn restart(&mut self, n: usize, with_all_it_knew: bool) {
        self.processes[n] = if with_all_it_knew {
            Self::resumed(n, self.folder.path())
        } else {
            let configuration = configuration(self.ports[n], self.primary_port, self.folder.path());
            Self::process(n, self.folder.path(), &configuration)
        };
    }

    /// The port of the primary that Sentinel `n` names.
    pub async fn names(&self, n: usize) -> Option<String> {
        let address: (String, String) = self.ask(n, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).await?;
        Some(address.1)
    }

    /// The first primary's port.
    pub fn first_port(&self) -> String {
        self.primary_port.to_string()
    }

    /// `BANGUI_REDIS_URL`.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{USER}:{USER_PASSWORD}@{}/{NAME}", hosts.join(","))
    }

    /// Asks one of the Sentinels.
    pub async fn ask<T: FromRedisValue>(&self, n: usize, words: &[&str]) -> Option<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.ports[n])).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut connection).await.ok()
    }

    /// Waits until a Sentinel names the replica as the primary, and the replica agrees.
    pub async fn failed_over(&self) {
        let port = self.replica_port.to_string();
        eventually("Sentinel to make the replica the primary", SOON * 2, || async {
            let mut named = false;
            for n in 0..3 {
                let address = self.ask(n, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).await;
                named |= address.is_some_and(|address: (String, String)| address.1 == port);
            }
            (named && role(&self.replica).await? == "master").then_some(())
        })
        .await;
    }

    /// Waits until the replica has all that the primary has now.
    pub async fn replicated(&self, primary: &Redis) {
        let value = format!("{:?}", std::time::Instant::now());
        primary.command::<()>(&["SET", "marker-of-the-test", &value]).await;
        eventually("the replica to follow", SOON, || async {
            let there: Option<String> = self.replica.command(&["GET", "marker-of-the-test"]).await;
            (there.as_ref() == Some(&value)).then_some(())
        })
        .await;
    }
}

/// The role that this Redis reports; none while Sentinel closes its connections.
pub async fn role(redis: &Redis) -> Option<String> {
    let mut connection = redis.try_connect().await?;
    let info: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await.ok()?;
    Some(info.lines().find_map(|line| line.strip_prefix("role:"))?.trim().to_owned())
}

/// How many connections of bangui this Redis has.
pub async fn connections(redis: &Redis) -> usize {
    let list: String = redis.command(&["CLIENT", "LIST"]).await;
    list.lines().filter(|line| line.contains(&format!("user={USER} "))).count()
}
