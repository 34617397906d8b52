//! Serves connections until it is stopped: the accept loop that workers and agents share.
//!
//! `axum::serve` cannot bound what a client sends as headers, nor the time it takes for them, nor the number of connections, nor
//! the time that the last requests have to end. This does, on top of the same hyper:
//!
//! ```text
//! accept ─▶ a place (`places.rs`) ─▶ handshake ─▶ serve ─┬─ client leaves ──────────────▶ done
//!                                                        ├─ idle, and places run short, or for too long ─▶ closed
//!                                                        └─ stop: finish this request ─┬─▶ done
//!                                                                     grace is over: cut └─▶
//! ```
//!
//! [`Server::accept`] is the loop and [`Server::finish`] the wait for what is in flight: apart, so that requests are finished
//! even if the loop has crashed. What comes before the stop (not ready, `Connection: close`, still accepting) is the caller's
//! task: see [`Readiness::drain`](crate::http::Readiness::drain).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::flood::Flood;
use super::lingering::Lingering;
use super::places::{Capacity, ConnectionSlot, Places};
use super::socket::{Accepted, Connection, Listener, RECEIVE_BUFFER};
use super::watched::{Received, Sent};

/// Sweeps for silent clients within the time that a client has.
const SWEEPS: u32 = 8;
/// A pause after an error that the next `accept` would meet again, such as no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a client may send as the headers of one request, the request line included. What is read of a body at once is as much.
///
/// That they are 100 at most is hyper's own limit, which is kept: another number would cost every request an allocation.
pub const MAX_HEADER_BYTES: usize = 32 * 1024;
/// What one connection costs at most where it waits for its client.
///
/// For a request: its headers, as much again for the part of its body that is read at once, a stranger's body as the handler holds
/// it (8 KiB, in a buffer that doubles; `http/large_forms.rs` has the larger ones), the buffer of the answer (8 KiB), and what the
/// tasks keep: 96 KiB. For an answer that is not read: the 32 KiB of further requests that were read in that time, 8 KiB, and the
/// kernel's buffers, each of them twice (`socket.rs`): 136 KiB.
pub const MAX_CONNECTION_BYTES: usize = 40 * 1024 + 2 * (MAX_UNREAD_BYTES + RECEIVE_BUFFER);
/// How much of a worker's answer may wait for its client to read it; browsers and proxies read at once.
pub const MAX_UNREAD_BYTES: usize = 32 * 1024;

/// A connection in the reserve must send its request within this time.
const RESERVE_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The most log lines per minute about refused connections.
const REFUSAL_LINES: u64 = 5;

/// What one server allows its clients.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Who may hold a connection.
    pub capacity: Capacity,
    /// How long a client may take to send a request's headers, and how long it may send nothing; an eighth of that more goes
    /// unnoticed.
    pub header_timeout: Duration,
    /// How much of an answer may wait for its client to read it, in bytes.
    pub send_buffer: usize,
    /// The paths that are served in the reserve.
    pub probes: &'static [&'static str],
}

