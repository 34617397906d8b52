//! What happens around every request, in this order, in one function:
//!
//! 1. an id: the caller's `x-request-id` if it is a decent one, else 128 random bits
//! 2. a span that carries it, so that everything logged during the request can be found by it
//! 3. what is for another host (`host.rs`), and what another site made a browser send (`origin.rs`), is refused
//! 4. a worker that is starting lets a request of the API, or for a page, wait a moment: some load balancers send work to a new worker
//!    before they have asked whether it is ready
//! 5. the handler; a panic in it becomes a 500 like any other defect
//! 6. a refusal that a person at a browser gets becomes a page (`pages/refused.rs`)
//! 7. headers: `x-request-id`, `x-bangui-worker`, those that forbid things to a browser, no caching of the
//!    API; a 401 takes the cookie away; while the worker drains, `Connection: close`
//! 8. metrics, by route (never by address: their number must stay small), also for a client that hung up before the answer
//! 9. one line in the access log: `info` for what changes something, `debug` for what looks, `warn` for 5xx,
//!    but for 503: while Redis is away there would be one for every request, and the connection's watchdog logs it once for all
//!    of them; 499 where the client hung up: the change it asked for is finished all the same; what was refused to somebody
//!    (401, 403, 421, 429) is logged separately (`refused.rs`)
//!
//! One function rather than a stack of layers: the order is plain to see, and the cheapest request pays for one
//! boxed future instead of seven.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRequestParts as _, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use metrics::SharedString;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use super::origin;
use super::refused::{self, Refused, RefusedLog};
use crate::actions::{Actor, Refusal};
use crate::http::auth::address::{self, CallerAddress};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Reason};
use crate::http::pages::refused::Reader;
use crate::http::state::{AppState, Phase};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const WORKER: HeaderName = HeaderName::from_static("x-bangui-worker");

/// Guess what something is, show it in a frame, reveal to other sites where the user comes from, hand the window to the page
/// that opened it, or let other sites include what is here.
const BROWSERS_MUST_NOT: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// The policy for everything that is not a page: were it ever taken for one, it could do nothing.
const NOTHING_IS_LOADED: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// A start takes 30 ms where Redis answers. Where it does not, this is what a request waits for its 503.
const START_TIMEOUT: Duration = Duration::from_secs(1);

/// Puts the layers around all routes and fallbacks.
pub fn around(router: Router<AppState>, state: &AppState) -> Router<AppState> {
    router.layer(middleware::from_fn_with_state(state.clone(), accompany))
}

async fn accompany(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let mut accounted = Accounted::begin(RequestInfo::of(&request, &state), state.refused());
    let (mut parts, body) = request.into_parts();
    let Ok(CallerAddress(address)) = CallerAddress::from_request_parts(&mut parts, &state).await;
    accounted.address = Some(address);
    let Accounted { about, span, .. } = &accounted;
    state.proxies().watch(address::peer(&parts.extensions), &parts.headers);
    // Where metrics have a separate address, nothing else is served there.
    let of_metrics = state.metrics().is_none() && parts.uri.path() == "/metrics";
    let of_ours = if of_metrics { Ok(()) } else { state.hosts().check(&parts) };
    let for_us = of_ours.and_then(|()| {
        origin::check(&parts, state.public_url()).inspect_err(|_| note_cross_site(&state, address))
    });
    let mut response = match for_us {
        Ok(()) => {
            if (about.api || about.reader.is_some()) && state.readiness().phase() == Phase::Starting {
                let _ = tokio::time::timeout(START_TIMEOUT, state.readiness().started()).await;
            }
            handle(Request::from_parts(parts, body), next, span).await
        }
        Err(refusal) => span.in_scope(|| refusal.into_response()),
    };
    let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    if let Some(reader) = &about.reader {
        response = reader.dress(response, &state, &about.id);
    }
    finish_headers(&mut response, about, &state, unauthorized);
    accounted.answered = Some(response.status());
    accounted.reason = response.extensions().get().map_or("", |Reason(name)| name);
    response
}

/// For the audit; the answer does not wait for Redis.
fn note_cross_site(state: &AppState, address: IpAddr) {
    let (task, actor) = (state.clone(), Actor::without_session(address, &state.worker));
    let reason = "the request came from another site".to_owned();
    let refusal = Refusal { what: "request.cross_site", actor, account: None, reason };
    state.in_flight.spawn(async move { task.note_refusal(refusal).await });
}

/// A request that will have its metrics and its line in the access log, also if it is never answered: a client that hangs up
/// drops the future that this lives in.
struct Accounted {
    about: RequestInfo,
    span: Span,
    began: Instant,
    address: Option<IpAddr>,
    answered: Option<StatusCode>,
    /// The name of the problem that it was answered with.
    reason: &'static str,
    refused: RefusedLog,
}

impl Accounted {
    fn begin(about: RequestInfo, refused: RefusedLog) -> Self {
        let span = info_span!(
            "request",
            request.id = about.id.to_str().unwrap_or_default(),
            http.method = about.method,
            http.route = &*about.route,
            user.name = Empty,
            session.id = Empty,
        );
        let began = Instant::now();
        Self { about, span, began, address: None, answered: None, reason: "", refused }
    }
}

