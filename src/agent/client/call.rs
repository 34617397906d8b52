//! One call of an agent: its deadline, its token, its answer or the reason for not having one.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::error::AgentError;
use crate::agent::names::{ANY_NAME, NAMES_HEADER};
use crate::agent::refusal::Refusal;
use crate::agent::token::Tokens;
use crate::agent::{tls, wire};
use crate::domain::change_steps::MAX_STEPS;
use crate::domain::{JailChangeId, ProbeOutcome, StepTime, UnreachableKind};
use crate::telemetry::traces;

/// The timeout for asking which step a change is at: a late answer is useless.
const STEPS_DEADLINE: Duration = Duration::from_secs(2);

/// A client of one agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentClient {
    pub(super) http: reqwest::Client,
    /// `http://host:port`, without a slash at its end.
    pub(super) base: Arc<str>,
    /// Where the agent is, as the configuration names it.
    pub(super) place: Arc<str>,
    /// Sent with each call; none where the workers' certificate authenticates them.
    pub(super) tokens: Option<Arc<Tokens>>,
    /// The id of the change that this client asks for.
    pub(super) change: Option<JailChangeId>,
}

impl AgentClient {
    /// Probes fail2ban; a failure to ask is an outcome too. Ends within `deadline`.
    pub async fn probe(&self, deadline: Duration) -> ProbeOutcome {
        match self.get::<wire::Status>("/v1/status", deadline).await {
            Ok(status) => status.into(),
            Err(error) => error.into(),
        }
    }

    /// Who the agent is.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn info(&self) -> Result<wire::Info, AgentError> {
        self.get("/v1/info", wire::DEFAULT_DEADLINE).await
    }

    /// All running jails, with backend and idleness if `backend` says so.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn jails(&self, backend: bool) -> Result<Vec<wire::Jail>, AgentError> {
        let path = if backend { "/v1/jails?backend=true" } else { "/v1/jails" };
        let jails: wire::Jails = self.get(path, wire::DEFAULT_DEADLINE).await?;
        Ok(jails.jails)
    }

    /// Asks fail2ban once whether it knows `get JAIL backend`.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn backend_commands(&self) -> Result<Option<bool>, AgentError> {
        let support: wire::BackendSupport = self.get("/v1/backend-commands", wire::DEFAULT_DEADLINE).await?;
        Ok(support.supported)
    }

    /// The same client, with this id for its changes, by which [`Self::change_steps`] asks for their steps.
    #[must_use]
    pub fn naming(&self, change: &JailChangeId) -> Self {
        Self { change: Some(change.clone()), ..self.clone() }
    }

    /// The steps that a change has taken; none if the agent does not know the change. An agent before 0.3 refuses the request.
    ///
    /// # Errors
    /// As [`AgentError`] says.
    pub async fn change_steps(&self, change: &JailChangeId) -> Result<Vec<StepTime>, AgentError> {
        let known: wire::ChangeSteps = self.get(&format!("/v1/changes/{change}"), STEPS_DEADLINE).await?;
        Ok(known.steps.into_iter().take(MAX_STEPS).collect())
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        deadline: Duration,
    ) -> Result<T, AgentError> {
        self.call(self.request(Method::GET, path), deadline).await
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.change {
            Some(change) => request.header(wire::CHANGE_HEADER, change.to_string()),
            None => request,
        }
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        deadline: Duration,
    ) -> Result<T, AgentError> {
        let request = self.within(request, deadline);
        let answer = timeout(deadline, async {
            let response = self.respond(&request).await?;
            self.read(response, wire::MAX_ANSWER).await
        });
        answer.await.unwrap_or_else(|_| Err(self.too_late(deadline)))
    }

    /// The request with a deadline for the agent: a little earlier than the caller's, so that its answer arrives in time.
    pub(super) fn within(&self, request: RequestBuilder, deadline: Duration) -> RequestBuilder {
        let budget = deadline.mul_f64(0.8).as_millis().to_string();
        request.header(wire::DEADLINE_HEADER, budget).header(NAMES_HEADER, ANY_NAME)
    }

    pub(super) fn too_late(&self, deadline: Duration) -> AgentError {
        self.unreachable(UnreachableKind::Network, &format!("no answer within {deadline:?}"))
    }

    /// Sends the request with the first token, and with the second if the agent refuses the first; or without a token. A refused token
    /// means that nothing was done, so even a change may be sent again.
    pub(super) async fn respond(&self, request: &RequestBuilder) -> Result<Response, AgentError> {
        let tokens = match &self.tokens {
            Some(tokens) => tokens.current().await,
            None => Arc::default(),
        };
        let proofs = tokens.iter().map(Some).chain(self.tokens.is_none().then_some(None));
        for token in proofs {
            let Some(request) = request.try_clone() else { break };
            let request = match token {
                Some(token) => request.bearer_auth(token.expose_secret()),
                None => request,
            };
            let span = traces::call("agent", &self.place);
            let request = request.headers(traces::headers(&span).into_iter().collect());
            let response = request.send().instrument(span).await.map_err(|error| self.network(error))?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
        }
        Err(self.token_refused())
    }

    fn token_refused(&self) -> AgentError {
        let remedy = if self.tokens.is_some() {
            "it refused the token: BANGUI_AGENT_TOKEN must be the same for the agent and the workers"
        } else {
            "it requires a token, but is sent none since workers have a certificate: on the agent, \
             replace BANGUI_AGENT_TOKEN with BANGUI_WORKER_CA, or add ?token=shared to its URL in BANGUI_SERVERS"
        };
        self.unreachable(UnreachableKind::Token, remedy)
    }

    /// The body of an answer, or the meaning of a refusal.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        mut response: Response,
        max_answer: usize,
    ) -> Result<T, AgentError> {
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.network(error))? {
            if body.len() + chunk.len() > max_answer {
                let reason = format!("its answer is larger than {max_answer} bytes");
                return Err(self.unreachable(UnreachableKind::Protocol, &reason));
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| {
                self.unreachable(UnreachableKind::Protocol, &format!("its answer cannot be read ({error})"))
                    .because(error)
            });
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => {
                let reason = format!("it refused the request ({status}): {}", refusal.reason);
                let misfit = || self.unreachable(UnreachableKind::Protocol, &reason);
                Err(AgentError::of(refusal).unwrap_or_else(misfit))
            }
            Err(error) => {
                let reason = format!("it answered {status}, which no agent does: is something else there?");
                Err(self.unreachable(UnreachableKind::Protocol, &reason).because(error))
            }
        }
    }

    pub(super) fn network(&self, error: reqwest::Error) -> AgentError {
        if let Some(mistake) = tls::cause(&error) {
            let remedy = tls::remedy(mistake);
            return self.unreachable(UnreachableKind::Tls, &remedy).because(error);
        }
        // The innermost cause is the useful one: "connection refused", not "error sending request".
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        // hyper's words for a peer that speaks something else; it has no public kind for it here.
        if cause.to_string().starts_with("invalid HTTP") {
            let reason = format!("it does not speak HTTP ({cause})");
            return self.unreachable(UnreachableKind::Protocol, &reason).because(error);
        }
        let what = if error.is_connect() { "no connection" } else { "the connection broke" };
        let reason = format!("{what}: {cause}");
        self.unreachable(UnreachableKind::Network, &reason).because(error)
    }

    pub(super) fn unreachable(&self, kind: UnreachableKind, reason: &str) -> AgentError {
        AgentError::Unreachable {
            kind,
            reason: format!("the agent at {}: {reason}", self.place),
            cause: None,
        }
    }
}
