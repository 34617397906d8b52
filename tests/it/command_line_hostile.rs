//! A server that means harm to whoever asks it: what it sends never reaches the terminal raw, the token goes nowhere else, and nothing
//! it says makes a command hang or fall over. And one that asks for the password again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::any;
use bangui::domain::printable::printable;
use serde_json::{Value, json};

use crate::support::person::{Person, Ran};
use crate::support::{PASSWORD, SOON};

/// Clears the screen, renames the window, forges a row, turns the writing round, and does so in one character.
const HOSTILE: &str = "owned\u{1b}[2J\u{1b}]0;x\u{7}\nforged  row\r\u{202e}\u{9b}31m\u{7f}\u{2028}";

/// A server with these routes; it ends with the test.
async fn serve(router: axum::Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

/// Somebody with a token for a server that never gave it out.
fn person_at(address: SocketAddr) -> Person {
    let mut person = Person::new();
    person.environment = vec![
        ("BANGUI_URL".to_owned(), format!("http://{address}")),
        ("BANGUI_TOKEN".to_owned(), "bgs_0123456789".to_owned()),
    ];
    person
}

/// Every field that a command shows, in one item.
fn item(name: &str) -> Value {
    let text = [
        "ip",
        "banned_at",
        "expires_at",
        "error",
        "server",
        "jail",
        "ban",
        "entry",
        "source",
        "file",
        "reason",
        "order",
        "username",
        "created_at",
        "at",
        "what",
        "target",
        "outcome",
        "severity",
        "title",
        "detail",
        "remedy",
        "command",
        "since",
        "bantime",
        "read_at",
        "condition",
        "version",
        "checked_at",
        "trail",
    ];
    let mut item: serde_json::Map<String, Value> =
        text.iter().map(|&field| (field.to_owned(), HOSTILE.into())).collect();
    item.insert("name".to_owned(), name.into());
    item.insert("id".to_owned(), HOSTILE.into());
    item.insert("state".to_owned(), HOSTILE.into());
    item.insert("errors".to_owned(), json!([HOSTILE]));
    item.insert("last_known".to_owned(), json!([{ "ban": HOSTILE, "jail": HOSTILE }]));
    item.insert("failures".to_owned(), json!([{ "ip": HOSTILE, "reason": HOSTILE }]));
    item.insert("status".to_owned(), Value::Object(item.clone()));
    item.into()
}

async fn hostile(request: Request) -> Response {
    let items = json!([item("web-1"), item(HOSTILE)]);
    let mut document = item("web-1");
    for list in ["items", "results", "banned", "never_banned", "unanswered", "not_asked"] {
        document[list] = items.clone();
    }
    document["never_banned_unknown"] = json!([HOSTILE]);
    document["next_cursor"] = HOSTILE.into();
    document["token"] = "bgs_0123456789".into();
    document["session"] = json!({ "username": HOSTILE, "expires_at": HOSTILE });
    if request.uri().path().ends_with("/events") {
        let data =
            json!({ "type": HOSTILE, "at": HOSTILE, "server": HOSTILE, "facts": { HOSTILE: HOSTILE } });
        // A control character in a name or an id is no end of a line.
        let text = format!(
            "id: 1-0\u{1b}[2J\nevent: a\u{1b}[2J\ndata: {data}\n\nevent: b\u{1b}[2J\ndata: \u{1b}[2J\n\n"
        );
        return ([("content-type", "text/event-stream")], text).into_response();
    }
    // Raw where JSON allows it.
    axum::Json(document).into_response()
}

async fn hostile_refusal() -> Response {
    let problem = json!({
        "type": format!("urn:bangui:problem:{HOSTILE}"), "title": HOSTILE, "status": 422, "detail": HOSTILE,
    });
    (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(problem)).into_response()
}

const COMMANDS: [&[&str]; 14] = [
    &["servers"],
    &["jails"],
    &["jails", "web-1"],
    &["bans", "web-1", "app"],
    &["bans", "web-1", "app", "--all"],
    &["ban", "web-1", "app", "203.0.113.7"],
    &["unban", "web-1", "app", "203.0.113.7"],
    &["why", "203.0.113.7"],
    &["ignore", "web-1", "app", "203.0.113.7"],
    &["jobs"],
    &["jobs", "0123456789abcdef0123456789abcdef"],
    &["audit"],
    &["audit", "--all"],
    &["diagnosis"],
];

/// What was printed has lines, and nothing else that a terminal obeys.
#[track_caller]
fn is_harmless(ran: &Ran) {
    for line in ran.out.lines().chain(ran.err.lines()) {
        assert_eq!(printable(line), line, "{ran:?}");
        assert!(!line.starts_with("forged"), "{ran:?}");
    }
}

#[tokio::test]
async fn nothing_that_a_hostile_server_sends_reaches_the_terminal_raw() {
    let answers = person_at(serve(axum::Router::new().fallback(hostile)).await);
    let refuses = person_at(serve(axum::Router::new().fallback(hostile_refusal)).await);
    for command in COMMANDS {
        for json in [&[][..], &["--json"]] {
            let command = [command, json].concat();
            let ran = answers.run(&command, "").await;
            is_harmless(&ran);
            assert!(
                ran.out.contains("owned") || ran.code == Some(0),
                "it is shown all the same: {command:?} {ran:?}"
            );
            let refused = refuses.run(&command, "").await;
            is_harmless(refused.expect(1));
            assert!(refused.err.contains("owned\\u{1b}[2J"), "{command:?} {refused:?}");
        }
    }
    let mut stranger = Person::new();
    stranger.environment = answers.environment[..1].to_vec();
    is_harmless(stranger.run(&["login"], PASSWORD).await.expect(0));
    for json in [&[][..], &["--json"]] {
        let process = answers.start(&[&["events", "--follow"], json].concat());
        process.line("an event", SOON, |line| line.contains("owned").then_some(())).await;
        process.line("what is no JSON", SOON, |line| line.contains("is not JSON").then_some(())).await;
        process.kill();
        let (out, err) = (process.printed(), String::new());
        is_harmless(&Ran { code: None, out, err });
    }
}

#[tokio::test]
async fn a_redirect_leads_no_token_elsewhere() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let of_route = Arc::clone(&seen);
    let elsewhere = serve(axum::Router::new().fallback(move |request: Request| {
        of_route.lock().unwrap().push(format!("{request:?}"));
        async { "{}" }
    }))
    .await;
    let redirect = move || async move { Redirect::temporary(&format!("http://{elsewhere}/api/v1/servers")) };
    let person = person_at(serve(axum::Router::new().fallback(any(redirect))).await);
    let refused = person.run(&["servers"], "").await;
    assert!(
        refused.expect(4).err.contains(&format!("307 Temporary Redirect to http://{elsewhere}")),
        "{refused:?}"
    );
    assert_eq!(*seen.lock().unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_change_that_needs_the_password_again_asks_for_it_on_the_terminal_and_is_made() {
    let confirmed: Arc<Mutex<Vec<Value>>> = Arc::default();
    let (of_ban, of_confirm) = (Arc::clone(&confirmed), Arc::clone(&confirmed));
    let ban = move || async move {
        if of_ban.lock().unwrap().is_empty() {
            let problem = json!({
                "type": "urn:bangui:problem:confirmation-required", "title": "Confirm your password first", "status": 403, "detail": "x",
            });
            return (StatusCode::FORBIDDEN, axum::Json(problem));
        }
        (
            StatusCode::OK,
            axum::Json(json!({ "results": [{ "ip": "203.0.113.7", "banned": true, "changed": true }] })),
        )
    };
    let confirm = move |body: axum::Json<Value>| async move {
        of_confirm.lock().unwrap().push(body.0);
        StatusCode::NO_CONTENT
    };
    let router = axum::Router::new()
        .route("/api/v1/servers/web-1/jails/app/bans", any(ban))
        .route("/api/v1/session/confirm", any(confirm));
    let person = person_at(serve(router).await);
    let command = ["ban", "web-1", "app", "203.0.113.7"];
    let refused = person.run(&command, "").await;
    assert!(refused.expect(1).err.contains("Run this on a terminal"), "{refused:?}");
    assert!(confirmed.lock().unwrap().is_empty());
    let (code, shown) = person.on_terminal(&command, PASSWORD).await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("needs your password again") && !shown.contains(PASSWORD), "{shown}");
    assert_eq!(*confirmed.lock().unwrap(), [json!({ "password": PASSWORD })]);
}
