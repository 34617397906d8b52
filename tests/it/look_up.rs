//! What is known about one address, at any worker: bans of networks that contain it, what keeps it from being banned, and which servers
//! do not answer.

use serde_json::{Value, json};

use crate::support::cluster::{PREFIX, SERVER, server_is};
use crate::support::{Answer, Client, Cluster, SOON, eventually};

fn jail(rest: &str) -> String {
    format!("/api/v1/servers/{SERVER}/jails/web{rest}")
}

async fn cluster() -> (Cluster, Client, Client) {
    let cluster =
        Cluster::with_fail2ban(2).jails(&["web"]).env("BANGUI_PROBE_INTERVAL_SECONDS", 300).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let other = client.at(cluster.workers[1].address);
    server_is(&client, "up").await;
    (cluster, client, other)
}

/// Bans, and waits until the list has so many.
async fn ban(client: &Client, ips: &[&str], listed: usize) {
    client.post(&jail("/bans"), json!({ "ips": ips })).await.expect(200);
    eventually(&format!("{listed} bans in the list"), SOON, || async {
        let page = client.get(&jail("/bans")).await;
        (page.expect(200).body["items"].as_array()?.len() == listed).then_some(())
    })
    .await;
}

async fn look_up(client: &Client, ip: &str) -> Answer {
    let found = client.get(&format!("/api/v1/bans/{}", ip.replace('/', "%2F"))).await;
    found.expect(200);
    found
}

