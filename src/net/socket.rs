//! Where connections come from: TCP, TCP with TLS, or a unix socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may leave unread what is sent to it, in milliseconds.
const WRITE_TIMEOUT_MS: u32 = 30_000;

/// Returns the certificate to show now; asked for at each handshake, since files change while the process runs.
pub type Certificate = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// How many bytes the kernel may keep that a client has sent and that were not read yet. No request to bangui is large.
pub(super) const RECEIVE_BUFFER: usize = 16 * 1024;

/// The most bytes of a segment. This matters only on the loopback interface, for a proxy on this machine: there a segment would
/// have 64 KiB, as much as the send buffer holds. A receiver confirms every second segment at once, and a single one 40 ms later:
/// an answer of 100 KB would wait for that.
pub(super) const MAX_SEGMENT: u32 = 16 * 1024;

/// A bound socket.
pub enum Listener {
    /// Plain TCP.
    Tcp(TcpListener),
    /// TLS on TCP.
    Tls(TcpListener, Certificate),
    /// A unix socket; the caller removes its file.
    Unix(UnixListener),
}

/// A connection that was just accepted and not read from yet.
pub(super) struct Accepted {
    pub stream: Stream,
    /// None on a unix socket.
    pub peer: Option<SocketAddr>,
}

/// [`Accepted::stream`], before its handshake if it has one.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(TcpStream, Certificate),
    Unix(UnixStream),
}

/// A connection that HTTP can be spoken on.
pub(super) enum Connection {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Listener {
    /// Limits the kernel's buffers of each connection that is accepted from here on.
    ///
    /// By default they grow to several MiB: a client that requests much and reads nothing would hold that much memory, which counts
    /// towards the limit of a container. The kernel counts twice the size that is set, for its own bookkeeping.
    pub(super) fn bound_buffers(&self, send_buffer: usize) {
        let (Self::Tcp(listener) | Self::Tls(listener, _)) = self else { return };
        let bounded = sockopt::set_socket_send_buffer_size(listener, send_buffer)
            .and_then(|()| sockopt::set_socket_recv_buffer_size(listener, RECEIVE_BUFFER));
        if let Err(error) = bounded {
            tracing::warn!("failed to limit the socket buffers of connections: {error}");
        }
        if let Err(error) = SockRef::from(listener).set_tcp_mss(MAX_SEGMENT) {
            tracing::debug!("failed to limit the segments of connections: {error}");
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = accept_tcp(listener).await?;
                Ok(Accepted { stream: Stream::Tcp(stream), peer: Some(peer) })
            }
            Self::Tls(listener, certificate) => {
                let (stream, peer) = accept_tcp(listener).await?;
                Ok(Accepted { stream: Stream::Tls(stream, Arc::clone(certificate)), peer: Some(peer) })
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted { stream: Stream::Unix(stream), peer: None })
            }
        }
    }
}

impl Stream {
    /// Completes the handshake, in the connection's own task, so that a slow client delays no other.
    pub(super) async fn connected(self) -> io::Result<Connection> {
        match self {
            Self::Tcp(stream) => Ok(Connection::Tcp(stream)),
            Self::Unix(stream) => Ok(Connection::Unix(stream)),
            Self::Tls(stream, certificate) => {
                let handshake = TlsAcceptor::from(certificate()).accept(stream);
                Ok(Connection::Tls(Box::new(timeout(HANDSHAKE_TIMEOUT, handshake).await??)))
            }
        }
    }
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(client.address = %peer, "failed to set TCP_NODELAY: {error}");
    }
    // A client that does not read its answers gives up its place after this time.
    if let Err(error) = sockopt::set_tcp_user_timeout(&stream, WRITE_TIMEOUT_MS) {
        tracing::debug!(client.address = %peer, "failed to set TCP_USER_TIMEOUT: {error}");
    }
    Ok((stream, peer))
}
