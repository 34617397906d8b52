//! What strangers can occupy of a worker and of an agent with connections alone: a share each, and neither memory nor probes.

use std::net::{Ipv4Addr, SocketAddr};

use bangui::net::open_files;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::sync::Mutex;

use crate::passwords::resident;
use crate::support::agent::Agent;
use crate::support::event_stream::EventStream;
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually, folder};

/// Headers that may still become a request of 32 KiB.
const UNFINISHED: usize = 31_000;
/// Below the limits of k8s/base/worker.yaml, which `worker/memory.rs` holds the sum of the worst cases against, and of
/// k8s/agents/agent.yaml.
const LIMIT_MIB: u64 = 256;

fn stranger(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, n)
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}

fn headers(length: usize) -> Vec<u8> {
    format!("GET /api/v1/session HTTP/1.1\r\nhost: bangui\r\nx: {}", "x".repeat(length)).into_bytes()
}

async fn is_well(client: &Client, address: SocketAddr) {
    // On new connections, and on one that was there before: that one may be closed at the moment when it is used again.
    for client in [client.clone(), Client::new(address), Client::new(address)] {
        for path in ["/healthz", "/readyz"] {
            eventually(&format!("{path} to answer 200"), SOON, || async {
                let answer = client.try_send(client.request(reqwest::Method::GET, path)).await.ok()?;
                answer.status.is_success().then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn headers_without_an_end_on_5000_connections_take_neither_memory_nor_probes_nor_logins() {
    open_files::raise(12_000);
    let cluster = Cluster::bare(1).set_up().await;
    let (client, address) = (cluster.client(0), cluster.workers[0].address);
    let mut held = Vec::new();
    for n in 1..=10 {
        for _ in 0..500 {
            let mut stream = connect(stranger(n), address).await.unwrap();
            // It may have been closed already.
            let _ = stream.write_all(&headers(UNFINISHED)).await;
            held.push(stream);
        }
        is_well(&client, address).await;
    }
    let resident = resident(&cluster.workers[0].process);
    assert!(resident < LIMIT_MIB, "{resident} MiB");
    // On a connection that was not there before, which needs one of the places.
    Client::new(address).post("/api/v1/session", json!({ "password": PASSWORD })).await.expect(201);
    // The connections beyond the limit were closed, and their clients see it.
    eventually("the others to be closed", SOON, || async {
        (held.iter().filter(|stream| still_open(stream)).count() <= 1536).then_some(())
    })
    .await;
    is_well(&client, address).await;
}

#[tokio::test]
async fn forms_that_never_end_take_no_more_memory_than_other_requests() {
    open_files::raise(12_000);
    let cluster = Cluster::bare(1).set_up().await;
    let (client, address) = (cluster.client(0), cluster.workers[0].address);
    let (header, mut held) = ("x".repeat(30_500), Vec::new());
    // As large as a login may be, as a form that is kept may be, and as a stranger's may be.
    let forms =
        [("/login", 65_000), ("/settings", 48_000), ("/login", 8_000), ("/setup", 8_000), ("/setup", 65_000)];
    for n in (0..4).flat_map(|from| [from + 1; 384]) {
        let (path, length) = forms[held.len() % forms.len()];
        let mut stream = connect(stranger(n), address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\ncontent-length: {length}\r\n\
             content-type: application/x-www-form-urlencoded\r\nx: {header}\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes()).await;
        // All but its last byte. A refusal may have closed the connection already.
        let _ = stream.write_all("x".repeat(length - 1).as_bytes()).await;
        held.push(stream);
    }
    let resident = resident(&cluster.workers[0].process);
    assert!(resident < LIMIT_MIB, "{resident} MiB");
    is_well(&client, address).await;
}

#[tokio::test]
async fn strangers_hold_few_large_forms_at_once_on_either_page_and_small_ones_are_always_read() {
    let cluster = Cluster::bare(1).set_up().await;
    let address = cluster.workers[0].address;
    for (held_at, path) in [("/setup", "/login"), ("/login", "/setup")] {
        // A head that has not been read yet holds no place: one more, until all are taken.
        let held = Mutex::new(Vec::new());
        eventually("a refused large form", SOON, || async {
            for _ in 0..8 {
                held.lock().await.push(form(address, held_at, 60_000, 59_999).await);
            }
            let mut stream = form(address, path, 60_000, 60_000).await;
            status(&mut stream).await.filter(|status| status == "HTTP/1.1 503")
        })
        .await;
        let mut small = form(address, path, 1_000, 1_000).await;
        assert_ne!(status(&mut small).await.as_deref(), Some("HTTP/1.1 503"), "{path}");
        drop(held);
        eventually("a place again", SOON, || async {
            let mut stream = form(address, path, 60_000, 60_000).await;
            status(&mut stream).await.filter(|status| status != "HTTP/1.1 503")
        })
        .await;
    }
}

/// A form of that length, of which so many bytes are sent.
async fn form(address: SocketAddr, path: &str, length: usize, sent: usize) -> TcpStream {
    let mut stream = connect(stranger(1), address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\ncontent-length: {length}\r\n\
         content-type: application/x-www-form-urlencoded\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A refusal may have closed the connection already.
    let _ = stream.write_all("x".repeat(sent).as_bytes()).await;
    stream
}

/// The beginning of the answer, if there is one in time.
async fn status(stream: &mut TcpStream) -> Option<String> {
    let mut answer = [0; 12];
    tokio::time::timeout(SOON, stream.read_exact(&mut answer)).await.ok()?.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

fn still_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0; 16]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn headers_of_more_than_32_kib_are_refused_and_their_connection_is_closed() {
    let cluster = Cluster::bare(1).start().await;
    let mut stream = connect(stranger(1), cluster.workers[0].address).await.unwrap();
    let _ = stream.write_all(&headers(100_000)).await;
    let mut answer = String::new();
    // Well before the time is over in which a request must be complete.
    let closed = tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await;
    assert!(closed.is_ok(), "it waits for more");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn more_than_100_headers_are_refused_and_as_many_are_not() {
    let cluster = Cluster::bare(1).start().await;
    for (lines, expected) in [(99, "HTTP/1.1 200"), (100, "HTTP/1.1 431")] {
        let mut stream = connect(stranger(1), cluster.workers[0].address).await.unwrap();
        let more = "x: y\r\n".repeat(lines);
        let request = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), expected);
    }
}

#[tokio::test]
async fn idle_connections_from_one_address_shut_nobody_else_out() {
    open_files::raise(12_000);
    let cluster = Cluster::bare(1).set_up().await;
    let (client, address) = (cluster.client(0), cluster.workers[0].address);
    client.get("/healthz").await.expect(200);
    let neighbour = connect(stranger(2), address).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..3000 {
        held.push(connect(stranger(1), address).await.unwrap());
    }
    is_well(&client, address).await;
    client.log_in().await;
    eventually("all but a quarter of the places to be free", SOON, || async {
        (held.iter().filter(|stream| still_open(stream)).count() <= 384).then_some(())
    })
    .await;
    assert!(still_open(&neighbour), "an address lost its connection to the many of another");
}

/// What the kernel keeps for TCP connections, on this machine.
fn kernel_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap();
    let tcp = text.lines().find(|line| line.starts_with("TCP:")).unwrap();
    let pages = tcp.split_whitespace().skip_while(|word| *word != "mem").nth(1).unwrap();
    // Of 4 KiB.
    pages.parse::<u64>().unwrap() / 256
}

#[tokio::test]
async fn answers_that_nobody_reads_take_no_memory_of_the_kernel_either() {
    let cluster = Cluster::bare(1).set_up().await;
    let (client, address) = (cluster.client(0), cluster.workers[0].address);
    let before = kernel_mib();
    let mut held = Vec::new();
    // 4 MB to each of them, from one address.
    let requests = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20);
    for _ in 0..300 {
        let mut stream = connect(stranger(1), address).await.unwrap();
        stream.write_all(requests.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let mut answered = 0;
    for stream in &held {
        // All wait for their client now: an answer has come, and its client reads nothing more.
        answered += usize::from(tokio::time::timeout(SOON, stream.readable()).await.is_ok());
    }
    assert_eq!(answered, held.len());
    is_well(&client, address).await;
    // The clients' own buffers are part of it.
    let grown = kernel_mib().saturating_sub(before);
    assert!(grown < 150, "{grown} MiB for {} connections", held.len());
    let resident = resident(&cluster.workers[0].process);
    assert!(resident < LIMIT_MIB, "{resident} MiB");
}

#[tokio::test]
async fn probes_are_answered_while_every_place_is_taken_by_a_request_in_progress() {
    let cluster = Cluster::bare(1)
        .env("BANGUI_MAX_CONNECTIONS", 64)
        .env("BANGUI_MAX_CONNECTIONS_PER_ADDRESS", 64)
        .set_up()
        .await;
    let (client, address) = (cluster.client(0), cluster.workers[0].address);
    let mut streams = Vec::new();
    for _ in 0..4 {
        let session = client.logged_in().await;
        for _ in 0..16 {
            streams.push(EventStream::open(&session, None).await);
        }
    }
    for _ in 0..3 {
        let stranger = Client::new(address);
        stranger.get("/readyz").await.expect(200);
        stranger.get("/healthz").await.expect(200);
        let login = Client::new(address).post("/api/v1/session", json!({ "password": PASSWORD })).await;
        assert_eq!(login.problem(503), "too-many-connections");
        assert_eq!(login.headers["retry-after"], "1");
    }
    drop(streams);
    eventually("places to be free again", SOON, || async {
        let login = Client::new(address).post("/api/v1/session", json!({ "password": PASSWORD })).await;
        (login.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_token_nobody_takes_the_memory_of_an_agent_or_keeps_a_worker_from_it() {
    open_files::raise(12_000);
    let nothing = folder();
    let agent = Agent::start(&nothing.path().join("f2b.sock"), nothing.path()).await;
    let mut held = Vec::new();
    for _ in 0..2000 {
        let mut stream = UnixStream::connect(agent.socket()).await.unwrap();
        let _ = stream.write_all(&headers(UNFINISHED)).await;
        held.push(stream);
        if held.len() % 500 == 0 {
            agent.info().await;
        }
    }
    let resident = resident(agent.process.as_ref().unwrap());
    assert!(resident < LIMIT_MIB / 2, "{resident} MiB");
}
