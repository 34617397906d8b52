//! Accepts connections and serves them, until told to stop.
//!
//! `axum::serve` cannot bound the time a client takes for its headers, nor the number of connections, nor the
//! time the last requests have to end. This does, on the same hyper underneath:
//!
//! ```text
//! accept ─▶ (a place among 10,000) ─▶ serve ─┬─ client leaves ───────────────▶ done
//!                                            └─ stop: finish this request ─┬─▶ done
//!                                                                          └─ grace is over: cut
//! ```
//!
//! What comes before the stop (not ready, `Connection: close`, still accepting) is the caller's: see
//! [`Readiness::drain`](crate::http::Readiness::drain).

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once; the next ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;

/// How long a client may take to send a request's headers, and to send none at all.
const HEADER_PATIENCE: Duration = Duration::from_secs(30);

/// How long a client may take none of what is sent to it, in milliseconds.
const WRITE_PATIENCE_MS: u32 = 30_000;

/// A pause after an error that the next `accept` would meet again, such as no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `stop`, then finishes what is in flight, for `grace` at most. Returns how
/// many connections had to be cut.
pub async fn run(listener: TcpListener, router: Router, stop: CancellationToken, grace: Duration) -> usize {
    let cut = CancellationToken::new();
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some(Some((stream, peer, place))) = stop.run_until_cancelled(accept(&listener, &places)).await {
        let service = TowerToHyperService::new(router.clone());
        let (stop, cut) = (stop.clone(), cut.clone());
        connections.spawn(async move {
            serve(stream, peer, service, stop, cut).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(grace, connections.wait()).await.is_ok() {
        return 0;
    }
    let late = connections.len();
    tracing::warn!(connections = late, "{late} connections were still busy {grace:?} after the stop: cut");
    cut.cancel();
    connections.wait().await;
    late
}

/// The next connection, with its place. `None` never comes while the listener lives.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Some((stream, peer, place)),
            // the client left before it was accepted: the next one may be there already
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::error!("no connection can be accepted, trying again: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    service: TowerToHyperService<Router>,
    stop: CancellationToken,
    cut: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY cannot be set for {peer}: {error}");
    }
    // A client that does not read its answers holds its place for this long, not for ever.
    if let Err(error) = sockopt::set_tcp_user_timeout(&stream, WRITE_PATIENCE_MS) {
        tracing::debug!("TCP_USER_TIMEOUT cannot be set for {peer}: {error}");
    }
    let with_peer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        service.call(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE)
            .serve_connection(TokioIo::new(stream), with_peer)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!("the connection from {peer} ended early: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn started(grace: Duration) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        };
        let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string();
        let router = Router::new().route("/slow", get(slow)).route("/peer", get(peer));
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(listener, router, stop.clone(), grace));
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

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_ends_its_headers_is_let_go() {
        let (address, _stop, _running) = started(Duration::from_secs(5)).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        let began = tokio::time::Instant::now();
        assert!(!rest(stream).await.contains("200 OK"));
        assert!(began.elapsed() < HEADER_PATIENCE + Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
