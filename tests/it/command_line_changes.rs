//! `bangui ban`, `unban`, `ignore` and `jobs`: a few addresses and a thousand, on a real fail2ban; Ctrl-C; what is done only in part.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::any;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::cluster::{SERVER, server_is};
use crate::support::person::Person;
use crate::support::{Client, Cluster, SOON, eventually};

const LONG: Duration = Duration::from_secs(120);

async fn cluster(workers: usize) -> (Cluster, Client, Person) {
    let cluster = Cluster::with_fail2ban(workers).env("BANGUI_PROBE_INTERVAL_SECONDS", 300).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let person = Person::logged_in(&format!("http://{}", cluster.workers[0].address)).await;
    (cluster, client, person)
}

fn addresses(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        writeln!(text, "198.51.{}.{}", 100 + n / 250, n % 250).unwrap();
        text
    })
}

/// The only job.
async fn job(client: &Client) -> Value {
    client.get("/api/v1/ban-jobs").await.expect(200).body["items"][0].clone()
}

/// Waits until the only job has begun; its id.
async fn begun(client: &Client) -> String {
    eventually("the job to be under way", LONG, || async {
        let job = job(client).await;
        (job["done"].as_u64() > Some(0)).then(|| job["id"].as_str().unwrap().to_owned())
    })
    .await
}

#[tokio::test]
async fn a_few_addresses_are_banned_and_unbanned_at_once_and_each_result_is_shown() {
    let (mut cluster, _, person) = cluster(1).await;
    let banned = person.run(&["ban", SERVER, "app", "203.0.113.7", "203.0.113.7", "2001:db8::/48"], "").await;
    assert!(banned.expect(0).out.contains("203.0.113.7    banned\n2001:db8::/48  banned\n"), "{banned:?}");
    assert!(cluster.fail2ban().bans("app", "203.0.113.7").await);
    let again = person.run(&["ban", SERVER, "app", "-"], "# a list\n203.0.113.7, 203.0.113.8\n").await;
    assert!(again.expect(0).out.contains("already banned"), "{again:?}");
    let unbanned = person.run(&["unban", SERVER, "app", "203.0.113.7", "203.0.113.99"], "").await;
    assert!(
        unbanned.expect(0).out.contains("203.0.113.7   unbanned\n203.0.113.99  was not banned\n"),
        "{unbanned:?}"
    );
    assert!(!cluster.fail2ban().bans("app", "203.0.113.7").await);
    let refused = person.run(&["ban", SERVER, "app", "127.0.0.1"], "").await;
    assert!(refused.expect(1).err.lines().count() >= 3, "{refused:?}");
    person.run(&["ban", SERVER, "app", "127.0.0.1", "--force"], "").await.expect(0);
    let missing = person.run(&["ban", SERVER, "nothing", "203.0.113.7"], "").await;
    assert!(missing.expect(1).err.contains("jail"), "{missing:?}");
}

