//! The worker's end of the bridge.
//!
//! Every way in which asking can fail has its own kind, because each has its own remedy, and because an agent out
//! of reach says nothing about fail2ban. Every call has one deadline for all of it; the agent is told four fifths of
//! it, so that "fail2ban is busy" arrives before this end gives up. The calls about jails and bans are in `jails.rs`.

mod credentials;
mod jails;

pub use credentials::{Credentials, Introduction};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::names::{ANY_NAME, NAMES_HEADER};
use super::token::Tokens;
use super::{tls, wire};
use crate::config::{AgentTokenConfig, AgentUrl};
use crate::domain::{ProbeOutcome, UnreachableKind};

/// Why an agent's answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// The agent could not be asked.
    #[error("{reason}")]
    Unreachable {
        /// What kind of failure.
        kind: UnreachableKind,
        /// In words.
        reason: String,
    },
    /// fail2ban accepts connections but does not answer in time.
    #[error("fail2ban is busy: {reason}")]
    Busy {
        /// In words.
        reason: String,
    },
    /// fail2ban does not answer.
    #[error("fail2ban is down: {reason}")]
    Down {
        /// In words.
        reason: String,
    },
    /// The agent understood and did not do it.
    #[error("{reason}")]
    Refused {
        /// Why.
        kind: RefusedKind,
        /// In words; of a wrong configuration fail2ban's own.
        reason: String,
    },
}

/// Why an agent did not do what it understood. Nothing was changed, unless it is `Unsettled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedKind {
    /// There is no such jail.
    Jail,
    /// A newer epoch of the job is known to the agent.
    Stale,
    /// fail2ban's configuration would be wrong.
    Configuration,
    /// The host does not let it.
    Failed,
    /// What was begun could be neither finished nor undone yet.
    Unsettled,
}

impl RefusedKind {
    fn of(kind: &str) -> Option<Self> {
        match kind {
            "jail" => Some(Self::Jail),
            "stale" => Some(Self::Stale),
            "configuration" => Some(Self::Configuration),
            "failed" => Some(Self::Failed),
            "unsettled" => Some(Self::Unsettled),
            _ => None,
        }
    }
}

impl From<AgentError> for ProbeOutcome {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Unreachable { kind, reason } => Self::Unreachable { kind, reason },
            AgentError::Busy { reason } => Self::Busy { reason },
            AgentError::Down { reason } => Self::Down { reason },
            // No probe is refused by an agent that is one.
            AgentError::Refused { reason, .. } => {
                Self::Unreachable { kind: UnreachableKind::Protocol, reason }
            }
        }
    }
}

/// A client of one agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentClient {
    http: reqwest::Client,
    /// `http://host:port`, without a slash at its end.
    base: Arc<str>,
    /// Where the agent is, in the words of the configuration.
    place: Arc<str>,
    tokens: Arc<Tokens>,
}

impl AgentClient {
    /// A client for the agent at `url`. Over TLS it trusts the CA in the file `ca`, or those the system trusts.
    ///
    /// # Errors
    /// If the HTTP client cannot be built, or the file holds no CA.
    pub fn new(url: &AgentUrl, token: &AgentTokenConfig, ca: Option<&PathBuf>) -> anyhow::Result<Self> {
        Credentials::new(token, ca).client(url)
    }

    /// Asks how fail2ban is; a failure to ask is an outcome too. Ends within `deadline`.
    pub async fn probe(&self, deadline: Duration) -> ProbeOutcome {
        match self.get::<wire::Status>("/v1/status", deadline).await {
            Ok(status) => status.into(),
            Err(error) => error.into(),
        }
    }

    /// Who the agent is.
    ///
    /// # Errors
    /// As [`AgentError`] tells.
    pub async fn info(&self) -> Result<wire::Info, AgentError> {
        self.get("/v1/info", wire::DEFAULT_DEADLINE).await
    }

    /// All running jails, with backend and idleness if `backend` says so.
    ///
    /// # Errors
    /// As [`AgentError`] tells.
    pub async fn jails(&self, backend: bool) -> Result<Vec<wire::Jail>, AgentError> {
        let path = if backend { "/v1/jails?backend=true" } else { "/v1/jails" };
        let jails: wire::Jails = self.get(path, wire::DEFAULT_DEADLINE).await?;
        Ok(jails.jails)
    }

