//! Every route as each role, as the table of permissions says, on every worker; and what is judged by more than the route.

use bangui::domain::access::{Access, Role};
use bangui::http::auth::permissions::{self, About, Route, Who};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::support::access::{access, session_of};
use crate::support::worker::field;
use crate::support::{Answer, Client, Cluster, SOON, eventually};

/// A jail of a server that does not answer.
const JAIL: &str = "/api/v1/servers/web-1/jails/x";
const PAGE: &str = "/servers/web-1/jails/x";

/// Workers with a server that does not answer.
async fn cluster(workers: usize) -> Cluster {
    let cluster = Cluster::bare(workers).env("BANGUI_SERVERS", "web-1=http+unix:///nowhere/agent.sock");
    cluster.env("BANGUI_AGENT_TOKEN", "integration-test-token-of-40-characters.").set_up().await
}

/// The path of a route: of a server that there is not, so that nothing is changed anywhere.
fn path_of(route: &Route) -> String {
    let part = |part: &str| match part {
        "{server}" => "nowhere".to_owned(),
        "{ip}" => "203.0.113.7".to_owned(),
        "{id}" => "0".repeat(32),
        part if part.starts_with('{') => "x".to_owned(),
        part => part.to_owned(),
    };
    route.path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Sends the least that the route may be sent; returns the status, and the name of the problem.
async fn sent(client: &Client, route: &Route) -> (u16, String) {
    let request = client.request(Method::from_bytes(route.method.as_bytes()).unwrap(), &path_of(route));
    let request = match (route.method, route.path.starts_with("/api/")) {
        ("GET", _) => request,
        (_, true) => request.json(&json!({})),
        (_, false) => request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(""),
    };
    // The stream of events has no end, so only a refusal is read.
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body: Value = if status < 400 { Value::Null } else { response.json().await.unwrap_or(Value::Null) };
    (status, body["type"].as_str().unwrap_or_default().replace("urn:bangui:problem:", ""))
}

#[tokio::test]
async fn every_route_answers_every_role_as_the_table_says_on_every_worker() {
    let cluster = cluster(3).await;
    let store = cluster.connected_store().await;
    let bound = access(Role::Admin, &["other-*"]);
    let callers: Vec<Option<Access>> = std::iter::once(None)
        .chain(Role::ALL.map(|role| Some(access(role, &[]))))
        .chain([Some(bound)])
        .collect();
    let clients: Vec<Client> = (0..3).map(|n| cluster.client(n).without_redirects()).collect();
    let mut wrong = Vec::new();
    for (n, route) in permissions::all().enumerate() {
        for (m, caller) in callers.iter().enumerate() {
            let client = clients[(n + m) % 3].clone();
            // A session of its own: some of the routes end it.
            let client = match caller {
                Some(access) => client.with_bearer(&session_of(&store, access).await),
                None => client,
            };
            let (status, name) = sent(&client, &route).await;
            let expected = match caller {
                None if route.right.who() == Who::Everybody => "answered",
                None => "no-session",
                Some(access) if !route.right.of(access) => "not-allowed",
                Some(access) if route.about == About::Server && !access.servers.is_empty() => "not-found",
                Some(_) => "answered",
            };
            let given = match (status, name.as_str()) {
                (401, "no-session") => "no-session",
                (403, "not-allowed") => "not-allowed",
                (404, "not-found") if expected == "not-found" => "not-found",
                (500.., _) => "broken",
                _ => "answered",
            };
            if given != expected {
                wrong.push(format!(
                    "{} {} of {caller:?}: {status} {name}, not {expected}",
                    route.method, route.path
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_refused_change_is_told_who_may_and_is_an_entry_of_the_audit_and_a_refused_look_is_none() {
    let cluster = cluster(1).await;
    let store = cluster.connected_store().await;
    let viewer = cluster.client(0).with_bearer(&session_of(&store, &access(Role::Viewer, &[])).await);
    let refused = viewer.post(&format!("{JAIL}/bans"), json!({ "ips": ["203.0.113.7"] })).await;
    assert_eq!(refused.problem(403), "not-allowed");
    assert_eq!(refused.body["needed_role"], "operator");
    let says = refused.body["detail"].as_str().unwrap();
    assert_eq!(
        says,
        "only operators and admins may ban and unban addresses, and your role is viewer; nothing was changed. An admin, \
         or with single sign-on your groups, decides what your account may do; for a token, make another one that may do more"
    );
    assert_eq!(viewer.get("/api/v1/settings").await.problem(403), "not-allowed");
    let bound = cluster.client(0).with_bearer(&session_of(&store, &access(Role::Admin, &["web-*"])).await);
    let refused = bound.patch("/api/v1/settings", "*", json!({ "probe_interval_seconds": 20 })).await;
    assert_eq!(refused.problem(403), "not-allowed");
    assert!(refused.text.contains("your account is for web-* only"), "{}", refused.text);

    let admin = cluster.client(0).logged_in().await;
    let entries = eventually("the entries", SOON, || async {
        let page = admin.get("/api/v1/audit?limit=200").await;
        let entries = page.expect(200).body["items"].as_array()?.clone();
        let refused: Vec<Value> =
            entries.into_iter().filter(|entry| entry["what"] == "request.not_allowed").collect();
        (refused.len() == 2).then_some(refused)
    })
    .await;
    let outcomes: Vec<&str> = entries.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert!(outcomes.contains(&"the role viewer may not ban and unban addresses"), "{outcomes:?}");
    assert!(entries.iter().all(|entry| entry["trail"] == "refusals" && entry["username"] == "admin"));
    let log = cluster.workers[0].log();
    let refused: Vec<_> =
        log.iter().filter(|line| field(line, "http.refusal") == Some(&json!("not-allowed"))).collect();
    assert_eq!(refused.len(), 3, "the look too: {refused:#?}");
    assert!(refused.iter().all(|line| line.to_string().contains("\"user.name\":\"admin\"")), "{refused:#?}");
}

#[tokio::test]
async fn a_kept_answer_is_for_those_who_may_make_the_request() {
    let cluster = cluster(2).await;
    let store = cluster.connected_store().await;
    let send = async |n: usize, role, servers: &[&str]| {
        let client = cluster.client(n).with_bearer(&session_of(&store, &access(role, servers)).await);
        let request = client.request(Method::POST, &format!("{JAIL}/bans")).header("idempotency-key", "k");
        client.send(request.json(&json!({ "ips": [] }))).await
    };
    let replayed = |answer: &Answer| answer.headers.contains_key("idempotency-replayed");
    assert_eq!(send(0, Role::Operator, &[]).await.problem(422), "invalid-request");
    let again = send(1, Role::Operator, &["web-*"]).await;
    assert!(again.problem(422) == "invalid-request" && replayed(&again));
    let viewer = send(1, Role::Viewer, &[]).await;
    assert!(viewer.problem(403) == "not-allowed" && !replayed(&viewer));
    let elsewhere = send(1, Role::Operator, &["db-*"]).await;
    assert!(elsewhere.problem(404) == "not-found" && !replayed(&elsewhere));
}

#[tokio::test]
async fn an_operator_adds_entries_that_end_and_an_admin_those_for_good_and_removes_them() {
    let cluster = cluster(1).await;
    let store = cluster.connected_store().await;
    let client = async |role| cluster.client(0).with_bearer(&session_of(&store, &access(role, &[])).await);
    let (operator, admin) = (client(Role::Operator).await, client(Role::Admin).await);
    let ignore = async |client: &Client, persistent: bool| {
        let body = json!({ "network": "203.0.113.7", "persistent": persistent });
        client.post(&format!("{JAIL}/ignore"), body).await
    };
    let form = async |client: &Client, path: &str, body: &str| {
        let client = client.without_redirects();
        let request = client.request(Method::POST, path);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        client.send(request.body(body.to_owned())).await
    };
    let (on_jail, on_address) = (format!("{PAGE}/never-ban"), "/addresses/203.0.113.7/never-ban");
    assert_eq!(ignore(&operator, true).await.problem(403), "not-allowed");
    for (path, body) in [
        (&*on_jail, "network=203.0.113.7&persistent=yes"),
        (&*on_jail, "remove=203.0.113.7"),
        (on_address, "place=web-1/x&persistent=yes"),
    ] {
        assert_eq!(form(&operator, path, body).await.problem(403), "not-allowed", "{path} {body}");
        assert_ne!(form(&admin, path, body).await.status, 403, "{path} {body}");
    }
    // The server does not answer: what is let through fails there.
    assert_eq!(ignore(&operator, false).await.problem(502), "agent-unreachable");
    assert_eq!(ignore(&admin, true).await.problem(502), "agent-unreachable");
    form(&operator, &on_jail, "network=203.0.113.7&persistent=no").await.expect(303);
    form(&operator, on_address, "place=web-1/x&persistent=no").await.expect(303);
}

#[tokio::test]
async fn an_operator_cancels_their_own_jobs_and_an_admin_any() {
    let cluster = cluster(2).await;
    let store = cluster.connected_store().await;
    let client =
        async |n: usize, role| cluster.client(n).with_bearer(&session_of(&store, &access(role, &[])).await);
    let (operator, admin) = (client(0, Role::Operator).await, client(1, Role::Admin).await);
    let ips: Vec<String> = (0..150).map(|n| format!("198.51.100.{n}")).collect();
    let enqueue = async || {
        let answer = operator.post(&format!("{JAIL}/bans"), json!({ "ips": ips })).await;
        answer.expect(202).headers["location"].to_str().unwrap().to_owned()
    };
    let own = enqueue().await;
    let stopped = |answer: &Answer| assert!(matches!(answer.status.as_u16(), 200 | 502), "{}", answer.text);
    stopped(&operator.post(&format!("{own}/cancel"), json!({})).await);
    let state = operator.get(&own).await.body["state"].clone();
    assert!(state == "cancelled" || state == "cancelling", "{state}");

    let others = enqueue().await;
    let id = others.rsplit('/').next().unwrap().to_owned();
    belongs_to_somebody_else(&cluster, &id).await;
    assert_eq!(operator.post(&format!("{others}/cancel"), json!({})).await.problem(403), "not-allowed");
    for path in [format!("/jobs/{id}/cancel"), format!("{PAGE}/cancel")] {
        let request = operator.request(Method::POST, &path);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let refused = operator.send(request.body(format!("job={id}"))).await;
        assert_eq!(refused.problem(403), "not-allowed", "{path}");
    }
    assert_eq!(admin.get(&others).await.body["username"], "other");
    stopped(&admin.post(&format!("{others}/cancel"), json!({})).await);
}

/// Makes the job one that `other` asked for.
async fn belongs_to_somebody_else(cluster: &Cluster, id: &str) {
    let key = format!("{{{}}}:ban-job:{id}", crate::support::cluster::PREFIX);
    let mut connection = cluster.redis.connection().await;
    let about: Vec<u8> =
        redis::cmd("HGET").arg(&key).arg("about").query_async(&mut connection).await.unwrap();
    let at = about.windows(5).position(|part| part == b"admin").expect("the name of its user");
    let about = [&about[..at], b"other", &about[at + 5..]].concat();
    let _: i64 =
        redis::cmd("HSET").arg(&key).arg("about").arg(about).query_async(&mut connection).await.unwrap();
}
