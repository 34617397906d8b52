//! Serves connections until it is stopped: the one accept loop, of workers and agents alike.
//!
//! `axum::serve` cannot bound the time a client takes for its headers, nor the number of connections, nor the
//! time the last requests have to end. This does, on the same hyper underneath:
//!
//! ```text
//! accept ─▶ (a place among the limit) ─▶ handshake ─▶ serve ─┬─ client leaves ──────────────▶ done
//!                                                            └─ stop: finish this request ─┬─▶ done
//!                                                                         grace is over: cut └─▶
//! ```
//!
//! [`Server::accept`] is the loop and [`Server::finish`] the wait for what is in flight: apart, so that requests are finished
//! even if the loop has crashed. What comes before the stop (not ready, `Connection: close`, still accepting) is the caller's:
//! see [`Readiness::drain`](crate::http::Readiness::drain).

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::socket::{Accepted, Connection, Listener};

/// A pause after an error that the next `accept` would meet again, such as no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What one server allows its clients.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at the same time; the next ones wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take to send a request's headers, and to send none at all.
    pub header_timeout: Duration,
}

/// Serves one router, on one listener. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Server {
    router: Router,
    header_timeout: Duration,
    connections: TaskTracker,
    places: Arc<Semaphore>,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Server {
    /// One that accepts nothing more, and closes each connection after its request, once `stop` is cancelled.
    #[must_use]
    pub fn new(router: Router, limits: Limits, stop: CancellationToken) -> Self {
        Self {
            router,
            header_timeout: limits.header_timeout,
            connections: TaskTracker::new(),
            places: Arc::new(Semaphore::new(limits.connections)),
            stop,
            cut: CancellationToken::new(),
        }
    }

    /// Accepts connections and has them served, until the stop.
    pub async fn accept(&self, listener: Listener) {
        while let Some(Some((accepted, place))) = self.stop.run_until_cancelled(self.next(&listener)).await {
            let this = self.clone();
            self.connections.spawn(async move {
                this.serve(accepted).await;
                drop(place);
            });
        }
    }

    /// After the stop: waits until every request in flight is answered, for `grace` at most. Returns how many connections had to
    /// be cut.
    pub async fn finish(&self, grace: Duration) -> usize {
        self.connections.close();
        if timeout(grace, self.connections.wait()).await.is_ok() {
            return 0;
        }
        let late = self.connections.len();
        tracing::warn!(connections = late, "cut {late} connections still busy {grace:?} after the stop");
        self.cut.cancel();
        self.connections.wait().await;
        late
    }

    /// The next connection, with its place; never `None`, since nobody closes the places.
    async fn next(&self, listener: &Listener) -> Option<(Accepted, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok(accepted) => return Some((accepted, place)),
                // the client left before it was accepted: the next one may be there already
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!("failed to accept a connection: {error}; retrying");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(&self, Accepted { stream, peer }: Accepted) {
        match stream.connected().await {
            Ok(Connection::Tcp(stream)) => self.serve_http(stream, peer).await,
            Ok(Connection::Tls(stream)) => self.serve_http(stream, peer).await,
            Ok(Connection::Unix(stream)) => self.serve_http(stream, peer).await,
            Err(error) => tracing::debug!("TLS handshake failed: {error}"),
        }
    }

    async fn serve_http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Option<SocketAddr>,
    ) {
        let service = TowerToHyperService::new(self.router.clone());
        let with_peer = service_fn(move |mut request: Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            service.call(request)
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.header_timeout)
                .serve_connection(TokioIo::new(stream), with_peer)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.cut.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(client.address = ?peer, "a connection ended early: {error}");
        }
    }
}

fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

    const LIMITS: Limits = Limits { connections: 100, header_timeout: Duration::from_secs(30) };

    fn router() -> Router {
        let slow = async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        };
        let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string();
        Router::new().route("/slow", get(slow)).route("/peer", get(peer))
    }

    async fn started(grace: Duration) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = Server::new(router(), LIMITS, stop.clone());
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
        let server = Server::new(router(), LIMITS, stop.clone());
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

    #[tokio::test]
    async fn a_connection_beyond_the_limit_waits_for_a_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(router(), Limits { connections: 1, ..LIMITS }, CancellationToken::new());
        let accepting = server.clone();
        tokio::spawn(async move { accepting.accept(Listener::Tcp(listener)).await });
        let first = TcpStream::connect(address).await.unwrap();
        while server.connections.is_empty() {
            tokio::task::yield_now().await;
        }
        let mut second = asked(address, "/peer").await;
        let mut answer = [0; 1024];
        let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut answer)).await;
        assert!(early.is_err(), "it was answered without a place");
        drop(first);
        let n = second.read(&mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer[..n]).starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_unix_socket_is_served_too_and_its_client_has_no_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let stop = CancellationToken::new();
        let server = Server::new(router(), LIMITS, stop.clone());
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
        assert!(began.elapsed() < LIMITS.header_timeout + Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
