//! Bad input: whatever comes in, the answer is a problem document with the right 4xx, and the worker is unharmed.

use reqwest::Method;
use reqwest::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, COOKIE};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::cluster::SERVER;
use crate::support::{Answer, Client, Cluster, PASSWORD, SOON};

/// The calls that take a body, with a valid body, which the test then breaks.
fn calls_with_a_body() -> [(Method, &'static str, serde_json::Value); 4] {
    [
        (Method::POST, "/api/v1/setup", json!({ "password": PASSWORD, "token": "x" })),
        (Method::POST, "/api/v1/session", json!({ "password": PASSWORD })),
        (Method::POST, "/api/v1/invitations/accept", json!({ "password": PASSWORD, "code": "x" })),
        (Method::PUT, "/api/v1/password", json!({ "current": PASSWORD, "new": PASSWORD })),
    ]
}

#[track_caller]
pub fn refused(answer: &Answer, allowed: &[u16]) {
    let status = answer.status.as_u16();
    assert!(
        allowed.contains(&status),
        "{} is not one of {allowed:?}: {}: {}",
        status,
        answer.asked,
        answer.text
    );
    answer.problem(status);
}

pub async fn unharmed(cluster: &Cluster) {
    for worker in &cluster.workers {
        worker.client().get("/healthz").await.expect(200);
        let log = worker.process.printed();
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_it_should_be_is_refused_with_the_reason() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    for (method, path, good) in calls_with_a_body() {
        let send = |content_type: &'static str, body: Vec<u8>| {
            let request = client.request(method.clone(), path).header(CONTENT_TYPE, content_type);
            client.send(request.body(body))
        };
        let json = "application/json";
        for malformed in
            ["", "{", "nonsense", "{\"password\":}", "[1,2", "\"", "{\"password\":\"\\ud800\"}", "\u{feff}{}"]
        {
            refused(&send(json, malformed.into()).await, &[400, 422]);
        }
        for bad_utf8 in [&b"{\"password\":\"\xff\xfe\"}"[..], b"\xc3\x28", b"{\"password\":\"\xed\xa0\x80\"}"]
        {
            refused(&send(json, bad_utf8.into()).await, &[400, 422]);
        }
        for wrong_type in ["null", "1", "[]", "{}", "\"text\"", "true"] {
            refused(&send(json, wrong_type.into()).await, &[400, 422]);
        }
        for (field, _) in good.as_object().unwrap() {
            for value in [json!(1), json!(null), json!([]), json!({ "a": 1 }), json!(true)] {
                let mut body = good.clone();
                body[field] = value;
                refused(&send(json, body.to_string().into()).await, &[400, 422]);
            }
        }
        let mut unknown = good.clone();
        unknown["pasword"] = json!("x");
        let answer = send(json, unknown.to_string().into()).await;
        refused(&answer, &[400, 422]);
        assert!(answer.text.contains("pasword"), "the field is not named: {}", answer.text);
        let twice = r#"{"password":"aaaaaaaaaa","password":"bbbbbbbbbb","token":"x","code":"x","current":"a","new":"b"}"#;
        refused(&send(json, twice.into()).await, &[400, 422]);
        for other in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"]
        {
            refused(&send(other, good.to_string().into()).await, &[415]);
        }
        let bare = client.request(method.clone(), path).body(good.to_string());
        refused(&client.send(bare).await, &[415]);
        let deep = format!("{}{}", "[".repeat(4_000), "]".repeat(4_000));
        refused(&send(json, deep.into()).await, &[400, 422]);
    }
    unharmed(&cluster).await;
}

#[tokio::test]
async fn a_body_over_64_kib_or_over_8_kib_where_strangers_may_send_it_is_refused_with_and_without_its_length()
{
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    for (method, path, good) in calls_with_a_body() {
        let mut long = good.to_string().into_bytes();
        let limit = if path == "/api/v1/password" { 64 * 1024 } else { 8 * 1024 };
        long.resize(limit, b' ');
        let send = |body: reqwest::Body| {
            client.send(
                client.request(method.clone(), path).header(CONTENT_TYPE, "application/json").body(body),
            )
        };
        // Just within the limit: it is read, and not refused for its size.
        let within = send(long.clone().into()).await;
        assert_ne!(within.status, 413, "{}", within.text);
        long.push(b' ');
        refused(&send(long.clone().into()).await, &[413]);
        let mut chunked = TcpStream::connect(cluster.workers[0].address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            long.len()
        );
        chunked.write_all(&[head.as_bytes(), &long, b"\r\n0\r\n\r\n"].concat()).await.unwrap();
        let answer = first_line(chunked).await;
        let expected = if path == "/api/v1/password" { ["413", "401"] } else { ["413", "413"] };
        assert!(expected.iter().any(|status| answer.contains(status)), "{path}: {answer}");
    }
    unharmed(&cluster).await;
}

/// The calls that need a session.
const CLOSED: [(&str, &str); 33] = [
    ("GET", "/api/v1/session"),
    ("DELETE", "/api/v1/session"),
    ("POST", "/api/v1/session/confirm"),
    ("GET", "/api/v1/sessions"),
    ("DELETE", "/api/v1/sessions"),
    ("DELETE", "/api/v1/sessions/x"),
    ("PUT", "/api/v1/password"),
    ("GET", "/api/v1/factors"),
    ("POST", "/api/v1/factors/app"),
    ("POST", "/api/v1/factors/app/confirm"),
    ("DELETE", "/api/v1/factors/app"),
    ("POST", "/api/v1/factors/recovery-codes"),
    ("POST", "/api/v1/factors/passkeys"),
    ("POST", "/api/v1/factors/passkeys/finish"),
    ("DELETE", "/api/v1/factors/passkeys/x"),
    ("GET", "/api/v1/users"),
    ("PATCH", "/api/v1/users/x"),
    ("DELETE", "/api/v1/users/x"),
    ("GET", "/api/v1/invitations"),
    ("POST", "/api/v1/invitations"),
    ("DELETE", "/api/v1/invitations/x"),
    ("GET", "/api/v1/tokens"),
    ("POST", "/api/v1/tokens"),
    ("DELETE", "/api/v1/tokens/x"),
    ("GET", "/api/v1/servers"),
    ("GET", "/api/v1/servers/x"),
    ("GET", "/api/v1/servers/x/jails"),
    ("GET", "/api/v1/servers/x/jails/y"),
    ("POST", "/api/v1/servers/x/probe"),
    ("DELETE", "/api/v1/servers/x/recovery"),
    ("GET", "/api/v1/cluster"),
    ("GET", "/api/v1/cluster/agents"),
    ("GET", "/api/v1/diagnosis"),
];

#[tokio::test]
async fn a_garbage_cookie_or_bearer_token_is_401_on_every_closed_call() {
    let cluster = Cluster::bare(1).set_up().await;
    let client = cluster.client(0);
    let long = "A".repeat(5000);
    let proofs: Vec<(&str, Vec<u8>)> = vec![
        ("none", Vec::new()),
        ("cookie", b"bangui=".to_vec()),
        ("cookie", b"bangui=garbage".to_vec()),
        ("cookie", b"bangui=\xff\xfe\xfd".to_vec()),
        ("cookie", format!("bangui={}", "A".repeat(43)).into_bytes()),
        ("cookie", format!("bangui={long}").into_bytes()),
        ("cookie", b"; ;=;bangui".to_vec()),
        ("cookie", b"bangui=\"quoted\"; bangui=twice".to_vec()),
        ("bearer", b"Bearer".to_vec()),
        ("bearer", b"Bearer ".to_vec()),
        ("bearer", b"Bearer \xff\xfe".to_vec()),
        ("bearer", format!("Bearer {}", "A".repeat(43)).into_bytes()),
        ("bearer", format!("Bearer {long}").into_bytes()),
        ("bearer", b"Digest x".to_vec()),
        ("bearer", b"\xff".to_vec()),
    ];
    for (method, path) in CLOSED {
        for (kind, proof) in &proofs {
            let request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
            let request = match *kind {
                "cookie" => request.header(COOKIE, proof.as_slice()),
                "bearer" => request.header(AUTHORIZATION, proof.as_slice()),
                _ => request,
            };
            refused(
                &client.send(request.json(&json!({ "current": PASSWORD, "new": PASSWORD }))).await,
                &[401],
            );
        }
    }
    unharmed(&cluster).await;
}

#[tokio::test]
async fn invalid_names_paths_and_queries_are_answered_4xx() {
    let cluster = Cluster::with_fail2ban(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let long = "x".repeat(3000);
    let names = [
        "..",
        ".",
        "%00",
        "%2e%2e%2f",
        "a%2Fb",
        "a%20b",
        "%ff%fe",
        "[x]",
        "%25(x)s",
        "ä",
        "nowhere",
        "%0a",
        "%",
        &long,
    ];
    for name in names {
        for (method, path) in [
            (Method::GET, format!("/api/v1/servers/{name}")),
            (Method::GET, format!("/api/v1/servers/{name}/jails")),
            (Method::GET, format!("/api/v1/servers/{SERVER}/jails/{name}")),
            (Method::POST, format!("/api/v1/servers/{name}/probe")),
            (Method::DELETE, format!("/api/v1/servers/{name}/recovery")),
            (Method::DELETE, format!("/api/v1/sessions/{name}")),
        ] {
            if name.starts_with('.') {
                continue; // The client resolves these before it sends them.
            }
            let answer = client.send(client.request(method, &path)).await;
            refused(&answer, &[400, 404, 414, 422]);
        }
    }
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/session",
        "/API/V1/SESSION",
        "/api/v1/session/",
        "//",
        "/%",
    ] {
        let answer = client.get(path).await;
        // The root may be a page.
        if path != "/" && path != "//" {
            refused(&answer, &[400, 404]);
        }
        assert!(answer.status.as_u16() < 500, "{answer:?}");
    }
    for query in [
        "/api/v1/sessions?limit=0",
        "/api/v1/sessions?limit=-1",
        "/api/v1/sessions?limit=x",
        "/api/v1/sessions?limit=99999999999999999999",
        "/api/v1/sessions?cursor=garbage",
        "/api/v1/sessions?cursor=%ff",
        "/api/v1/sessions?cursor=",
    ] {
        let answer = client.get(query).await;
        assert!(answer.status == 200 || [400, 422].contains(&answer.status.as_u16()), "{answer:?}");
    }
    let recovery = format!("/api/v1/servers/{SERVER}/recovery?detected_at=");
    for at in ["garbage", "", "1", "2026-13-01T00:00:00Z", "%ff"] {
        refused(&client.delete(&format!("{recovery}{at}")).await, &[400, 422]);
    }
    refused(&client.delete("/api/v1/sessions?keep_current=maybe").await, &[400, 422]);
    // A misspelt field must not turn into the dangerous default.
    for misspelt in [
        "/api/v1/sessions?keep_curent=true".to_owned(),
        format!("/api/v1/servers/{SERVER}/recovery?detected=2026-11-22T00:00:00Z"),
    ] {
        refused(&client.delete(&misspelt).await, &[400, 422]);
    }
    refused(&client.get("/api/v1/sessions?limits=1").await, &[400, 422]);
    client.get("/api/v1/session").await.expect(200);
    unharmed(&cluster).await;
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_405_and_lists_those_it_has() {
    let cluster = Cluster::bare(1).set_up().await;
    let client: Client = cluster.client(0).logged_in().await;
    for (method, path) in [
        ("DELETE", "/healthz"),
        ("POST", "/readyz"),
        ("PUT", "/api/v1/setup"),
        ("PUT", "/api/v1/session"),
        ("POST", "/api/v1/sessions"),
        ("GET", "/api/v1/password"),
        ("POST", "/api/v1/servers"),
        ("DELETE", "/api/v1/cluster"),
        ("GET", "/api/v1/servers/x/probe"),
        ("PATCH", "/api/v1/servers/x/recovery"),
        ("BREW", "/api/v1/session"),
    ] {
        let answer = client.send(client.request(Method::from_bytes(method.as_bytes()).unwrap(), path)).await;
        refused(&answer, &[405]);
        assert!(answer.headers.contains_key(ALLOW), "{answer:?}");
    }
    unharmed(&cluster).await;
}

async fn first_line(mut stream: TcpStream) -> String {
    let mut answer = vec![0; 1000];
    let read = tokio::time::timeout(SOON, stream.read(&mut answer)).await.expect("an answer or an end");
    let text = String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_is_no_http_at_all_harms_nobody() {
    let cluster = Cluster::bare(1).set_up().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n0\r\n\r\n",
        b"\x00\x00\x00\x00\r\n\r\n",
        &[b"GET /".as_slice(), &[b'a'; 100_000], b" HTTP/1.1\r\n\r\n"].concat(),
        &[b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 600_000], b"\r\n\r\n"].concat(),
    ] {
        let mut stream = TcpStream::connect(cluster.workers[0].address).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let line = first_line(stream).await;
        assert!(line.is_empty() || line.contains(" 4") || line.contains(" 505") || line.contains(" 200"), "{line}");
    }
    unharmed(&cluster).await;
}
