//! Session checks beside peers that do the same work, or less: `cargo bench -- peers`.
//!
//! The peers are a separate package (`benches/peers`), and `FastAPI` where there is Python. The same load generator asks one
//! after the other, in each round in the same order, on the same two cores and with the same Redis. "Same bytes" means an
//! answer with the headers and the body that bangui sends. Times hold for this machine only: compare the ratios.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::process::{Child, program};
use crate::support::redis::Redis;
use crate::support::rounds::holds;
use crate::support::sentinel::free_port;
use crate::support::{Client, Cluster, SOON, http};
use crate::{Figure, quantile};

/// Each peer is measured once in each round; the figures are medians.
const ROUNDS: usize = 7;
/// How long a peer is measured in a round.
const MEASURED: Duration = Duration::from_secs(2);
/// Ticks of `/proc/PID/stat` in a second, on every Linux that Rust runs on.
pub const TICKS: f64 = 100.0;

/// A server that is measured.
struct Peer {
    name: &'static str,
    url: String,
    header: Option<String>,
    pid: rustix::process::Pid,
    rounds: Vec<Round>,
    /// Kept running.
    _process: Option<Child>,
}

/// What one round measured.
struct Round {
    a_second: f64,
    p50: f64,
    p99: f64,
    /// Processor seconds of the server for 10,000 requests.
    processor: f64,
    /// Commands at Redis for each request.
    commands: f64,
}

pub async fn measure() -> Vec<Figure> {
    let peer = build();
    let port = free_port();
    let redis = Redis::start_with(&["--appendonly", "yes", "--port", &port.to_string()]).await;
    let url = format!("redis://127.0.0.1:{port}");
    let ours = |near: bool| {
        let builder = Cluster::bare(1).env("RUST_LOG", "warn,bangui::worker=info");
        builder.env("BANGUI_SESSION_CACHE_ENABLED", near).env("BANGUI_REDIS_URL", &url)
    };
    let strict = ours(false).set_up().await;
    // Separate keys in the same Redis.
    let near = ours(true).env("BANGUI_REDIS_PREFIX", "bench-near").set_up().await;
    holds(&near.client(0), true).await;
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer.json");
    let mut peers = Vec::new();
    for (name, cluster) in [("bangui, near cache", &near), ("bangui, strict", &strict)] {
        let token = cluster.client(0).log_in().await;
        write_answer(&answer, &cluster.client(0).with_bearer(&token)).await;
        let base = format!("http://{}", cluster.workers[0].address);
        let pid = cluster.workers[0].process.pid();
        let header = Some(format!("Authorization: Bearer {token}"));
        peers.push(Peer {
            name,
            url: format!("{base}/api/v1/session"),
            header,
            pid,
            rounds: vec![],
            _process: None,
        });
        if name.ends_with("strict") {
            let url = format!("{base}/healthz");
            peers.push(Peer {
                name: "bangui, `/healthz`",
                url,
                header: None,
                pid,
                rounds: vec![],
                _process: None,
            });
        }
    }
    for (name, kind, same) in [
        ("axum, two bytes, no check", "bare", false),
        ("axum, same bytes, no check", "bare", true),
        ("axum, two bytes, one `GET`", "get", false),
        ("axum, same bytes, one `GET`", "get", true),
        ("tower-sessions 0.14, two bytes", "tower-sessions", false),
        ("tower-sessions 0.14, same bytes", "tower-sessions", true),
        ("axum-login 0.18, same bytes", "axum-login", true),
        ("actix-session 0.11, same bytes", "actix-session", true),
    ] {
        let mut command = program(&peer);
        command.arg(kind).env("PEER_REDIS_URL", &url);
        if same {
            command.env("PEER_ANSWER", &answer);
        }
        peers.push(Peer::start(name, command).await);
    }
    match python() {
        Some(python) => {
            let mut command = program(python);
            command.arg(source().join("fastapi_peer.py"));
            command.env("PEER_REDIS_URL", &url).env("PEER_ANSWER", &answer);
            peers.push(Peer::start("FastAPI, uvicorn, same bytes, one `GET`", command).await);
        }
        None => eprintln!("FastAPI is not measured: no venv with it can be made here."),
    }
    for _ in 0..ROUNDS {
        for peer in &mut peers {
            peer.round(&redis).await;
        }
    }
    table(&peers);
    ratios(&peers)
}

impl Peer {
    /// Starts a peer, and logs in if it has a login.
    async fn start(name: &'static str, command: Command) -> Self {
        let process = Child::start(name, command);
        let address: std::net::SocketAddr = process.line("its address", SOON, |line| line.parse().ok()).await;
        let begun = http().build().unwrap().post(format!("http://{address}/login")).send().await.unwrap();
        let cookie = begun.headers().get("set-cookie").map(|value| value.to_str().unwrap().to_owned());
        let header = cookie.map(|cookie| format!("Cookie: {}", cookie.split(';').next().unwrap()));
        let (url, pid) = (format!("http://{address}/session"), process.pid());
        Self { name, url, header, pid, rounds: vec![], _process: Some(process) }
    }

    async fn round(&mut self, redis: &Redis) {
        let commands = async || redis.command_counts().await.values().sum::<u64>();
        let (before, spent_before) = (commands().await, ticks(self.pid));
        let begun = Instant::now();
        let Load { requests, a_second, p50, p99 } = load(&self.url, self.header.as_deref());
        let spent = (ticks(self.pid) - spent_before) / TICKS;
        assert!(begun.elapsed() >= MEASURED, "wrk ended early");
        #[expect(clippy::cast_precision_loss, reason = "a count of commands")]
        let commands = (commands().await - before) as f64;
        self.rounds.push(Round {
            a_second,
            p50,
            p99,
            processor: spent / requests * 10_000.0,
            commands: commands / requests,
        });
    }

