//! `?discover=dns`: one server for each address of a name, named and authenticated by its agent, the same on every worker.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bangui::domain::discovery::GONE_AFTER;
use bangui::domain::{Discoveries, ServerName};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::agent::AGENT_TOKEN;
use crate::support::browser::Browser;
use crate::support::cluster::PREFIX;
use crate::support::fail2ban::Fail2ban;
use crate::support::names::Names;
use crate::support::process::Child;
use crate::support::tls::{Ca, TlsAgent};
use crate::support::worker::Worker;
use crate::support::{Client, Cluster, SOON, eventually, folder};

/// Long enough for the next discovery (every 10 s) and the probe after it.
const LOOK: Duration = Duration::from_secs(40);
const NAME: &str = "agents.test";

/// An address that only this machine has.
fn ip(last: u8) -> IpAddr {
    [127, 0, 7, last].into()
}

/// Everything around the agents: names, a CA, a port that all agents share, and two workers.
struct Stage {
    cluster: Cluster,
    names: Names,
    ca: Ca,
    port: u16,
    folder: tempfile::TempDir,
}

impl Stage {
    /// The surroundings, without agents and workers.
    async fn new() -> Self {
        let (mut cluster, _) = Cluster::bare(0).start_surroundings().await;
        let (folder, ca) = (folder(), Ca::new());
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, ca.pem()).unwrap();
        // Free on all addresses: tests that run beside this one use other loopback addresses.
        let port = TcpListener::bind("0.0.0.0:0").await.unwrap().local_addr().unwrap().port();
        let environment = [
            ("BANGUI_SERVERS", format!("nodes=https://{NAME}:{port}?discover=dns")),
            ("BANGUI_AGENT_TOKEN", AGENT_TOKEN.to_owned()),
            ("BANGUI_AGENT_CA", path.display().to_string()),
        ];
        cluster.environment.extend(environment.map(|(name, value)| (name.to_owned(), value)));
        Self { cluster, names: Names::new(), ca, port, folder }
    }

    fn at(&self, last: u8) -> SocketAddr {
        (ip(last), self.port).into()
    }

    fn resolve(&self, last: &[u8]) {
        self.names.set(NAME, &last.iter().map(|n| ip(*n)).collect::<Vec<_>>());
    }

    async fn agent(&self, name: &str, last: u8) -> TlsAgent {
        TlsAgent::start_at(&self.ca, &[name], self.at(last), None).await
    }

    /// Starts two workers; a client of the first.
    async fn workers(&mut self) -> Client {
        for n in 0..2 {
            let mut command = self.names.bangui("serve");
            command.envs(&self.cluster.environment);
            let worker = Worker::listening(Child::start(&format!("worker {n}"), command)).await;
            worker.ready(SOON).await;
            self.cluster.workers.push(worker);
        }
        self.cluster.post_setup(0).await.expect(201);
        self.cluster.client(0).logged_in().await
    }

    /// Waits until every worker lists these servers in these conditions.
    async fn shown(&self, client: &Client, expected: &[(&str, &str)]) {
        for worker in &self.cluster.workers {
            let client = client.at(worker.address);
            eventually(&format!("{expected:?} on every worker"), LOOK, || async {
                let servers = servers(&client).await;
                let found: Vec<(&str, &str)> = servers
                    .iter()
                    .map(|one| (one["name"].as_str().unwrap(), one["status"]["condition"].as_str().unwrap()))
                    .collect();
                (found == expected).then_some(())
            })
            .await;
        }
    }

    /// Waits until the job's outcome, which the cluster's page shows, says this.
    async fn outcome_says(&self, client: &Client, words: &str) {
        eventually(&format!("{words:?} in the outcome"), LOOK, || async {
            let view = client.get("/api/v1/cluster").await.body;
            let job = view["jobs"].as_array()?.iter().find(|job| job["name"] == "discover")?.clone();
            job["last_outcome"].as_str()?.contains(words).then_some(())
        })
        .await;
    }
}

async fn servers(client: &Client) -> Vec<Value> {
    client.get("/api/v1/servers").await.expect(200).body["items"].as_array().unwrap().clone()
}