/// A server that does only a part of what it is asked for, which a real fail2ban is hard to bring to.
async fn half_hearted() -> SocketAddr {
    let id = "0123456789abcdef0123456789abcdef";
    let few = || async {
        let results = json!([
            { "ip": "203.0.113.7", "banned": true, "changed": true, "error": null },
            { "ip": "203.0.113.8", "banned": false, "changed": false, "error": null },
            { "ip": "203.0.113.9", "banned": null, "changed": null, "error": "the agent is gone" },
        ]);
        axum::Json(json!({ "results": results }))
    };
    let many =
        move || async move { (StatusCode::ACCEPTED, axum::Json(json!({ "id": id, "state": "queued" }))) };
    let job = move || async move {
        axum::Json(json!({
            "id": id, "order": "ban", "state": "done", "asked": 151, "done": 151, "changed": 100, "failed": 51,
            "failures": [{ "ip": "203.0.113.8", "reason": "does the jail ignore it?" }],
        }))
    };
    let router = axum::Router::new()
        .route("/api/v1/servers/web-1/jails/few/bans", any(few))
        .route("/api/v1/servers/web-1/jails/many/bans", any(many))
        .route(&format!("/api/v1/ban-jobs/{id}"), any(job));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

#[tokio::test]
async fn what_is_done_in_part_alone_is_a_failure_and_says_what_is_not_done() {
    let mut person = Person::new();
    person.environment = vec![
        ("BANGUI_URL".to_owned(), format!("http://{}", half_hearted().await)),
        ("BANGUI_TOKEN".to_owned(), "bgs_0123456789".to_owned()),
    ];
    let few = person.run(&["ban", SERVER, "few", "203.0.113.7"], "").await;
    assert!(few.expect(1).out.contains("203.0.113.8  not banned"), "{few:?}");
    assert!(few.out.contains("not known: the agent is gone"), "{few:?}");
    assert!(few.err.contains("2 of 3 addresses are not as requested"), "{few:?}");
    let many = person.run(&["ban", SERVER, "many", "203.0.113.7"], "").await;
    assert!(many.expect(1).out.contains("203.0.113.8  does the jail ignore it?"), "{many:?}");
    assert!(many.err.contains("50 more failed"), "{many:?}");
    assert!(many.err.contains("51 of 151 addresses are not as requested"), "{many:?}");
    person.run(&["ban", SERVER, "few", "203.0.113.7", "--json"], "").await.expect(1);
}

#[tokio::test]
async fn a_thousand_addresses_from_standard_input_are_banned_by_one_job_and_unbanned_by_another() {
    let (mut cluster, client, person) = cluster(2).await;
    let banned = person.run(&["ban", SERVER, "app", "-", "--json"], &addresses(1_000)).await;
    let job = banned.expect(0).json();
    assert_eq!(
        (&job["state"], &job["asked"], &job["changed"]),
        (&"done".into(), &1_000.into(), &1_000.into())
    );
    let shown = client.get(&format!("/api/v1/ban-jobs/{}", job["id"].as_str().unwrap())).await;
    assert_eq!(shown.expect(200).body, job, "the document of the API");
    for ip in ["198.51.100.0", "198.51.103.249"] {
        assert!(cluster.fail2ban().bans("app", ip).await, "{ip}");
    }
    let unbanned = person.run(&["unban", SERVER, "app", "-"], &addresses(1_000)).await;
    assert!(unbanned.expect(0).out.contains("1000 of 1000"), "{unbanned:?}");
    assert!(unbanned.err.is_empty(), "no progress bar in a pipe: {unbanned:?}");
    assert!(!cluster.fail2ban().bans("app", "198.51.100.0").await);
    let listed = person.run(&["jobs"], "").await;
    assert!(listed.expect(0).out.contains("unban") && listed.out.lines().count() == 3, "{listed:?}");
}

#[tokio::test]
async fn on_a_terminal_a_bar_shows_the_progress() {
    let (mut cluster, _, person) = cluster(1).await;
    cluster.fail2ban().start_slow_jail(0.01).await;
    let list: Vec<String> = addresses(150).lines().map(str::to_owned).collect();
    let mut command = vec!["ban", SERVER, "slow"];
    command.extend(list.iter().map(String::as_str));
    let (code, shown) = person.on_terminal(&command, "").await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("/150") && shown.contains("done"), "{shown:?}");
}

#[tokio::test]
async fn ctrl_c_leaves_the_job_running_and_says_how_to_look_at_it_and_cancel_it() {
    let (mut cluster, client, person) = cluster(1).await;
    cluster.fail2ban().start_slow_jail(0.05).await;
    let list: Vec<String> = addresses(400).lines().map(str::to_owned).collect();
    let mut command = vec!["ban", SERVER, "slow"];
    command.extend(list.iter().map(String::as_str));
    let process = person.start(&command);
    let id = begun(&client).await;
    process.signal(Signal::INT);
    assert_eq!(process.ended(SOON).await.code(), Some(1));
    let words = format!("`bangui jobs {id} --cancel` cancels it");
    process.line("what to do", SOON, |line| line.contains(&words).then_some(())).await;
    assert!(job(&client).await["finished_at"].is_null(), "it continues");

    let cancelled = person.run(&["jobs", &id, "--cancel"], "").await;
    assert!(cancelled.expect(0).out.contains(&id), "{cancelled:?}");
    let waited = person.run(&["jobs", &id, "--wait"], "").await;
    assert!(waited.expect(1).err.contains("the job is cancelled"), "{waited:?}");
    let shown = person.run(&["jobs", &id], "").await;
    assert!(shown.expect(0).out.contains("cancelled"), "{shown:?}");
    person.run(&["jobs", &"0".repeat(32)], "").await.expect(1);
}

