//! The refusals caused by Redis, an agent or the password gate.

use axum::http::StatusCode;

use super::Problem;
use crate::agent::client::{AgentError, RefusedKind};
use crate::cause::chain;
use crate::password::GateError;
use crate::store::{ChangeError, StoreError};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => {
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "redis-unavailable",
                    "Redis is unavailable",
                    "this worker cannot reach Redis right now: retry. Sessions are kept. If the request was a \
                     change, check first whether it took effect",
                )
                .caused_by(&error)
                .retry_after(1)
            }
            StoreError::Full { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "redis-full",
                "Redis is full",
                "Redis is full (OOM): nothing was changed, and reads are still served. Raise its maxmemory, or free some memory",
            )
            .caused_by(&error)
            .retry_after(5),
            StoreError::WritesRefused { code, .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "redis-refuses-writes",
                "Redis refuses writes",
                format!("Redis refuses writes ({code}: {}): nothing was changed, and reads are still served", why(code)),
            )
            .caused_by(&error)
            .retry_after(5),
            StoreError::Unconfirmed { confirmed, wanted } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-confirmed",
                "Done, but not confirmed by the replicas",
                format!(
                    "the change is on Redis's primary, but only {confirmed} of {wanted} replicas confirmed it in time \
                     (BANGUI_REDIS_MIN_REPLICAS): a failover now may undo it. Check the replicas, then retry"
                ),
            )
            .with("confirmed", confirmed)
            .with("wanted", wanted)
            .retry_after(1),
            StoreError::Conflict => Self::conflict(
                "conflict",
                "Conflicting change",
                "another change was made at the same time, so this one was not: reload and retry",
            ),
            StoreError::Fenced | StoreError::Corrupt { .. } => Self::internal(chain(&error)),
        }
    }
}

/// What a code of Redis means, and what to do.
fn why(code: &str) -> &'static str {
    match code {
        "MISCONF" => "its last save to disk failed, see its log and the free space",
        "NOREPLICAS" => "fewer replicas are connected than its min-replicas-to-write asks for",
        _ => "the log of the worker has its words",
    }
}

impl From<AgentError> for Problem {
    fn from(error: AgentError) -> Self {
        let detail = error.to_string();
        match error {
            AgentError::Unreachable { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "agent-unreachable",
                "The server's agent is unreachable",
                detail,
            ),
            AgentError::Busy { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "fail2ban-busy", "fail2ban is busy", detail)
            }
            AgentError::Down { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "fail2ban-down",
                "fail2ban does not answer",
                detail,
            ),
            AgentError::Refused { kind, .. } => return refused_by_agent(kind, detail),
        }
        .retry_after(5)
    }
}

impl From<GateError> for Problem {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Busy | GateError::Late => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-logins",
                "Too many passwords are being checked",
                error.to_string(),
            )
            .retry_after(1),
            GateError::Failed(ref cause) => Self::internal(format!("{error}: {cause:#}")),
        }
    }
}

impl<E: Into<Problem>> From<ChangeError<E>> for Problem {
    fn from(error: ChangeError<E>) -> Self {
        match error {
            ChangeError::Refused(refusal) => refusal.into(),
            ChangeError::Store(error) => error.into(),
        }
    }
}

fn refused_by_agent(kind: RefusedKind, detail: String) -> Problem {
    let (status, name, title) = match kind {
        RefusedKind::Jail => (StatusCode::NOT_FOUND, "not-found", "No such jail"),
        RefusedKind::Stale { .. } => {
            (StatusCode::CONFLICT, "job-superseded", "Another worker has taken over the job")
        }
        RefusedKind::Configuration => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "configuration-refused",
            "fail2ban rejected the configuration; nothing was changed",
        ),
        RefusedKind::Failed => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "host-failed",
            "The change failed on the host; nothing was changed",
        ),
        RefusedKind::UnderWay => {
            (StatusCode::SERVICE_UNAVAILABLE, "change-under-way", "The change is still under way")
        }
        RefusedKind::Unsettled => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "host-unsettled",
            "The change failed and could not be fully rolled back",
        ),
    };
    Problem::new(status, name, title, detail)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use serde_json::{Value, json};

    use super::*;

    fn body(problem: &Problem) -> Value {
        serde_json::to_value(problem.document()).unwrap()
    }

    #[test]
    fn a_problem_has_the_members_of_the_contract() {
        let problem = Problem::from(StoreError::unavailable("connection refused"));
        assert_eq!(
            body(&problem),
            json!({
                "type": "urn:bangui:problem:redis-unavailable",
                "title": "Redis is unavailable",
                "status": 503,
                "detail": problem.detail,
                "retry_after_seconds": 1,
            })
        );
        let response = problem.into_response();
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }

    #[test]
    fn stored_values_are_not_shown_to_users() {
        let problem = Problem::from(StoreError::corrupt("$argon2id$secret"));
        assert_eq!(problem.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body(&problem).to_string().contains("secret"));
    }

    #[test]
    fn a_conflict_is_409_and_a_down_fail2ban_503() {
        assert_eq!(Problem::from(StoreError::Conflict).status(), StatusCode::CONFLICT);
        let down = AgentError::Down { reason: "no socket".to_owned() };
        assert_eq!(body(&Problem::from(ChangeError::Refused(down)))["detail"], "fail2ban is down: no socket");
    }
}
