//! The runtime state of each fail2ban server: one document with a revision.
use super::{Result, Store};
use crate::domain::{Event, ServerName, ServerState, Timestamp};

/// A server's state as it was read.
#[derive(Debug, Clone)]
pub struct StoredServer {
    /// The state; the default before the first probe.
    pub state: ServerState,
    /// Counts writes; 0 before the first.
    pub revision: u64,
    /// Redis's clock at the read.
    pub read_at: Timestamp,
}

impl Store {
    /// The state of one server.
    pub async fn server(&self, _name: &ServerName) -> Result<StoredServer> {
        todo!()
    }

    /// The states of several, in order, by one command.
    pub async fn servers(&self, _names: &[ServerName]) -> Result<Vec<StoredServer>> {
        todo!()
    }

    /// Reads, changes and writes back, and retries when another write came between. `change` is given the state
    /// and Redis's time and may be called several times; `None` from it writes nothing.
    pub async fn change_server<E>(
        &self,
        _name: &ServerName,
        _change: impl Fn(ServerState, Timestamp) -> std::result::Result<Option<(ServerState, Vec<Event>)>, E>,
    ) -> std::result::Result<StoredServer, ChangeError<E>> {
        todo!()
    }

    /// Asks the scheduler to probe this server at once.
    pub async fn request_probe(&self, _name: &ServerName) -> Result<()> {
        todo!()
    }
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E> {
    /// The domain refused it.
    #[error("refused")]
    Refused(E),
    /// Redis did not take it.
    #[error(transparent)]
    Store(#[from] super::StoreError),
}

impl Store {
    /// Whether this fail2ban answers `get JAIL backend`: from the stored state, else by asking once for the whole
    /// cluster. However many requests on however many workers want to know at once, `ask` runs in one of them
    /// and the others wait for its answer. `None` if there is no jail to ask about.
    pub async fn backend_commands<E>(
        &self,
        _name: &ServerName,
        _ask: impl AsyncFnOnce() -> std::result::Result<Option<bool>, E>,
    ) -> std::result::Result<Option<bool>, ChangeError<E>> {
        todo!()
    }
}
