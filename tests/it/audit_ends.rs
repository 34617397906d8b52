//! The ends of a trail of the audit: its oldest entries go when they are due, and nobody takes away others unnoticed.

use redis::streams::StreamRangeReply;

use crate::audit_chain::{SECURITY, record, verify, verify_since};
use crate::support::Cluster;

/// An entry of a stream: its id and its fields.
type Entry = (String, Vec<(Vec<u8>, Vec<u8>)>);

#[tokio::test]
async fn nobody_takes_away_an_end_of_a_trail_with_its_record_unnoticed_by_who_kept_what_was_printed() {
    let cluster = Cluster::bare(1).set_up().await;
    let store = cluster.connected_store().await;
    for n in 0..5 {
        store.audit(&record("session.test", n)).await.unwrap();
    }
    let (code, printed) = verify(&cluster).await;
    assert_eq!(code, Some(0), "{printed}");
    let lines = printed.lines().filter(|line| line.starts_with("ok "));
    let marks: Vec<String> = lines.filter_map(|line| Some(line.rsplit(' ').next()?.to_owned())).collect();
    assert!(marks.len() == 3 && marks[0].starts_with("security:6:"), "{printed}");
    let (chain, kept, kept_chain) = ("{it}:audit-chain-security", "{it}:kept", "{it}:kept-chain");
    let copy = async |from: &str, to: &str| {
        let _: i64 = cluster.redis.command(&["COPY", from, to, "REPLACE"]).await;
    };
    copy(SECURITY, kept).await;
    copy(chain, kept_chain).await;
    let restored = async || {
        copy(kept, SECURITY).await;
        copy(kept_chain, chain).await;
    };
    let entries: Vec<Entry> = cluster.redis.command(&["XRANGE", SECURITY, "-", "+"]).await;
    let set = async |n: usize, number: &str, hash: &str| {
        let field = |name: &[u8]| entries[n].1.iter().find(|(field, _)| field == name).unwrap().1.clone();
        let mut connection = cluster.redis.connection().await;
        let mut set = redis::cmd("HSET");
        set.arg(chain).arg(number).arg(field(b"number")).arg(hash).arg(field(b"hash"));
        set.query_async::<i64>(&mut connection).await.unwrap();
    };
    let says = async |words: &str| {
        let (code, printed) = verify_since(&cluster, &marks).await;
        assert_eq!(code, Some(1), "{printed}");
        let line = printed.lines().find(|line| line.starts_with("FAIL")).expect("a sentence");
        assert!(line.contains("security") && line.contains(words), "{line}");
    };
    assert_eq!(verify_since(&cluster, &marks).await.0, Some(0));

    // The newest entry, and the record set back.
    let _: i64 = cluster.redis.command(&["XDEL", SECURITY, &entries[5].0]).await;
    set(4, "number", "hash").await;
    assert_eq!(verify(&cluster).await.0, Some(0), "the chain alone is whole");
    says("entry 6 of the earlier run is missing").await;
    // Another in its place.
    store.audit(&record("session.test", 99)).await.unwrap();
    says("entry 6 is not the one of the earlier run").await;
    restored().await;
    // All but an entry that came later, and the record set on.
    store.audit(&record("session.test", 6)).await.unwrap();
    for (id, _) in &entries {
        let _: i64 = cluster.redis.command(&["XDEL", SECURITY, id]).await;
    }
    set(5, "trimmed_number", "trimmed_hash").await;
    assert_eq!(verify(&cluster).await.0, Some(0), "the chain alone is whole");
    says("entry 6 of the earlier run was removed before it was too old").await;
    restored().await;
    // All of them, and the record says that they were trimmed.
    set(5, "trimmed_number", "trimmed_hash").await;
    let _: i64 = cluster.redis.command(&["DEL", SECURITY]).await;
    says("missing entries: 1, the newest").await;
    // Both keys: without a mark, too.
    let _: i64 = cluster.redis.command(&["DEL", SECURITY, chain]).await;
    says("is missing").await;
    let (code, printed) = verify(&cluster).await;
    assert!(code == Some(1) && printed.contains("there is an account, and no entry about it"), "{printed}");
    restored().await;
    // An account of version 0.2 has an entry in its trail.
    let _: i64 = cluster.redis.command(&["DEL", SECURITY, chain]).await;
    let _: String = cluster.redis.command(&["XADD", "{it}:audit", "*", "what", "setup.complete"]).await;
    assert_eq!(verify(&cluster).await.0, Some(0));

    let (code, printed) = verify_since(&cluster, &["security:1:x".to_owned()]).await;
    assert!(code == Some(2) && printed.contains("TRAIL:NUMBER:HASH"), "{printed}");
}

#[tokio::test]
async fn entries_are_kept_for_as_many_days_as_are_configured() {
    let cluster = Cluster::bare(1).env("BANGUI_AUDIT_DAYS", 2).start().await;
    let (seconds, _): (i64, i64) = cluster.redis.command(&["TIME"]).await;
    for days in [3, 1] {
        let id = format!("{}-1", (seconds - days * 86_400) * 1000);
        let _: String = cluster.redis.command(&["XADD", SECURITY, &id, "what", &days.to_string()]).await;
    }
    cluster.post_setup(0).await.expect(201);
    let kept: StreamRangeReply = cluster.redis.command(&["XRANGE", SECURITY, "-", "+"]).await;
    let what: Vec<String> = kept.ids.iter().filter_map(|entry| entry.get("what")).collect();
    assert_eq!(what, ["1", "setup.complete"]);
}
