//! A thousand agents: discovered, then probed in one sweep, over TLS, while one of them hangs.
//!
//! This process plays the agents: one listener on every loopback address, so that each address is a separate agent,
//! with its own name. Worker, Redis and resolver are real. A sweep is measured in Redis, from the start of the job to a
//! read in which every state (but the hanging one's) is from this sweep; both moments are on Redis's clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bangui::domain::{Condition, ServerName, Timestamp};
use bangui::store::Store;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::agent::AGENT_TOKEN;
use crate::support::names::Names;
use crate::support::process::Child;
use crate::support::tls::Ca;
use crate::support::worker::Worker;
use crate::support::{Cluster, SOON, eventually, folder};
use crate::{Figure, quantile};

const AGENTS: u16 = 1_000;
/// This one accepts connections and never answers a probe.
const HANGS: u16 = 500;
const SWEEPS: usize = 5;
const NAME: &str = "agents.test";
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Where agent `n` is.
pub fn address(n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(127, 9, high, low).into()
}

fn name(n: u16) -> String {
    format!("node-{n}.nodes.test")
}

/// A thousand agents that this process plays, and the Redis and settings for workers that find them by these names. The folder
/// holds the certificate of the agents' CA.
pub async fn surroundings() -> (Cluster, Names, tempfile::TempDir) {
    allow_open_files();
    let (ca, folder, names) = (Ca::new(), folder(), Names::new());
    std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(agents(listener, ca.server(&["*.nodes.test"]), answer));
    names.set(NAME, &(1..=AGENTS).map(address).collect::<Vec<_>>());

    let (mut cluster, _) = Cluster::bare(0).start_surroundings().await;
    let servers = format!("nodes=https://{NAME}:{port}?discover=dns");
    cluster.environment.extend(environment(servers, folder.path()));
    (cluster, names, folder)
}

/// What workers are started with that find these servers, known by the certificate in `folder`.
pub fn environment(servers: String, folder: &Path) -> [(String, String); 6] {
    [
        ("BANGUI_SERVERS", servers),
        ("BANGUI_AGENT_TOKEN", AGENT_TOKEN.to_owned()),
        ("BANGUI_AGENT_CA", folder.join("ca.pem").display().to_string()),
        ("BANGUI_PROBE_INTERVAL_SECONDS", "10".to_owned()),
        ("BANGUI_LEASE_TTL_MS", "5000".to_owned()),
        ("RUST_LOG", "warn,bangui::worker=info".to_owned()),
    ]
    .map(|(variable, value)| (variable.to_owned(), value))
}

pub async fn measure() -> Vec<Figure> {
    let (cluster, names, _folder) = surroundings().await;
    let store = cluster.store();
    store.ready().await.unwrap();

    let begun = Instant::now();
    let worker = start(&cluster, &names).await;
    eventually("all agents", START_TIMEOUT, || async {
        (store.discoveries().await.ok()?.servers.len() == usize::from(AGENTS)).then_some(())
    })
    .await;
    let discovered = begun.elapsed().as_secs_f64();
    all_known(&store).await;

    let mut warm = Vec::new();
    let before = cpu_seconds(&worker);
    let watched = Instant::now();
    for _ in 0..SWEEPS {
        warm.push(sweep(&store).await);
    }
    let share = (cpu_seconds(&worker) - before) / watched.elapsed().as_secs_f64();
    let memory = resident_mib(&worker);

    // A new leader knows the servers, and has no connection to any.
    worker.process.kill();
    let _worker = start(&cluster, &names).await;
    let cold = sweep(&store).await;

    vec![
        Figure {
            what: "1,000 agents over TLS probed in one sweep, until all have answered but one that hangs",
            aim: "under 2 s",
            measured: format!(
                "p50 {:.2} s, longest {:.2} s of {SWEEPS}; {cold:.2} s by a leader that has no connections yet",
                quantile(&mut warm, 0.5),
                quantile(&mut warm, 1.0)
            ),
        },
        Figure {
            what: "1,000 agents discovered by DNS, from the start of the first worker",
            aim: "none",
            measured: format!("{discovered:.1} s"),
        },
        Figure {
            what: "a leader with 1,000 servers, probed every 10 s",
            aim: "none",
            measured: format!("{memory:.0} MiB resident, {:.0} % of a core", share * 100.0),
        },
    ]
}

/// Waits until every agent but the one that hangs has answered.
pub async fn all_known(store: &Store) {
    eventually("all states", START_TIMEOUT, || async { all_since(store, Timestamp::UNIX_EPOCH).await }).await;
}

/// Raises the limit of open files: this process holds one or both ends of thousands of connections.
pub fn allow_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

