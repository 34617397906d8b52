//! Switching a jail on and off: a transaction of the agent, framed by the record in the server's state.
//!
//! The record comes first, because a crash during the change is the likeliest one. What the agent refused is put back
//! as it was. Where no answer came the record stays: the change may be under way, and a crash would be its.

use std::future::Future;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rand::RngExt as _;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::Instrument as _;
use utoipa::ToSchema;

use super::server_view::ActivationView;
use super::servers::configured;
use crate::agent::client::{AgentClient, AgentError, RefusedKind};
use crate::agent::wire::JailChanged;
use crate::domain::{JailName, ServerName};
use crate::http::auth::author::{Author, note};
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;
use crate::store::{AuditRecord, BEGUN, Replaced};

/// For a probe after a change that left the host otherwise than it was.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);
/// A change that takes longer goes on by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// However long it takes; the agent gives up at this time too.
const MAX_CHANGE: Duration = Duration::from_secs(3600);
const ASK_AGAIN: Duration = Duration::from_secs(2);
const SHOW_EVERY: Duration = Duration::from_millis(50);

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

/// A change that takes longer than a client should wait: the jail shows when it is done, and so does the audit.
#[derive(Debug, Serialize, ToSchema)]
pub struct JailSwitching {
    #[schema(value_type = String)]
    jail: JailName,
    /// Always true.
    under_way: bool,
}

/// Switches a jail on, also after the next restart.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/activate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 202, body = JailSwitching), (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run with it, in its own words; nothing was changed")))]
pub async fn activate(
    State(state): State<AppState>,
    author: Author,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let change = Change::of(state, author, &server, &jail)?;
    answered_soon(&server, &jail, change.switch_on()).await
}

/// Switches a jail off, also after the next restart; its bans are lifted.
#[utoipa::path(post, path = "/api/v1/servers/{server}/jails/{jail}/deactivate", tag = "jails",
    params(("server" = String, Path), ("jail" = String, Path)),
    responses((status = 200, body = JailSwitched), (status = 202, body = JailSwitching), (status = 502, description = "The agent cannot be reached"),
        (status = 422, description = "fail2ban would not run without it; nothing was changed")))]
pub async fn deactivate(
    State(state): State<AppState>,
    author: Author,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let change = Change::of(state, author, &server, &jail)?;
    answered_soon(&server, &jail, change.switch_off()).await
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
        let answer = self.ask_until_finished(true).await;
        let answer = self.look_again(answer, true).await;
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
        let answer = self.ask_until_finished(false).await;
        let answer = self.look_again(answer, false).await;
        self.settled(match &answer {
            Ok(_) => store.end_switch_off(server, jail).await,
            // Unsettled too: a jail that is not off is expected to run, and missing if it does not.
            Err(AgentError::Refused { kind, .. }) if *kind != RefusedKind::UnderWay => {
                store.take_back_switch_off(server, jail, &replaced).await
            }
            Err(AgentError::Busy { .. }) => store.take_back_switch_off(server, jail, &replaced).await,
            Err(_) => Ok(()),
        });
        self.conclude("jail.deactivate", answer).await
    }

    /// Asks until a change that has begun is finished: asking again waits for its turn, and then finds the jail as asked.
    async fn ask_until_finished(&self, on: bool) -> std::result::Result<JailChanged, AgentError> {
        let (began, mut begun) = (Instant::now(), false);
        loop {
            let answer = match on {
                true => self.agent.activate(&self.jail).await,
                false => self.agent.deactivate(&self.jail).await,
            };
            let under_way = matches!(answer, Err(AgentError::Refused { kind: RefusedKind::UnderWay, .. }));
            let waits = under_way || matches!(answer, Err(AgentError::Busy { .. }));
            begun |= under_way;
            if !begun || !waits || began.elapsed() > MAX_CHANGE {
                return answer.map(|answer| JailChanged { changed: answer.changed || begun, ..answer });
            }
            let pause = ASK_AGAIN.mul_f64(rand::rng().random_range(0.5..=1.0));
            tokio::time::sleep(pause).await;
        }
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
        self.show(matches!(answer, Err(AgentError::Refused { kind: RefusedKind::Unsettled, .. }))).await;
        let JailChanged { jail, active, changed } = answer.map_err(|error| match error {
            AgentError::Refused { .. } => Problem::from(error),
            AgentError::Busy { .. } => Problem::from(error).and("nothing was changed"),
            error => Problem::from(error)
                .and("whether the jail was changed is not known: look at it before trying again"),
        })?;
        let stored = self.state.store.server(&self.server).await?;
        let last_activation = stored.state.last_activation.map(ActivationView::from);
        Ok(axum::Json(JailSwitched { jail, active, changed, last_activation }))
    }

    /// Asks for a probe, so that the state soon shows what the change has come to. Of a host that is not as before it is
    /// waited for: whoever is told that jails are missing finds them missing in the state.
    pub async fn show(&self, wait: bool) {
        let (store, server) = (&self.state.store, &self.server);
        let shown = async {
            let asked_at = store.server(server).await?.read_at;
            store.request_probe(server).await?;
            while wait && store.server(server).await?.state.status.checked_at.is_none_or(|at| at <= asked_at)
            {
                tokio::time::sleep(SHOW_EVERY).await;
            }
            Ok::<_, crate::store::StoreError>(())
        };
        match tokio::time::timeout(SHOWN_WITHIN, shown).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = %error, "failed to request a probe after a change"),
            Err(_) => {
                tracing::warn!(server.name = %server, "timed out waiting for a probe after a failed change");
            }
        }
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
            Err(AgentError::Refused { kind: RefusedKind::Unsettled | RefusedKind::UnderWay, .. }) => {
                Self::Nothing
            }
            Err(AgentError::Refused { .. } | AgentError::Busy { .. }) => Self::AsBefore,
            // Down too: nothing was changed, and it may have gone down by what was tried.
            Err(_) => Self::Nothing,
        }
    }
}

/// The answer of a change, or 202 if that takes long; the change runs to its end then, too.
async fn answered_soon(
    server: &str,
    jail: &str,
    change: impl Future<Output = Result<axum::Json<JailSwitched>>> + Send + 'static,
) -> Result<Response> {
    let mut change = tokio::spawn(change.in_current_span());
    match tokio::time::timeout(ANSWER_WITHIN, &mut change).await {
        Ok(ended) => Ok(ended.map_err(Problem::internal)??.into_response()),
        Err(_) => {
            let jail = JailName::parse(jail).map_err(|_| Problem::not_found("jail"))?;
            let at = format!("/api/v1/servers/{server}/jails/{jail}");
            let body = axum::Json(JailSwitching { jail, under_way: true });
            Ok((StatusCode::ACCEPTED, [(header::LOCATION, at)], body).into_response())
        }
    }
}

/// Runs a change to its end even if its client goes away: half of it would leave the record unsettled.
pub async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(change.in_current_span()).await.map_err(Problem::internal)?
}
