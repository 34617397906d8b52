//! The metrics of one route, looked up once instead of for each request: a look-up hashes a name and its labels, and takes a lock.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use metrics::{Counter, Histogram, SharedString};

/// Statuses whose counters are kept; others are looked up.
const USUAL: [u16; 9] = [200, 201, 202, 204, 303, 304, 401, 404, 503];
/// The status that a request without an answer is counted and logged with: nginx's number for it.
pub(super) const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The metrics of the route that a copy of the layer surrounds; made at its first request. Cheap to clone; all clones share them.
#[derive(Clone, Default)]
pub(super) struct RouteMetrics(Arc<OnceLock<Handles>>);

struct Handles {
    route: Arc<str>,
    duration: Histogram,
    /// The method whose counters are kept; those of another one (`HEAD`) are looked up.
    method: &'static str,
    counters: [OnceLock<Counter>; USUAL.len()],
}

impl RouteMetrics {
    /// The label of this request's route: the route's pattern, not the path, since the number of labels must stay small.
    pub(super) fn route(&self, request: &Request, method: &'static str) -> Arc<str> {
        let handles = self.0.get_or_init(|| {
            let path = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
            let route = Arc::<str>::from(path);
            let label = SharedString::from_shared(Arc::clone(&route));
            let duration = metrics::histogram!("bangui_http_request_duration_seconds", "route" => label);
            Handles { route, duration, method, counters: Default::default() }
        });
        Arc::clone(&handles.route)
    }

    /// Counts a request; `answered` is none if its client hung up.
    pub(super) fn count(&self, method: &'static str, answered: Option<StatusCode>, took: Duration) {
        let Some(handles) = self.0.get() else { return };
        handles.duration.record(took.as_secs_f64());
        let status = answered.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
        let kept = USUAL.iter().position(|usual| *usual == status).filter(|_| method == handles.method);
        match kept {
            Some(place) => {
                handles.counters[place].get_or_init(|| handles.counter(method, status)).increment(1)
            }
            None => handles.counter(method, status).increment(1),
        }
    }
}

impl Handles {
    fn counter(&self, method: &'static str, status: u16) -> Counter {
        let route = SharedString::from_shared(Arc::clone(&self.route));
        metrics::counter!(
            "bangui_http_requests_total", "route" => route, "method" => method, "status" => status.to_string()
        )
    }
}
