//! Switching a jail on and off: a transaction of the agent, framed by the record in the server's state.
//!
//! The record comes first, because a crash during the change is the likeliest one. What the agent refused is put back
//! as it was. Where no answer came the record stays: the change may be under way, and a crash would be its.

use std::future::Future;

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::Instrument as _;
use utoipa::ToSchema;

use super::author::{Author, note};
use super::error::{Problem, Result};
use super::extract::Path;
use super::server_view::ActivationView;
use super::servers::configured;
use super::state::AppState;
use crate::agent::client::{AgentClient, AgentError, RefusedKind};
use crate::agent::wire::JailChanged;
use crate::domain::{JailName, ServerName};
use crate::store::{AuditRecord, BEGUN, Replaced};

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct JailSwitched {
    #[schema(value_type = String)]
    jail: JailName,
    /// Whether it runs now.
    active: bool,
    /// False if it was so already.
    changed: bool,
    last_activation: Option<ActivationView>,
}

/// Switches a jail on, also after the next restart.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/activate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run with it, in its own words; nothing was changed")))]
pub async fn activate(
    State(state): State<AppState>,
    author: Author,
    Path((server, jail)): Path<(String, String)>,
) -> Result<axum::Json<JailSwitched>> {
    let change = Change::of(state, author, &server, &jail)?;
    to_the_end(change.switch_on()).await
}

/// Switches a jail off, also after the next restart; its bans are lifted.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/deactivate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run without it; nothing was changed")))]
pub async fn deactivate(
    State(state): State<AppState>,
    author: Author,
    Path((server, jail)): Path<(String, String)>,
) -> Result<axum::Json<JailSwitched>> {
    let change = Change::of(state, author, &server, &jail)?;
    to_the_end(change.switch_off()).await
}

/// A change of one jail, with all that it takes.
pub struct Change {
    pub state: AppState,
    pub author: Author,
    pub server: ServerName,
    pub agent: AgentClient,
    pub jail: JailName,
    /// The entry of the audit that tells of the beginning.
    begun: Option<String>,
}

impl Change {
    /// What the request names, or 404.
    pub fn of(state: AppState, author: Author, server: &str, jail: &str) -> Result<Self> {
        let (server, agent) = configured(&state, server)?;
        let jail = JailName::from_segment(jail).map_err(|_| Problem::not_found("jail"))?;
        Ok(Self { state, author, server, agent, jail, begun: None })
    }

    /// Writes into the audit that this is begun; where that cannot be written, nothing is begun.
    pub async fn begin(&mut self, what: &'static str, wanted: Value) -> Result<()> {
        let record = self.author.record(what, Some(self.target()), (Value::Null, wanted), BEGUN);
        self.begun = Some(self.state.store.audit(&record).await?);
        Ok(())
    }

    /// Writes the audit's entry of the end.
    pub async fn audit(&self, what: &'static str, states: (Value, Value), outcome: String) {
        let record = self.author.record(what, Some(self.target()), states, outcome);
        note(&self.state, &AuditRecord { begun: self.begun.clone(), ..record }).await;
    }

    fn target(&self) -> String {
        format!("{}/{}", self.server, self.jail)
    }

    /// What could not be recorded is not begun.
    async fn recorded(
        &self,
        what: &'static str,
        replaced: crate::store::Result<Replaced>,
    ) -> Result<Replaced> {
        if let Err(error) = &replaced {
            self.audit(what, (Value::Null, Value::Null), format!("not tried: {error}")).await;
        }
        Ok(replaced?)
    }

    async fn switch_on(mut self) -> Result<axum::Json<JailSwitched>> {
        self.begin("jail.activate", json!({ "active": true })).await?;
        let (store, server, jail) = (&self.state.store, &self.server, &self.jail);
        let replaced = store.begin_activation(server, jail).await;
        let replaced = self.recorded("jail.activate", replaced).await?;
        let answer = self.look_again(self.agent.activate(jail).await, true).await;
        self.settled(match Known::of(&answer) {
            Known::Changed => store.end_activation(server, jail).await,
            Known::AsBefore => store.take_back_activation(server, jail, &replaced).await,
            Known::Nothing => Ok(()),
        });
        self.conclude("jail.activate", answer).await
    }

