//! Whether the worker is alive, and whether it should get requests.
//!
//! `/healthz` checks nothing: a worker without Redis is healthy, and restarting it would not help. `/readyz` shows a load
//! balancer where to send requests; it reports what the connection's watchdog last saw, and does not ask Redis itself. A Redis that
//! refuses writes does not make a worker unready: reads are served, and no other worker could do more.
//!
//! Both are open to strangers, who learn only the kind of trouble: host names, certificates and error texts are only in the log.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::{Problem, Result};
use crate::http::state::{AppState, Phase};

/// Whether the process is alive; nothing else is checked.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn live() -> &'static str {
    "ok\n"
}

/// A worker that is ready.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    ready: bool,
    /// `false` while Redis refuses writes: only reads are served. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    writes: Option<bool>,
}

/// Whether this worker should get requests.
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()),
    responses((status = 200, body = Ready), (status = 503, description = "Redis is out of reach, or the worker is starting or stopping")))]
pub async fn ready(State(state): State<AppState>) -> Result<axum::Json<Ready>> {
    match state.readiness().phase() {
        Phase::Starting => {
            state.store.available().map_err(|_| redis_away())?;
            Err(not_ready("starting", "this worker is still starting"))
        }
        Phase::Draining => {
            Err(not_ready("draining", "this worker is stopping: send requests to another one"))
        }
        Phase::Serving => {
            state.store.available().map_err(|_| redis_away())?;
            let writes = state.store.writable().is_err().then_some(false);
            Ok(axum::Json(Ready { ready: true, writes }))
        }
    }
}

fn redis_away() -> Problem {
    not_ready("redis", "Redis is unavailable: see the log of this worker")
}

fn not_ready(reason: &'static str, detail: &'static str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "This worker is not ready", detail)
        .retry_after(1)
        .with("ready", false)
        .with("reason", reason)
}
