//! What every route of the agent shares: until when its caller waits, and how it refuses.

use std::time::Duration;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::agent::host::error::ChangeError;
use crate::agent::refusal::{Refusal, RefusalKind};
use crate::agent::wire;

/// The longest deadline.
const MAX_DEADLINE: Duration = wire::CHANGE_DEADLINE;

/// Until when a caller waits.
pub(super) struct Deadline(pub(super) Instant);

impl<S: Sync> FromRequestParts<S> for Deadline {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let wait = match parts.headers.get(wire::DEADLINE_HEADER) {
            None if parts.method != Method::GET => wire::CHANGE_DEADLINE,
            None if parts.uri.path().ends_with("/bans") => wire::LIST_DEADLINE,
            None => wire::DEFAULT_DEADLINE,
            Some(value) => {
                let millis = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                    let reason = format!("{} must be a number of milliseconds", wire::DEADLINE_HEADER);
                    refuse(RefusalKind::Request, &reason)
                })?;
                Duration::from_millis(millis)
            }
        };
        Ok(Self(Instant::now() + wait.min(MAX_DEADLINE)))
    }
}

/// A refusal of this kind.
pub(super) fn refuse(kind: RefusalKind, reason: &str) -> Response {
    refuse_with(status_of(kind), kind, reason)
}

/// A refusal of this kind with a status other than the kind's default.
pub(super) fn refuse_with(status: StatusCode, kind: RefusalKind, reason: &str) -> Response {
    (status, Json(Refusal { kind, reason: reason.into(), epoch: None })).into_response()
}

fn status_of(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::Request | RefusalKind::Unknown => StatusCode::BAD_REQUEST,
        RefusalKind::Token => StatusCode::UNAUTHORIZED,
        RefusalKind::Busy | RefusalKind::UnderWay | RefusalKind::Down => StatusCode::SERVICE_UNAVAILABLE,
        RefusalKind::Jail => StatusCode::NOT_FOUND,
        RefusalKind::Stale => StatusCode::CONFLICT,
        RefusalKind::Configuration => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalKind::Failed | RefusalKind::Unsettled => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for ChangeError {
    fn into_response(self) -> Response {
        let kind = self.kind();
        let epoch = if let Self::Stale { epoch, .. } = self { epoch } else { None };
        (status_of(kind), Json(Refusal { kind, reason: self.to_string(), epoch })).into_response()
    }
}
