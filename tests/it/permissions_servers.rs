//! An account that is bound to servers sees nothing of others, and changes nothing there: in lists, look-ups, events, findings, jobs,
//! changes and undos, on pages and in the API. `web-1` has a fail2ban, with bans, a job and a change; the account is for `app-*`, whose
//! server does not answer.

use std::convert::Infallible;
use std::time::Duration;

use bangui::domain::access::Role;
use bangui::domain::transition::record_activation;
use bangui::domain::{JailChangeId, JailChangeKind, JailName, ServerName};
use bangui::http::auth::permissions::{self, About, Right};
use bangui::store::{NewJailChange, Store};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::support::access::{access, session_of};
use crate::support::cluster::{SERVER, server_is};
use crate::support::event_stream::EventStream;
use crate::support::{Answer, Client, Cluster, eventually};

const BANNED: &str = "203.0.113.77";

/// What a test needs.
struct Stage {
    cluster: Cluster,
    store: Store,
    /// For all servers, at the first worker.
    admin: Client,
    job: String,
    change: String,
}

impl Stage {
    async fn set() -> Self {
        let (mut cluster, _) =
            Cluster::with_fail2ban(0).env("BANGUI_PROBE_INTERVAL_SECONDS", 300).start_surroundings().await;
        let servers =
            format!("{},app-1=http+unix:///nowhere/agent.sock", cluster.environment["BANGUI_SERVERS"]);
        cluster.environment.insert("BANGUI_SERVERS".to_owned(), servers);
        cluster.add_worker().await;
        cluster.add_worker().await;
        cluster.post_setup(0).await.expect(201);
        let admin = cluster.client(0).logged_in().await;
        server_is(&admin, "up").await;
        let jail = format!("/api/v1/servers/{SERVER}/jails/app");
        admin.post(&format!("{jail}/bans"), json!({ "ips": [BANNED] })).await.expect(200);
        let many: Vec<String> = (0..150).map(|n| format!("198.51.100.{n}")).collect();
        let job = admin.post(&format!("{jail}/bans"), json!({ "ips": many })).await;
        let job = job.expect(202).body["id"].as_str().unwrap().to_owned();
        eventually("the job to be done and the list to be read", Duration::from_secs(60), || async {
            let over = admin.get(&format!("/api/v1/ban-jobs/{job}")).await.body["state"] == "done";
            let listed = admin.get(&format!("{jail}/bans?limit=1000")).await.body["items"].as_array()?.len();
            (over && listed == 151).then_some(())
        })
        .await;
        let store = cluster.connected_store().await;
        let id = JailChangeId::of(7);
        let about = NewJailChange {
            server: ServerName::parse(SERVER).unwrap(),
            jail: JailName::parse("app").unwrap(),
            kind: JailChangeKind::Activate,
            username: "admin".to_owned(),
        };
        store.begin_jail_change(&id, &about, Duration::from_secs(40)).await.unwrap();
        Self { cluster, store, admin, job, change: id.to_string() }
    }

    /// Bound to `app-*`, at worker `n`.
    async fn bound(&self, n: usize, role: Role) -> Client {
        let token = session_of(&self.store, &access(role, &["app-*"])).await;
        self.cluster.client(n).without_redirects().with_bearer(&token)
    }

    async fn bans_still(&mut self) -> bool {
        self.cluster.fail2ban().bans("app", BANNED).await
    }
}

