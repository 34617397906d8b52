//! What happens around every request, in this order, in one place:
//!
//! 1. an id: the caller's `x-request-id` if it is safe to log, else 128 random bits
//! 2. a span that carries it, so that everything logged during the request can be found by it
//! 3. requests for another host (`host.rs`), and those that another site made a browser send (`origin.rs`), are refused
//! 4. while a worker is starting, a request of the API or for a page waits a moment: some load balancers send requests to a new worker
//!    before they have asked whether it is ready
//! 5. the handler; a panic in it becomes a 500 like any other defect
//! 6. a refusal that a person at a browser gets becomes a page (`pages/refused.rs`)
//! 7. headers: `x-request-id`, `x-bangui-worker`, those that restrict browsers, no caching of the
//!    API; a 401 removes the cookie; while the worker drains, `Connection: close`
//! 8. metrics, by route (`route_metrics.rs`), also for a client that hung up before the answer
//! 9. one line in the access log: `info` for a request that changes something, `debug` for one that only reads, `warn` for 5xx
//!    except 503: while Redis is away there would be one for every request, and the connection's watchdog logs it once for all
//!    of them; 499 if the client hung up, whose change is still completed; refusals (401, 403, 421, 429) are logged
//!    separately (`refused.rs`)
//!
//! This is one service rather than a stack of layers, so that the order is easy to see. Its future is written by hand, so that the
//! cheapest request pays for no box and no copy of the routes: every request passes through here.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::accounted::Accounted;
use super::origin;
use super::request_info::{REQUEST_ID, RequestInfo};
use super::route_metrics::RouteMetrics;
use crate::actions::{Actor, Refusal};
use crate::http::auth::address;
use crate::http::auth::caller::LoggedIn;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Reason, Result};
use crate::http::state::{AppState, Phase};
use crate::telemetry::traces;

const WORKER: HeaderName = HeaderName::from_static("x-bangui-worker");

/// Headers that forbid browsers to guess the type of an answer, show it in a frame, send the page's address to other sites, give the
/// page that opened a window access to it, or let other sites include what is here.
const BROWSERS_MUST_NOT: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// The policy for everything that is not a page: if a browser ever took it for one, it could do nothing.
const NOTHING_IS_LOADED: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// How long a request waits for a worker that is starting: a start takes 30 ms if Redis answers. If not, the request gets a 503
/// after this time.
const START_TIMEOUT: Duration = Duration::from_secs(1);

/// Puts the layer around all routes and fallbacks.
pub fn around(router: Router<AppState>, state: &AppState) -> Router<AppState> {
    router.layer(AccompanyLayer { state: state.clone() })
}

#[derive(Clone)]
struct AccompanyLayer {
    state: AppState,
}

impl<S> Layer<S> for AccompanyLayer {
    type Service = Accompany<S>;

    fn layer(&self, handler: S) -> Accompany<S> {
        Accompany { state: self.state.clone(), metrics: RouteMetrics::default(), handler }
    }
}

/// The layer around one route.
#[derive(Clone)]
struct Accompany<S> {
    state: AppState,
    metrics: RouteMetrics,
    handler: S,
}

impl<S> Service<Request> for Accompany<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Accompanied<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        self.handler.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let state = &self.state;
        let about = RequestInfo::of(&request, state, &self.metrics);
        let address = address::of(request.extensions(), request.headers(), state);
        let mut accounted = Accounted::begin(about, address, state.clone(), self.metrics.clone());
        if traces::on() {
            let (headers, trusted) =
                (request.headers(), state.proxies().trust(address::peer(request.extensions())));
            let about = &accounted.about;
            traces::begin_request(&accounted.span, about.method, &about.route, trusted, headers);
        }
        // Any other request has a line only if it is refused.
        if !accounted.about.safe {
            let logged_in = LoggedIn::default();
            request.extensions_mut().insert(logged_in.clone());
            accounted.logged_in = Some(logged_in);
        }
        if let Some(reader) = &accounted.about.reader {
            request.extensions_mut().insert(reader.caller());
        }
        let refused = refuse(&request, state, address);
        let about = &accounted.about;
        let waits = (about.api || about.reader.is_some()) && state.readiness().phase() == Phase::Starting;
        let start = (waits && refused.is_ok()).then(|| until_started(state.clone()));
        let (handling, refusal) = match refused {
            Ok(()) => (Some(self.handler.call(request)), None),
            Err(refusal) => (None, Some(refusal)),
        };
        Accompanied { start, handling, refusal, accounted }
    }
}

