//! One server on real sockets: how it ends, which clients it waits for, and which connections it closes.

use super::*;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

fn limits(all: usize, share: usize, reserve: usize) -> Limits {
    let capacity = Capacity { all, share, reserve, proxies: Vec::new() };
    Limits { capacity, header_timeout: HEADER_TIMEOUT, send_buffer: MAX_UNREAD_BYTES, probes: &["/peer"] }
}

fn router() -> Router {
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "done"
    };
    let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string();
    let once = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| {
        ([(header::CONNECTION, "close")], peer.ip().to_string())
    };
    let body = async |body: axum::body::Bytes| body.len().to_string();
    Router::new()
        .route("/slow", get(slow))
        .route("/peer", get(peer))
        .route("/peer-once", get(once))
        .route("/body", post(body))
        .route("/unread", post(async || StatusCode::UNAUTHORIZED))
}

async fn started(grace: Duration) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = Server::new(router(), limits(100, 100, 0), stop.clone());
    let running = tokio::spawn(async move {
        server.accept(Listener::Tcp(listener)).await;
        server.finish(grace).await
    });
    (address, stop, running)
}

async fn asked(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn a_client_that_is_still_sending_its_body_sees_why_it_was_refused() {
    let (address, stop, running) = started(Duration::from_secs(5)).await;
    let body = vec![b'x'; 2 * 1024 * 1024];
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer:?}");
    }
    stop.cancel();
    assert_eq!(running.await.unwrap(), 0);
}

#[tokio::test]
async fn two_segments_fit_into_what_waits_for_a_client_so_that_it_confirms_them_at_once() {
    let (address, stop, running) = started(Duration::from_secs(5)).await;
    // Once one was answered, the listener has its limits.
    let mut first = asked(address, "/peer").await;
    assert!(first.read(&mut [0; 1]).await.unwrap() > 0);
    let next = TcpStream::connect(address).await.unwrap();
    let segment = socket2::SockRef::from(&next).tcp_mss().unwrap();
    assert!(2 * segment as usize <= MAX_UNREAD_BYTES, "{segment}");
    stop.cancel();
    drop((first, next));
    running.await.unwrap();
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_idle_connections_end() {
    let (address, stop, running) = started(Duration::from_secs(5)).await;
    let idle = TcpStream::connect(address).await.unwrap();
    let busy = asked(address, "/slow").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.cancel();
    assert!(rest(busy).await.ends_with("done"));
    assert_eq!(rest(idle).await, "");
    assert_eq!(running.await.unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err(), "it still accepts");
}

#[tokio::test]
async fn after_the_grace_what_is_left_is_cut() {
    let (address, stop, running) = started(Duration::from_millis(50)).await;
    let busy = asked(address, "/slow").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.cancel();
    assert_eq!(running.await.unwrap(), 1);
    assert_eq!(rest(busy).await, "");
}

#[tokio::test]
async fn a_handler_knows_the_peer() {
    let (address, stop, running) = started(Duration::from_secs(5)).await;
    let mut stream = asked(address, "/peer").await;
    let mut answer = [0; 1024];
    let n = stream.read(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..n]).ends_with("127.0.0.1"));
    stop.cancel();
    assert_eq!(running.await.unwrap(), 0);
}

#[tokio::test]
async fn a_request_in_flight_is_finished_even_if_the_accept_loop_has_crashed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = Server::new(router(), limits(100, 100, 0), stop.clone());
    let accepting = server.clone();
    let accepting = tokio::spawn(async move { accepting.accept(Listener::Tcp(listener)).await });
    let busy = asked(address, "/slow").await;
    while server.connections.is_empty() {
        tokio::task::yield_now().await;
    }
    accepting.abort();
    assert!(accepting.await.unwrap_err().is_cancelled());
    stop.cancel();
    assert_eq!(server.finish(Duration::from_secs(5)).await, 0);
    assert!(rest(busy).await.ends_with("done"));
}

/// A server with these limits; it ends with the test.
async fn limited(limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(router(), limits, CancellationToken::new());
    tokio::spawn(async move { server.accept(Listener::Tcp(listener)).await });
    address
}

#[tokio::test]
async fn a_connection_that_sends_nothing_is_let_go_when_another_needs_its_place() {
    let address = limited(limits(1, 1, 0)).await;
    let idle = TcpStream::connect(address).await.unwrap();
    let unfinished = {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        stream
    };
    assert_eq!(rest(idle).await, "");
    let slow_body = {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc";
        stream.write_all(request).await.unwrap();
        stream
    };
    assert_eq!(rest(unfinished).await, "");
    // It may take a moment until the body is waited for, and until then the place is not free.
    let answered = loop {
        let answer = rest(asked(address, "/peer-once").await).await;
        if answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
    };
    assert!(answered.ends_with("127.0.0.1"), "{answered}");
    assert_eq!(rest(slow_body).await, "");
}

#[tokio::test]
async fn a_request_in_progress_keeps_its_place_and_probes_are_answered_beside_it() {
    let address = limited(limits(1, 1, 1)).await;
    let busy = asked(address, "/slow").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let probe = rest(asked(address, "/peer").await).await;
    assert!(probe.starts_with("HTTP/1.1 200") && probe.ends_with("127.0.0.1"), "{probe}");
    let refused = rest(asked(address, "/slow").await).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("too-many-connections"), "{refused}");
    // It is kept alive, and so must not be read to its end.
    let mut busy = busy;
    let mut answer = [0; 1024];
    let n = busy.read(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..n]).ends_with("done"));
}

#[tokio::test]
async fn nobody_can_send_more_than_32_kib_of_headers_or_more_than_100_of_them() {
    let address = limited(limits(10, 10, 0)).await;
    let send = async |headers: String| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /peer-once HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        // The server may close before it has read all.
        let _ = stream.write_all(request.as_bytes()).await;
        rest(stream).await
    };
    assert!(send(format!("a: {}\r\n", "x".repeat(31_000))).await.starts_with("HTTP/1.1 200"));
    let large = send(format!("a: {}\r\n", "x".repeat(33_000))).await;
    assert!(large.starts_with("HTTP/1.1 431"), "{large}");
    assert!(send("a: x\r\n".repeat(99)).await.starts_with("HTTP/1.1 200"));
    assert!(send("a: x\r\n".repeat(100)).await.starts_with("HTTP/1.1 431"));
    // Also when the headers do not end.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\na: {}", "x".repeat(33_000)).as_bytes()).await;
    assert!(!rest(stream).await.contains("200 OK"));
}

#[tokio::test]
async fn a_unix_socket_is_served_too_and_its_client_has_no_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let stop = CancellationToken::new();
    let server = Server::new(router(), limits(100, 100, 0), stop.clone());
    let running = tokio::spawn(async move {
        server.accept(Listener::Unix(listener)).await;
        server.finish(Duration::from_secs(5)).await
    });
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 1024];
    let n = stream.read(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..n]).ends_with("done"));
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let n = stream.read(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..n]).starts_with("HTTP/1.1 500"));
    stop.cancel();
    assert_eq!(running.await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_ends_its_headers_is_let_go() {
    let (address, _stop, _running) = started(Duration::from_secs(5)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let began = tokio::time::Instant::now();
    assert!(!rest(stream).await.contains("200 OK"));
    let longest = HEADER_TIMEOUT + HEADER_TIMEOUT / SWEEPS;
    assert!(began.elapsed() >= HEADER_TIMEOUT && began.elapsed() <= longest, "{:?}", began.elapsed());
}
