//! Traces: what one request did, from the worker through actions and Redis to the agent and its fail2ban.
//!
//! ```text
//! request (worker) ─▶ action ─▶ Redis commands
//!                            └▶ call of an agent ─▶ request (agent) ─▶ commands for fail2ban
//! ```
//!
//! They are exported over OTLP if `OTEL_EXPORTER_OTLP_ENDPOINT` is set (`otlp.rs`); the other standard variables (`OTEL_SERVICE_NAME`,
//! `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, ...) count too. Without it there is no layer and no span: what is left of all
//! this is one load of a flag.
//!
//! The request's own span is that of the log (`middleware/accounted.rs`); the spans below it have the target `bangui::trace`, which the
//! log never shows. Only what belongs to a request is traced, not the work in the background.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Status, TraceContextExt as _, TracerProvider as _};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::otlp::Otlp;

/// The target of all spans but the request's own.
pub const TARGET: &str = "bangui::trace";
/// The name of a request's span.
pub const REQUEST: &str = "request";
/// How long the end of the process waits until the last spans are sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

static ON: AtomicBool = AtomicBool::new(false);
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Whether this process exports traces.
#[must_use]
pub fn on() -> bool {
    ON.load(Relaxed)
}

/// Whether the environment asks for traces.
pub(super) fn requested() -> bool {
    let set = |name| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    let disabled = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    !disabled && (set("OTEL_EXPORTER_OTLP_ENDPOINT") || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
}

/// The layer that exports spans.
///
/// # Errors
/// If the endpoint is no URL, or another variable is not valid.
pub(super) fn layer<S>() -> anyhow::Result<impl Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let exporter = SpanExporter::builder().with_http().with_http_client(Otlp::new()?).build()?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("bangui");
    }
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let process = opentelemetry::KeyValue::new("process.pid", i64::from(std::process::id()));
    let resource = resource.with_attributes([version, process]).build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let tracer = provider.tracer("bangui");
    // A second call has no effect, as that of `init`.
    let _ = PROVIDER.set(provider);
    ON.store(true, Relaxed);
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false);
    Ok(layer.with_filter(filter_fn(|meta| {
        meta.is_span()
            && (meta.target() == TARGET || (meta.name() == REQUEST && meta.target().starts_with("bangui::")))
    })))
}

/// Sends what has not been sent yet; for the end of the process.
pub fn flush() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT)
    {
        tracing::warn!("failed to send the last traces: {error}");
    }
}

/// Whether the current span belongs to a trace.
fn is_traced() -> bool {
    on() && Span::current().context().span().span_context().is_valid()
}

/// A span of something that this process asks another one for, like Redis; none outside a trace.
#[must_use]
pub fn call(system: &'static str, name: impl std::fmt::Display) -> Span {
    if !is_traced() {
        return Span::none();
    }
    tracing::trace_span!(
        target: TARGET,
        "call",
        otel.name = format!("{system} {name}"),
        otel.kind = "client",
        peer.service = system
    )
}

/// A span of a request that an agent answers, as a part of the worker's trace.
#[must_use]
pub fn served(method: &str, path: &str, headers: &HeaderMap) -> Span {
    if !on() {
        return Span::none();
    }
    let span = tracing::trace_span!(
        target: TARGET,
        "served",
        otel.name = format!("{method} {path}"),
        otel.kind = "server",
    );
    continue_from(&span, headers);
    span
}

/// Names the span of a request, and makes it a part of the caller's trace if the caller is `trusted` to say so.
pub fn begin_request(span: &Span, method: &str, route: &str, trusted: bool, headers: &HeaderMap) {
    if trusted {
        continue_from(span, headers);
    }
    span.record("otel.name", format!("{method} {route}"));
    span.record("otel.kind", "server");
}

/// Notes how a request was answered; 499 for a client that hung up.
pub fn end_request(span: &Span, status: u16) {
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_status(Status::error(format!("answered {status}")));
    }
}

/// Makes the span a part of the trace that these headers name, if they do.
fn continue_from(span: &Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    if context.span().span_context().is_valid() {
        // An error means that the span is not exported.
        let _ = span.set_parent(context);
    }
}

/// The headers by which the other side continues the trace of this span.
#[must_use]
pub fn headers(span: &Span) -> Vec<(HeaderName, HeaderValue)> {
    if !on() {
        return Vec::new();
    }
    let mut headers = HeaderMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(&mut headers));
    let named = |(name, value): (Option<HeaderName>, HeaderValue)| Some((name?, value));
    headers.into_iter().filter_map(named).collect()
}
