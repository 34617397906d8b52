//! How a process ends: two tokens, one for "stop taking work", one for "stop now".
//!
//! ```text
//! first SIGTERM or SIGINT ─▶ soft   release the lease, drain HTTP, finish what is in flight
//! second one              ─▶ hard   drop everything; cancels soft too, being its parent
//! ```
//!
//! A worker's tasks that must not die unnoticed are parts under its supervisor (`worker/tasks.rs`).

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two tokens of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Finish what was begun, begin nothing new.
    pub soft: CancellationToken,
    /// Drop everything.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// Tokens that no signal cancels: for tests, and for parts of a process.
    #[must_use]
    pub fn manual() -> Self {
        let hard = CancellationToken::new();
        Self { soft: hard.child_token(), hard }
    }
}

/// Tokens that follow SIGTERM and SIGINT. Needs a running tokio runtime; from here on, Ctrl-C no longer
/// kills the process by itself.
///
/// # Errors
/// If the signals cannot be caught.
pub fn signals() -> std::io::Result<Shutdown> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = Shutdown::manual();
    let tokens = shutdown.clone();
    tokio::spawn(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "{name} received: stopping; a second signal stops at once");
        tokens.soft.cancel();
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "{name} received again: stopping at once");
        tokens.hard.cancel();
    });
    Ok(shutdown)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hard_stop_is_a_soft_stop_too_and_not_the_other_way() {
        let shutdown = Shutdown::manual();
        shutdown.soft.cancel();
        assert!(!shutdown.hard.is_cancelled());
        let shutdown = Shutdown::manual();
        shutdown.hard.cancel();
        assert!(shutdown.soft.is_cancelled());
    }
}