/// Refuses requests for another host, and those that another site made a browser send.
fn refuse(request: &Request, state: &AppState, address: IpAddr) -> Result<()> {
    state.proxies().watch(address::peer(request.extensions()), request.headers());
    // Where metrics have a separate address, nothing else is served there.
    if state.metrics().is_some() || request.uri().path() != "/metrics" {
        state.hosts().check(request)?;
    }
    origin::check(request, state.public_url()).inspect_err(|_| note_cross_site(state, address))
}

/// Records the refusal in the audit; the answer does not wait for Redis.
fn note_cross_site(state: &AppState, address: IpAddr) {
    let (task, actor) = (state.clone(), Actor::without_session(address, &state.worker));
    let reason = "the request came from another site".to_owned();
    let refusal = Refusal { what: "request.cross_site", actor, account: None, reason };
    state.in_flight.spawn(async move { task.note_refusal(refusal).await });
}

fn until_started(state: AppState) -> BoxFuture<'static, ()> {
    async move {
        let _ = tokio::time::timeout(START_TIMEOUT, state.readiness().started()).await;
    }
    .boxed()
}

pin_project! {
    /// A request on its way through a handler.
    struct Accompanied<F> {
        // Until this worker has started.
        start: Option<BoxFuture<'static, ()>>,
        #[pin]
        handling: Option<F>,
        refusal: Option<Problem>,
        accounted: Accounted,
    }

    impl<F> PinnedDrop for Accompanied<F> {
        /// Drops the handler within its span: what it logs when its client hangs up belongs there.
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _in_span = this.accounted.span.enter();
            this.handling.set(None);
        }
    }
}

impl<F> Future for Accompanied<F>
where
    F: Future<Output = std::result::Result<Response, Infallible>>,
{
    type Output = std::result::Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Accounted { span, .. } = &*this.accounted;
        let in_span = span.enter();
        if let Some(start) = this.start {
            ready!(start.as_mut().poll(context));
            *this.start = None;
        }
        let response = match (this.refusal.take(), this.handling.as_pin_mut()) {
            (None, Some(handling)) => {
                let polled = catch_unwind(AssertUnwindSafe(|| handling.poll(context)));
                match polled {
                    Ok(polled) => ready!(polled).unwrap_or_else(|never| match never {}),
                    Err(_) => Problem::internal("the handler panicked").into_response(),
                }
            }
            (Some(refusal), _) => refusal.into_response(),
            (None, None) => Problem::internal("a request was asked for again").into_response(),
        };
        drop(in_span);
        Poll::Ready(Ok(finish(response, this.accounted)))
    }
}

/// The answer as it leaves.
fn finish(response: Response, accounted: &mut Accounted) -> Response {
    let mut response = response;
    let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    if let Some(reader) = &accounted.about.reader {
        response = reader.dress(response, accounted.state(), &accounted.about.id);
    }
    // Nothing reads it after this, and a copy would cost two allocations.
    let id = std::mem::replace(&mut accounted.about.id, HeaderValue::from_static(""));
    response.headers_mut().reserve(BROWSERS_MUST_NOT.len() + 6);
    response.headers_mut().insert(REQUEST_ID, id);
    finish_headers(&mut response, &accounted.about, accounted.state(), unauthorized);
    accounted.answered = Some(response.status());
    accounted.reason = response.extensions().get().map_or("", |Reason(name)| name);
    response
}

fn finish_headers(response: &mut Response, about: &RequestInfo, state: &AppState, unauthorized: bool) {
    let headers = response.headers_mut();
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
