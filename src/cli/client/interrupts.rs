//! Ctrl-C and SIGTERM while a command waits: they end the waiting, and the command says what continues without it.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::ClientError;

/// The signals: from now on they end the process only through this.
pub struct Interrupts {
    terminate: Signal,
    interrupt: Signal,
}

impl Interrupts {
    /// Catches them.
    ///
    /// # Errors
    /// If they cannot be caught.
    pub fn catch() -> Result<Self, ClientError> {
        let catch = |kind| signal(kind).map_err(ClientError::local("failed to listen for signals"));
        Ok(Self { terminate: catch(SignalKind::terminate())?, interrupt: catch(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
