//! The real router, as far as it goes without Redis: refusals, fallbacks, headers. What needs Redis is tested in
//! `tests/it` against a real one.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::actions::{Context, InFlight, Refusals};
use crate::agent::client::fleet::Fleet;
use crate::config::{Environment, Flags, PasswordLogin, RedisConfig, roles};
use crate::password::PasswordGate;
use crate::settings::{Bootstrap, Live};
use crate::store::Store;

/// Parts with the address of a Redis that does not run.
pub(super) fn parts() -> Parts {
    let redis = RedisConfig {
        url: "redis://127.0.0.1:1/".into(),
        prefix: "test".to_owned(),
        ca: None,
        min_replicas: 0,
        pool_size: 8,
    };
    Parts {
        context: Context {
            store: Store::open_unsupervised(&redis).unwrap(),
            agents: Fleet::default(),
            worker: serde_json::from_value("0123456789abcdef0123456789abcdef".into()).unwrap(),
            settings: settings(),
            gate: PasswordGate::with_cores(1),
            provider: None,
            password_login: PasswordLogin::On,
            setup_token: Some("a-setup-token".into()),
            admin_is_provisioned: true,
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            in_flight: InFlight::default(),
            refusals: Refusals::default(),
            passkeys: crate::actions::Passkeys::of(None),
        },
        proxies: Proxies::new(&["10.0.0.0/8".parse().unwrap()], None),
        hosts: AllowedHosts::default(),
        events: crate::store::Feed::new(),
        readiness: serving(),
        public_url: None,
        metrics: Some(PrometheusBuilder::new().build_recorder().handle()),
    }
}

fn serving() -> Readiness {
    let readiness = Readiness::starting();
    readiness.serve();
    readiness
}

/// The defaults.
fn settings() -> Live {
    let variables = [("BANGUI_REDIS_URL".to_owned(), "redis://127.0.0.1:1/".into())].into();
    let environment = Environment { variables, ..Environment::default() };
    Live::new(Bootstrap::of(&roles::serve(&environment, &Flags::new()).unwrap().config))
}

async fn call(parts: Parts, request: Request<Body>) -> Response {
    router(AppState::new(parts)).oneshot(request).await.unwrap()
}

pub(super) fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "bangui.test")
}

async fn get_path(path: &str) -> Response {
    call(parts(), request("GET", path).body(Body::empty()).unwrap()).await
}

/// Posts a login, which reads its body before it asks Redis for anything.
async fn post(content_type: &str, body: impl Into<Body>) -> (u16, Value) {
    let request = request("POST", "/api/v1/session").header("content-type", content_type);
    problem(call(parts(), request.body(body.into()).unwrap()).await).await
}

async fn problem(response: Response) -> (u16, Value) {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert!(response.headers().contains_key("x-request-id"));
    assert!(response.headers().contains_key("x-bangui-worker"));
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 65_536).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["status"], status);
    assert!(body["type"].as_str().unwrap().starts_with("urn:bangui:problem:"), "{body}");
    assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    (status, body)
}

