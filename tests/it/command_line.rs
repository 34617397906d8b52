//! The commands for people, as they are run: the login that is kept, what they print into a pipe and as documents, and every exit code.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::cluster::{SERVER, server_is};
use crate::support::front::Front;
use crate::support::person::Person;
use crate::support::process::{Child, program};
use crate::support::tls::Ca;
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually, folder};

fn url(cluster: &Cluster, worker: usize) -> String {
    format!("http://{}", cluster.workers[worker].address)
}

/// A cluster with a fail2ban that is up, and is not probed again soon.
async fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::with_fail2ban(1).env("BANGUI_PROBE_INTERVAL_SECONDS", 300).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    (cluster, client)
}

/// Bans addresses, and waits until they are listed.
async fn ban(client: &Client, ips: &[&str]) {
    let path = format!("/api/v1/servers/{SERVER}/jails/app/bans");
    client.post(&path, serde_json::json!({ "ips": ips })).await.expect(200);
    eventually("the bans to be listed", SOON, || async {
        let page = client.get(&path).await;
        (page.expect(200).body["items"].as_array().unwrap().len() == ips.len()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_login_is_kept_for_its_owner_alone_until_a_logout_ends_it_everywhere() {
    let cluster = Cluster::bare(2).set_up().await;
    let person = Person::new();
    let refused = person.run(&["login", &url(&cluster, 0)], "not the password at all").await;
    assert!(refused.expect(1).err.contains("Wrong name or password"), "{refused:?}");
    assert!(!person.login().exists(), "nothing is kept of a login that was refused");
    assert!(person.run(&["login", &url(&cluster, 0)], "").await.expect(2).err.contains("no password"));
    let not_in = person.run(&["servers"], "").await;
    assert!(not_in.expect(3).err.contains("bangui login URL"), "{not_in:?}");

    let logged_in = person.run(&["login", &url(&cluster, 0)], &format!("{PASSWORD}\n")).await;
    let mode = std::fs::metadata(person.login()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600, "{logged_in:?}");
    let token = person.token();
    assert!(!logged_in.expect(0).out.contains(&token) && !logged_in.err.contains(&token), "{logged_in:?}");
    person.run(&["servers"], "").await.expect(0);

    // The next login ends the session before it; without a URL it is for the same server.
    person.run(&["login"], PASSWORD).await.expect(0);
    let at_other = cluster.client(1);
    at_other.with_bearer(&token).get("/api/v1/session").await.problem(401);
    let token = person.token();
    at_other.with_bearer(&token).get("/api/v1/session").await.expect(200);
    person.run(&["logout"], "").await.expect(0);
    at_other.with_bearer(&token).get("/api/v1/session").await.problem(401);
    assert!(!person.login().exists());
    person.run(&["logout"], "").await.expect(0);
    person.run(&["servers"], "").await.expect(3);
}

#[tokio::test]
async fn a_kept_login_that_others_may_have_read_is_refused_until_the_next_login() {
    let cluster = Cluster::bare(1).set_up().await;
    let person = Person::logged_in(&url(&cluster, 0)).await;
    for mode in [0o640, 0o604, 0o660, 0o666] {
        std::fs::set_permissions(person.login(), std::fs::Permissions::from_mode(mode)).unwrap();
        let refused = person.run(&["servers"], "").await;
        assert!(refused.expect(2).err.contains("is not used: its mode is"), "{refused:?}");
    }
    if rustix::process::geteuid().is_root() {
        std::fs::set_permissions(person.login(), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(person.login(), Some(65_534), None).unwrap();
        let refused = person.run(&["servers"], "").await;
        assert!(refused.expect(2).err.contains("belongs to the user with the id 65534"), "{refused:?}");
    }
    person.run(&["login", &url(&cluster, 0)], PASSWORD).await.expect(0);
    person.run(&["servers"], "").await.expect(0);
}

#[tokio::test]
async fn a_kept_token_is_sent_to_no_server_but_its_own() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut person = Person::logged_in(&url(&cluster, 0)).await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other_url = format!("http://{}", other.local_addr().unwrap());
    person.run(&["servers", "--url", &other_url], "").await.expect(3);
    person.environment = vec![("BANGUI_URL".to_owned(), other_url)];
    let refused = person.run(&["servers"], "").await;
    assert!(refused.expect(3).err.contains("no login at"), "{refused:?}");
    let nobody = tokio::time::timeout(std::time::Duration::from_millis(50), other.accept()).await;
    assert!(nobody.is_err(), "nobody has come");

    // A token of the environment goes where the environment says, and nowhere without that.
    let token = person.token();
    person.environment = vec![("BANGUI_TOKEN".to_owned(), token.clone())];
    let refused = person.run(&["servers"], "").await;
    assert!(refused.expect(2).err.contains("BANGUI_URL"), "{refused:?}");
    person.environment.push(("BANGUI_URL".to_owned(), url(&cluster, 0)));
    std::fs::remove_file(person.login()).unwrap();
    person.run(&["servers"], "").await.expect(0);
    person.run(&["logout"], "").await.expect(0);
    cluster.client(0).with_bearer(&token).get("/api/v1/session").await.problem(401);
}

#[tokio::test]
async fn the_password_is_asked_for_on_the_terminal_and_not_shown() {
    let cluster = Cluster::bare(1).set_up().await;
    let person = Person::new();
    let (code, shown) = person.on_terminal(&["login", &url(&cluster, 0)], PASSWORD).await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("Password of admin at") && !shown.contains(PASSWORD), "{shown}");
    person.run(&["servers"], "").await.expect(0);
    let (code, shown) = person.on_terminal(&["servers", "--json"], "").await;
    assert_eq!((code, shown.trim()), (Some(0), r#"{"items":[],"next_cursor":null}"#));
}

#[tokio::test]
async fn with_json_every_command_prints_the_documents_of_the_api_as_they_are() {
    let (cluster, _) = cluster().await;
    let front = Front::start(cluster.workers[0].address).await;
    let person = Person::logged_in(&front.url()).await;
    let commands: [&[&str]; 12] = [
        &["ban", SERVER, "app", "203.0.113.7", "2001:db8::/48", "203.0.113.8", "--json"],
        &["unban", SERVER, "app", "203.0.113.8", "--json"],
        &["servers", "--json"],
        &["jails", SERVER, "--json"],
        &["bans", SERVER, "app", "--json"],
        &["bans", SERVER, "app", "--limit", "1", "--all", "--json"],
        &["why", "203.0.113.7", "--json"],
        &["why", "2001:db8::/48", "--json"],
        &["ignore", SERVER, "app", "203.0.113.9", "--json"],
        &["jobs", "--json"],
        &["audit", "--limit", "3", "--json"],
        &["diagnosis", "--json"],
    ];
    for command in commands {
        front.answers();
        let printed = person.run(command, "").await;
        let answers = front.answers();
        assert_eq!(printed.expect(0).out, format!("{}\n", answers.join("\n")), "{command:?}");
        assert!(!answers.is_empty() && printed.err.is_empty(), "{command:?}: {printed:?}");
    }
    front.answers();
    let of_all = person.run(&["jails", "--json"], "").await.expect(0).json();
    let jails: Value = serde_json::from_str(&front.answers()[1]).unwrap();
    assert_eq!(of_all[SERVER], jails, "a document for each server");
}

#[tokio::test]
async fn in_a_pipe_tables_are_plain_text() {
    let (cluster, client) = cluster().await;
    ban(&client, &["203.0.113.7"]).await;
    let person = Person::logged_in(&url(&cluster, 0)).await;
    let commands: [(&[&str], &[&str]); 7] = [
        (&["servers"], &["SERVER  CONDITION", "web-1   up"]),
        (&["jails", SERVER], &["JAIL  STATE", "app   on     1", "600 s"]),
        (&["jails"], &["SERVER  JAIL  STATE", "web-1   app   on"]),
        (&["bans", SERVER, "app"], &["BANNED       SINCE", "203.0.113.7  20"]),
        (&["why", "203.0.113.7"], &["SERVER  JAIL  BAN OR ENTRY", "web-1   app   203.0.113.7"]),
        (&["why", "198.51.100.1"], &["No jail bans 198.51.100.1."]),
        (&["audit"], &["TIME", "ban.add", "done"]),
    ];
    for (command, expected) in commands {
        let printed = person.run(command, "").await;
        for text in expected {
            assert!(printed.expect(0).out.contains(text), "{command:?}: {text}: {}", printed.out);
        }
        assert!(!printed.out.contains('\u{1b}'), "{command:?}: {}", printed.out);
        assert!(printed.out.lines().all(|line| line.trim_end() == line), "{}", printed.out);
    }
    let (_, shown) = person.on_terminal(&["servers"], "").await;
    assert!(shown.contains("\u{1b}[1mSERVER"), "on a terminal the titles are bold: {shown:?}");
}

#[tokio::test]
async fn a_list_shows_a_page_and_how_to_see_the_next_one() {
    let (cluster, client) = cluster().await;
    let ips = ["203.0.113.1", "203.0.113.2", "203.0.113.3"];
    ban(&client, &ips).await;
    let person = Person::logged_in(&url(&cluster, 0)).await;
    let first = person.run(&["bans", SERVER, "app", "--limit", "2"], "").await;
    assert!(first.expect(0).out.contains(ips[1]) && !first.out.contains(ips[2]), "{first:?}");
    let cursor =
        first.err.split("--cursor ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a cursor");
    let second = person.run(&["bans", SERVER, "app", "--cursor", cursor], "").await;
    assert!(second.expect(0).out.contains(ips[2]) && !second.out.contains(ips[1]), "{second:?}");
    let all = person.run(&["bans", SERVER, "app", "--limit", "1", "--all"], "").await;
    assert!(ips.iter().all(|ip| all.out.contains(ip)), "{all:?}");
    let found = person.run(&["bans", SERVER, "app", "--search", "203.0.113.2"], "").await;
    assert!(found.expect(0).out.contains(ips[1]) && !found.out.contains(ips[0]), "{found:?}");
}

#[tokio::test]
async fn exit_codes_say_who_is_to_do_what() {
    let mut cluster = Cluster::bare(1).set_up().await;
    let person = Person::logged_in(&url(&cluster, 0)).await;
    person.run(&["servers"], "").await.expect(0);
    let refused = person.run(&["jails", "nowhere"], "").await;
    assert!(refused.expect(1).err.contains("there is no such server"), "{refused:?}");
    assert!(refused.err.contains("`bangui servers`") && refused.err.contains("not-found"), "{refused:?}");
    person.run(&["jails", "no/name"], "").await.expect(2);
    person.run(&["ban", "web-1", "app", "nobody"], "").await.expect(2);
    person.run(&["servers", "--url", "example.org"], "").await.expect(2);
    let wrong = person.run(&["ban", "web-1", "app", "-"], "203.0.113.1\nroot\n").await;
    assert!(wrong.expect(2).err.contains("line 2"), "{wrong:?}");

    cluster.redis.pause();
    eventually("the worker to notice", SOON, || async {
        (cluster.client(0).get("/readyz").await.status == 503).then_some(())
    })
    .await;
    let away = person.run(&["servers"], "").await;
    assert!(
        away.expect(4).err.contains("Redis is unavailable") && away.err.contains("Try again in"),
        "{away:?}"
    );
    cluster.redis.resume();
    eventually("the worker to be ready", SOON, || async {
        (cluster.client(0).get("/readyz").await.status == 200).then_some(())
    })
    .await;

    cluster.client(0).with_bearer(&person.token()).delete("/api/v1/session").await.expect(204);
    let ended = person.run(&["servers"], "").await;
    assert!(ended.expect(3).err.contains("bangui login http://"), "{ended:?}");
    let address = cluster.workers[0].address;
    cluster.workers.clear();
    let gone = person.run(&["servers"], "").await;
    assert!(gone.expect(4).err.contains("cannot reach http://"), "{gone:?}");

    // Something else that listens there is no bangui, whatever it says.
    let router = axum::Router::new().fallback(async || (axum::http::StatusCode::NOT_FOUND, "<html>nothing"));
    let listener = TcpListener::bind(address).await.unwrap();
    let other = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let foreign = person.run(&["servers"], "").await;
    assert!(foreign.expect(4).err.contains("which bangui never does"), "{foreign:?}");
    other.abort();
}

#[tokio::test]
async fn https_is_trusted_by_the_certificate_authorities_of_the_system() {
    let cluster = Cluster::bare(1).set_up().await;
    let (ca, files) = (Ca::new(), folder());
    let (trusted, other) = (files.path().join("ca.pem"), files.path().join("other.pem"));
    std::fs::write(&trusted, ca.pem()).unwrap();
    std::fs::write(&other, Ca::new().pem()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (acceptor, worker) =
        (TlsAcceptor::from(Arc::clone(&ca.server(&["localhost"]))), cluster.workers[0].address);
    let front = tokio::spawn(pass_tls(listener, acceptor, worker));

    let mut person = Person::new();
    person.environment = vec![("SSL_CERT_FILE".to_owned(), other.display().to_string())];
    let refused = person.run(&["login", &url], PASSWORD).await;
    assert!(refused.expect(4).err.contains("SSL_CERT_FILE"), "{refused:?}");
    person.environment = vec![("SSL_CERT_FILE".to_owned(), trusted.display().to_string())];
    person.run(&["login", &url], PASSWORD).await.expect(0);
    let listed = person.run(&["servers"], "").await;
    assert!(listed.expect(0).err.is_empty(), "{listed:?}");
    front.abort();
}

async fn pass_tls(listener: TcpListener, acceptor: TlsAcceptor, worker: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut down) = acceptor.accept(stream).await else { return };
            let mut up = TcpStream::connect(worker).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut down, &mut up).await;
        });
    }
}

#[tokio::test]
async fn plain_http_beyond_this_machine_is_warned_about() {
    let person = Person::new();
    let warned = person.run(&["login", "http://bangui.invalid"], PASSWORD).await;
    assert!(warned.expect(4).err.contains("http://bangui.invalid is not encrypted"), "{warned:?}");
    let fine = person.run(&["login", "http://127.0.0.1:1"], PASSWORD).await;
    assert!(!fine.expect(4).err.contains("not encrypted"), "{fine:?}");
}

#[tokio::test]
async fn completions_and_man_pages_have_every_command_and_nothing_hidden() {
    let (person, files) = (Person::new(), folder());
    for shell in ["bash", "zsh", "fish"] {
        let printed = person.run(&["completions", shell], "").await;
        assert!(
            ["diagnosis", "reset-password", "cancel-on-interrupt"].iter().all(|w| printed.out.contains(w)),
            "{shell}"
        );
        assert!(!printed.expect(0).out.contains("dies with its parent"), "{shell}");
    }
    let bash = files.path().join("bangui.bash");
    std::fs::write(&bash, person.run(&["completions", "bash"], "").await.out).unwrap();
    let mut check = program("bash");
    check.arg("-n").arg(&bash);
    assert_eq!(Child::run("bash -n", check, SOON).await.0, Some(0));

    let folder = files.path().join("man");
    person.run(&["man", folder.to_str().unwrap()], "").await.expect(0);
    for (name, ..) in bangui::config::command::COMMANDS {
        let page = std::fs::read_to_string(folder.join(format!("bangui-{name}.1"))).unwrap();
        assert!(page.contains(".TH"), "{name}");
    }
    assert!(folder.join("bangui.1").exists() && !folder.join("bangui-child.1").exists());
}

#[tokio::test]
async fn a_login_before_the_setup_names_the_page_of_the_setup_first() {
    let cluster = Cluster::bare(1).start().await;
    let refused = Person::new().run(&["login", &url(&cluster, 0)], PASSWORD).await;
    let page = format!("Open {}/setup in a browser", url(&cluster, 0));
    let (at, others) = (refused.expect(1).err.find(&page), refused.err.find("/api/v1/setup"));
    assert!(at.is_some_and(|at| others.is_none_or(|other| at < other)), "{refused:?}");
    // Whoever has no command line is pointed to it, too.
    let answer = cluster.client(0).post("/api/v1/session", serde_json::json!({ "password": PASSWORD })).await;
    assert_eq!(answer.problem(409), "setup-incomplete");
    assert!(answer.body["detail"].as_str().unwrap().contains("the page /setup, or"), "{answer:?}");
}