/// Serves one router, on one listener. Cheap to clone; all clones are the same server.
#[derive(Clone)]
pub struct Server {
    router: Router,
    header_timeout: Duration,
    send_buffer: usize,
    probes: &'static [&'static str],
    connections: TaskTracker,
    places: Places,
    refusals: Arc<Flood>,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Server {
    /// A server that stops accepting, and closes each connection after its current request, once `stop` is cancelled.
    #[must_use]
    pub fn new(router: Router, limits: Limits, stop: CancellationToken) -> Self {
        Self {
            router,
            header_timeout: limits.header_timeout,
            send_buffer: limits.send_buffer,
            probes: limits.probes,
            connections: TaskTracker::new(),
            places: Places::new(limits.capacity),
            refusals: Arc::new(Flood::of(REFUSAL_LINES)),
            stop,
            cut: CancellationToken::new(),
        }
    }

    /// Accepts connections and serves each in its own task, until the stop.
    pub async fn accept(&self, listener: Listener) {
        listener.bound_buffers(self.send_buffer);
        let mut sweep = interval(self.header_timeout / SWEEPS);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                _ = sweep.tick() => {
                    self.places.sweep(SWEEPS);
                    continue;
                }
                accepted = next(&listener) => accepted,
            };
            let Some(place) = self.places.admit(accepted.peer.map(|peer| peer.ip())) else {
                self.note_refusal(accepted.peer);
                continue;
            };
            let this = self.clone();
            self.connections.spawn(async move { this.serve(accepted, Arc::new(place)).await });
        }
    }

    fn note_refusal(&self, peer: Option<SocketAddr>) {
        if let Some(more) = self.refusals.admit() {
            let from = peer.map_or_else(|| "a unix socket".to_owned(), |peer| peer.ip().to_string());
            tracing::warn!(
                client.address = from,
                connections.refused_before = more,
                "refused a connection from {from}: all connection slots are busy with requests"
            );
        }
    }

    /// After the stop: waits until every request in flight is answered, at most for `grace`. Returns how many connections had to
    /// be closed.
    pub async fn finish(&self, grace: Duration) -> usize {
        self.connections.close();
        if timeout(grace, self.connections.wait()).await.is_ok() {
            return 0;
        }
        let late = self.connections.len();
        tracing::warn!(
            connections = late,
            "closed {late} connections that were still busy {grace:?} after the stop"
        );
        self.cut.cancel();
        self.connections.wait().await;
        late
    }

    async fn serve(&self, Accepted { stream, peer }: Accepted, place: Arc<ConnectionSlot>) {
        let connected = tokio::select! {
            connected = stream.connected() => connected,
            () = place.let_go() => return,
        };
        match connected {
            Ok(Connection::Tcp(stream)) => self.serve_http(stream, peer, place).await,
            Ok(Connection::Tls(stream)) => self.serve_http(stream, peer, place).await,
            Ok(Connection::Unix(stream)) => self.serve_http(stream, peer, place).await,
            Err(error) => tracing::debug!("TLS handshake failed: {error}"),
        }
    }

    async fn serve_http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Option<SocketAddr>,
        place: Arc<ConnectionSlot>,
    ) {
        let service = TowerToHyperService::new(self.router.clone());
        let answer = service_fn(|request: Request<Incoming>| {
            place.busy();
            let place = Arc::clone(&place);
            let open = !place.is_reserve() || self.probes.contains(&request.uri().path());
            let mut request = request.map(|body| Received::new(body, Arc::clone(&place)));
            if let Some(peer) = peer {
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            let answer = open.then(|| service.call(request));
            async move {
                let response = match answer {
                    Some(answer) => answer.await?,
                    None => no_place(),
                };
                Ok::<_, Infallible>(response.map(|body| Sent::new(body, place)))
            }
        });
        let reserve = place.is_reserve();
        // Other connections are swept (`places.rs`).
        let header_timeout = reserve.then_some(RESERVE_HEADER_TIMEOUT);
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(header_timeout)
                .keep_alive(!reserve)
                .max_header_size(MAX_HEADER_BYTES)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(Lingering::new(stream, Arc::clone(&place))), answer)
        );
        // In a set, which polls only what was woken, since the connection is polled several times for each request.
        let ends = async |then: &CancellationToken| {
            tokio::select! {
                () = place.let_go() => End::LetGo,
                () = then.cancelled() => End::Stop,
            }
        };
        let mut end = FuturesUnordered::from_iter([ends(&self.stop)]);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            Some(end) = end.next() => {
                // A request may have come since it was let go: that one is answered.
                if matches!(end, End::LetGo) && place.is_idle() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    _ = ends(&self.cut) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(client.address = ?peer, "a connection ended early: {error}");
        }
    }
}

/// Why the server closes a connection.
enum End {
    /// Another connection needs its place.
    LetGo,
    /// The server stops.
    Stop,
}

/// The next connection.
async fn next(listener: &Listener) -> Accepted {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // the client left before it was accepted: the next one may be there already
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::error!("failed to accept a connection: {error}; retrying");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What a connection in the reserve gets for every request but a probe: a problem document like those of `http/error`.
fn no_place() -> Response<Body> {
    const REFUSAL: &str = concat!(
        r#"{"type":"urn:bangui:problem:too-many-connections","title":"Too many connections","status":503,"#,
        r#""detail":"too many connections to this worker are open, from your address or in total: "#,
        r#"close some, or try again","retry_after_seconds":1}"#
    );
    let mut response = Response::new(Body::from(REFUSAL));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