pub async fn start(cluster: &Cluster, names: &Names) -> Worker {
    let mut command = names.bangui("serve");
    command.envs(&cluster.environment);
    let worker = Worker::listening(Child::start("worker", command)).await;
    worker.ready(SOON).await;
    worker
}

/// Waits for the next sweep; returns how many seconds it took.
async fn sweep(store: &Store) -> f64 {
    let started = async || {
        let cluster = store.cluster().await.ok()?;
        cluster.jobs.into_iter().find(|job| job.name == "probe")?.last_started_at
    };
    let before = started().await;
    let began =
        eventually("a sweep", START_TIMEOUT, || async { started().await.filter(|at| Some(*at) != before) })
            .await;
    let done = eventually("its end", START_TIMEOUT, || async { all_since(store, began).await }).await;
    (done - began).as_seconds_f64()
}

/// The time at which every state, except that of the agent that hangs, was from a probe after `began`.
async fn all_since(store: &Store, began: Timestamp) -> Option<Timestamp> {
    let hangs = name(HANGS);
    let names: Vec<ServerName> = (1..=AGENTS)
        .map(name)
        .filter(|name| *name != hangs)
        .map(|name| ServerName::parse(&name).unwrap())
        .collect();
    let states: Result<Vec<_>, _> = store.servers(&names).await.ok()?.into_iter().collect();
    let states = states.ok()?;
    let fresh = states.iter().all(|server| {
        let status = &server.state.status;
        status.condition == Condition::Up && status.checked_at.is_some_and(|at| at >= began)
    });
    fresh.then(|| states.last().map(|server| server.read_at))?
}

/// What agent `n` answers to a request for this path; none if it never answers.
pub trait Answers: Fn(u16, &str) -> Option<String> + Clone + Send + Sync + 'static {}

impl<F: Fn(u16, &str) -> Option<String> + Clone + Send + Sync + 'static> Answers for F {}

/// All agents: each has an address, and so its number.
pub async fn agents(listener: TcpListener, tls: Arc<ServerConfig>, answers: impl Answers) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(agent(stream, TlsAcceptor::from(Arc::clone(&tls)), answers.clone()));
    }
}

async fn agent(stream: TcpStream, tls: TlsAcceptor, answers: impl Answers) {
    let SocketAddr::V4(local) = stream.local_addr().unwrap() else { return };
    let [_, _, high, low] = local.ip().octets();
    let n = u16::from_be_bytes([high, low]);
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answers(n, request.uri().path());
        async move {
            match answer {
                Some(answer) => Ok::<_, std::convert::Infallible>(Response::new(answer)),
                None => std::future::pending().await,
            }
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// What an agent beside a fail2ban with three jails answers.
fn answer(n: u16, path: &str) -> Option<String> {
    (path != "/v1/status" || n != HANGS).then(|| json_of(n, path).to_string())
}

fn json_of(n: u16, path: &str) -> Value {
    let counts =
        json!({ "currently_failed": 1, "total_failed": 2, "currently_banned": 0, "total_banned": 0 });
    match path {
        "/v1/info" => json!({ "name": name(n), "instance": n.to_string(), "agent_version": "0.1.0",
            "fail2ban_version": "1.0.2", "probes": 0, "backend_detections": 0 }),
        "/v1/status" => json!({ "state": "up", "version": "1.0.2",
            "jails": { "sshd": counts, "nginx": counts, "postfix": counts } }),
        "/v1/jails/settings" => {
            let jails = ["nginx", "postfix", "sshd"].map(jail);
            json!({ "jails": jails, "database": { "file": "/var/lib/fail2ban/fail2ban.sqlite3" } })
        }
        _ => json!({ "bans": [] }),
    }
}

/// A jail that is well.
fn jail(name: &str) -> Value {
    let log = format!("/var/log/{name}.log");
    json!({ "name": name, "enabled": true, "running": true, "bantime": 600, "findtime": 600, "maxretry": 5,
        "ignoreip": ["127.0.0.0/8", "::1", "198.51.100.0/24"], "filter": name, "backend": "auto", "log_files": [log],
        "journal_matches": [], "logs": [{ "path": log, "size": 4096, "age_seconds": 3 }] })
}

pub fn resident_mib(worker: &Worker) -> f64 {
    let status = std::fs::read_to_string(proc_file(worker, "status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
}

/// User and system time so far; a tick is a hundredth of a second on every Linux.
fn cpu_seconds(worker: &Worker) -> f64 {
    let stat = std::fs::read_to_string(proc_file(worker, "stat")).unwrap();
    // The name of the program, in brackets, may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn proc_file(worker: &Worker, name: &str) -> String {
    format!("/proc/{}/{name}", worker.process.pid().as_raw_nonzero())
}
