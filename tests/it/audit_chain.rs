//! The audit cannot be tampered with unnoticed: by removing or changing an entry, by a flood that displaces entries, or by attempts
//! that leave no trace.

use std::time::Duration;

use bangui::actions::Actor;
use bangui::store::{AuditCursor, AuditEntry, AuditRecord, BrokenTrail, Store, Trail};
use futures_util::future::join_all;
use redis::streams::StreamRangeReply;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::process::{Child, bangui};
use crate::support::redis::Redis;
use crate::support::worker::field;
use crate::support::{Cluster, PASSWORD, SOON, eventually};

const NEW: &str = "another password altogether";
pub const SECURITY: &str = "{it}:audit-security";

pub fn record(what: &'static str, n: usize) -> AuditRecord {
    AuditRecord { after: json!({ "n": n }), ..Actor::operator().record(what) }
}

/// All entries, in pages of `limit`.
async fn all(store: &Store, limit: usize) -> Vec<AuditEntry> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.audit_page(cursor, limit).await.unwrap();
        assert!(page.items.len() <= limit);
        found.extend(page.items);
        let Some(next) = page.next_cursor else { return found };
        cursor = Some(AuditCursor::parse(&next).unwrap());
    }
}

pub async fn verify(cluster: &Cluster) -> (Option<i32>, String) {
    verify_since(cluster, &[]).await
}

pub async fn verify_since(cluster: &Cluster, since: &[String]) -> (Option<i32>, String) {
    let mut command = bangui("audit");
    command.args(since.iter().flat_map(|mark| ["--since", mark]));
    command.arg("verify").env("BANGUI_REDIS_URL", cluster.redis.url()).env("BANGUI_REDIS_PREFIX", "it");
    Child::run("bangui audit verify", command, SOON).await
}

#[tokio::test]
async fn of_entries_that_workers_write_at_once_each_continues_the_one_before() {
    let cluster = Cluster::bare(1).set_up().await;
    let stores =
        [cluster.connected_store().await, cluster.connected_store().await, cluster.connected_store().await];
    let writes = (0..12).map(|writer| {
        let store = &stores[writer % 3];
        async move {
            for n in 0..25 {
                store.audit(&record(["session.test", "jail.test"][writer % 2], n)).await.unwrap();
            }
        }
    });
    join_all(writes).await;
    for trail in [Trail::Security, Trail::Changes] {
        let whole = stores[0].verify_audit(trail, &[]).await.unwrap().unwrap();
        // The setup is one of the first trail.
        assert_eq!(whole.number, 150 + u64::from(trail == Trail::Security), "{whole:?}");
        assert_eq!(whole.entries, whole.number);
    }
    // While more are written, too.
    let (writer, one) = (&stores[1], |n| record("session.test", n));
    let more = join_all((0..200).map(|n| async move { writer.audit(&one(n)).await.unwrap() }));
    let watched = async {
        for _ in 0..10 {
            stores[2].verify_audit(Trail::Security, &[]).await.unwrap().unwrap();
        }
    };
    futures_util::future::join(more, watched).await;
    let (code, printed) = verify(&cluster).await;
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(printed.lines().filter(|line| line.starts_with("ok ")).count(), 3, "{printed}");
}

