//! Every refusal the HTTP interface gives, as a problem document (RFC 9457), made and logged in this one place.
//!
//! ```json
//! {"type": "urn:bangui:problem:redis-unavailable", "title": "Redis is unavailable", "status": 503,
//!  "detail": "...", "retry_after_seconds": 1}
//! ```
//!
//! The rules that depend on the status:
//!
//! * 401 means that Redis said that the session is gone (or that what was sent cannot be a session): the cookie is
//!   removed (`layers.rs`). 503 means that Redis could not be asked: the cookie stays.
//! * `detail` is for the user: what happened, with which value, what to do. Never a secret, never a request body.
//! * A fault of bangui is logged as an error, once, here; an unavailable Redis at debug, since the
//!   connection's watchdog logs it once for all requests; the caller's mistakes at debug.
//!
//! A new refusal has a `type` that never changes again. Those of the parts below are made in `causes.rs`, those of actions in
//! `accounts.rs` (passwords, sessions, settings), `factors.rs` and `passkeys.rs`, `users.rs` (users, invitations, tokens), `provider.rs` (single
//! sign-on) and `hosts.rs` (fail2ban servers).

mod accounts;
mod causes;
mod factors;
mod hosts;
mod passkeys;
mod provider;
mod users;

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::cause::chain;
use crate::store::StoreError;

/// What every `type` begins with.
pub const TYPE_PREFIX: &str = "urn:bangui:problem:";

/// A refusal.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    name: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    retry_after_seconds: Option<u32>,
    extensions: Map<String, Value>,
    /// The cause, which is only logged; set if it is a fault of bangui.
    cause: Option<String>,
}

/// A refusal for `pages/refused.rs`, which shows it as a page; travels with the answer.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The last part of its `type`.
    pub name: &'static str,
    /// What happened.
    pub title: &'static str,
    /// What happened to what, and what to do.
    pub detail: Cow<'static, str>,
    /// When to try again.
    pub retry_after_seconds: Option<u32>,
}

/// A problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
    #[serde(flatten)]
    #[schema(ignore)]
    extensions: &'a Map<String, Value>,
}

/// What a handler returns.
pub type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    /// A refusal; `name` is the last part of its `type`, and stable.
    pub fn new(
        status: StatusCode,
        name: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            name,
            title,
            detail: detail.into(),
            retry_after_seconds: None,
            extensions: Map::new(),
            cause: None,
        }
    }

    /// With `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Adds an extension member to the document.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a phrase to the end of its detail.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.detail = format!("{}; {more}", self.detail).into();
        self
    }

    /// For the log alone: the error below, with its causes.
    #[must_use]
    fn caused_by(mut self, error: &StoreError) -> Self {
        self.cause = Some(chain(error));
        self
    }

    /// The status it will answer with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The last part of its `type`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What happened.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// What happened to what, and what to do.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// When to try again.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.retry_after_seconds
    }

    /// 400: the request cannot be parsed.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-request", "Malformed request", detail)
    }

    /// 422: the request can be parsed, but is not acceptable.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", "Invalid request", detail)
    }

    /// 401: no session, or one that has ended.
    #[must_use]
    pub fn no_session() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "no-session",
            "Not logged in",
            "there is no valid session or token, or it has ended: log in with POST /api/v1/session, or use another token",
        )
    }

    /// 404: no such thing; `what` names its kind, such as `server`.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", format!("there is no such {what}"))
    }

    /// 404: no route has this path.
    #[must_use]
    pub fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "Not found",
            "there is nothing at this path: /docs lists every path of the API",
        )
    }

    /// 405; axum adds `Allow`.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            "this path does not support this method; the `Allow` header lists those it supports",
        )
    }

    /// 409: another change came in between, or there is nothing left to change.
    pub fn conflict(name: &'static str, title: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, name, title, detail)
    }

    /// 500: a defect. `cause` is logged, and never shown to the user.
    pub fn internal(cause: impl ToString) -> Self {
        let mut problem = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal-error",
            "Internal error",
            "this is a bug in bangui, or data in Redis that it cannot read; nothing is wrong with the request; the log of the worker named in `x-bangui-worker` \
             has the cause under this `x-request-id`",
        );
        problem.cause = Some(cause.to_string());
        problem
    }

    /// The refusal as a part of another document; logged as if it were the answer.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.log();
        serde_json::to_value(self.document()).unwrap_or_default()
    }

    fn document(&self) -> Document<'_> {
        Document {
            r#type: format!("{TYPE_PREFIX}{}", self.name),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            retry_after_seconds: self.retry_after_seconds,
            extensions: &self.extensions,
        }
    }

    fn log(&self) {
        let status = self.status.as_u16();
        match &self.cause {
            Some(cause) if self.status == StatusCode::INTERNAL_SERVER_ERROR => {
                tracing::error!(problem = self.name, http.status = status, "request failed: {cause}");
            }
            Some(cause) => tracing::debug!(problem = self.name, http.status = status, "refused: {cause}"),
            None => tracing::debug!(problem = self.name, http.status = status, "refused: {}", self.detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.log();
        let mut response = (self.status, axum::Json(self.document())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"bangui\""));
        }
        response.extensions_mut().insert(Reason(self.name));
        let Self { name, title, detail, retry_after_seconds, .. } = self;
        response.extensions_mut().insert(Shown { name, title, detail, retry_after_seconds });
        response
    }
}

/// The name of the problem in a response, for the access log.
#[derive(Debug, Clone, Copy)]
pub struct Reason(pub &'static str);
