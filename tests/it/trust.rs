//! What a stranger, a neighbouring pod and a hostile host cannot do: pretend to be another address, a page of this site, or a worker
//! at another host.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bangui::agent::client::{AgentClient, AgentError, Credentials};
use bangui::config::{AgentCredentials, AgentUrl, WorkerCertConfig};
use bangui::domain::UnreachableKind;
use reqwest::Method;
use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::agent::AGENT_TOKEN;
use crate::support::process::{Child, bangui};
use crate::support::tls::{Ca, TlsAgent};
use crate::support::{Cluster, PASSWORD, SOON, eventually, folder};

/// The status of the answer to these bytes.
async fn raw(address: SocketAddr, request: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(SOON, stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..read]).split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_page_of_another_site_reaches_nothing_by_dns_rebinding() {
    let cluster = Cluster::bare(2).env("BANGUI_ALLOWED_HOSTS", "bangui.example").set_up().await;
    let (client, address) = (cluster.client(0), cluster.workers[0].address);
    let token = client.log_in().await;
    for (host, answer) in [
        ("evil.example", 421),
        (&format!("evil.example:{}", address.port()), 421),
        ("127.0.0.1.evil.example", 421),
        ("bangui.example.evil.example", 421),
        ("192.0.2.1", 421),
        ("bangui.example", 200),
        ("BANGUI.example:8443", 200),
        ("localhost", 200),
    ] {
        // Before the session is checked, and whatever a proxy is said to have forwarded.
        let request = client.with_bearer(&token).request(Method::GET, "/api/v1/session").header("host", host);
        let got = client.send(request.header("x-forwarded-host", "bangui.example")).await;
        assert_eq!(got.status, answer, "{host}: {got:?}");
        if answer == 421 {
            assert_eq!(got.problem(421), "misdirected-request");
            assert!(got.cookies().is_empty(), "{got:?}");
        }
        for probe in ["/healthz", "/readyz"] {
            client.send(client.request(Method::GET, probe).header("host", host)).await.expect(200);
        }
    }
    let body = json!({ "password": PASSWORD });
    let login = client.request(Method::POST, "/api/v1/session").header("host", "evil.example").json(&body);
    client.send(login).await.problem(421);

    for (request, answer) in [
        ("GET /api/v1/setup HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET /api/v1/setup HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /api/v1/setup HTTP/1.1\r\n\r\n", 400),
        ("GET /api/v1/setup HTTP/1.0\r\n\r\n", 200),
        ("GET /readyz HTTP/1.0\r\n\r\n", 200),
        ("GET http://evil.example/api/v1/setup HTTP/1.1\r\nHost: localhost\r\n\r\n", 421),
        ("GET http://localhost/api/v1/setup HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    ] {
        assert_eq!(raw(address, request).await, answer, "{request:?}");
    }
}

#[tokio::test]
async fn a_pod_beside_the_load_balancer_is_its_own_address_and_is_noticed() {
    let cluster = Cluster::bare(1).env("BANGUI_TRUSTED_PROXIES", "192.0.2.1").set_up().await;
    let client = cluster.client(0);
    let log_in = async || {
        let request = client.request(Method::POST, "/api/v1/session").json(&json!({ "password": PASSWORD }));
        client.send(request.header("X-Forwarded-For", "203.0.113.9")).await
    };
    for _ in 0..3 {
        assert_eq!(log_in().await.expect(201).body["session"]["ip"], "127.0.0.1");
    }
    let warnings = || {
        let lines = cluster.workers[0].process.lines();
        lines
            .iter()
            .filter(|line| line.contains("WARN") && line.contains("X-Forwarded-For from 127.0.0.1"))
            .count()
    };
    eventually("a warning", SOON, || async { (warnings() > 0).then_some(()) }).await;
    assert_eq!(warnings(), 1, "one, however many requests");
    // `check` gets this from the workers.
    eventually("the finding of `check`", SOON, || async {
        let mut command = bangui("check");
        command.envs(&cluster.environment);
        let (code, printed) = Child::run("bangui check", command, SOON).await;
        (code == Some(1) && printed.contains("X-Forwarded-For comes from 127.0.0.1")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn behind_a_number_of_proxies_what_a_client_invents_does_not_make_it_another() {
    let cluster = Cluster::bare(1)
        .env("BANGUI_TRUSTED_PROXY_HOPS", "2")
        .env("BANGUI_LOGIN_LIMIT", "3/3600")
        .set_up()
        .await;
    let client = cluster.client(0);
    let guess = async |forwarded: &str| {
        let request =
            client.request(Method::POST, "/api/v1/session").json(&json!({ "password": "a wrong one" }));
        client.send(request.header("X-Forwarded-For", forwarded)).await.status.as_u16()
    };
    for n in 0..3 {
        assert_eq!(guess(&format!("192.0.2.{n}, 198.51.100.7:{n}, 10.0.0.1")).await, 401);
    }
    assert_eq!(guess("192.0.2.99, 198.51.100.7, 10.0.0.2").await, 429);
    assert_eq!(guess("198.51.100.8, 10.0.0.1").await, 401);
    // Clients that bypass the first proxy count as one address, whatever they forward.
    for n in 0..3 {
        assert_eq!(guess(&format!("203.0.113.{n}")).await, 401);
    }
    assert_eq!(guess("203.0.113.99").await, 429);
}

#[tokio::test]
async fn one_address_has_one_limit_in_whichever_spelling_it_comes() {
    let cluster = Cluster::bare(1)
        .env("BANGUI_TRUSTED_PROXIES", "::ffff:127.0.0.0/104")
        .env("BANGUI_LOGIN_LIMIT", "4/3600")
        .set_up()
        .await;
    let client = cluster.client(0);
    let log_in = async |from: &str, password: &str| {
        let request = client.request(Method::POST, "/api/v1/session").json(&json!({ "password": password }));
        client.send(request.header("X-Forwarded-For", from)).await
    };
    for from in ["198.51.100.7", "::ffff:198.51.100.7", "64:ff9b::198.51.100.7", "[::ffff:c633:6407]:80"] {
        assert_eq!(log_in(from, PASSWORD).await.expect(201).body["session"]["ip"], "198.51.100.7", "{from}");
    }
    log_in("64:ff9b::c633:6407", PASSWORD).await.problem(429);
}

/// A worker's client, with the credentials that it shows.
fn credentials(folder: &Path, cert: Option<&(String, String)>, ca: &Ca) -> Credentials {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let worker_cert = cert
        .map(|(cert, key)| WorkerCertConfig { cert: file("worker.crt", cert), key: file("worker.key", key) });
    let token = bangui::config::AgentTokenConfig { tokens: vec![AGENT_TOKEN.into()], file: None };
    let ca = Some(file("ca.crt", &ca.pem()));
    Credentials::new(&AgentCredentials { token: Some(token), ca, worker_cert }).unwrap()
}

fn client_of(credentials: &Credentials, address: SocketAddr, shared_token: bool) -> AgentClient {
    let url = AgentUrl::Https(format!("https://localhost:{}", address.port()).parse().unwrap());
    credentials.client(&url, shared_token).unwrap()
}

#[tokio::test]
async fn an_agent_that_knows_workers_by_their_certificate_obeys_nobody_else_and_needs_no_secret() {
    let (ca, worker, other) = (Ca::new(), Ca::self_signed(), Ca::self_signed());
    let anywhere = ([127, 0, 0, 1], 0).into();
    let agent = TlsAgent::start_for(&worker.0, &ca, &["web-1", "localhost"], anywhere).await;
    let folder = folder();
    let info = client_of(&credentials(folder.path(), Some(&worker), &ca), agent.address, false).info().await;
    assert_eq!(info.unwrap().name.as_deref(), Some("web-1"));
    // Another certificate, none, and the token that other agents take.
    for shown in [Some(&other), None] {
        let client = client_of(&credentials(folder.path(), shown, &ca), agent.address, true);
        match client.info().await {
            Err(AgentError::Unreachable { kind: UnreachableKind::Tls, reason, .. }) => {
                assert!(reason.contains("BANGUI_WORKER_CA"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    // A certificate by a CA in the file is as good, and the file is read again when it changes.
    let authority = Ca::new();
    let signed = authority.sign(&["workers"]);
    std::fs::write(agent.folder.path().join("workers.pem"), format!("{}{}", worker.0, authority.pem()))
        .unwrap();
    let by_ca = client_of(&credentials(folder.path(), Some(&signed), &ca), agent.address, false);
    eventually("the new file to be read", SOON, || async { by_ca.info().await.ok() }).await;
    let renewed = client_of(&credentials(folder.path(), Some(&worker), &ca), agent.address, false);
    renewed.info().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_would_obey_other_agents_does_not_start() {
    let (ca, folder) = (Ca::new(), folder());
    let (cert, key) = ca.sign(&["web-1"]);
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let mut command = bangui("agent");
    command.env("BANGUI_AGENT_LISTEN", "127.0.0.1:0").env("BANGUI_AGENT_TLS_CERT", file("cert.pem", &cert));
    command
        .env("BANGUI_AGENT_TLS_KEY", file("key.pem", &key))
        .env("BANGUI_WORKER_CA", file("ca.pem", &ca.pem()));
    let (code, printed) = Child::run("bangui agent", command, SOON).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("BANGUI_WORKER_CA accepts this agent's own certificate"), "{printed}");
}

/// A hostile host that records everything it receives, and answers as an agent would.
async fn eavesdropper(tls: Arc<ServerConfig>) -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(String::new())));
    let all = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, all) = (TlsAcceptor::from(Arc::clone(&tls)), Arc::clone(&all));
            tokio::spawn(async move {
                let Ok(mut stream) = tls.accept(stream).await else { return };
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    all.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (address, heard)
}

#[tokio::test]
async fn what_a_hostile_host_hears_of_a_worker_is_obeyed_by_no_other() {
    let (ca, worker) = (Ca::new(), Ca::self_signed());
    let (hostile, heard) = eavesdropper(ca.server(&["localhost"])).await;
    let honest =
        TlsAgent::start_for(&worker.0, &ca, &["web-2", "localhost"], ([127, 0, 0, 1], 0).into()).await;
    let folder = folder();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let servers = format!(
        "web-1=https://localhost:{},web-2=https://localhost:{}",
        hostile.port(),
        honest.address.port()
    );
    let cluster = Cluster::bare(1)
        .env("BANGUI_SERVERS", servers)
        // The token exists for others, and is sent to neither.
        .env("BANGUI_AGENT_TOKEN", AGENT_TOKEN)
        .env("BANGUI_AGENT_CA", file("ca.crt", &ca.pem()))
        .env("BANGUI_WORKER_CERT", file("worker.crt", &worker.0))
        .env("BANGUI_WORKER_KEY", file("worker.key", &worker.1))
        .set_up()
        .await;
    let user = cluster.client(0).logged_in().await;
    eventually("the honest one to be asked", SOON, || async {
        let server = user.get("/api/v1/servers/web-2").await.body;
        (server["status"]["condition"] == "down").then_some(())
    })
    .await;
    eventually("the hostile one to be asked", SOON, || async {
        heard.lock().unwrap().contains("GET /v1/status").then_some(())
    })
    .await;
    let said = heard.lock().unwrap().clone();
    assert!(!said.to_lowercase().contains("authorization") && !said.contains(AGENT_TOKEN), "{said}");

    // With its own certificate, and with everything that it received, it is refused by the other host.
    let own = ca.sign(&["localhost"]);
    let client = client_of(&credentials(folder.path(), Some(&own), &ca), honest.address, true);
    let refused = client.info().await.unwrap_err();
    assert!(refused.to_string().contains("refuses this worker"), "{refused}");
}
