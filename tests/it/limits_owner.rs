//! Whatever strangers do, the owner of an account gets in: the limits refuse guessers, and never shut out somebody who knows the
//! password.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::limits::{WRONG, guess, log_in_from, refused_by};
use crate::support::{Cluster, PASSWORD, SOON};

/// The owner of the account comes from an address that never logged in, and retries when the answer says so. Together the
/// others are let through to the account's limit ten to fifty times a second: without a preference each failure that comes back
/// is theirs.
async fn owner_gets_in_while_others_poll(pollers: u8, attempts: &str) {
    let cluster = Cluster::bare(2)
        .env("BANGUI_TRUSTED_PROXIES", "127.0.0.1")
        .env("BANGUI_LOGIN_LIMIT", attempts)
        // One attempt comes back every 10 s, and one is reserved for addresses that try rarely.
        .env("BANGUI_LOGIN_FAILURE_LIMIT", "10/100")
        .set_up()
        .await;
    let (done, used_up, failures) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let polling = join_all((0..pollers).map(|n| {
        let (cluster, done, used_up, failures) = (&cluster, &done, &used_up, &failures);
        async move {
            // Their attempts do not come back at the same moment.
            tokio::time::sleep(Duration::from_millis(60) * u32::from(n)).await;
            let (client, from) = (cluster.client(usize::from(n % 2)), format!("203.0.113.{n}"));
            let mut has_attempts = true;
            while !done.load(Relaxed) {
                let answer = guess(&client, &from).await;
                failures.fetch_add(usize::from(answer.status == 401), Relaxed);
                if answer.body["limit"] == "address" && std::mem::take(&mut has_attempts) {
                    used_up.fetch_add(1, Relaxed);
                }
            }
        }
    }));
    let owner = async {
        let all = usize::from(pollers);
        crate::support::eventually("failures and attempts to be used up", 4 * SOON, || async {
            (used_up.load(Relaxed) == all && failures.load(Relaxed) >= 10).then_some(())
        })
        .await;
        let (client, began) = (cluster.client(1), Instant::now());
        let mut waited = 0;
        loop {
            let answer = log_in_from(&client, &["198.51.100.7"], "admin", PASSWORD).await;
            if answer.status == 201 {
                break;
            }
            assert_eq!(refused_by(&answer), "account");
            // People retry a little later: the attempt that came back for them must still be there.
            let seconds = answer.body["retry_after_seconds"].as_u64().unwrap() + 2;
            waited += seconds;
            // Add up the waiting times in the answers, not the real time on a busy machine.
            assert!(waited <= 60 && began.elapsed() < 8 * SOON, "kept out for {:?}", began.elapsed());
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        done.store(true, Relaxed);
    };
    tokio::join!(polling, owner);
}

#[tokio::test]
async fn one_address_that_polls_cannot_keep_the_owner_out() {
    owner_gets_in_while_others_poll(1, "600/60").await;
}

#[tokio::test]
async fn ten_addresses_that_poll_cannot_keep_the_owner_out() {
    owner_gets_in_while_others_poll(10, "300/60").await;
}

#[tokio::test]
async fn a_hundred_addresses_that_poll_cannot_keep_the_owner_out() {
    owner_gets_in_while_others_poll(100, "30/60").await;
}

#[tokio::test]
async fn names_that_nobody_has_cannot_fill_the_gate_against_a_known_address() {
    let cluster = Cluster::bare(1).env("BANGUI_TRUSTED_PROXIES", "127.0.0.1").set_up().await;
    let client = cluster.client(0);
    log_in_from(&client, &["198.51.100.7"], "admin", PASSWORD).await.expect(201);
    let (done, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    let flood = join_all((0..60_u32).map(|n| {
        let (client, done, refused) = (&client, &done, &refused);
        async move {
            let mut name = n;
            while !done.load(Relaxed) {
                name += 60;
                let from = format!("203.0.113.{n}");
                let answer = log_in_from(client, &[&from], &format!("nobody-{name}"), WRONG).await;
                refused.fetch_add(usize::from(answer.status == 503), Relaxed);
            }
        }
    }));
    let owner = async {
        crate::support::eventually("the gate to be full", SOON, || async {
            (refused.load(Relaxed) > 60).then_some(())
        })
        .await;
        for _ in 0..9 {
            crate::support::eventually("a login", 4 * SOON, || async {
                let answer = log_in_from(&client, &["198.51.100.7"], "admin", PASSWORD).await;
                // On an overloaded machine Redis's answer may come too late. The gate never refuses.
                let late = answer.status == 503 && answer.problem(503) == "redis-unavailable";
                if !late {
                    answer.expect(201);
                }
                (!late).then_some(())
            })
            .await;
        }
        done.store(true, Relaxed);
    };
    tokio::join!(flood, owner);
    let log = cluster.workers[0].process.printed();
    let cause = "unavailable: this worker is busy checking passwords";
    let says = |line: &str| line.contains("login from 203.0.113.") && line.contains(cause);
    assert!(log.lines().any(says), "why a login was not decided is in the log");
}
