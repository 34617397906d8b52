//! Where an agent listens: a unix socket, loopback TCP, or any TCP address with TLS.
//!
//! A socket file outlives a killed agent, so an existing one is tried first: if somebody answers on it, it belongs to another
//! agent and stays; if nobody does, it is a leftover and is removed. Anything but a socket is never removed.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::agent::tls::Identity;
use crate::config::AgentListen;
use crate::net::Listener;

/// Why the agent cannot listen.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum ListenError {
    #[error(
        "another agent already listens on {0}: stop it first, or give this one another BANGUI_AGENT_LISTEN"
    )]
    Taken(PathBuf),
    #[error("{0} exists and is not a socket: remove it, or set BANGUI_AGENT_LISTEN to another path")]
    NoSocket(PathBuf),
    #[error(
        "{0} is not a loopback address: set BANGUI_AGENT_TLS_CERT and BANGUI_AGENT_TLS_KEY, or listen on a unix socket or loopback"
    )]
    NotLoopback(std::net::SocketAddr),
    #[error("cannot listen on {what} (BANGUI_AGENT_LISTEN): {source}")]
    Io { what: String, source: std::io::Error },
}

/// An open listener; for a unix socket with its file, which is removed when this is dropped.
pub(in crate::agent) struct Open {
    pub listener: Listener,
    pub file: Option<SocketFile>,
}

/// Opens what the configuration names.
pub(in crate::agent) async fn open(
    listen: &AgentListen,
    tls: Option<Arc<Identity>>,
) -> Result<Open, ListenError> {
    match listen {
        AgentListen::Tcp(address) if tls.is_none() && !address.ip().is_loopback() => {
            Err(ListenError::NotLoopback(*address))
        }
        AgentListen::Tcp(address) => {
            let io = |source| ListenError::Io { what: address.to_string(), source };
            let listener = TcpListener::bind(address).await.map_err(io)?;
            info!(agent.listen = %listener.local_addr().map_err(io)?, "agent listening");
            let listener = match tls {
                None => Listener::Tcp(listener),
                Some(identity) => Listener::Tls(listener, Arc::new(move || identity.current())),
            };
            Ok(Open { listener, file: None })
        }
        AgentListen::Unix(path) => {
            let io = |source| ListenError::Io { what: path.display().to_string(), source };
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder).map_err(io)?;
            }
            remove_leftover(path).await?;
            let listener = UnixListener::bind(path).map_err(io)?;
            let file = SocketFile::of(path).map_err(io)?;
            // For owner and group: a worker that runs as another user must be in the agent's group.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(io)?;
            info!(agent.listen = %path.display(), "agent listening");
            Ok(Open { listener: Listener::Unix(listener), file: Some(file) })
        }
    }
}

async fn remove_leftover(path: &Path) -> Result<(), ListenError> {
    let io = |source| ListenError::Io { what: path.display().to_string(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
        Ok(file) if !file.file_type().is_socket() => return Err(ListenError::NoSocket(path.into())),
        Ok(_) => {}
    }
    match timeout(Duration::from_secs(1), UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            warn!(agent.listen = %path.display(), "replaced a socket on which nobody answered");
            std::fs::remove_file(path).map_err(io)
        }
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(Err(error)) if error.kind() == ErrorKind::PermissionDenied => Err(io(error)),
        // Connected, or too busy to accept: an agent is there.
        _ => Err(ListenError::Taken(path.into())),
    }
}

/// Removes the socket's file when dropped, unless another agent has put its own there since.
pub(in crate::agent) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> std::io::Result<Self> {
        Ok(Self { path: path.into(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            warn!(agent.listen = %self.path.display(), "failed to remove the socket: {error}");
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leftover_is_replaced_and_a_live_agent_or_another_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/agent.sock");
        let listen = AgentListen::Unix(path.clone());

        let first = open(&listen, None).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(open(&listen, None).await, Err(ListenError::Taken(_))));
        drop(first);
        assert!(!path.exists(), "removed at the end");

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a leftover");
        let second = open(&listen, None).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let third = open(&listen, None).await.unwrap();
        drop(second);
        assert!(path.exists(), "the file is another agent's by now");
        drop(third);

        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(open(&listen, None).await, Err(ListenError::NoSocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn plain_http_stays_on_loopback() {
        assert!(matches!(
            open(&AgentListen::Tcp(([0, 0, 0, 0], 0).into()), None).await,
            Err(ListenError::NotLoopback(_))
        ));
        assert!(open(&AgentListen::Tcp(([127, 0, 0, 1], 0).into()), None).await.is_ok());
    }
}