#[tokio::test]
async fn a_request_of_the_api_waits_for_the_end_of_the_start_and_a_probe_does_not() {
    let readiness = Readiness::starting();
    let with = || Parts { readiness: readiness.clone(), ..parts() };
    let ask = |path| request("GET", path).body(Body::empty()).unwrap();
    let at_once = std::time::Duration::from_millis(200);
    let probe = tokio::time::timeout(at_once, call(with(), ask("/readyz"))).await;
    assert_eq!(probe.expect("a probe waited").status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut asked = std::pin::pin!(call(with(), ask("/api/v1/setup")));
    assert!(tokio::time::timeout(at_once, asked.as_mut()).await.is_err(), "it was answered during the start");
    readiness.serve();
    tokio::time::timeout(at_once, asked).await.expect("it waits on after the start");
}

#[tokio::test]
async fn healthz_answers_whatever_else_is_the_matter_and_names_the_worker() {
    let response = get_path("/healthz").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-bangui-worker"], "0123456789abcdef0123456789abcdef");
    assert_eq!(response.headers()["x-request-id"].len(), 32);
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let https = || Parts { public_url: Some("https://bangui.example/".parse().unwrap()), ..parts() };
    for path in ["/healthz", "/metrics", "/api/v1/session", "/nothing"] {
        let response = call(https(), request("GET", path).body(Body::empty()).unwrap()).await;
        let value = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert!(value("content-security-policy").starts_with("default-src 'none'; "), "{path}");
        assert_eq!(value("x-frame-options"), "DENY");
        assert_eq!(value("referrer-policy"), "no-referrer");
        assert_eq!(value("cross-origin-opener-policy"), "same-origin");
        assert_eq!(value("cross-origin-resource-policy"), "same-origin");
        assert_eq!(value("strict-transport-security"), "max-age=31536000");
        assert!(!get_path(path).await.headers().contains_key("strict-transport-security"), "{path}");
    }
}

#[tokio::test]
async fn a_cross_site_request_is_refused_before_anything_is_read() {
    for (method, path) in [
        ("POST", "/api/v1/setup"),
        ("POST", "/api/v1/session"),
        ("DELETE", "/api/v1/session"),
        ("PUT", "/api/v1/password"),
        ("POST", "/api/v1/servers/x/probe"),
        ("PATCH", "/nothing"),
    ] {
        let request = request(method, path).header("sec-fetch-site", "cross-site");
        let response = call(parts(), request.body(Body::empty()).unwrap()).await;
        assert!(!response.headers().contains_key("set-cookie"), "the cookie was touched");
        let (status, body) = problem(response).await;
        assert_eq!(
            (status, &body["type"]),
            (403, &"urn:bangui:problem:cross-site".into()),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn readyz_reports_why_it_is_not_ready() {
    let (status, body) = problem(get_path("/readyz").await).await;
    let reason = "redis".into();
    assert_eq!(
        (status, &body["ready"], &body["reason"]),
        (503, &false.into(), &reason),
        "also while it starts"
    );

    let draining = parts();
    draining.readiness.drain();
    draining.readiness.serve();
    let response = call(draining, request("GET", "/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(problem(response).await.1["reason"], "draining");

    let serving = parts();
    serving.readiness.serve();
    let response = call(serving, request("GET", "/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["retry-after"], "1");
    let (_, body) = problem(response).await;
    assert_eq!(body["reason"], "redis");
    assert_eq!(body["detail"], "Redis is unavailable: see the log of this worker", "strangers read it");
}

#[tokio::test]
async fn a_request_for_another_host_is_421_before_anything_is_read_and_probes_are_answered() {
    let ours = || Parts {
        hosts: AllowedHosts::new(&["bangui.test".to_owned()], None, [0, 0, 0, 0].into()),
        ..parts()
    };
    let foreign = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).header("host", "evil.example:8080");
        request.header("x-forwarded-host", "bangui.test").body(Body::empty()).unwrap()
    };
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/api/v1/setup"),
        ("POST", "/api/v1/session"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
    ] {
        let (status, body) = problem(call(ours(), foreign(method, path)).await).await;
        let expected = (421, &"urn:bangui:problem:misdirected-request".into());
        assert_eq!((status, &body["type"]), expected, "{method} {path}");
    }
    assert_eq!(call(ours(), foreign("GET", "/healthz")).await.status(), StatusCode::OK);
    assert_eq!(problem(call(ours(), foreign("GET", "/readyz")).await).await.1["reason"], "redis");
    let own = request("GET", "/api/v1/session").body(Body::empty()).unwrap();
    assert_eq!(call(ours(), own).await.status(), StatusCode::UNAUTHORIZED);
    let twice = request("GET", "/api/v1/session").header("host", "bangui.test").body(Body::empty()).unwrap();
    assert_eq!(problem(call(ours(), twice).await).await.0, 400);
}

#[tokio::test]
async fn metrics_are_text() {
    let response = get_path("/metrics").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let elsewhere = Parts { metrics: None, ..parts() };
    let response = call(elsewhere, request("GET", "/metrics").body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_document() {
    for path in ["/api/v1/nothing", "/api/v1/session/", "/%ff", "/api/v1/servers/a/b"] {
        assert_eq!(problem(get_path(path).await).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_allowed_ones() {
    let request = request("PATCH", "/api/v1/session").body(Body::empty()).unwrap();
    let response = call(parts(), request).await;
    let mut allowed: Vec<_> =
        response.headers()["allow"].to_str().unwrap().split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "POST"]);
    assert_eq!(problem(response).await.0, 405);
}

#[tokio::test]
async fn a_valid_request_id_comes_back() {
    let request = request("GET", "/healthz").header("x-request-id", "mine-1").body(Body::empty()).unwrap();
    assert_eq!(call(parts(), request).await.headers()["x-request-id"], "mine-1");
}

/// All of these must be refused without asking Redis: a question would give a 503 here.
#[tokio::test]
async fn a_stranger_and_garbage_are_401_without_asking_redis() {
    let routes = [
        ("GET", "/api/v1/session"),
        ("DELETE", "/api/v1/session"),
        ("GET", "/api/v1/sessions"),
        ("DELETE", "/api/v1/sessions"),
        ("DELETE", "/api/v1/sessions/x"),
        ("PUT", "/api/v1/password"),
        ("GET", "/api/v1/servers"),
        ("GET", "/api/v1/servers/x"),
        ("POST", "/api/v1/servers/x/probe"),
        ("DELETE", "/api/v1/servers/x/recovery"),
        ("GET", "/api/v1/servers/x/jails"),
        ("GET", "/api/v1/servers/x/jails/y"),
        ("GET", "/api/v1/settings"),
        ("PATCH", "/api/v1/settings"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/cluster"),
        ("GET", "/api/v1/diagnosis"),
        ("GET", "/api/v1/cluster/agents"),
    ];
    let token = "A".repeat(43);
    let shown: [&[(&str, &str)]; 6] = [
        &[],
        &[("cookie", "bangui=garbage")],
        &[("cookie", "bangui=")],
        &[("authorization", "Bearer garbage")],
        &[("authorization", "Basic YWRtaW46YWRtaW4=")],
        // with an Authorization header the cookie counts for nothing
        &[("authorization", ""), ("cookie", &format!("bangui={token}"))],
    ];
    for (method, path) in routes {
        for headers in shown {
            let request =
                headers.iter().fold(request(method, path), |r, (name, value)| r.header(*name, *value));
            let response = call(parts(), request.body(Body::empty()).unwrap()).await;
            assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"bangui\"");
            assert_eq!(response.headers()["cache-control"], "no-store");
            let removed = response.headers().get("set-cookie").map(|cookie| cookie.to_str().unwrap());
            let judged = matches!(headers, [("cookie", _)]);
            let expected = judged.then_some("bangui=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
            assert_eq!(removed, expected, "only what was judged is taken away: {headers:?}");
            assert_eq!(problem(response).await.0, 401, "{method} {path} {headers:?}");
        }
    }
}

#[tokio::test]
async fn over_tls_the_secure_cookie_is_the_one_removed() {
    let parts = Parts { public_url: Some("https://bangui.example/".parse().unwrap()), ..parts() };
    let request = request("GET", "/api/v1/session").header("cookie", "__Host-bangui=garbage");
    let response = call(parts, request.body(Body::empty()).unwrap()).await;
    assert!(response.headers()["set-cookie"].to_str().unwrap().starts_with("__Host-bangui=; "));
}

#[tokio::test]
async fn a_trusted_proxy_can_say_that_the_users_side_is_tls() {
    use axum::extract::ConnectInfo;
    for (peer, name) in [("10.0.0.1:1", "__Host-bangui="), ("192.0.2.1:1", "bangui=")] {
        let peer: std::net::SocketAddr = peer.parse().unwrap();
        let request = request("GET", "/api/v1/session")
            .header("x-forwarded-proto", "https")
            .header("cookie", "__Host-bangui=garbage; bangui=garbage");
        let request = request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap();
        let response = call(parts(), request).await;
        assert!(response.headers()["set-cookie"].to_str().unwrap().starts_with(name), "{peer}");
    }
}

#[tokio::test]
async fn a_bad_body_is_refused_for_what_is_wrong_with_it() {
    let json = "application/json";
    assert_eq!(post("text/plain", r#"{"password":"x"}"#).await.0, 415);
    assert_eq!(post("application/x-www-form-urlencoded", "password=x").await.0, 415);
    assert_eq!(post(json, "{").await.0, 400);
    assert_eq!(post(json, "").await.0, 400);
    assert_eq!(post("application/json; charset=utf-8", "nonsense").await.0, 400);
    assert_eq!(post(json, &b"{\"password\":\"\xff\"}"[..]).await.0, 400);
    assert_eq!(post(json, "[".repeat(8_000)).await.0, 422);
    assert_eq!(post(json, r#"{"password":1}"#).await.0, 422);
    assert_eq!(post(json, r#"["x"]"#).await.0, 422);
    assert_eq!(post(json, "null").await.0, 422);
    assert_eq!(post(json, r#"{"password":"x","more":1}"#).await.0, 422);
    assert_eq!(post(json, format!("{{\"password\":\"{}\"}}", "x".repeat(65_536))).await.0, 413);
}

#[tokio::test]
async fn setup_of_a_provisioned_admin_is_complete_without_asking_redis() {
    let response = get_path("/api/v1/setup").await;
    assert_eq!(response.status(), StatusCode::OK);
    let claim = request("POST", "/api/v1/setup").header("content-type", "application/json");
    let claim = claim.body(Body::from(r#"{"password":"0123456789","token":"a-setup-token"}"#)).unwrap();
    let (status, body) = problem(call(parts(), claim).await).await;
    assert_eq!((status, body["type"].as_str().unwrap()), (409, "urn:bangui:problem:setup-complete"));
}

#[tokio::test]
async fn an_unavailable_redis_leaves_the_cookie_alone() {
    let state = AppState::new(parts());
    let away = async || Problem::from(crate::store::StoreError::unavailable("no answer".to_owned()));
    let router = layers::around(Router::new().route("/away", get(away)), &state).with_state(state);
    let response = router.oneshot(request("GET", "/away").body(Body::empty()).unwrap()).await.unwrap();
    assert!(!response.headers().contains_key("set-cookie"));
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(problem(response).await.0, 503);
}

#[tokio::test]
async fn metrics_can_have_an_address_of_their_own() {
    let handle = PrometheusBuilder::new().build_recorder().handle();
    // Any host is accepted there, as Prometheus may use any address of the worker.
    let hosts = AllowedHosts::new(&["bangui.example".to_owned()], None, [0, 0, 0, 0].into());
    let router = metrics_router(AppState::new(Parts { metrics: None, hosts, ..parts() }), handle);
    let get = |path| request("GET", path).body(Body::empty()).unwrap();
    assert_eq!(router.clone().oneshot(get("/metrics")).await.unwrap().status(), StatusCode::OK);
    assert_eq!(problem(router.oneshot(get("/healthz")).await.unwrap()).await.0, 404);
}

#[tokio::test]
async fn a_panic_is_a_500_that_reveals_nothing() {
    let state = AppState::new(parts());
    let panicking = Router::new().route("/panic", get(async || -> &'static str { panic!("secret") }));
    let router = layers::around(panicking, &state).with_state(state);
    let response = router.oneshot(request("GET", "/panic").body(Body::empty()).unwrap()).await.unwrap();
    let (status, body) = problem(response).await;
    assert_eq!(status, 500);
    assert!(!body.to_string().contains("secret"));
}

#[test]
fn requests_are_counted_by_route_and_never_by_address() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    ::metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            for path in ["/healthz", "/api/v1/sessions/secret", "/a/b/c"] {
                get_path(path).await;
            }
        });
    });
    let page = recorder.handle().render();
    for line in [
        r#"bangui_http_requests_total{route="/healthz",method="GET",status="200"} 1"#,
        r#"bangui_http_requests_total{route="/api/v1/sessions/{id}",method="GET",status="405"} 1"#,
        r#"bangui_http_requests_total{route="unmatched",method="GET",status="404"} 1"#,
        r#"bangui_http_request_duration_seconds_count{route="/healthz"} 1"#,
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }
}