/// The bans of the address.
fn bans(found: &Answer) -> Vec<&str> {
    found.body["banned"].as_array().unwrap().iter().map(|place| place["ban"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_address_is_found_by_each_network_that_contains_it_with_its_times_at_any_worker() {
    let (mut cluster, client, other) = cluster().await;
    let all = ["198.51.100.9", "198.51.100.0/28", "198.51.0.0/16", "2001:db8::/48", "203.0.113.0/24"];
    ban(&client, &all, 5).await;
    let found = look_up(&other, "198.51.100.9").await;
    assert_eq!(bans(&found), ["198.51.100.9", "198.51.0.0/16", "198.51.100.0/28"], "{}", found.text);
    for place in found.body["banned"].as_array().unwrap() {
        assert_eq!((&place["server"], &place["jail"]), (&json!(SERVER), &json!("web")), "{place}");
        let (since, until) = (place["banned_at"].as_str().unwrap(), place["expires_at"].as_str().unwrap());
        let time = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap();
        assert_eq!((time(until) - time(since)).num_seconds(), 600, "{place}");
    }
    assert_eq!(bans(&look_up(&other, "198.51.100.16").await), ["198.51.0.0/16"], "outside the /28");
    assert_eq!(bans(&look_up(&other, "2001:db8:0:7::9").await), ["2001:db8::/48"]);
    assert_eq!(bans(&look_up(&other, "::ffff:203.0.113.7").await), ["203.0.113.0/24"]);
    assert_eq!(bans(&look_up(&other, "203.0.113.128/25").await), ["203.0.113.0/24"]);
    assert_eq!(bans(&look_up(&other, "203.0.112.0/23").await), [""; 0], "wider than what is banned");

    // The list says which networks to ask about, fail2ban says whether they are banned.
    cluster.fail2ban().command(&["set", "web", "unbanip", "198.51.0.0/16"]).await;
    assert_eq!(bans(&look_up(&other, "198.51.100.16").await), [""; 0]);
}

#[tokio::test]
async fn a_list_that_an_older_leader_wrote_is_searched_at_every_length() {
    let (cluster, client, other) = cluster().await;
    ban(&client, &["198.51.100.0/28", "2001:db8::/48"], 2).await;
    let mut connection = cluster.redis.connection().await;
    // It writes when it read the list, and leaves what it does not know as it is.
    let mut command = redis::cmd("HINCRBY");
    command.arg(format!("{{{PREFIX}}}:bans-known:{SERVER}/web")).arg("read_at").arg(1);
    let _: i64 = command.query_async(&mut connection).await.unwrap();
    let mut command = redis::cmd("HSET");
    command.arg(format!("{{{PREFIX}}}:bans-known:{SERVER}/web")).arg("lengths").arg("4/8");
    let _: i64 = command.query_async(&mut connection).await.unwrap();
    assert_eq!(bans(&look_up(&other, "198.51.100.9").await), ["198.51.100.0/28"]);
    assert_eq!(bans(&look_up(&other, "2001:db8::9").await), ["2001:db8::/48"]);
}

#[tokio::test]
async fn the_entry_that_keeps_an_address_from_being_banned_is_named_with_its_file() {
    let (mut cluster, client, other) = cluster().await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write("jail.local", "[DEFAULT]\nignoreip = 192.0.2.0/24 ::1 localhost\n");
    fail2ban.command(&["reload"]).await;
    fail2ban.command(&["set", "web", "addignoreip", "192.0.2.128/25"]).await;
    let found = eventually("the file, which costs a Python process", SOON, || async {
        let found = look_up(&other, "192.0.2.200").await;
        let known = found.body["never_banned"].as_array()?.iter().all(|entry| entry["source"] != "unknown");
        known.then_some(found)
    })
    .await;
    let mut entries = found.body["never_banned"].as_array().unwrap().clone();
    entries.sort_by_key(|entry| entry["entry"].as_str().unwrap().to_owned());
    let entry = |entry: &str, source: &str, file: Value| json!({"server": SERVER, "jail": "web", "entry": entry, "source": source, "file": file});
    assert_eq!(
        entries,
        [
            entry("192.0.2.0/24", "file", json!("jail.local")),
            entry("192.0.2.128/25", "run_time", Value::Null)
        ]
    );
    assert_eq!(found.body["never_banned_unknown"], json!([]));
    assert_eq!(look_up(&client, "192.0.3.1").await.body["never_banned"], json!([]));
    let half = look_up(&client, "192.0.2.0/23").await;
    assert_eq!(half.body["never_banned"], json!([]), "only half of it is never banned");
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_not_taken_for_a_no_and_its_list_says_what_was_banned() {
    let (mut cluster, client, other) = cluster().await;
    ban(&client, &["198.51.100.0/28"], 1).await;
    cluster.agent().kill();
    let found = look_up(&other, "198.51.100.9").await;
    assert_eq!((&found.body["banned"], &found.body["never_banned"]), (&json!([]), &json!([])));
    let unanswered = &found.body["unanswered"][0];
    assert_eq!(unanswered["server"], SERVER, "{}", found.text);
    assert_eq!(unanswered["last_known"][0]["ban"], "198.51.100.0/28", "{unanswered}");
    assert!(unanswered["read_at"].is_string() && unanswered["reason"].is_string(), "{unanswered}");
    let found = look_up(&other, "203.0.113.9").await;
    let unanswered = &found.body["unanswered"][0];
    assert_eq!((&unanswered["last_known"], &unanswered["read_at"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn an_address_is_found_among_100_000_bans_by_the_network_around_it() {
    let (cluster, client, other) = cluster().await;
    ban(&client, &["198.51.100.0/28"], 1).await;
    let mut connection = cluster.redis.connection().await;
    let key = format!("{{{PREFIX}}}:bans:{SERVER}/web");
    for chunk in 0..100 {
        let mut add = redis::cmd("ZADD");
        add.arg(&key);
        for n in 0..1_000 {
            add.arg(0).arg(format!("10.{chunk}.{}.{}\u{0}5\u{0}65", n / 250, n % 250));
        }
        let _: i64 = add.query_async(&mut connection).await.unwrap();
    }
    let commands = async || {
        let mut connection = cluster.redis.connection().await;
        let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_zrangebylex:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    let before = commands().await;
    assert_eq!(bans(&look_up(&other, "198.51.100.9").await), ["198.51.100.0/28"]);
    assert_eq!(commands().await - before, 2, "the address itself, and the one length there is");
}

#[tokio::test]
async fn a_list_is_the_answer_until_its_jail_bans_or_unbans_or_lives_again() {
    let (mut cluster, client, other) = cluster().await;
    ban(&client, &["198.51.100.9", "198.51.100.10"], 2).await;
    // Nobody but a test writes this: it shows whether the list was the answer, or fail2ban's search.
    let mark = "203.0.113.77";
    let key = |kind: &str| format!("{{{PREFIX}}}:{kind}:{SERVER}/web");
    let add_mark = async || {
        let ban = format!("{mark}\u{0}5\u{0}65");
        let added = redis::cmd("ZADD").arg(key("bans")).arg(0).arg(ban).to_owned();
        added.query_async::<u64>(&mut cluster.redis.connection().await).await.unwrap();
    };
    add_mark().await;
    assert_eq!(bans(&look_up(&other, mark).await), [mark], "the list still holds");

    // A tag is of the list that was read with it.
    let mut read_at = redis::cmd("HINCRBY");
    read_at.arg(key("bans-known")).arg("read_at").arg(1);
    read_at.query_async::<i64>(&mut cluster.redis.connection().await).await.unwrap();
    assert_eq!(
        bans(&look_up(&other, mark).await),
        [""; 0],
        "a leader that knows nothing of tags wrote the list"
    );
    let mut read_at = redis::cmd("HINCRBY");
    read_at.arg(key("bans-known")).arg("read_at").arg(-1);
    read_at.query_async::<i64>(&mut cluster.redis.connection().await).await.unwrap();
    assert_eq!(bans(&look_up(&other, mark).await), [mark]);

    // As many bans as before, and others.
    let fail2ban = cluster.fail2ban();
    fail2ban.command(&["set", "web", "unbanip", "198.51.100.9"]).await;
    fail2ban.command(&["set", "web", "banip", "198.51.100.11"]).await;
    assert_eq!(bans(&look_up(&other, mark).await), [""; 0]);
    assert_eq!(bans(&look_up(&other, "198.51.100.9").await), [""; 0]);
    assert_eq!(bans(&look_up(&other, "198.51.100.11").await), ["198.51.100.11"]);
    assert_eq!(bans(&look_up(&other, "198.51.100.10").await), ["198.51.100.10"]);
}

#[tokio::test]
async fn the_counts_of_a_jail_that_was_started_again_are_not_taken_for_those_of_its_list() {
    let (mut cluster, client, other) = cluster().await;
    ban(&client, &["198.51.100.9"], 1).await;
    let counts = async |client: &Client| {
        let server = client.get(&format!("/api/v1/servers/{SERVER}")).await;
        let status = &server.expect(200).body["status"];
        (status["currently_banned"].as_u64(), status["total_banned"].as_u64())
    };
    let before = counts(&client).await;
    // One ban in the jail's new life, as in the old one, and another.
    cluster.fail2ban().command(&["reload", "--restart", "--unban", "web"]).await;
    cluster.fail2ban().command(&["set", "web", "banip", "198.51.100.10"]).await;
    assert_eq!(bans(&look_up(&other, "198.51.100.9").await), [""; 0]);
    assert_eq!(bans(&look_up(&other, "198.51.100.10").await), ["198.51.100.10"]);
    client.post(&format!("/api/v1/servers/{SERVER}/probe"), json!({})).await.expect(202);
    eventually("the counts of the new life", SOON, || async {
        (counts(&client).await == before).then_some(())
    })
    .await;
}
