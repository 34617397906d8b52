//! One connection to fail2ban's socket: sends a command, reads its reply, knows whether it may be used again.

use std::io::ErrorKind;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::Fail2banError;
use super::codec::Frame;

/// Why an exchange brought no reply. The connection must not be used again after any of these: replies carry no number,
/// so a late one would be taken for the answer to the next command.
#[derive(Debug)]
pub(super) enum Broken {
    /// It was closed before a single byte of the reply: if it had been idle, fail2ban has probably been restarted.
    BeforeReply,
    /// Any other error, for the caller.
    Because(Fail2banError),
}

/// An open connection.
pub(super) struct Connection {
    stream: UnixStream,
    /// Whether a command has been answered on it.
    pub(super) used: bool,
}

impl Connection {
    /// Connects to the socket at `path`.
    pub(super) async fn open(path: &Path, deadline: Instant) -> Result<Self, Fail2banError> {
        match timeout_at(deadline, UnixStream::connect(path)).await {
            Ok(Ok(stream)) => Ok(Self { stream, used: false }),
            Ok(Err(error)) => Err(cannot_connect(path, &error)),
            Err(_) => Err(Fail2banError::Busy(format!("timed out connecting to {}", path.display()))),
        }
    }

    /// The process that listens on the socket; 0 if the kernel does not say.
    pub(super) fn pid(&self) -> i32 {
        self.stream.peer_cred().ok().and_then(|peer| peer.pid()).unwrap_or_default()
    }

    /// Whether the peer has closed it, or sent something unexpected, since the last reply.
    pub(super) fn is_stale(&self) -> bool {
        !matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends a request and waits for the whole reply, at most until `deadline`.
    pub(super) async fn exchange(
        &mut self,
        request: &[u8],
        max_reply: usize,
        deadline: Instant,
    ) -> Result<Frame, Broken> {
        let mut frame = Frame::with_limit(max_reply);
        match timeout_at(deadline, self.converse(request, &mut frame)).await {
            Ok(Ok(())) => {
                self.used = true;
                Ok(frame)
            }
            Ok(Err(broken)) => Err(broken),
            Err(_) if frame.is_empty() => Err(Broken::Because(Fail2banError::Busy(
                "fail2ban accepted the command but did not answer in time".into(),
            ))),
            Err(_) => Err(Broken::Because(Fail2banError::Busy(format!(
                "fail2ban began to answer but did not finish in time ({} bytes received)",
                frame.len()
            )))),
        }
    }

    async fn converse(&mut self, request: &[u8], frame: &mut Frame) -> Result<(), Broken> {
        self.stream.write_all(request).await.map_err(|error| broken(&error, frame))?;
        let mut chunk = vec![0; 32 * 1024];
        // Ends with the reply, at the size limit, with the connection, or at the caller's deadline.
        loop {
            let length = self.stream.read(&mut chunk).await.map_err(|error| broken(&error, frame))?;
            if length == 0 {
                return Err(broken(&ErrorKind::UnexpectedEof.into(), frame));
            }
            match frame.push(&chunk[..length]) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    return Err(Broken::Because(Fail2banError::Down(format!(
                        "fail2ban does not answer: {error}"
                    ))));
                }
            }
        }
    }
}

fn broken(error: &std::io::Error, frame: &Frame) -> Broken {
    if frame.is_empty() {
        return Broken::BeforeReply;
    }
    Broken::Because(Fail2banError::Down(format!(
        "fail2ban closed the connection in the middle of a reply, after {} bytes ({error})",
        frame.len()
    )))
}

fn cannot_connect(path: &Path, error: &std::io::Error) -> Fail2banError {
    let path = path.display();
    match error.kind() {
        // The queue of waiting connections is full: fail2ban's is only a few long, and it is not accepting any.
        ErrorKind::WouldBlock => {
            Fail2banError::Busy(format!("fail2ban accepts no further connection on {path} at the moment"))
        }
        ErrorKind::NotFound => Fail2banError::Down(format!(
            "there is no socket {path}: fail2ban is not running, or BANGUI_FAIL2BAN_SOCKET names the wrong path"
        )),
        ErrorKind::ConnectionRefused => Fail2banError::Down(format!(
            "nobody listens on {path}: fail2ban has ended and left its socket behind"
        )),
        ErrorKind::PermissionDenied => Fail2banError::Down(format!(
            "permission denied on {path}: the agent must run as a user who may write to fail2ban's socket, which is root \
             unless its systemd socket unit says otherwise"
        )),
        _ => Fail2banError::Down(format!("cannot connect to {path}: {error}")),
    }
}
