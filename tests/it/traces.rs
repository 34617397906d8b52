//! Traces: what workers and agents send to a collector, which here is a listener that decodes OTLP with OpenTelemetry's own types.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cluster::{SERVER, server_is};
use crate::support::{Cluster, SOON, eventually};

/// The spans that have arrived, each with the name of its service.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<(String, Span)>>>,
    url: String,
}

impl Collector {
    async fn start() -> Self {
        let spans = Arc::<Mutex<Vec<(String, Span)>>>::default();
        let taken = Arc::clone(&spans);
        let take = move |body: Bytes| {
            let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
            for resource in request.resource_spans {
                let attributes = resource.resource.unwrap_or_default().attributes;
                let service = attributes.iter().find(|one| one.key == "service.name").unwrap();
                let service = format!("{:?}", service.value);
                let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                taken.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
            }
            StatusCode::OK
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(move |body| std::future::ready(take(body))));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { spans, url }
    }

    /// The spans of the trace that a span of this name belongs to, once one like `complete` is there too.
    async fn trace(&self, name: &str, complete: &str) -> Vec<Span> {
        eventually(&format!("a trace with {name} and {complete}"), SOON, || async {
            let spans = self.spans.lock().unwrap();
            let trace = &spans.iter().find(|(_, span)| span.name == name)?.1.trace_id;
            let spans: Vec<Span> = spans
                .iter()
                .filter(|(_, span)| span.trace_id == *trace)
                .map(|(_, span)| span.clone())
                .collect();
            spans.iter().any(|span| span.name.starts_with(complete)).then_some(spans)
        })
        .await
    }
}

/// The name of the span that this one is in.
fn parent<'a>(spans: &'a [Span], name: &str) -> &'a str {
    let span =
        spans.iter().find(|span| span.name.starts_with(name)).unwrap_or_else(|| panic!("{name}: {spans:#?}"));
    spans.iter().find(|one| one.span_id == span.parent_span_id).map_or("", |one| &one.name)
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|one| one.key == name);
    found.map_or_else(String::new, |one| format!("{:?}", one.value))
}

async fn traced(builder: crate::support::cluster::Builder) -> (Cluster, Collector) {
    let collector = Collector::start().await;
    let builder =
        builder.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url).env("OTEL_BSP_SCHEDULE_DELAY", 50);
    (builder.start().await, collector)
}

#[tokio::test]
async fn a_request_is_one_trace_through_its_action_redis_the_agent_and_fail2ban() {
    let builder = Cluster::with_fail2ban(1).jails(&["web"]).env("BANGUI_PROBE_INTERVAL_SECONDS", 300);
    let (mut cluster, collector) = traced(builder).await;
    cluster.post_setup(0).await.expect(201);
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let agent = cluster.agent.as_mut().unwrap();
    agent.more = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.clone()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
        ("OTEL_SERVICE_NAME", "agents".to_owned()),
    ];
    agent.start_again().await;

    let bans = format!("/api/v1/servers/{SERVER}/jails/web/bans");
    let banned = client.post(&bans, json!({ "ips": ["203.0.113.9"] })).await;
    assert_eq!(banned.expect(200).body["results"][0]["banned"], true, "{}", banned.text);
    let request = "POST /api/v1/servers/{server}/jails/{jail}/bans";
    let spans = collector.trace(request, "fail2ban ").await;
    let names: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(parent(&spans, request), "", "{names:?}");
    assert_eq!(parent(&spans, "ban"), request, "{names:?}");
    assert_eq!(parent(&spans, "redis session_check"), request, "{names:?}");
    assert_eq!(parent(&spans, "agent "), "ban", "{names:?}");
    let served = names.iter().find(|name| name.contains("/v1/jails/")).unwrap();
    assert!(parent(&spans, served).starts_with("agent "), "{names:?}");
    assert_eq!(parent(&spans, "fail2ban "), *served, "{names:?}");
    let all = collector.spans.lock().unwrap().clone();
    let of_agent = |(service, span): &&(String, Span)| service.contains("agents") && span.name == **served;
    assert!(all.iter().any(|one| of_agent(&one)), "{names:?}");
    let request = spans.iter().find(|span| span.name == request).unwrap();
    assert!(attribute(request, "http.response.status_code").contains("200"), "{request:#?}");
    assert!(attribute(request, "user.name").contains("admin"), "{request:#?}");
    // A change that runs to its end, whoever waits, stays in its trace.
    let switch = format!("/api/v1/servers/{SERVER}/jails/web/deactivate");
    client.post(&switch, json!({})).await.expect(200);
    let spans = collector.trace("POST /api/v1/servers/{server}/jails/{jail}/deactivate", "fail2ban ").await;
    assert_eq!(parent(&spans, "agent "), "deactivate", "{spans:#?}");
    // What runs in the background belongs to no request.
    assert!(all.iter().all(|(_, span)| !span.parent_span_id.is_empty() || !span.name.starts_with("redis")));
}

#[tokio::test]
async fn a_trusted_proxy_says_which_trace_a_request_belongs_to_and_a_stranger_does_not() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for (trusted, builder) in
        [(true, Cluster::bare(1).env("BANGUI_TRUSTED_PROXIES", "127.0.0.1")), (false, Cluster::bare(1))]
    {
        let (cluster, collector) = traced(builder).await;
        let client = cluster.client(0);
        let request = client.request(Method::GET, "/api/v1/setup");
        let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
        client.send(request).await.expect(200);
        let spans = collector.trace("GET /api/v1/setup", "redis ").await;
        let found: String = spans[0].trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found == trace, trusted, "{found}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_is_said_and_disturbs_nobody_and_the_log_shows_no_field_of_traces() {
    let builder = Cluster::bare(1).env("OTEL_BSP_SCHEDULE_DELAY", 50);
    let cluster = builder.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9").set_up().await;
    let client = cluster.client(0).logged_in().await;
    client.get("/api/v1/session").await.expect(200);
    let line = eventually("a line about the collector", SOON, || async {
        let failed =
            |line: &Value| line["message"].as_str().unwrap_or_default().starts_with("failed to send traces");
        cluster.workers[0].log().into_iter().find(failed)
    })
    .await;
    assert_eq!(line["level"], "WARN", "{line}");
    let log = cluster.workers[0].process.printed();
    assert!(log.contains("answered 201") && !log.contains("otel."), "{log}");
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_process_ends() {
    let collector = Collector::start().await;
    let builder = Cluster::bare(1).env("OTEL_BSP_SCHEDULE_DELAY", 3_600_000).env("BANGUI_DRAIN_SECONDS", 0);
    let cluster = builder.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url).start().await;
    cluster.client(0).get("/api/v1/setup").await.expect(200);
    assert!(collector.spans.lock().unwrap().is_empty());
    cluster.workers[0].terminate();
    cluster.workers[0].process.ended(SOON).await;
    collector.trace("GET /api/v1/setup", "redis ").await;
}