/// A server with a certificate that answers everything as an agent of that name would. Records what it was sent.
async fn liar(listen: SocketAddr, tls: Arc<ServerConfig>, name: &'static str) -> Arc<Mutex<String>> {
    let listener = TcpListener::bind(listen).await.unwrap();
    let heard = Arc::new(Mutex::new(String::new()));
    let all = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, all) = (TlsAcceptor::from(Arc::clone(&tls)), Arc::clone(&all));
            tokio::spawn(async move {
                let Ok(mut stream) = tls.accept(stream).await else { return };
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    all.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
                    let body = json!({ "name": name, "agent_version": "0.1.0", "fail2ban_version": null,
                        "probes": 0, "backend_detections": 0 })
                    .to_string();
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    heard
}

#[tokio::test]
async fn each_address_of_a_name_is_a_server_named_by_its_agent_wherever_it_comes_back() {
    let mut stage = Stage::new().await;
    let fail2ban = Fail2ban::start(&["app"]).await;
    let beside = (fail2ban.socket(), fail2ban.config());
    let beside = Some((beside.0.as_path(), beside.1.as_path()));
    let first = TlsAgent::start_at(&stage.ca, &["Node-1", "localhost"], stage.at(2), beside).await;
    let second = stage.agent("node-2", 3).await;
    stage.resolve(&[2, 3]);
    let client = stage.workers().await;
    stage.shown(&client, &[("node-1", "up"), ("node-2", "down")]).await;
    stage.outcome_says(&client, "ok").await;
    // Every worker reaches them, not only the leader.
    for worker in &stage.cluster.workers {
        let jails = client.at(worker.address).get("/api/v1/servers/node-1/jails").await;
        assert_eq!(jails.expect(200).body["items"][0]["name"], "app", "{}", jails.text);
    }
    let name = ServerName::parse("node-2").unwrap();
    let revision = stage.cluster.store();
    eventually("the store", SOON, || async { revision.available().ok() }).await;
    let before = revision.server(&name).await.unwrap();

    // The pod comes back under another address, and its old one is somebody else's by then.
    drop(second);
    let _third = stage.agent("node-3", 3).await;
    let _again = stage.agent("node-2", 4).await;
    stage.resolve(&[2, 3, 4]);
    stage.shown(&client, &[("node-1", "up"), ("node-2", "down"), ("node-3", "down")]).await;
    let after = revision.server(&name).await.unwrap();
    assert!(after.revision > before.revision, "its state continues");
    assert_eq!(revision.discoveries().await.unwrap().servers[&name].address, stage.at(4));

    // Another agent claims the name of the first one: the first stays, and the conflict is reported.
    let _impostor = stage.agent("node-1", 5).await;
    stage.resolve(&[2, 3, 4, 5]);
    let conflict = format!(
        "the agent at {} reports the name node-1, which the agent at {} already has",
        stage.at(5),
        stage.at(2)
    );
    stage.outcome_says(&client, &conflict).await;
    let log = || stage.cluster.workers.iter().any(|worker| worker.process.printed().contains(&conflict));
    eventually("it in the log", SOON, || async { log().then_some(()) }).await;
    stage.shown(&client, &[("node-1", "up"), ("node-2", "down"), ("node-3", "down")]).await;
    assert_eq!(servers(&client).await[0]["status"]["active_jails"], 1);

    // If DNS does not answer, no server is removed.
    stage.resolve(&[]);
    stage.outcome_says(&client, "cannot be resolved").await;
    assert_eq!(servers(&client).await.len(), 3);

    // A server that is gone stays, unreachable, for a while; then it is removed with its state.
    drop(first);
    stage.resolve(&[3, 4]);
    stage.outcome_says(&client, "ok").await;
    stage.shown(&client, &[("node-1", "unreachable"), ("node-2", "down"), ("node-3", "down")]).await;
    eventually("it to be missed", LOOK, || async { age(&stage, "node-1").await }).await;
    stage.shown(&client, &[("node-2", "down"), ("node-3", "down")]).await;
    client.get("/api/v1/servers/node-1").await.problem(404);
    let keys = stage.cluster.redis.keys().await;
    let left: Vec<_> =
        keys.iter().map(|key| String::from_utf8_lossy(key)).filter(|key| key.contains("node-1")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Backdates a server's absence beyond the limit; none if it is not missing yet.
async fn age(stage: &Stage, name: &str) -> Option<()> {
    let mut redis = stage.cluster.redis.connection().await;
    let key = format!("{{{PREFIX}}}:discovered");
    let stored: Vec<u8> = redis::cmd("HGET").arg(&key).arg("servers").query_async(&mut redis).await.unwrap();
    let mut servers: Discoveries = rmp_serde::from_slice(&stored).unwrap();
    let since = servers.get_mut(&ServerName::parse(name).unwrap())?.missing_since.as_mut()?;
    *since -= GONE_AFTER;
    let stored = rmp_serde::to_vec_named(&servers).unwrap();
    redis::cmd("HSET").arg(&key).arg("servers").arg(stored).query_async::<()>(&mut redis).await.unwrap();
    Some(())
}

#[tokio::test]
async fn a_name_is_trusted_only_by_certificate_and_the_token_is_only_for_agents_of_the_ca() {
    let mut stage = Stage::new().await;
    let _honest = stage.agent("node-1", 12).await;
    let other = Ca::new();
    let stranger = liar(stage.at(13), other.server(&["node-2"]), "node-2").await;
    let liar = liar(stage.at(14), stage.ca.server(&["node-4"]), "node-3").await;
    stage.resolve(&[12, 13, 14]);
    let client = stage.workers().await;
    stage.shown(&client, &[("node-1", "down")]).await;
    stage.outcome_says(&client, "it reports the name node-3, which its certificate does not carry").await;
    stage.outcome_says(&client, "set BANGUI_AGENT_CA").await;
    assert!(liar.lock().unwrap().contains("/v1/info"), "it was asked");
    assert_eq!(*stranger.lock().unwrap(), "", "a stranger was sent something");
    assert_eq!(servers(&client).await.len(), 1);

    // `check` reports the same.
    let mut command = stage.names.bangui("check");
    command.envs(&stage.cluster.environment);
    let (code, printed) = Child::run("bangui check", command, SOON).await;
    assert_eq!(code, Some(1), "{printed}");
    for words in [
        "agents.test resolves to 3 addresses",
        "it reports the name node-3, which its certificate does not carry",
        "agent node-1          answers",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    assert!(!printed.contains("agent node-2") && !printed.contains("agent node-3"), "{printed}");
}

#[tokio::test]
async fn without_a_ca_nobody_takes_the_name_of_a_node_with_another_certificate() {
    let mut stage = Stage::new().await;
    let worker = Ca::self_signed();
    let file = |name: &str, text: &str| {
        std::fs::write(stage.folder.path().join(name), text).unwrap();
        stage.folder.path().join(name).display().to_string()
    };
    let environment = [
        ("BANGUI_SERVERS", format!("nodes=https://{NAME}:{}?discover=dns&trust=first-use", stage.port)),
        ("BANGUI_WORKER_CERT", file("worker.crt", &worker.0)),
        ("BANGUI_WORKER_KEY", file("worker.key", &worker.1)),
    ];
    stage.cluster.environment.extend(environment.map(|(name, value)| (name.to_owned(), value)));
    for name in ["BANGUI_AGENT_CA", "BANGUI_AGENT_TOKEN"] {
        stage.cluster.environment.remove(name);
    }
    // Each node has made its own certificate: there is no common CA.
    let (first, second) = (Ca::new(), Ca::new());
    let own = first.sign(&["node-1"]);
    let start = async |own: (String, String), name: &str, at: SocketAddr| {
        TlsAgent::start_own(own, &worker.0, &[name], at).await
    };
    let node_1 = start(own.clone(), "node-1", stage.at(22)).await;
    let _node_2 = start(second.sign(&["node-2"]), "node-2", stage.at(23)).await;
    stage.resolve(&[22, 23]);
    // A node whose owner waits for node-1 to be away, with a home-made certificate.
    let impostor = start(second.sign(&["node-1"]), "node-1", stage.at(24)).await;
    let client = stage.workers().await;
    stage.shown(&client, &[("node-1", "down"), ("node-2", "down")]).await;
    let known = async |client: &Client| {
        let agents = client.get("/api/v1/cluster").await.expect(200).body["agents"].clone();
        agents.as_array().unwrap().iter().find(|agent| agent["server"] == "node-1").unwrap().clone()
    };
    let before = known(&client).await;
    let digest = before["certificate_sha256"].as_str().unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{before}");
    // A person compares it on a page.
    let mut person = Browser::new(stage.cluster.workers[0].address);
    person.log_in().await;
    let page = person.get("/cluster").await;
    let rows = page.expect(200).texts("section[aria-labelledby=found] tbody tr");
    let row = rows.iter().find(|row| row.starts_with("node-1 ")).unwrap_or_else(|| panic!("{rows:?}"));
    assert!(row.contains(digest) && row.contains(&stage.at(22).to_string()), "{row}");

    drop(node_1);
    stage.resolve(&[23, 24]);
    stage.outcome_says(&client, "another certificate").await;
    stage.shown(&client, &[("node-1", "unreachable"), ("node-2", "down")]).await;
    assert_eq!(known(&client).await, before, "another one was taken for it");
    drop(impostor);

    // The node itself is recognized at whatever address it comes back.
    let _again = start(own, "node-1", stage.at(25)).await;
    stage.resolve(&[23, 25]);
    stage.shown(&client, &[("node-1", "down"), ("node-2", "down")]).await;
    let after = known(&client).await;
    assert_eq!(after["certificate_sha256"], before["certificate_sha256"]);
    assert_eq!(after["address"], stage.at(25).to_string());

    let mut command = stage.names.bangui("check");
    command.envs(&stage.cluster.environment);
    let (_, printed) = Child::run("bangui check", command, SOON).await;
    assert!(printed.contains("agent node-1          answers, accepts this worker"), "{printed}");
}

#[tokio::test]
async fn without_a_dedicated_ca_no_agent_is_discovered() {
    let mut stage = Stage::new().await;
    stage.cluster.environment.remove("BANGUI_AGENT_CA");
    let mut command = stage.names.bangui("serve");
    command.envs(&stage.cluster.environment);
    let (code, printed) = Child::run("bangui serve", command, SOON).await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("BANGUI_AGENT_CA: is not set"), "{printed}");
    drop(stage.folder);
}
