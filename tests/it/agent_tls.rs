//! Workers and agents over TLS: who is trusted, and how each mistake is distinguished from an agent that is down.

use std::time::Duration;

use bangui::agent::client::{AgentClient, AgentError};
use bangui::domain::UnreachableKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::agent::AGENT_TOKEN;
use crate::support::process::{Child, bangui};
use crate::support::tls::{Ca, TlsAgent};
use crate::support::{SOON, eventually, folder};

async fn unreachable(client: &AgentClient) -> (UnreachableKind, String) {
    match client.info().await {
        Err(AgentError::Unreachable { kind, reason, .. }) => (kind, reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_agent_is_authenticated_by_its_certificate_and_every_mistake_is_named() {
    let (ca, other) = (Ca::new(), Ca::new());
    let agent = TlsAgent::start(&ca, &["web-1", "localhost"]).await;
    std::fs::write(agent.folder.path().join("other.pem"), other.pem()).unwrap();
    let info = agent.client("localhost", Some("ca.pem"), AGENT_TOKEN).info().await.unwrap();
    assert_eq!(info.name.as_deref(), Some("web-1"));

    for (host, ca, token, kind, words) in [
        ("localhost", Some("other.pem"), AGENT_TOKEN, UnreachableKind::Tls, "BANGUI_AGENT_CA"),
        ("127.0.0.1", Some("ca.pem"), AGENT_TOKEN, UnreachableKind::Tls, "does not carry the host"),
        (
            "localhost",
            Some("ca.pem"),
            &AGENT_TOKEN.to_uppercase(),
            UnreachableKind::Token,
            "BANGUI_AGENT_TOKEN",
        ),
    ] {
        let (got, reason) = unreachable(&agent.client(host, ca, token)).await;
        assert_eq!(got, kind, "{reason}");
        assert!(reason.contains(words), "{reason}");
    }
    // Plain HTTP gets no answer, and the client is not left waiting.
    let mut plain = tokio::net::TcpStream::connect(agent.address).await.unwrap();
    plain.write_all(b"GET /v1/info HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut elsewhere = agent;
    elsewhere.address = listener.local_addr().unwrap();
    let client = elsewhere.client("localhost", Some("ca.pem"), AGENT_TOKEN);
    let no_tls = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read(&mut [0; 4096]).await;
    });
    let (kind, reason) = unreachable(&client).await;
    assert_eq!(kind, UnreachableKind::Tls, "{reason}");
    no_tls.abort();
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart_and_a_bad_one_is_not() {
    let ca = Ca::new();
    let agent = TlsAgent::start(&ca, &["web-1", "localhost"]).await;
    let write = |name: &str, text: &str| std::fs::write(agent.folder.path().join(name), text).unwrap();
    let later = Ca::new();
    write("later.pem", &later.pem());
    write("cert.pem", "nonsense");
    tokio::time::sleep(Duration::from_secs(11)).await;
    agent.client("localhost", Some("ca.pem"), AGENT_TOKEN).info().await.unwrap();
    let (cert, key) = later.sign(&["web-1", "localhost"]);
    write("key.pem", &key);
    write("cert.pem", &cert);
    eventually("the new certificate", SOON, || async {
        agent.client("localhost", Some("later.pem"), AGENT_TOKEN).info().await.ok()
    })
    .await;
}

#[tokio::test]
async fn an_agent_whose_certificate_does_not_carry_its_name_does_not_start() {
    let folder = folder();
    let (cert, key) = Ca::new().sign(&["web-2"]);
    std::fs::write(folder.path().join("cert.pem"), cert).unwrap();
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    let start = async |listen: &str, cert: Option<&str>, key: Option<&str>| {
        let mut command = bangui("agent");
        command.env("BANGUI_AGENT_LISTEN", listen).env("BANGUI_AGENT_TOKEN", AGENT_TOKEN);
        command.env("BANGUI_AGENT_NAME", "web-1");
        for (name, file) in [("BANGUI_AGENT_TLS_CERT", cert), ("BANGUI_AGENT_TLS_KEY", key)] {
            if let Some(file) = file {
                command.env(name, folder.path().join(file));
            }
        }
        Child::run("bangui agent", command, SOON).await
    };
    for (listen, cert, key, code, words) in [
        (
            "0.0.0.0:0",
            Some("cert.pem"),
            Some("key.pem"),
            1,
            "does not carry the name web-1 (BANGUI_AGENT_NAME)",
        ),
        ("0.0.0.0:0", Some("key.pem"), Some("key.pem"), 1, "BANGUI_AGENT_TLS_CERT"),
        ("0.0.0.0:0", Some("gone.pem"), Some("key.pem"), 1, "cannot be read"),
        ("0.0.0.0:0", Some("cert.pem"), None, 2, "BANGUI_AGENT_TLS_KEY"),
        ("0.0.0.0:0", None, Some("key.pem"), 2, "BANGUI_AGENT_TLS_CERT"),
        ("0.0.0.0:0", None, None, 2, "must use TLS"),
    ] {
        let (got, printed) = start(listen, cert, key).await;
        assert_eq!(got, Some(code), "{printed}");
        assert!(printed.contains(words), "{printed}");
    }
}
