//! Workers behind HAProxy with the configuration of `docker-compose.yml`, except for addresses: for walks during which workers
//! come and go.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::cluster::server_is;
use crate::support::process::{Child, program};
use crate::support::sentinel::free_port;
use crate::support::worker::Worker;
use crate::support::{Client, Cluster, PASSWORD, SETUP_TOKEN, SOON, eventually, folder};

const CONFIGURATION: &str = include_str!("../../.deploy/haproxy.cfg");
/// The load balancer connects to workers from this address, so that the address of the browser is not that of a trusted proxy.
const PROXY: &str = "127.0.0.2";
/// Places for workers, as many as that configuration has.
const PLACES: usize = 12;
/// Longer than the load balancer takes to see that a worker drains: 2 s.
const DRAIN_SECONDS: &str = "3";

/// A cluster behind its load balancer.
pub struct Balanced {
    pub cluster: Cluster,
    pub address: SocketAddr,
    /// Workers that are draining.
    pub leaving: Vec<Worker>,
    places: Vec<u16>,
    folder: tempfile::TempDir,
    haproxy: Child,
}

impl Balanced {
    /// Three workers of a bangui that is not set up yet. fail2ban on `web-1` runs `sshd` and `slow`, whose bans take a tenth of a
    /// second; `late` and `bad` are off, and fail2ban cannot run `bad`.
    pub async fn start() -> Self {
        let mut cluster = Cluster::with_fail2ban(0)
            .jails(&["sshd"])
            .env("BANGUI_TRUSTED_PROXIES", PROXY)
            .env("BANGUI_DRAIN_SECONDS", DRAIN_SECONDS)
            .start_surroundings()
            .await
            .0;
        more_jails(&mut cluster).await;
        let places: Vec<u16> = (0..PLACES).map(|_| free_port()).collect();
        let (folder, port) = (folder(), free_port());
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration(port, &places)).unwrap();
        let mut command = program("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        let haproxy = Child::start("haproxy", command);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut balanced = Self { cluster, address, leaving: Vec::new(), places, folder, haproxy };
        for _ in 0..3 {
            balanced.add(Path::new(env!("CARGO_BIN_EXE_bangui"))).await;
        }
        balanced.checked().await;
        balanced
    }

    /// The same, set up, and with every server checked.
    pub async fn set_up() -> Self {
        let balanced = Self::start().await;
        let setup = json!({ "password": PASSWORD, "token": SETUP_TOKEN });
        balanced.client().post("/api/v1/setup", setup).await.expect(201);
        server_is(&balanced.client().logged_in().await, "up").await;
        balanced
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A client that asks as browsers do, through the load balancer.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Starts one more worker of that binary in a free place.
    pub async fn add(&mut self, binary: &Path) {
        let port = self.places.pop().expect("a place for one more worker");
        self.cluster.workers.push(self.worker(binary, port).await);
    }

    /// Starts a killed worker in its place.
    pub async fn revive(&mut self, n: usize) {
        let port = self.cluster.workers[n].address.port();
        self.cluster.workers[n] = self.worker(Path::new(env!("CARGO_BIN_EXE_bangui")), port).await;
    }

    async fn worker(&self, binary: &Path, port: u16) -> Worker {
        let mut command = program(binary);
        command.arg("serve").envs(&self.cluster.environment);
        command.env("BANGUI_LISTEN", format!("127.0.0.1:{port}"));
        let worker = Worker::listening(Child::start(&format!("worker at {port}"), command)).await;
        worker.ready(SOON).await;
        worker
    }

    /// Waits until the load balancer knows which places are empty: until its first check it treats each as a worker. (In Docker
    /// it knows from the start, since an empty place has no address.)
    async fn checked(&self) {
        for place in &self.places {
            let down = format!("Server workers/worker{place} is DOWN");
            self.haproxy.line(&down, SOON, |line| line.contains(&down).then_some(())).await;
        }
        let client = self.client();
        eventually("the load balancer to know a worker", SOON, || async {
            let asked = client.request(reqwest::Method::GET, "/readyz");
            client.try_send(asked).await.ok()?.status.is_success().then_some(())
        })
        .await;
    }

    /// The binary of the neighbouring version: `BANGUI_TEST_NEIGHBOUR`, or this one with its assets under another hash,
    /// which is all that a page knows about a version.
    pub fn neighbour(&self, assets: &str) -> PathBuf {
        if let Some(path) = std::env::var_os("BANGUI_TEST_NEIGHBOUR") {
            return path.into();
        }
        let path = self.folder.path().join("neighbour");
        let other: String = assets.chars().rev().collect();
        let mut sed = std::process::Command::new("sed");
        sed.env("LC_ALL", "C").arg(format!("s/{assets}/{other}/g")).arg(env!("CARGO_BIN_EXE_bangui"));
        let made = sed.stdout(std::fs::File::create(&path).unwrap()).status().unwrap();
        assert!(made.success(), "sed: {made}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

async fn more_jails(cluster: &mut Cluster) {
    let fail2ban = cluster.fail2ban();
    let slow = "[Definition]\nactionban = sleep 0.1\nactionunban =\n[Init]\nname = default\n";
    fail2ban.write("action.d/slow.conf", slow);
    fail2ban.write("jail.d/slow.conf", &fail2ban.jail("slow", true, "").replace("note[", "slow["));
    fail2ban.write("jail.d/late.conf", &fail2ban.jail("late", false, ""));
    fail2ban.write("filter.d/open.conf", "[Definition]\nfailregex = ^login (failed <b>from <ADDR>$\n");
    let bad = fail2ban.jail("bad", false, "").replace("filter = app", "filter = open");
    fail2ban.write("jail.d/bad.conf", &bad);
    fail2ban.command(&["reload", "--if-exists", "slow"]).await;
}

/// The configuration of `docker-compose.yml`, with addresses of this machine in place of Docker's names.
fn configuration(port: u16, places: &[u16]) -> String {
    let servers: Vec<String> = places
        .iter()
        .map(|port| format!("    server worker{port} 127.0.0.1:{port} check source {PROXY}"))
        .collect();
    let (before, rest) =
        CONFIGURATION.split_once("resolvers docker\n").expect("the section of Docker's resolver");
    let (_, after) = rest.split_once("\n\n").expect("a section after it");
    let mut text = format!("{before}{after}");
    for (theirs, ours) in [
        ("bind :8080", format!("bind 127.0.0.1:{port}")),
        (" resolvers docker init-addr none", String::new()),
        ("    server-template worker 12 worker:8080 check", servers.join("\n")),
    ] {
        assert_eq!(text.matches(theirs).count(), 1, "{theirs} in .deploy/haproxy.cfg");
        text = text.replace(theirs, &ours);
    }
    text
}
