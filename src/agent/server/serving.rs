//! Accepts connections to the agent and serves them: with bounds on their number, on the time of a handshake and on the
//! time a request's headers may take, none of which `axum::serve` has.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::listen::Listener;
use crate::agent::tls::Identity;

/// Connections at once; the next ones wait in the kernel's queue. A worker keeps a few.
const MAX_CONNECTIONS: usize = 2048;
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// For a request's headers. A worker's connection may lie idle for longer: it is closed, and the worker opens another.
const HEADERS_WITHIN: Duration = Duration::from_secs(60);
/// Requests in flight at the stop may take this long.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// A pause after an error that the next `accept` would meet again, such as no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Serves until `stop`, then finishes what is in flight.
pub(in crate::agent) async fn run(
    listener: Listener,
    tls: Option<Arc<Identity>>,
    app: Router,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some(Ok(place)) = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(accept(&listener)).await else { break };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(reason) => {
                error!("no connection can be accepted, trying again: {reason}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (app, tls, stop) = (app.clone(), tls.clone(), stop.clone());
        connections.spawn(async move {
            match (stream, tls) {
                (Stream::Unix(stream), _) => serve(stream, app, stop).await,
                (Stream::Tcp(stream), None) => serve(stream, app, stop).await,
                (Stream::Tcp(stream), Some(tls)) => {
                    let acceptor = TlsAcceptor::from(tls.current());
                    match timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => serve(stream, app, stop).await,
                        Ok(Err(reason)) => debug!("a TLS handshake failed: {reason}"),
                        Err(_) => debug!("a TLS handshake took longer than {HANDSHAKE_WITHIN:?}"),
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if timeout(STOP_WITHIN, connections.wait()).await.is_err() {
        warn!("stopped with {} requests still in flight after {STOP_WITHIN:?}", connections.len());
    }
    info!("the agent has stopped");
}

async fn accept(listener: &Listener) -> std::io::Result<Stream> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
        Listener::Unix { listener, .. } => Ok(Stream::Unix(listener.accept().await?.0)),
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    app: Router,
    stop: CancellationToken,
) {
    let service = TowerToHyperService::new(app);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(reason) = ended {
        debug!("a connection ended early: {reason}");
    }
}