#[tokio::test]
async fn nobody_removes_or_puts_in_an_entry_without_a_sentence_and_an_exit_code_of_verify() {
    let cluster = Cluster::bare(1).set_up().await;
    let store = cluster.connected_store().await;
    for n in 0..5 {
        store.audit(&record("session.test", n)).await.unwrap();
    }
    let ids = async || {
        let read: StreamRangeReply = cluster.redis.command(&["XRANGE", SECURITY, "-", "+"]).await;
        read.ids.into_iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    let reported = async |words: &str| {
        let (code, printed) = verify(&cluster).await;
        assert_eq!(code, Some(1), "{printed}");
        let line = printed.lines().find(|line| line.starts_with("FAIL")).expect("a sentence");
        assert!(line.contains("security") && line.contains(words), "{line}");
    };
    let copy = async |from: &str, to: &str| {
        let _: i64 = cluster.redis.command(&["COPY", from, to, "REPLACE"]).await;
    };
    assert_eq!(verify(&cluster).await.0, Some(0));
    let kept = "{it}:audit-kept";
    copy(SECURITY, kept).await;
    let all = ids().await;

    let _: i64 = cluster.redis.command(&["XDEL", SECURITY, &all[2]]).await;
    reported("missing entries: 1, before entry 4").await;
    copy(kept, SECURITY).await;
    let _: i64 = cluster.redis.command(&["XDEL", SECURITY, &all[0]]).await;
    reported("missing entries: 1, before entry 2").await;
    copy(kept, SECURITY).await;
    let _: i64 = cluster.redis.command(&["XDEL", SECURITY, &all[4], &all[5]]).await;
    reported("missing entries: 2, the newest").await;
    copy(kept, SECURITY).await;
    let _: String =
        cluster.redis.command(&["XADD", SECURITY, "*", "what", "session.begin", "user", "admin"]).await;
    reported("was inserted").await;
    copy(kept, SECURITY).await;
    let _: i64 = cluster.redis.command(&["DEL", SECURITY]).await;
    reported("missing entries: 6, the newest").await;
    copy(kept, SECURITY).await;
    assert_eq!(verify(&cluster).await.0, Some(0), "all is as it was");
    let _: i64 = cluster.redis.command(&["DEL", "{it}:audit-chain-security"]).await;
    reported("record of the chain").await;
}

#[tokio::test]
async fn a_changed_entry_is_found_by_its_number() {
    let cluster = Cluster::bare(1).set_up().await;
    let store = cluster.connected_store().await;
    for n in 0..4 {
        store.audit(&record("jail.test", n)).await.unwrap();
    }
    // Entries of a stream cannot be overwritten: write the whole stream again, with another word in the third entry.
    let key = "{it}:audit-changes";
    let entries: Vec<(String, Vec<Vec<u8>>)> = cluster.redis.command(&["XRANGE", key, "-", "+"]).await;
    let _: i64 = cluster.redis.command(&["DEL", key]).await;
    let mut connection = cluster.redis.connection().await;
    for (n, (id, fields)) in entries.into_iter().enumerate() {
        let field = |field: Vec<u8>| if n == 2 && field == b"done" { b"never done".to_vec() } else { field };
        let fields: Vec<Vec<u8>> = fields.into_iter().map(field).collect();
        let _: String =
            redis::cmd("XADD").arg(key).arg(id).arg(fields).query_async(&mut connection).await.unwrap();
    }
    let broken = store.verify_audit(Trail::Changes, &[]).await.unwrap().unwrap_err();
    assert!(matches!(broken, BrokenTrail::Changed { number: 3, .. }), "{broken:?}");
}

#[tokio::test]
async fn what_is_trimmed_by_age_or_size_leaves_a_chain_that_is_whole() {
    // Without a file: this writes 19 MB, and a slow disk would have Redis answer late.
    let cluster = Cluster::bare(1).redis(Redis::start_with(&[]).await).set_up().await;
    let store = cluster.connected_store().await;
    for n in 0..30 {
        store.audit(&record("jail.test", n)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    store.keep_audit_for(Duration::from_millis(50));
    store.audit(&record("jail.test", 30)).await.unwrap();
    let whole = store.verify_audit(Trail::Changes, &[]).await.unwrap().unwrap();
    // The newest of those that are over stays, until there is another.
    assert_eq!((whole.entries, whole.number), (2, 31), "{whole:?}");

    store.keep_audit_for(Duration::from_secs(86_400));
    let large = "x".repeat(64_000);
    for n in 0..300 {
        let after = json!({ "n": n, "text": large });
        store.audit(&AuditRecord { after, ..Actor::operator().record("jail.test") }).await.unwrap();
    }
    let whole = store.verify_audit(Trail::Changes, &[]).await.unwrap().unwrap();
    assert_eq!(whole.number, 331);
    assert!((255..=262).contains(&whole.entries), "16 MiB hold 261 of them, not {whole:?}");
    let bytes: u64 = cluster.redis.command(&["HGET", "{it}:audit-chain-changes", "bytes"]).await;
    assert!((15_000_000..=16_777_216).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn no_flood_of_ordinary_changes_or_refusals_pushes_a_security_event_out() {
    // Without a file: this writes 38 MB, and a slow disk would have Redis answer late.
    let cluster = Cluster::bare(1).redis(Redis::start_with(&[]).await).set_up().await;
    let client = cluster.client(0).logged_in().await.confirmed().await;
    // A change of the login limits is a security event; other settings are ordinary changes.
    client.patch("/api/v1/settings", "*", json!({ "login_limit": "77777/1" })).await.expect(200);
    client.patch("/api/v1/settings", "*", json!({ "probe_interval_seconds": 77 })).await.expect(200);
    let store = cluster.connected_store().await;
    let large = "x".repeat(64_000);
    for n in 0..300 {
        let after = json!({ "n": n, "text": large });
        let change = AuditRecord { after, ..Actor::operator().record("settings.change") };
        store.audit(&change).await.unwrap();
        store.audit(&AuditRecord { trail: Trail::Refusals, ..change }).await.unwrap();
    }
    for flooded in ["{it}:audit-changes", "{it}:audit-refusals"] {
        let kept: u64 = cluster.redis.command(&["XLEN", flooded]).await;
        assert!(kept < 300, "nothing was trimmed of {flooded}");
    }
    let kept: redis::Value = cluster.redis.command(&["XRANGE", SECURITY, "-", "+"]).await;
    let kept = format!("{kept:?}");
    for deed in ["setup.complete", "session.begin", "session.confirm", "77777/1"] {
        assert!(kept.contains(deed), "{deed} was pushed out: {kept}");
    }
    assert!(!kept.contains("probe_interval_seconds"), "{kept}");
}

#[tokio::test]
async fn the_trails_are_read_as_one_page_by_page_with_what_version_0_2_wrote() {
    let cluster = Cluster::bare(1).start().await;
    // The same ids in three trails, and in that of version 0.2, which still runs.
    let (seconds, _): (i64, i64) = cluster.redis.command(&["TIME"]).await;
    let at = (seconds - 5) * 1000;
    for trail in ["audit", "audit-changes", "audit-security", "audit-refusals"] {
        for n in 1..=3 {
            let (key, id, what) = (format!("{{it}}:{trail}"), format!("{at}-{n}"), format!("{trail} {n}"));
            let _: String = cluster.redis.command(&["XADD", &key, &id, "what", &what]).await;
        }
    }
    cluster.post_setup(0).await.expect(201);
    let store = cluster.connected_store().await;
    store.audit(&record("jail.test", 1)).await.unwrap();
    let everything = all(&store, 200).await;
    let names =
        |entries: &[AuditEntry]| -> Vec<String> { entries.iter().map(|entry| entry.what.clone()).collect() };
    assert!(names(&everything).contains(&"audit 1".to_owned()), "{everything:?}");
    assert_eq!(everything.len(), 14, "{everything:?}");
    for limit in 1..=5 {
        assert_eq!(names(&all(&store, limit).await), names(&everything), "in pages of {limit}");
    }
    let client = cluster.client(0).logged_in().await;
    let page = client.get("/api/v1/audit?limit=4").await;
    let next = page.expect(200).body["next_cursor"].as_str().unwrap().to_owned();
    let trails: Vec<&Value> =
        page.body["items"].as_array().unwrap().iter().map(|item| &item["trail"]).collect();
    assert!(trails.contains(&&json!("security")) && trails.contains(&&json!("changes")), "{trails:?}");
    client.get(&format!("/api/v1/audit?limit=4&cursor={next}")).await.expect(200);
    client.get("/api/v1/audit?cursor=7-1").await.expect(200);
    client.get("/api/v1/audit?cursor=7-1.9").await.problem(400);
}

#[tokio::test]
async fn nobody_guesses_forges_or_is_limited_without_a_trace_and_a_flood_is_one_entry() {
    let proxied = Cluster::bare(1).env("BANGUI_TRUSTED_PROXIES", "127.0.0.1");
    let cluster = proxied.env("BANGUI_LOGIN_LIMIT", "30/36000").set_up().await;
    let anonymous = cluster.client(0);
    let post = async |path: &str, from: &str, body: Value| {
        let request = anonymous.request(Method::POST, path).header("X-Forwarded-For", from);
        anonymous.send(request.json(&body)).await
    };
    let login = |username: &str| json!({ "username": username, "password": "a wrong password" });
    for n in 0..40 {
        let answer = post("/api/v1/session", "203.0.113.7", login("admin")).await;
        assert_eq!(answer.status, if n < 30 { 401 } else { 429 }, "{answer:?}");
    }
    post("/api/v1/session", "203.0.113.8", login("hunter2")).await.problem(401);
    let client = anonymous.logged_in().await;
    client.confirm("a wrong password").await.problem(403);
    client.put("/api/v1/password", json!({ "current": "a wrong one", "new": NEW })).await.problem(403);
    let forged = anonymous.request(Method::DELETE, "/api/v1/session").header("Sec-Fetch-Site", "cross-site");
    anonymous.send(forged).await.problem(403);
    let store = cluster.connected_store().await;
    let refusals = async || {
        let all = all(&store, 200).await;
        all.into_iter().filter(|entry| entry.trail == Trail::Refusals).collect::<Vec<_>>()
    };
    eventually("the forged request, which no answer waited for", SOON, || async {
        refusals().await.iter().any(|entry| entry.what == "request.cross_site").then_some(())
    })
    .await;
    let found = refusals().await;
    let of = |what: &str| found.iter().filter(|entry| entry.what == what).collect::<Vec<_>>();
    let guesses = of("login.refused");
    assert_eq!(guesses.len(), 11, "ten of the flood, and the one of another address: {guesses:?}");
    assert!(guesses.iter().all(|entry| entry.outcome.contains("wrong name or password")), "{guesses:?}");
    let stranger = guesses.iter().find(|entry| entry.address.as_deref() == Some("203.0.113.8")).unwrap();
    assert_eq!(stranger.username, "-", "what was typed as a name may be a password");
    for (what, named) in
        [("confirmation.refused", true), ("password.refused", true), ("request.cross_site", false)]
    {
        let [entry] = of(what)[..] else { panic!("{what}: {found:?}") };
        assert_eq!((entry.session.is_some(), entry.username == "admin"), (named, named), "{entry:?}");
        assert!(entry.address.is_some() && entry.worker.is_some(), "{entry:?}");
    }
    // The counted refusals are reported when the minute is over, or when the worker ends.
    cluster.workers[0].terminate();
    assert!(cluster.workers[0].process.ended(SOON).await.success());
    let found = refusals().await;
    let folded =
        found.iter().find(|entry| entry.after["more"].is_u64()).unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(folded.what, "login.refused");
    assert_eq!(folded.after, json!({ "more": 30, "network": "203.0.113.7/32" }));
    store.verify_audit(Trail::Refusals, &[]).await.unwrap().unwrap();
}

#[tokio::test]
async fn every_entry_is_a_line_of_the_log_with_address_and_session_and_without_a_token() {
    let cluster = Cluster::bare(1).set_up().await;
    let token = cluster.client(0).log_in().await;
    let client = cluster.client(0).with_bearer(&token);
    let session = client.get("/api/v1/session").await.body["id"].as_str().unwrap().to_owned();
    client.confirm(PASSWORD).await.expect(204);
    client.patch("/api/v1/settings", "*", json!({ "probe_interval_seconds": 7 })).await.expect(200);
    client.delete("/api/v1/session").await.expect(204);
    let log = eventually("the last line", SOON, || async {
        let log = cluster.workers[0].log();
        log.iter().any(|line| field(line, "audit.what") == Some(&json!("session.end"))).then_some(log)
    })
    .await;
    let store = cluster.connected_store().await;
    let entries = all(&store, 200).await;
    assert!(entries.len() >= 5, "{entries:?}");
    for entry in entries {
        let lines: Vec<&Value> =
            log.iter().filter(|line| field(line, "audit.what") == Some(&json!(entry.what))).collect();
        let [line] = lines[..] else { panic!("{} lines for {entry:?}", lines.len()) };
        assert_eq!(line["level"], "INFO");
        assert_eq!(field(line, "client.address"), Some(&json!("127.0.0.1")), "{line}");
        assert_eq!(field(line, "audit.digest").and_then(Value::as_str).map(str::len), Some(64), "{line}");
        let shown = field(line, "session.id").and_then(Value::as_str);
        assert_eq!(shown, entry.session.as_deref().map(|id| &id[..8]), "{line}");
    }
    let printed = cluster.workers[0].process.printed();
    assert!(!printed.contains(&token) && !printed.contains(&session), "a token or a whole id is in the log");
}