    fn median(&self, value: impl Fn(&Round) -> f64) -> f64 {
        quantile(&mut self.rounds.iter().map(value).collect::<Vec<_>>(), 0.5)
    }
}

/// What the load generator says.
pub struct Load {
    pub requests: f64,
    pub a_second: f64,
    pub p50: f64,
    pub p99: f64,
}

fn load(url: &str, header: Option<&str>) -> Load {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", "--latency"]).arg(format!("-d{}s", MEASURED.as_secs()));
    if let Some(header) = header {
        command.arg("-H").arg(header);
    }
    Load::read(&command.arg(url).output().expect("wrk is installed by `make bench`"))
}

impl Load {
    /// From what it printed.
    pub fn read(output: &std::process::Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
        let after = |word: &str| {
            let line = text
                .lines()
                .find_map(|line| line.trim().strip_prefix(word))
                .unwrap_or_else(|| panic!("{text}"));
            line.trim().to_owned()
        };
        let requests =
            text.lines().find_map(|line| line.trim().split_once(" requests in")).expect("wrk counts");
        Self {
            requests: requests.0.parse().unwrap(),
            a_second: after("Requests/sec:").parse().unwrap(),
            p50: milliseconds(&after("50%")),
            p99: milliseconds(&after("99%")),
        }
    }
}

/// wrk's `830.00us`, `1.20ms` and `1.05s`.
fn milliseconds(text: &str) -> f64 {
    let (number, factor) = match text {
        text if text.ends_with("us") => (&text[..text.len() - 2], 1e-3),
        text if text.ends_with("ms") => (&text[..text.len() - 2], 1.0),
        text => (text.trim_end_matches('s'), 1e3),
    };
    number.parse::<f64>().unwrap() * factor
}

/// Processor time of a process, in ticks: user and system.
pub fn ticks(pid: rustix::process::Pid) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    // The name in parentheses may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()
}

/// Saves bangui's answer for the peers, without the headers that hyper writes itself.
async fn write_answer(path: &Path, client: &Client) {
    let answer = client.get("/api/v1/session").await;
    answer.expect(200);
    let made = ["date", "content-length", "connection"];
    let headers: Vec<(&str, &str)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !made.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let written = serde_json::json!({ "headers": headers, "body": answer.text });
    std::fs::write(path, written.to_string()).unwrap();
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers")
}

/// Builds the peers.
fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]);
    cargo.arg(source().join("Cargo.toml")).arg("--target-dir").arg(&target);
    assert!(cargo.status().unwrap().success(), "the peers do not build");
    target.join("release/peers")
}

/// A Python with `FastAPI`, if one can be installed.
fn python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/venv");
    let python = venv.join("bin/python");
    let works = || {
        let imports = Command::new(&python).args(["-c", "import fastapi, uvicorn, redis"]).output();
        imports.is_ok_and(|output| output.status.success())
    };
    if !works() {
        Command::new("python3").args(["-m", "venv"]).arg(&venv).output().ok()?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "-r"]).arg(source().join("requirements.txt"));
        pip.output().ok()?;
    }
    works().then_some(python)
}

fn table(peers: &[Peer]) {
    println!(
        "| 64 connections, median of {ROUNDS} | requests a second | p50 | p99 | processor seconds for 10,000 | Redis commands each |"
    );
    println!("|---|---|---|---|---|---|");
    for peer in peers {
        println!(
            "| {} | {:.0} | {:.2} ms | {:.2} ms | {:.3} | {:.2} |",
            peer.name,
            peer.median(|round| round.a_second),
            peer.median(|round| round.p50),
            peer.median(|round| round.p99),
            peer.median(|round| round.processor),
            peer.median(|round| round.commands),
        );
    }
    println!();
}

/// The figures with an aim: the medians of the ratios in each round.
fn ratios(peers: &[Peer]) -> Vec<Figure> {
    let ratio = |what, aim, ours: &str, theirs: &str| {
        let find = |name: &str| peers.iter().find(|peer| peer.name == name).unwrap();
        let (ours, theirs) = (find(ours), find(theirs));
        let of = |value: fn(&Round) -> f64| {
            let pairs = ours.rounds.iter().zip(&theirs.rounds);
            quantile(&mut pairs.map(|(a, b)| value(a) / value(b)).collect::<Vec<_>>(), 0.5)
        };
        let measured =
            format!("{:.2}; its p99 is {:.2} of theirs", of(|round| round.a_second), of(|round| round.p99));
        Figure { what, aim, measured }
    };
    vec![
        ratio(
            "session checks a second, near cache, as a ratio to axum that sends the same bytes and checks nothing",
            "0.9 or better; p99 no worse",
            "bangui, near cache",
            "axum, same bytes, no check",
        ),
        ratio(
            "session checks a second, strict, as a ratio to tower-sessions that sends the same bytes",
            "1.35 or better; p99 no worse",
            "bangui, strict",
            "tower-sessions 0.14, same bytes",
        ),
        ratio(
            "session checks a second, strict, as a ratio to axum with one `GET` that sends the same bytes",
            "0.9 or better; p99 no worse",
            "bangui, strict",
            "axum, same bytes, one `GET`",
        ),
    ]
}