#[tokio::test]
async fn ctrl_c_cancels_the_job_if_that_was_asked_for_and_nobody_need_wait_at_all() {
    let (mut cluster, client, person) = cluster(1).await;
    cluster.fail2ban().start_slow_jail(0.05).await;
    let list: Vec<String> = addresses(400).lines().map(str::to_owned).collect();
    let mut command = vec!["ban", SERVER, "slow", "--cancel-on-interrupt"];
    command.extend(list.iter().map(String::as_str));
    let process = person.start(&command);
    begun(&client).await;
    process.signal(Signal::INT);
    assert_eq!(process.ended(SOON).await.code(), Some(1));
    eventually("the job to be cancelled", SOON, || async {
        (job(&client).await["state"] == "cancelled").then_some(())
    })
    .await;

    let put = person.run(&["ban", SERVER, "app", "-", "--no-wait", "--json"], &addresses(400)).await;
    let id = put.expect(0).json()["id"].as_str().unwrap().to_owned();
    let waited = person.run(&["jobs", &id, "--wait", "--json"], "").await;
    assert_eq!(waited.expect(0).json()["state"], "done");
    let too_late = person.run(&["jobs", &id, "--cancel"], "").await;
    assert!(too_late.expect(1).err.contains("nothing to cancel"), "{too_late:?}");
}

#[tokio::test]
async fn an_ignored_address_is_unbanned_and_why_says_what_keeps_it_from_being_banned() {
    let (mut cluster, client, person) = cluster(1).await;
    person.run(&["ban", SERVER, "app", "203.0.113.7"], "").await.expect(0);
    let ignored = person.run(&["ignore", SERVER, "app", "203.0.113.7", "--persistent"], "").await;
    assert!(ignored.expect(0).out.contains("will not be, for good"), "{ignored:?}");
    assert!(!cluster.fail2ban().bans("app", "203.0.113.7").await);
    let why = person.run(&["why", "203.0.113.7"], "").await;
    assert!(why.expect(0).out.contains("never banned, by jail.d/"), "{why:?}");

    // Of a server that cannot be asked, nothing is known.
    cluster.agent().kill();
    let why = person.run(&["why", "203.0.113.7"], "").await;
    assert!(why.expect(1).err.contains("could not be asked"), "{why:?}");
    person.run(&["jails", SERVER], "").await.expect(4);
    let all = person.run(&["jails"], "").await;
    assert!(all.expect(1).err.contains("not every server could be asked"), "{all:?}");
    client.get("/api/v1/session").await.expect(200);
}

#[tokio::test]
async fn a_change_that_takes_long_is_awaited() {
    let cluster = Cluster::with_fail2ban(1)
        .env("BANGUI_PROBE_INTERVAL_SECONDS", 300)
        .env("BANGUI_TEST_ANSWER_WITHIN_MS", 0)
        .set_up()
        .await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let person = Person::logged_in(&format!("http://{}", cluster.workers[0].address)).await;
    let ignored = person.run(&["ignore", SERVER, "app", "203.0.113.7"], "").await;
    assert!(ignored.expect(0).out.contains("until the jail's next reload"), "{ignored:?}");
    assert!(ignored.err.contains("takes longer"), "{ignored:?}");
    let refused = person.run(&["ignore", SERVER, "nothing", "203.0.113.7"], "").await;
    assert!(refused.expect(1).err.contains("The change was not made: "), "{refused:?}");
}
