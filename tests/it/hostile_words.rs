//! Words that a hostile agent, fail2ban or client chooses, on their way to a terminal: in the report of `check`, in logs of text and
//! of JSON. None of them clears a screen, reverses the direction of text or forges a line.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::response::{IntoResponse as _, Response};
use bangui::domain::printable::{printable, printable_lines};
use reqwest::Method;
use serde_json::json;

use crate::support::agent::AGENT_TOKEN;
use crate::support::process::{Child, bangui};
use crate::support::worker::Worker;
use crate::support::{Client, Cluster, SOON, eventually, folder};

/// Clears the screen, renames the window, forges two lines, turns the writing round, and does so in one character.
const HOSTILE: &str = "owned\u{1b}[2J\u{1b}]0;x\u{7}\nok    redis                 forged\n2026-01-01T00:00:00Z  INFO forged\r\u{202e}\u{9b}31m";
/// What may be part of a jail's name.
const JAIL: &str = "owned\u{202e}jail\u{2028}";

async fn agent(path: axum::extract::Path<String>) -> Response {
    let counts =
        json!({ "currently_failed": 0, "total_failed": 0, "currently_banned": 0, "total_banned": 0 });
    match &*path.0 {
        "info" => axum::Json(json!({
            "name": "web-1", "agent_version": HOSTILE, "fail2ban_version": HOSTILE, "probes": 0, "backend_detections": 0
        }))
        .into_response(),
        "status" => {
            axum::Json(json!({ "state": "up", "version": HOSTILE, "jails": { JAIL: counts } })).into_response()
        }
        _ => {
            let refusal = json!({ "kind": "failed", "reason": HOSTILE });
            (axum::http::StatusCode::CONFLICT, axum::Json(refusal)).into_response()
        }
    }
}

/// A cluster without workers whose one agent is hostile.
async fn surroundings(socket: &std::path::Path) -> Cluster {
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    let router = axum::Router::new().route("/v1/{*path}", axum::routing::any(agent));
    tokio::spawn(axum::serve(listener, router).into_future());
    let (mut cluster, _) = Cluster::bare(0).start_surroundings().await;
    let servers = format!("web-1=http+unix://{}", socket.display());
    cluster.environment.insert("BANGUI_SERVERS".to_owned(), servers);
    cluster.environment.insert("BANGUI_AGENT_TOKEN".to_owned(), AGENT_TOKEN.to_owned());
    cluster
}

/// Fails if the output has control characters other than line ends.
fn is_harmless(printed: &str) {
    for line in printed.lines() {
        assert_eq!(printable(line), line, "{printed:?}");
        assert!(
            !line.starts_with("2026-01-01") && !line.starts_with("ok    redis                 forged"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn no_agent_and_no_fail2ban_can_make_check_clear_the_screen_or_print_a_forged_line() {
    let folder = folder();
    let cluster = surroundings(&folder.path().join("a.sock")).await;
    let mut command = bangui("check");
    command.envs(&cluster.environment);
    let (code, printed) = Child::run("bangui check", command, SOON).await;
    assert_eq!(code, Some(1), "{printed}");
    is_harmless(&printed);
    assert!(printed.contains("owned\\u{1b}[2J"), "it is said all the same: {printed}");
}

/// Requests with everything strange that HTTP allows.
async fn strange_requests(client: &Client) {
    let word = "owned\u{9b}31m\u{202e}";
    for name in
        ["user-agent", "x-request-id", "x-forwarded-for", "origin", "referer", "cookie", "authorization"]
    {
        let value = reqwest::header::HeaderValue::from_bytes(word.as_bytes()).unwrap();
        let request = client.request(Method::POST, "/api/v1/session").header(name, value);
        let answer = client.send(request.json(&json!({ "username": HOSTILE, "password": HOSTILE }))).await;
        assert!(answer.status.is_client_error(), "{name}: {answer:?}");
    }
    for path in ["/api/v1/owned%1B[2J%0Aforged", "/api/v1/servers/owned%1B[2J", "/owned%C2%9B31m?x=%0A"] {
        client.get(path).await;
    }
}

/// Everything a worker has logged about the hostile agent and strange requests, from its start to its end.
async fn logged(format: &str) -> String {
    let folder = folder();
    let mut cluster = surroundings(&folder.path().join("a.sock")).await;
    let mut environment: BTreeMap<String, String> = std::mem::take(&mut cluster.environment);
    environment.insert("BANGUI_LOG_FORMAT".to_owned(), format.to_owned());
    environment.insert("RUST_LOG".to_owned(), "info,bangui=debug".to_owned());
    // Ignore the colours of its own lines.
    environment.insert("NO_COLOR".to_owned(), "1".to_owned());
    let worker = Worker::spawn("worker", &environment);
    let address: SocketAddr = worker
        .line("its address in the log", SOON, |line| {
            let rest = line.split_once("http.addr")?.1;
            let word = |c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':'));
            rest.split(word).find_map(|word| word.trim_matches(':').parse().ok())
        })
        .await;
    let client = Client::new(address);
    eventually("the worker to be ready", SOON, || async {
        client.get("/readyz").await.status.is_success().then_some(())
    })
    .await;
    let password = crate::support::PASSWORD;
    let setup = json!({ "password": password, "token": crate::support::SETUP_TOKEN });
    client.post("/api/v1/setup", setup).await.expect(201);
    let user = client.logged_in().await;
    eventually("the agent to be asked", SOON, || async {
        (user.get("/api/v1/servers/web-1").await.body["status"]["condition"] == "up").then_some(())
    })
    .await;
    user.get("/api/v1/servers/web-1/jails").await;
    user.get("/api/v1/diagnosis").await;
    strange_requests(&client).await;
    worker.signal(rustix::process::Signal::TERM);
    worker.ended(2 * SOON).await;
    worker.printed()
}

#[tokio::test]
async fn no_name_in_a_text_log_controls_the_terminal() {
    let printed = logged("text").await;
    is_harmless(&printed);
    assert!(printed.contains("owned\\u{1b}[2J"), "nothing hostile was logged: {printed}");
}

#[tokio::test]
async fn no_name_in_a_json_log_controls_the_terminal() {
    let printed = logged("json").await;
    assert_eq!(printable_lines(&printed), printed);
    assert!(printed.contains("owned\\u001b[2J"), "nothing hostile was logged: {printed}");
}