async fn form(client: &Client, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request =
        client.request(Method::POST, path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    client.send(request.body(body)).await
}

#[tokio::test]
async fn no_page_and_no_answer_says_that_there_are_servers_that_the_account_is_not_for() {
    let stage = Stage::set().await;
    let viewers = [stage.bound(0, Role::Viewer).await, stage.bound(1, Role::Viewer).await];
    // A finding there: its bans are shorter than the time in which failures add up.
    let jail = format!("/api/v1/servers/{SERVER}/jails/app");
    let change = stage.admin.request(Method::PATCH, &jail).json(&json!({ "findtime": 86_400 }));
    stage.admin.send(change).await.expect(200);
    let names_it = |text: &str| text.contains(SERVER);
    let mut naming = Vec::new();
    for route in permissions::all().filter(|route| route.method == "GET" && route.path != "/api/v1/events") {
        if matches!(route.right, Right::Open | Right::ReadAudit | Right::Settings) {
            continue;
        }
        let id = if route.path.contains("change") { &stage.change } else { &stage.job };
        let path = route.path.replace("{server}", "app-1").replace("{jail}", "app").replace("{id}", id);
        let path = path.replace("{ip}", BANNED);
        let path = if path == "/suggestions" { "/suggestions?q=web".to_owned() } else { path };
        for viewer in &viewers {
            let answer = viewer.get(&path).await;
            assert!(!names_it(&answer.text), "{path}: {}", answer.text);
            if path.contains(&stage.job) || path.contains(&stage.change) {
                answer.problem(404);
            }
        }
        if route.about == About::Servers && names_it(&stage.admin.get(&path).await.text) {
            naming.push(route.path);
        }
    }
    // Most of them name it to the admin: it is not their silence that was tested.
    for path in [
        "/api/v1/servers",
        "/",
        "/suggestions",
        "/setup/next",
        "/api/v1/bans/{ip}",
        "/api/v1/ban-jobs",
        "/api/v1/ban-jobs/{id}",
        "/api/v1/jail-changes/{id}",
        "/jobs",
        "/addresses/{ip}",
        "/api/v1/cluster/agents",
        "/activity",
        "/api/v1/diagnosis",
        "/diagnosis",
    ] {
        assert!(naming.contains(&path), "{path} is not among {naming:?}");
    }
    let listed = viewers[1].get("/api/v1/servers").await;
    let names: Vec<&Value> =
        listed.body["items"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["app-1"]);
}

#[tokio::test]
async fn a_server_that_the_account_is_not_for_is_answered_as_one_that_there_is_not() {
    let mut stage = Stage::set().await;
    let bound = stage.bound(1, Role::Admin).await;
    for route in permissions::all().filter(|route| route.about == About::Server) {
        let path = |server: &str| {
            let path = route.path.replace("{server}", server).replace("{jail}", "app");
            path.replace("{id}", &stage.change).replace("{ip}", BANNED)
        };
        let ask = async |server: &str| {
            let method = Method::from_bytes(route.method.as_bytes()).unwrap();
            // A body that no handler would take: the answer comes before it is read.
            let request = bound.request(method, &path(server)).body("{");
            let answer = bound.send(request).await;
            (answer.status, answer.body)
        };
        let hidden = ask(SERVER).await;
        assert_eq!(hidden.0, 404, "{} {}", route.method, route.path);
        assert_eq!(hidden, ask("app.there-is-none").await, "{} {}", route.method, route.path);
        assert_eq!(hidden.1["detail"], "there is no such server", "{} {}", route.method, route.path);
        let spelled = ask("%77eb-1").await;
        assert_eq!(hidden, spelled, "{} {}", route.method, route.path);
    }
    assert!(stage.bans_still().await);
}

#[tokio::test]
async fn forms_about_several_servers_jobs_and_undos_change_nothing_of_other_servers() {
    let mut stage = Stage::set().await;
    let (operator, admin) = (stage.bound(1, Role::Operator).await, stage.bound(0, Role::Admin).await);
    let there = format!("{SERVER}/app");
    let page = format!("/addresses/{BANNED}");
    form(&operator, &format!("{page}/unban"), &[("place", &there)]).await.problem(404);
    form(&operator, &format!("{page}/unban"), &[("by", &format!("{BANNED} {there}"))]).await.problem(404);
    form(&operator, &format!("{page}/never-ban"), &[("place", &there)]).await.problem(404);
    form(&admin, &format!("{page}/ban"), &[("place", &format!("{SERVER}/app"))]).await.problem(404);
    form(&admin, "/setup/never-ban", &[]).await.expect(303);
    let ignored = stage.admin.get(&format!("/api/v1/servers/{SERVER}/jails/app")).await;
    assert!(!ignored.body["ignoreip"].to_string().contains("127.0.0.1\""), "{}", ignored.text);

    for path in [format!("/api/v1/ban-jobs/{}/cancel", stage.job), format!("/jobs/{}/cancel", stage.job)] {
        form(&admin, &path, &[]).await.problem(404);
    }
    let offers = stage.store.undo_offers().await.unwrap();
    assert!(offers.len() >= 2, "{offers:?}");
    for offer in offers.values() {
        form(&operator, "/undo", &[("id", offer.id.as_str()), ("back", "/jobs")]).await.expect(303);
    }
    assert!(stage.bans_still().await, "an undo of another server was made");
    // They are not used up either.
    let ids: Vec<_> = offers.values().map(|offer| offer.id.clone()).collect();
    assert!(stage.store.undoable(&ids).await.unwrap().iter().all(Option::is_some));
    let viewer = session_of(&stage.store, &access(Role::Viewer, &[])).await;
    let viewer = stage.cluster.client(0).with_bearer(&viewer);
    assert_eq!(form(&viewer, "/undo", &[("id", ids[0].as_str())]).await.problem(403), "not-allowed");
}

#[tokio::test]
async fn an_operator_undoes_bans_and_not_what_they_may_not_do() {
    let mut stage = Stage::set().await;
    let token = session_of(&stage.store, &access(Role::Operator, &["web-*"])).await;
    let operator = stage.cluster.client(1).without_redirects().with_bearer(&token);
    let jail = format!("/api/v1/servers/{SERVER}/jails/app");
    let change = stage.admin.request(Method::PATCH, &jail).json(&json!({ "bantime": 700 }));
    stage.admin.send(change).await.expect(200);
    let offers = stage.store.undo_offers().await.unwrap();
    let ids: Vec<_> = offers.values().map(|offer| offer.id.clone()).collect();
    let done = stage.store.undoable(&ids).await.unwrap();
    let mut seen = (0, 0);
    for (id, done) in ids.iter().zip(done) {
        let right = Right::to_undo(&done.unwrap());
        let answer = form(&operator, "/undo", &[("id", id.as_str())]).await;
        if right == Right::Ban {
            answer.expect(303);
            seen.0 += 1;
        } else {
            assert_eq!(answer.problem(403), "not-allowed");
            seen.1 += 1;
        }
    }
    assert_eq!(seen, (2, 1));
    assert!(!stage.bans_still().await);
    assert_eq!(stage.admin.get(&jail).await.body["bantime"], 700);
}

#[tokio::test]
async fn events_of_other_servers_are_neither_sent_nor_sent_later() {
    let stage = Stage::set().await;
    let viewer = stage.bound(1, Role::Viewer).await;
    let record = async |server: &str, jail: &str| {
        let (server, jail) = (ServerName::parse(server).unwrap(), JailName::parse(jail).unwrap());
        let change = |state, now| Ok::<_, Infallible>(Some(record_activation(state, jail.clone(), now)));
        stage.store.change_server(&server, change).await.unwrap();
    };
    let settings = json!({ "probe_interval_seconds": 200 });
    record("app-1", "first").await;
    let mut stream = EventStream::open(&viewer, Some("0-0")).await;
    for (from, marker) in [("the history", "first"), ("the feed", "second")] {
        if marker == "second" {
            record(SERVER, "hidden").await;
            stage.admin.patch("/api/v1/settings", "*", settings.clone()).await.expect(200);
            record("app-1", marker).await;
        }
        loop {
            let came = stream.next().await.expect("an event");
            assert_ne!(came.data["server"], SERVER, "from {from}: {came:?}");
            assert_ne!(came.kind, "settings.changed", "from {from}: {came:?}");
            if came.data["facts"]["jail"] == marker {
                break;
            }
        }
    }
}

/// Files that may name all servers or all jobs, each with why.
const OVER_ALL: [(&str, &str); 3] = [
    ("actions/reach.rs", "it leaves out those that the account is not for"),
    ("actions/diagnose.rs", "findings are left out once they are noted"),
    ("http/pages/ban_progress.rs", "it keeps those of one jail"),
];

#[test]
fn lists_over_all_servers_are_made_in_one_place() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source.join("http"), source.join("actions")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&source).unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let lists = ["agents.names()", "store.ban_jobs(", "count_open_ban_jobs()"];
            let lists = lists.iter().any(|call| code.contains(call));
            // The page of the cluster measures how long Redis takes with one of them.
            let lists = lists && name != "http/pages/cluster.rs";
            assert!(
                !lists || OVER_ALL.iter().any(|(file, _)| *file == name),
                "{name} lists what is over all servers"
            );
            read += 1;
        }
    }
    assert!(read > 100, "only {read} files were read");
}
