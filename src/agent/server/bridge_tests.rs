//! Both ends of the bridge over a real socket: who is let in, what is refused, and how the worker sees each failure.
//!
//! These tests have no fail2ban, or only a listener that never answers in its place; the integration tests use a real one.

use crate::agent::refusal::{Refusal, RefusalKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::*;
use crate::agent::client::{AgentClient, AgentError};
use crate::config::{AgentListen, AgentTokenConfig, AgentUrl, agent_tokens};
use crate::domain::{ProbeOutcome, UnreachableKind};

const OLD: &str = "the-old-token-of-32-characters-xyz";
const NEW: &str = "the-new-token-of-32-characters-xyz";

fn token(text: &str) -> AgentTokenConfig {
    AgentTokenConfig { tokens: agent_tokens(text).unwrap(), file: None }
}

struct Agent {
    folder: TempDir,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Agent {
    async fn start(tokens: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = AgentConfig {
            listen: AgentListen::Unix(folder.path().join("agent.sock")),
            token: Some(token(tokens)),
            worker_ca: None,
            fail2ban_socket: folder.path().join("f2b.sock"),
            fail2ban_config: folder.path().into(),
            tls: None,
            name: None,
            start: Vec::new(),
        };
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(run(config, shutdown.clone()));
        let agent = Self { folder, shutdown, running };
        while !agent.socket().exists() {
            assert!(!agent.running.is_finished());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        agent
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    fn client(&self, tokens: &str) -> AgentClient {
        client(&self.socket(), tokens)
    }

    /// Status line and body of a raw request.
    async fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.socket()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    async fn get(&self, path: &str, headers: &str) -> (u16, String) {
        self.raw(&format!("GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n{headers}\r\n")).await
    }
}

fn client(socket: &Path, tokens: &str) -> AgentClient {
    AgentClient::new(&AgentUrl::Unix(socket.into()), &token(tokens), None).unwrap()
}

const WAIT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn only_a_valid_token_is_let_in_whatever_the_path() {
    let agent = Agent::start(&format!("{NEW},{OLD}")).await;
    for path in ["/v1/info", "/v1/status", "/nowhere"] {
        for headers in [
            "",
            "authorization: Bearer \r\n",
            "authorization: Bearer wrong\r\n",
            "authorization: Basic x\r\n",
        ] {
            let (status, body) = agent.get(path, headers).await;
            assert_eq!(status, 401, "{path} {headers}");
            assert_eq!(serde_json::from_str::<Refusal>(&body).unwrap().kind, RefusalKind::Token);
        }
    }
    for token in [OLD, NEW] {
        assert_eq!(agent.get("/v1/info", &format!("authorization: bearer {token}\r\n")).await.0, 200);
    }
    let wrong = agent.client("a-wrong-token-of-32-characters-xyz").probe(WAIT).await;
    assert!(
        matches!(&wrong, ProbeOutcome::Unreachable { kind: UnreachableKind::Token, reason } if reason.contains("BANGUI_AGENT_TOKEN")),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn a_worker_with_a_newer_token_than_the_agent_gets_in_by_its_second() {
    let agent = Agent::start(OLD).await;
    assert!(agent.client(&format!("{NEW},{OLD}")).info().await.is_ok());
}

#[tokio::test]
async fn bad_requests_are_refused_in_words() {
    let agent = Agent::start(OLD).await;
    let auth = format!("authorization: Bearer {OLD}\r\n");
    for (request, status) in [
        ("GET /v1/nothing", 404),
        ("GET /", 404),
        ("POST /v1/status", 405),
        ("GET /v1/jails?backend=perhaps", 400),
        ("GET /v1/jails?backnd=true", 400),
        ("GET /v1/jails?backend=%ff", 400),
    ] {
        let request = format!("{request} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n{auth}\r\n");
        let (got, body) = agent.raw(&request).await;
        assert_eq!(got, status, "{request}");
        assert_eq!(serde_json::from_str::<Refusal>(&body).unwrap().kind, RefusalKind::Request, "{body}");
    }
    assert_eq!(agent.get("/v1/status", &format!("{auth}x-bangui-deadline-ms: soon\r\n")).await.0, 400);
    assert_eq!(agent.get("/v1/info", &format!("{auth}content-length: 70000\r\n")).await.0, 413);
}

#[tokio::test]
async fn down_and_busy_arrive_as_what_they_are_and_are_counted() {
    let agent = Agent::start(OLD).await;
    let client = agent.client(OLD);
    let down = client.probe(WAIT).await;
    assert!(
        matches!(&down, ProbeOutcome::Down { reason } if reason.contains("there is no socket")),
        "{down:?}"
    );
    assert!(matches!(client.jails(true).await, Err(AgentError::Down { .. })));

    let _hung = UnixListener::bind(agent.folder.path().join("f2b.sock")).unwrap();
    let busy = client.probe(WAIT).await;
    assert!(matches!(busy, ProbeOutcome::Busy { .. }), "{busy:?}");

    let info = client.info().await.unwrap();
    assert_eq!((info.probes, info.backend_detections, info.fail2ban_version), (2, 0, None));
}

#[tokio::test]
async fn what_is_no_agent_is_unreachable_and_of_which_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    let kind = async |wait| match client(&path, OLD).probe(wait).await {
        ProbeOutcome::Unreachable { kind, reason } => (kind, reason),
        other => panic!("{other:?}"),
    };
    let (nobody, reason) = kind(WAIT).await;
    assert_eq!(nobody, UnreachableKind::Network, "{reason}");

    let listener = UnixListener::bind(&path).unwrap();
    let (silent, reason) = kind(Duration::from_millis(100)).await;
    assert_eq!(silent, UnreachableKind::Network, "{reason}");
    drop(listener);

    let flood = format!("HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n{}", "x".repeat(5_000_000));
    for (answer, expected) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", UnreachableKind::Protocol),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", UnreachableKind::Protocol),
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", UnreachableKind::Protocol),
        (&flood, UnreachableKind::Protocol),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", UnreachableKind::Network),
        ("", UnreachableKind::Network),
    ] {
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let answer = answer.to_owned();
        let peer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let (got, reason) = kind(Duration::from_secs(2)).await;
        assert_eq!(got, expected, "{reason}");
        peer.abort();
    }
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_removes_the_socket() {
    let agent = Agent::start(OLD).await;
    let _hung = UnixListener::bind(agent.folder.path().join("f2b.sock")).unwrap();
    let client = agent.client(OLD);
    let in_flight = tokio::spawn(async move { client.probe(WAIT).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    agent.shutdown.cancel();
    assert!(matches!(in_flight.await.unwrap(), ProbeOutcome::Busy { .. }));
    let socket = agent.socket();
    tokio::time::timeout(Duration::from_secs(2), agent.running).await.unwrap().unwrap().unwrap();
    assert!(!socket.exists());
}
