//! What is recorded when a request is over, even if it is never answered: its metrics and its line in the access log. When a client
//! hangs up, the future that holds this is dropped, and this with it.

use std::net::IpAddr;
use std::time::Instant;

use axum::http::StatusCode;
use tracing::field::Empty;
use tracing::{Span, info_span};

use super::refused::{self, Refused};
use super::request_info::RequestInfo;
use super::route_metrics::{CLIENT_CLOSED_REQUEST, RouteMetrics};
use crate::http::auth::caller::LoggedIn;
use crate::http::state::AppState;
use crate::net::flood::Flood;
use crate::telemetry::traces;

/// Hang-ups of those who are not logged in, a minute, that have a line: more than people cause, since what they had begun is
/// otherwise seen in the metrics alone.
static HANG_UPS: Flood = Flood::of(300);

/// A request that will have its metrics and its line in the access log.
pub(super) struct Accounted {
    pub about: RequestInfo,
    pub span: Span,
    pub address: IpAddr,
    pub answered: Option<StatusCode>,
    /// The name of the problem that it was answered with.
    pub reason: &'static str,
    /// Of a request that has a line at `info` even if nothing is wrong.
    pub logged_in: Option<LoggedIn>,
    began: Instant,
    state: AppState,
    metrics: RouteMetrics,
}

impl Accounted {
    pub(super) fn begin(about: RequestInfo, address: IpAddr, state: AppState, metrics: RouteMetrics) -> Self {
        let span = info_span!(
            "request",
            request.id = about.id.to_str().unwrap_or_default(),
            http.method = about.method,
            http.route = &*about.route,
            user.name = Empty,
            session.id = Empty,
            // of traces alone
            otel.name = Empty,
            otel.kind = Empty,
        );
        let (answered, reason, logged_in, began) = (None, "", None, Instant::now());
        Self { about, span, address, answered, reason, logged_in, began, state, metrics }
    }

    /// Whether it counts among the refusals, of which strangers can cause as many as they like.
    fn kind(&self) -> Kind {
        let stranger = self.logged_in.as_ref().is_some_and(|logged_in| !logged_in.get());
        match self.answered {
            Some(status) if refused::is_refusal(status) => Kind::Refusal(status),
            Some(status) if stranger && (status.is_client_error() || is_away(status)) => {
                Kind::Refusal(status)
            }
            Some(status) if stranger && status.is_redirection() => Kind::Strangers,
            None if stranger => Kind::HangUp,
            _ => Kind::Ordinary,
        }
    }

    pub(super) fn state(&self) -> &AppState {
        &self.state
    }
}

/// What line a request has.
enum Kind {
    /// That of a refusal.
    Refusal(StatusCode),
    /// That of any request, unless the address has used up its lines.
    Strangers,
    /// That of a request without a session whose client hung up.
    HangUp,
    /// That of any request.
    Ordinary,
}

fn is_away(status: StatusCode) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE
}

impl Drop for Accounted {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        if traces::on() {
            traces::end_request(
                &self.span,
                self.answered.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16()),
            );
        }
        self.metrics.count(self.about.method, self.answered, took);
        let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        match self.kind() {
            Kind::Refusal(status) => {
                let (method, route, reason) = (self.about.method, &*self.about.route, self.reason);
                let refused = Refused { method, route, address: self.address, reason, status, duration_ms };
                self.state.refused().note(&refused, &self.span);
            }
            Kind::Strangers if !self.state.refused().admit(self.address) => {}
            Kind::HangUp => match HANG_UPS.admit() {
                None => {}
                Some(0) => log(&self.about, None, duration_ms, &self.span),
                Some(more) => {
                    log(&self.about, None, duration_ms, &self.span);
                    tracing::info!(
                        http.hung_up = more,
                        "{more} more requests without a session within a minute: their clients hung up before the answer"
                    );
                }
            },
            Kind::Strangers | Kind::Ordinary => log(&self.about, self.answered, duration_ms, &self.span),
        }
    }
}

fn log(about: &RequestInfo, answered: Option<StatusCode>, duration_ms: f64, span: &Span) {
    macro_rules! access {
        ($level:ident) => {
            match answered {
                Some(status) => tracing::$level!(
                    parent: span,
                    http.status = status.as_u16(),
                    duration_ms = duration_ms,
                    "{} {} answered {}", about.method, about.route, status.as_u16()
                ),
                None => tracing::$level!(
                    parent: span,
                    http.status = CLIENT_CLOSED_REQUEST,
                    duration_ms = duration_ms,
                    "{} {}: the client hung up before the answer", about.method, about.route
                ),
            }
        };
    }
    let ours = |status: StatusCode| status.is_server_error() && !is_away(status);
    if answered.is_some_and(ours) {
        access!(warn);
    } else if about.safe {
        access!(debug);
    } else {
        access!(info);
    }
}
