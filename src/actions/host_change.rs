//! A change on a host, between its two audit entries: one for its beginning, and one with the outcome, which names the first.
//! If the second is missing, the worker died in between, or Redis was away: the outcome is unknown.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{Actor, Context, JailTarget};
use crate::agent::client::{AgentError, RefusedKind};
use crate::domain::ServerName;
use crate::domain::undo::{Deed, UndoId, Undoable};
use crate::store::{AuditRecord, BEGUN, StoreError};

/// How long a change waits for the probe that shows the state it left.
const SHOW_TIMEOUT: Duration = Duration::from_secs(5);
const SHOW_INTERVAL: Duration = Duration::from_millis(50);

/// A change of one jail whose first entry is written.
pub(super) struct HostChange {
    pub context: Context,
    pub actor: Actor,
    pub target: JailTarget,
    what: &'static str,
    /// The id of the first entry.
    begun: String,
}

impl HostChange {
    /// Writes the first entry; if that fails, the change must not begin.
    pub async fn begin(
        context: Context,
        actor: Actor,
        target: JailTarget,
        what: &'static str,
        wanted: Value,
    ) -> Result<Self, StoreError> {
        let record = AuditRecord {
            target: Some(target.to_string()),
            after: wanted,
            outcome: BEGUN.to_owned(),
            ..actor.record(what)
        };
        let begun = context.store.audit(&record).await?;
        Ok(Self { context, actor, target, what, begun })
    }

    /// Writes the second entry, and logs it. Returns its place in the audit.
    pub async fn end(&self, (before, after): (Value, Value), outcome: String) -> Option<String> {
        let (server, jail, what) = (&self.target.server, &self.target.jail, self.what);
        tracing::info!(
            server.name = %server, jail.name = %jail, what,
            "`{}`: {what} {jail} on `{server}`: {outcome}", self.actor.username()
        );
        let record = AuditRecord {
            target: Some(self.target.to_string()),
            before,
            after,
            outcome,
            begun: Some(self.begun.clone()),
            ..self.actor.record(what)
        };
        self.context.note(&record).await
    }

    /// Saves how to undo it, once its second entry is written.
    pub async fn keep_undo(&self, id: &UndoId, deed: Deed, entry: Option<String>) {
        let Some(entry) = entry else { return };
        let done = Undoable {
            username: self.actor.username().to_owned(),
            server: Some(self.target.server.clone()),
            jail: Some(self.target.jail.clone()),
            deed,
        };
        self.context.keep_undo(id, &done, &entry).await;
    }

    /// Asks the leader for a probe, so that the change is soon shown; without it the next sweep shows it.
    pub async fn request_probe(&self) {
        self.context.request_probe_or_log(&self.target.server).await;
    }

    /// Requests a probe after an attempt, whatever its outcome. If the attempt left the host changed, this waits for the probe:
    /// a user who reads that jails are missing also finds them missing in the state.
    pub async fn show<T>(&self, answer: &Result<T, AgentError>) {
        let unsettled = matches!(answer, Err(AgentError::Refused { kind: RefusedKind::Unsettled, .. }));
        let (store, server) = (&self.context.store, &self.target.server);
        let shown = async {
            let asked_at = store.server(server).await?.read_at;
            store.request_probe(server).await?;
            while unsettled
                && store.server(server).await?.state.status.checked_at.is_none_or(|at| at <= asked_at)
            {
                sleep(SHOW_INTERVAL).await;
            }
            Ok::<_, StoreError>(())
        };
        match timeout(SHOW_TIMEOUT, shown).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(error = %error, server.name = %server, "failed to request a probe after a change");
            }
            Err(_) => {
                tracing::warn!(server.name = %server, "timed out waiting for a probe after a failed change");
            }
        }
    }
}

impl Context {
    /// Asks the leader for a probe after a change; a failure is only logged, as the change is made.
    pub(super) async fn request_probe_or_log(&self, server: &ServerName) {
        if let Err(error) = self.store.request_probe(server).await {
            tracing::debug!(error = %error, server.name = %server, "failed to request a probe after a change");
        }
    }
}