    async fn switch_off(mut self) -> Result<axum::Json<JailSwitched>> {
        self.begin("jail.deactivate", json!({ "active": false })).await?;
        let (store, server, jail) = (&self.state.store, &self.server, &self.jail);
        let replaced = store.begin_switch_off(server, jail).await;
        let replaced = self.recorded("jail.deactivate", replaced).await?;
        let answer = self.look_again(self.agent.deactivate(jail).await, false).await;
        self.settled(match &answer {
            Ok(_) => store.end_switch_off(server, jail).await,
            Err(_) => match Known::of(&answer) {
                Known::AsBefore => store.take_back_switch_off(server, jail, &replaced).await,
                _ => Ok(()),
            },
        });
        self.conclude("jail.deactivate", answer).await
    }

    /// An answer that did not come leaves open what was done: if the jail is as asked, it was.
    async fn look_again(
        &self,
        answer: std::result::Result<JailChanged, AgentError>,
        wanted: bool,
    ) -> std::result::Result<JailChanged, AgentError> {
        let Err(error) = &answer else { return answer };
        if matches!(error, AgentError::Refused { .. } | AgentError::Busy { .. }) {
            return answer;
        }
        match self.agent.jail_view(&self.jail).await {
            Ok(Some(view)) if view.running == wanted && view.enabled == wanted => {
                Ok(JailChanged { jail: self.jail.clone(), active: wanted, changed: true })
            }
            _ => answer,
        }
    }

    async fn conclude(
        self,
        what: &'static str,
        answer: std::result::Result<JailChanged, AgentError>,
    ) -> Result<axum::Json<JailSwitched>> {
        let (states, outcome) = match &answer {
            Ok(JailChanged { active, changed, .. }) => {
                let before = if *changed { !active } else { *active };
                ((json!({ "active": before }), json!({ "active": active })), "done".to_owned())
            }
            Err(error) => ((Value::Null, Value::Null), error.to_string()),
        };
        tracing::info!(
            server.name = %self.server, jail = %self.jail, what,
            "`{}`: {what} {} on `{}`: {outcome}", self.author.username(), self.jail, self.server
        );
        self.audit(what, states, outcome).await;
        let JailChanged { jail, active, changed } = answer.map_err(|error| match error {
            AgentError::Refused { .. } => Problem::from(error),
            AgentError::Busy { .. } => Problem::from(error).and("nothing was changed"),
            error => Problem::from(error)
                .and("whether the jail was changed is not known: look at it before trying again"),
        })?;
        // The status of the jail is to be seen soon; the next sweep would show it too.
        if let Err(error) = self.state.store.request_probe(&self.server).await {
            tracing::debug!(error = %error, "no probe could be asked for after a change");
        }
        let stored = self.state.store.server(&self.server).await?;
        let last_activation = stored.state.last_activation.map(ActivationView::from);
        Ok(axum::Json(JailSwitched { jail, active, changed, last_activation }))
    }

    /// The host is changed, or not, whatever Redis says now.
    fn settled(&self, settled: crate::store::Result<()>) {
        if let Err(error) = settled {
            tracing::warn!(
                server.name = %self.server, jail = %self.jail, error = %error,
                "the record of a switch could not be settled: a crash within its window may be put down to it"
            );
        }
    }
}

/// What an answer says of the host.
enum Known {
    Changed,
    AsBefore,
    Nothing,
}

impl Known {
    fn of(answer: &std::result::Result<JailChanged, AgentError>) -> Self {
        match answer {
            Ok(JailChanged { changed: true, .. }) => Self::Changed,
            Ok(_) => Self::AsBefore,
            Err(AgentError::Refused { kind: RefusedKind::Unsettled, .. }) => Self::Nothing,
            Err(AgentError::Refused { .. } | AgentError::Busy { .. }) => Self::AsBefore,
            // Down too: nothing was changed, and it may have gone down by what was tried.
            Err(_) => Self::Nothing,
        }
    }
}

/// Runs a change to its end even if its client goes away: half of it would leave the record unsettled.
pub async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(change.in_current_span()).await.map_err(Problem::internal)?
}
