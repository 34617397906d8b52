//! Logs and metrics: set up once by the command that runs (logs in `cli/mod.rs`, metrics in `worker/mod.rs`), used everywhere through the `tracing` and `metrics` macros.
//!
//! Logs go to stderr. A line is a sentence with the name in it, plus dotted fields (`server.name`, `lease.epoch`); lines
//! about one request carry the span `request` with `request.id`. `RUST_LOG` sets the level, `info` by default.
//!
//! Traces are exported where `OTEL_EXPORTER_OTLP_ENDPOINT` says (`traces.rs`).
//!
//! Metrics are kept in the process and rendered by `GET /metrics`. A new metric needs a line in [`METRICS`], a panel in
//! `k8s/grafana-dashboard.json` (a test compares the two), `make docs` and, if it is a histogram of anything but seconds,
//! its buckets in [`install_metrics`].

pub mod catalogue;
mod lasting;
mod lines;
mod otlp;
pub mod server_gauges;
pub mod traces;

pub use catalogue::{Kind, METRICS};
pub use lasting::Lasting;

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::LogFormat;

/// The buckets of histograms: from a near-cache hit (well under a millisecond) to a login that waited in the queue.
const SECONDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What is logged where `RUST_LOG` does not say. The library for passkeys logs what strangers send it as errors of its own: a refusal has a
/// line of ours.
const FILTER: &str = "info,webauthn_rs=off,webauthn_rs_core=off";

/// How often recorded values are folded into the histograms, which bounds their memory even when nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts logging, of panics too. A second call has no effect.
pub fn init(format: LogFormat) {
    let from_env = EnvFilter::try_from_default_env();
    let invalid = from_env.as_ref().err().filter(|_| std::env::var_os(EnvFilter::DEFAULT_ENV).is_some());
    let invalid = invalid.map(ToString::to_string);
    let filter = from_env.unwrap_or_else(|_| EnvFilter::new(FILTER));
    let traces = traces::requested().then(traces::layer::<Registry>).transpose();
    let (traces, failed) = traces.map_or_else(|error| (None, Some(error)), |traces| (traces, None));
    let started = match (format, traces) {
        (LogFormat::Text, None) => Registry::default().with(text()).with(filter).try_init(),
        (LogFormat::Json, None) => Registry::default().with(json()).with(filter).try_init(),
        // The filter of the log must not keep spans from the traces.
        (LogFormat::Text, Some(traces)) => {
            Registry::default().with(traces).with(text().with_filter(filter)).try_init()
        }
        (LogFormat::Json, Some(traces)) => {
            Registry::default().with(traces).with(json().with_filter(filter)).try_init()
        }
    };
    if let Some(error) = failed {
        tracing::warn!(
            "exporting no traces, since OTEL_EXPORTER_OTLP_ENDPOINT or another OTEL_ variable is not valid: {error:#}"
        );
    }
    if let Some(error) = invalid {
        tracing::warn!("ignoring invalid RUST_LOG, logging at `info`: {error}");
    }
    if started.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string).unwrap_or_default();
            let payload = panic.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let message = message.unwrap_or("without a message");
            tracing::error!(panic.location = location, "task panicked at {location}: {message}");
        }));
    }
}

/// Lines of text.
fn text<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> + Send + Sync {
    tracing_subscriber::fmt::layer().with_writer(std::io::stderr).fmt_fields(lines::text_fields())
}

/// Lines of JSON.
fn json<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> + Send + Sync {
    let layer = tracing_subscriber::fmt::layer().with_writer(|| lines::JsonLines).json();
    layer.flatten_event(true).with_span_list(false).fmt_fields(lines::JsonSpanFields)
}

/// Installs the process-wide metrics recorder and returns the handle that renders it.
///
/// # Errors
/// If a recorder is installed already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

/// All metrics in the text format of Prometheus.
#[must_use]
pub fn page(handle: &PrometheusHandle) -> String {
    let mut page = handle.render();
    server_gauges::render(&mut page);
    page
}

/// Folds recorded values into the histograms until `stop`.
pub async fn upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_some() {
        handle.run_upkeep();
    }
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    for (name, kind, text) in METRICS {
        match kind {
            Kind::Counter => describe_counter!(name, text),
            Kind::Gauge => describe_gauge!(name, text),
            Kind::Seconds => describe_histogram!(name, Unit::Seconds, text),
        }
    }
    // Start at zero rather than absent, so that a rate over the first event is not lost, and a worker that is not the leader says so.
    for gauge in [
        "bangui_redis_up",
        "bangui_redis_writable",
        "bangui_session_cache_holder",
        "bangui_scheduler_leader",
        "bangui_scheduler_epoch",
        "bangui_probes_due_timestamp_seconds",
        "bangui_discovery_conflicts",
        "bangui_event_clients",
    ] {
        metrics::gauge!(gauge).set(0.0);
    }
    metrics::counter!("bangui_scheduler_fenced_writes_total").absolute(0);
    for outcome in ["done", "cancelled", "failed"] {
        metrics::counter!("bangui_ban_jobs_total", "outcome" => outcome).absolute(0);
    }
    for reason in ["acquired", "lost", "fenced", "deadline", "blind", "clock_jump", "released"] {
        metrics::counter!("bangui_scheduler_transitions_total", "reason" => reason).absolute(0);
    }
    for wait in ["no_holders", "confirmed", "lease", "unknown_holders"] {
        metrics::counter!("bangui_session_revocations_total", "wait" => wait).absolute(0);
    }
    for limit in ["address", "site", "account"] {
        metrics::counter!("bangui_rate_limited_total", "limit" => limit).absolute(0);
    }
    for outcome in [
        "success",
        "wrong",
        "refused",
        "second_factor",
        "wrong_code",
        "wrong_passkey",
        "limited",
        "unavailable",
    ] {
        metrics::counter!("bangui_logins_total", "outcome" => outcome).absolute(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_kept_in_buckets_and_the_recorder_is_installed_once() {
        let handle = install_metrics().unwrap();
        assert!(install_metrics().is_err());
        metrics::histogram!("bangui_test_duration_seconds").record(0.002);
        handle.run_upkeep();
        let page = handle.render();
        assert!(page.contains("bangui_test_duration_seconds_bucket{le=\"0.001\"} 0"), "{page}");
        assert!(page.contains("bangui_test_duration_seconds_bucket{le=\"0.0025\"} 1"), "{page}");
    }
}
