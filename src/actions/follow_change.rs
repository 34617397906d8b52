//! Following a change of a jail while its agent makes it: the agent's steps, and a refusal, are saved in Redis, so that any worker
//! can show them.
//!
//! Nothing here decides anything: a step that cannot be asked for or saved is not shown.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;

use super::JailTarget;
use super::host_change::HostChange;
use crate::agent::client::{AgentClient, AgentError, RefusedKind};
use crate::domain::{JailChangeId, JailChangeKind, UnreachableKind};
use crate::store::{ChangeEnd, NotedChange};

/// The interval at which the agent is asked for its current step.
const ASK_INTERVAL: Duration = Duration::from_millis(400);

/// A change that is followed.
pub(super) struct Followed<'a> {
    change: &'a HostChange,
    id: JailChangeId,
    noted: NotedChange,
    /// Its requests carry the id of the change.
    agent: AgentClient,
}

impl<'a> Followed<'a> {
    /// A change that is about to be made, called `id`.
    pub(super) fn new(change: &'a HostChange, kind: JailChangeKind, id: JailChangeId) -> Self {
        let username = change.actor.username().to_owned();
        let agent = change.target.agent.naming(&id);
        Self { change, id, noted: NotedChange { kind, username, steps: Vec::new() }, agent }
    }

    /// The client for the change, whose requests carry its id.
    pub(super) fn agent(&self) -> AgentClient {
        self.agent.clone()
    }

    /// Waits for the change, and saves its steps until it ends.
    pub(super) async fn until<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            answer = work => answer,
            never = self.note_steps() => match never {},
        }
    }

    async fn note_steps(&mut self) -> Infallible {
        let mut asks = true;
        loop {
            self.note().await;
            sleep(ASK_INTERVAL).await;
            if !asks {
                continue;
            }
            match self.agent.change_steps(&self.id).await {
                Ok(steps) => self.noted.steps = steps,
                // An agent of a version without this route.
                Err(AgentError::Unreachable { kind: UnreachableKind::Protocol, .. }) => asks = false,
                Err(error) => {
                    tracing::debug!(error = %error, "failed to ask the agent for the step of a change")
                }
            }
        }
    }

    async fn note(&self) {
        let JailTarget { server, jail, .. } = &self.change.target;
        if let Err(error) = self.change.context.store.note_change(server, jail, &self.id, &self.noted).await {
            tracing::debug!(error = %error, jail_change.id = %self.id, "failed to save the step of a change");
        }
    }

    /// Saves the outcome, with the last steps.
    pub(super) async fn end<T>(&mut self, answer: &Result<T, AgentError>) {
        if !matches!(answer, Err(AgentError::Unreachable { .. }))
            && let Ok(steps) = self.agent.change_steps(&self.id).await
        {
            self.noted.steps = steps;
        }
        let words = answer.as_ref().map_or_else(ToString::to_string, |_| String::new());
        let end = match answer {
            Ok(_) => ChangeEnd::Done,
            // The first: there is no jail to show it for. The second: it is neither made nor refused.
            Err(AgentError::Refused { kind: RefusedKind::Jail | RefusedKind::UnderWay, .. }) => {
                ChangeEnd::Unknown
            }
            Err(AgentError::Unreachable { .. }) => ChangeEnd::Unknown,
            Err(_) => ChangeEnd::Refused(&words),
        };
        let (JailTarget { server, jail, .. }, store) = (&self.change.target, &self.change.context.store);
        if let Err(error) = store.end_change(server, jail, &self.id, &self.noted, end).await {
            tracing::debug!(error = %error, jail_change.id = %self.id, "failed to save the end of a change");
        }
    }
}