impl Drop for Accounted {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        count(&self.about, self.answered, took);
        let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        match self.answered.filter(|status| refused::is_refusal(*status)).zip(self.address) {
            Some((status, address)) => {
                let (method, route, reason) = (self.about.method, &*self.about.route, self.reason);
                let refused = Refused { method, route, address, reason, status, duration_ms };
                self.refused.note(&refused, &self.span);
            }
            None => log(&self.about, self.answered, duration_ms, &self.span),
        }
    }
}

async fn handle(request: Request, next: Next, span: &Span) -> Response {
    let handled = AssertUnwindSafe(next.run(request).instrument(span.clone())).catch_unwind().await;
    handled.unwrap_or_else(|_| span.in_scope(|| Problem::internal("the handler panicked").into_response()))
}

/// What is kept of a request while its handler has it.
struct RequestInfo {
    id: HeaderValue,
    method: &'static str,
    safe: bool,
    route: Arc<str>,
    api: bool,
    cookie: CookieKind,
    /// Whether the request was judged by a cookie: only then does a refusal take it away. A page of another site can
    /// make a browser come without it, and must not log anybody out by that.
    cookie_was_shown: bool,
    /// A person at a browser, who is shown a refusal as a page.
    reader: Option<Reader>,
}

impl RequestInfo {
    fn of(request: &Request, state: &AppState) -> Self {
        let headers = request.headers();
        let peer = address::peer(request.extensions());
        let cookie = CookieKind::of(state, peer, headers);
        Self {
            id: request_id(headers),
            method: method_label(request.method()),
            safe: request.method().is_safe(),
            route: Arc::from(
                request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str),
            ),
            api: request.uri().path().starts_with("/api/"),
            reader: Reader::of(request, cookie),
            cookie_was_shown: cookie.find(headers).is_some() && !headers.contains_key(header::AUTHORIZATION),
            cookie,
        }
    }
}

/// The caller's id is kept if it is safe for a log line as it is.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let decent = |id: &&HeaderValue| {
        (1..=128).contains(&id.len())
            && id.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    headers.get(&REQUEST_ID).filter(decent).cloned().unwrap_or_else(|| {
        HeaderValue::try_from(format!("{:032x}", rand::random::<u128>()))
            .unwrap_or_else(|_| HeaderValue::from_static("unnamed"))
    })
}

/// Methods anybody can invent; label values must not be.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn finish_headers(response: &mut Response, about: &RequestInfo, state: &AppState, unauthorized: bool) {
    let headers = response.headers_mut();
    headers.reserve(BROWSERS_MUST_NOT.len() + 6);
    headers.insert(REQUEST_ID, about.id.clone());
    headers.insert(WORKER, state.worker_header());
    for (name, value) in &BROWSERS_MUST_NOT {
        headers.insert(name, value.clone());
    }
    // A page with content sets its own policy.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NOTHING_IS_LOADED);
    if about.cookie == CookieKind::Secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    if about.api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if unauthorized && about.cookie_was_shown {
        headers.insert(header::SET_COOKIE, about.cookie.remove());
    }
    if state.readiness().phase() == Phase::Draining {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// What a request without an answer is counted and logged as: nginx's number for it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

fn count(about: &RequestInfo, answered: Option<StatusCode>, took: Duration) {
    let route = SharedString::from_shared(Arc::clone(&about.route));
    let code = answered.map_or("499".into(), status_label);
    metrics::counter!(
        "bangui_http_requests_total", "route" => route.clone(), "method" => about.method, "status" => code
    )
    .increment(1);
    metrics::histogram!("bangui_http_request_duration_seconds", "route" => route).record(took.as_secs_f64());
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
    let ours = |status: StatusCode| status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE;
    if answered.is_some_and(ours) {
        access!(warn);
    } else if about.safe {
        access!(debug);
    } else {
        access!(info);
    }
}

/// The usual ones without an allocation.
fn status_label(status: StatusCode) -> SharedString {
    match status.as_u16() {
        200 => "200".into(),
        201 => "201".into(),
        202 => "202".into(),
        204 => "204".into(),
        401 => "401".into(),
        404 => "404".into(),
        503 => "503".into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(sent: &str) -> String {
        let headers = [(REQUEST_ID, HeaderValue::from_str(sent).unwrap())].into_iter().collect();
        request_id(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_decent_request_id_is_kept_and_any_other_replaced() {
        assert_eq!(id_for("a.B_9-z"), "a.B_9-z");
        assert_eq!(id_for(&"x".repeat(128)).len(), 128);
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            let id = id_for(bad);
            assert_eq!(id.len(), 32, "{id}");
            assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
        }
        assert_ne!(id_for(""), id_for(""));
    }

    #[test]
    fn an_invented_method_gets_no_label() {
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(method_label(&Method::PUT), "PUT");
    }
}