    /// Asks fail2ban once whether it answers `get JAIL backend`.
    ///
    /// # Errors
    /// As [`AgentError`] tells.
    pub async fn backend_commands(&self) -> Result<Option<bool>, AgentError> {
        let support: wire::BackendSupport = self.get("/v1/backend-commands", wire::DEFAULT_DEADLINE).await?;
        Ok(support.supported)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, deadline: Duration) -> Result<T, AgentError> {
        self.call(self.request(Method::GET, path), deadline, wire::MAX_ANSWER).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        deadline: Duration,
        max_answer: usize,
    ) -> Result<T, AgentError> {
        let budget = deadline.mul_f64(0.8).as_millis().to_string();
        let request = request.header(wire::DEADLINE_HEADER, budget).header(NAMES_HEADER, ANY_NAME);
        match timeout(deadline, self.with_any_token(&request, max_answer)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(self.unreachable(UnreachableKind::Network, &format!("no answer within {deadline:?}")))
            }
        }
    }

    /// The first token, and the second if the agent does not know the first (yet, or any more). A refused
    /// token means that nothing was done, so that a change may be sent again as well.
    async fn with_any_token<T: DeserializeOwned>(
        &self,
        request: &RequestBuilder,
        max_answer: usize,
    ) -> Result<T, AgentError> {
        for token in self.tokens.current().await.iter() {
            let Some(request) = request.try_clone() else { break };
            let request = request.bearer_auth(token.expose_secret());
            let response = request.send().await.map_err(|error| self.network(&error))?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return self.read(response, max_answer).await;
            }
        }
        Err(self.token_refused())
    }

    fn token_refused(&self) -> AgentError {
        let remedy = "it refused the token: BANGUI_AGENT_TOKEN must be the same here and there";
        self.unreachable(UnreachableKind::Token, remedy)
    }

    /// The body of an answer, or the meaning of a refusal.
    async fn read<T: DeserializeOwned>(
        &self,
        mut response: Response,
        max_answer: usize,
    ) -> Result<T, AgentError> {
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.network(&error))? {
            if body.len() + chunk.len() > max_answer {
                let reason = format!("its answer is larger than {max_answer} bytes");
                return Err(self.unreachable(UnreachableKind::Protocol, &reason));
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| {
                self.unreachable(UnreachableKind::Protocol, &format!("its answer cannot be read ({error})"))
            });
        }
        match serde_json::from_slice::<wire::Refusal>(&body) {
            Ok(wire::Refusal { kind, reason }) if kind == "busy" => Err(AgentError::Busy { reason }),
            Ok(wire::Refusal { kind, reason }) if kind == "down" => Err(AgentError::Down { reason }),
            Ok(wire::Refusal { kind, reason }) => Err(match RefusedKind::of(&kind) {
                Some(kind) => AgentError::Refused { kind, reason },
                None => self.unreachable(
                    UnreachableKind::Protocol,
                    &format!("it refused the request ({status}): {reason}"),
                ),
            }),
            Err(_) => {
                let reason = format!("it answered {status}, which no agent does: is something else there?");
                Err(self.unreachable(UnreachableKind::Protocol, &reason))
            }
        }
    }

    fn network(&self, error: &reqwest::Error) -> AgentError {
        if let Some(mistake) = tls::cause(error) {
            return self.unreachable(UnreachableKind::Tls, &tls::remedy(mistake));
        }
        // The last cause is the one that says something: "connection refused", not "error sending request".
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        // hyper's words for a peer that speaks something else; it has no public kind for it here.
        if cause.to_string().starts_with("invalid HTTP") {
            return self.unreachable(UnreachableKind::Protocol, &format!("it does not speak HTTP ({cause})"));
        }
        let what = if error.is_connect() { "no connection" } else { "the connection broke" };
        self.unreachable(UnreachableKind::Network, &format!("{what}: {cause}"))
    }

    fn unreachable(&self, kind: UnreachableKind, reason: &str) -> AgentError {
        AgentError::Unreachable { kind, reason: format!("the agent at {}: {reason}", self.place) }
    }
}
