//! A Redis Cluster of six nodes: three masters, each with a replica. The first master, the "owner", owns the slot of the tests' keys;
//! it is the Redis of the test's `Cluster`. This module has the others.
//!
//! The nodes talk to one another through a proxy each, so that the owner can be cut off from the others while clients still reach
//! every node.

use std::net::{IpAddr, Ipv4Addr};

use bangui::store::connection::acl::CLUSTER_RIGHTS;
use redis::FromRedisValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::cluster::PREFIX;
use super::redis::{Redis, USER, USER_PASSWORD};
use super::sentinel::free_port;
use super::{SOON, eventually};

/// How long a node may not answer before the others take it for failed.
const NODE_TIMEOUT_MS: u32 = 1000;
/// The source address of the owner's connections to the others.
const OWNER_SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const RANGES: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

/// The nodes other than the owner.
pub struct RedisCluster {
    /// The other two masters.
    pub masters: [Redis; 2],
    /// The replica of the owner.
    pub replica: Redis,
    /// The replicas of the other two masters.
    pub replicas: [Redis; 2],
    /// The ports of the owner, the masters, the replica, and the replicas.
    pub ports: [u16; 6],
    /// Their ids, in the same order.
    pub ids: [String; 6],
    pub slot: String,
    owner_is_cut_off: watch::Sender<bool>,
}

// Indexes into `ports` and `ids`.
pub const OWNER: usize = 0;
pub const MASTERS: [usize; 2] = [1, 2];
pub const REPLICA: usize = 3;

/// Starts all nodes, and waits until each knows all others and every replica follows.
pub async fn start() -> (Redis, RedisCluster) {
    let ports = std::array::from_fn(|_| free_port());
    let (owner_is_cut_off, cut_off) = watch::channel(false);
    let mut nodes = Vec::new();
    let mut buses = Vec::new();
    for (n, port) in ports.iter().enumerate() {
        let bus = free_port();
        let announced = bus_proxy(bus, n == OWNER, cut_off.clone()).await;
        nodes.push(node(*port, bus, announced, n == OWNER).await);
        buses.push(announced);
    }
    let slot: u16 = nodes[0].command(&["CLUSTER", "KEYSLOT", &format!("{{{PREFIX}}}:")]).await;
    let mut ranges = RANGES;
    let has_it =
        |(first, last): &(&str, &str)| (first.parse().unwrap()..=last.parse().unwrap()).contains(&slot);
    let at = ranges.iter().position(has_it).unwrap();
    ranges.swap(0, at);
    let mut ids = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        ids.push(node.command::<String>(&["CLUSTER", "MYID"]).await);
        node.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]).await;
        if let Some((first, last)) = ranges.get(n) {
            node.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
        }
    }
    for node in &nodes {
        for (port, bus) in ports.iter().zip(&buses) {
            node.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port.to_string(), &bus.to_string()]).await;
        }
    }
    for node in &nodes {
        eventually("a node to know all others", SOON, || async {
            let known: String = node.command(&["CLUSTER", "NODES"]).await;
            (known.lines().count() == 6 && !known.contains("handshake") && !known.contains("disconnected"))
                .then_some(())
        })
        .await;
    }
    for n in 0..3 {
        nodes[n + 3].command::<()>(&["CLUSTER", "REPLICATE", &ids[n]]).await;
    }
    for (n, node) in nodes.iter().enumerate() {
        eventually("the cluster to be complete", SOON, || async {
            let state: String = node.command(&["CLUSTER", "INFO"]).await;
            let known: String = node.command(&["CLUSTER", "NODES"]).await;
            let link: String = node.command(&["INFO", "replication"]).await;
            let replicas = known.lines().filter(|line| line.contains("slave ")).count();
            let in_step = if n < 3 { "state=online" } else { "master_link_status:up" };
            (state.contains("cluster_state:ok") && replicas == 3 && link.contains(in_step)).then_some(())
        })
        .await;
    }
    let mut nodes = nodes.into_iter();
    let mut next = || nodes.next().unwrap();
    let (owner, masters, replica, replicas) = (next(), [next(), next()], next(), [next(), next()]);
    let ids = ids.try_into().unwrap();
    let slot = slot.to_string();
    (owner, RedisCluster { masters, replica, replicas, ports, ids, slot, owner_is_cut_off })
}

