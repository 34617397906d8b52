//! `GET /metrics`: this worker's metrics in the format of Prometheus. At the worker's own address or, with
//! `BANGUI_METRICS_LISTEN`, at a separate one that users do not reach.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::http::error::Problem;
use crate::http::middleware::layers;
use crate::http::state::AppState;
use crate::telemetry;

/// This worker's metrics, in the Prometheus text format; not here if they have a separate address.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn show(State(state): State<AppState>) -> Response {
    match state.metrics() {
        Some(handle) => page(handle),
        None => Problem::no_route().into_response(),
    }
}

/// The routes of an address for metrics alone. Any host is accepted, as Prometheus may use any name or address of the worker.
pub fn metrics_router(state: AppState, handle: PrometheusHandle) -> Router {
    let router = Router::new()
        .route("/metrics", get(async move || page(&handle)))
        .fallback(async || Problem::no_route())
        .method_not_allowed_fallback(async || Problem::method_not_allowed());
    layers::around(router, &state).with_state(state)
}

fn page(handle: &PrometheusHandle) -> Response {
    let text = [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"))];
    (text, telemetry::page(handle)).into_response()
}