async fn node(port: u16, bus: u16, announced: u16, is_owner: bool) -> Redis {
    let [port, bus, announced, timeout] =
        [port.into(), bus.into(), announced.into(), NODE_TIMEOUT_MS].map(|n: u32| n.to_string());
    let mut arguments =
        vec!["--port", &port, "--cluster-port", &bus, "--cluster-announce-bus-port", &announced];
    arguments.extend(["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
    arguments.extend(["--cluster-node-timeout", &timeout, "--cluster-replica-validity-factor", "0"]);
    arguments.extend(["--cluster-allow-replica-migration", "no", "--appendonly", "yes"]);
    // Redis does not count 127.0.0.2 as a loopback address.
    arguments.extend(["--repl-diskless-sync-delay", "0", "--bind", "127.0.0.1", "--protected-mode", "no"]);
    let source = OWNER_SOURCE.to_string();
    if is_owner {
        arguments.extend(["--bind-source-addr", &source]);
    }
    let redis = Redis::start_with(&arguments).await;
    let [nodes, slots] = CLUSTER_RIGHTS;
    redis.command::<()>(&["ACL", "SETUSER", USER, nodes, slots]).await;
    redis
}

/// Starts a proxy in front of the bus port of a node; returns its port.
async fn bus_proxy(bus: u16, is_owners: bool, cut_off: watch::Receiver<bool>) -> u16 {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((down, from)) = listener.accept().await else { return };
            let mut cut_off = cut_off.clone();
            let concerned = is_owners || from.ip() == OWNER_SOURCE;
            if cut_off.has_changed().is_err() {
                return;
            }
            tokio::spawn(async move {
                let Ok(up) = TcpStream::connect(("127.0.0.1", bus)).await else { return };
                let (mut down, mut up) = (down, up);
                tokio::select! {
                    biased;
                    // An error is the end of the test.
                    _ = cut_off.wait_for(|cut_off| *cut_off && concerned) => {}
                    _ = tokio::io::copy_bidirectional(&mut down, &mut up) => {}
                }
            });
        }
    });
    port
}

impl RedisCluster {
    /// `BANGUI_REDIS_URL` with these nodes.
    pub fn url(&self, ports: &[u16]) -> String {
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+cluster://{USER}:{USER_PASSWORD}@{}", hosts.join(","))
    }

    /// Cuts the links between the owner and the others. The owner does not notice; clients reach it as before.
    pub async fn cut_off(&self, owner: &Redis) {
        owner.command::<()>(&["CONFIG", "SET", "cluster-node-timeout", "600000"]).await;
        self.owner_is_cut_off.send_replace(true);
    }

    /// Restores the links that [`Self::cut_off`] cut.
    pub fn connect_again(&self) {
        self.owner_is_cut_off.send_replace(false);
    }

    /// Waits until the `asked` nodes report that `node` owns the slot.
    pub async fn owner_is(&self, node: usize, asked: &[&Redis]) {
        for redis in asked {
            eventually("a node to name the new owner", SOON * 2, || async {
                let nodes: String = try_command(redis, &["CLUSTER", "NODES"]).await?;
                (owner_in(&nodes, &self.slot)? == self.ids[node]).then_some(())
            })
            .await;
        }
    }

    /// Waits until the replica is the owner.
    pub async fn failed_over(&self) {
        self.owner_is(REPLICA, &[&self.replica, &self.masters[0], &self.masters[1]]).await;
    }

    /// Starts moving the slot from one node to another.
    pub async fn begin_to_move(&self, (from, from_n): (&Redis, usize), (to, to_n): (&Redis, usize)) {
        to.command::<()>(&["CLUSTER", "SETSLOT", &self.slot, "IMPORTING", &self.ids[from_n]]).await;
        from.command::<()>(&["CLUSTER", "SETSLOT", &self.slot, "MIGRATING", &self.ids[to_n]]).await;
    }

    /// Moves up to `most` keys; returns how many it moved.
    pub async fn move_keys(&self, from: &Redis, to_n: usize, most: usize) -> usize {
        let mut connection = from.connection().await;
        let keys: Vec<Vec<u8>> = redis::cmd("CLUSTER")
            .arg("GETKEYSINSLOT")
            .arg(&self.slot)
            .arg(most)
            .query_async(&mut connection)
            .await
            .unwrap();
        if !keys.is_empty() {
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(self.ports[to_n]).arg("").arg(0).arg(5000).arg("KEYS").arg(&keys);
            migrate.exec_async(&mut connection).await.unwrap();
        }
        keys.len()
    }

    /// Moves the remaining keys, and gives the slot to the other node.
    pub async fn end_move(&self, from: &Redis, (to, to_n): (&Redis, usize)) {
        while self.move_keys(from, to_n, 10).await > 0 {}
        let words = ["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.ids[to_n]];
        to.command::<()>(&words).await;
        from.command::<()>(&words).await;
    }
}

/// The id of the owner of a slot, from the output of `CLUSTER NODES`.
fn owner_in(nodes: &str, slot: &str) -> Option<String> {
    let slot: u16 = slot.parse().unwrap();
    let owns = |line: &&str| {
        let mut ranges = line.split(' ').skip(8).filter(|range| !range.starts_with('['));
        line.contains("master")
            && ranges.any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                (first.parse().unwrap()..=last.parse().unwrap()).contains(&slot)
            })
    };
    nodes.lines().find(owns)?.split(' ').next().map(str::to_owned)
}

/// Runs one command on a node that may not answer.
pub async fn try_command<T: FromRedisValue>(redis: &Redis, words: &[&str]) -> Option<T> {
    let mut connection = redis.try_connect().await?;
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command.query_async(&mut connection).await.ok()
}
