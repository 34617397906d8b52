//! Changes on a host, ban jobs and settings.

use std::collections::BTreeSet;

use bangui::domain::transition::record_activation;
use bangui::domain::{JailName, ServerName};
use bangui::store::AuditEntry;
use serde_json::{Value, json};

use super::Route;
use super::observed::{Observed, after_and_answered, hang_up};
use crate::support::cluster::{SERVER, server, server_is};
use crate::support::{Client, Cluster, SOON, eventually};

pub const ROUTES: &[Route] = &[
    Route::new("POST", "/api/v1/servers/{server}/jails/{jail}/activate", "jail.activate"),
    Route::new("POST", "/api/v1/servers/{server}/jails/{jail}/deactivate", "jail.deactivate"),
    Route::new("PATCH", "/api/v1/servers/{server}/jails/{jail}", "jail.settings"),
    Route::new("POST", "/api/v1/servers/{server}/jails/{jail}/ignore", "jail.ignore"),
    Route::new("POST", "/api/v1/servers/{server}/jails/{jail}/bans", "ban.add"),
    Route::new("POST", "/api/v1/servers/{server}/jails/{jail}/unban", "ban.remove"),
    Route::new("DELETE", "/api/v1/servers/{server}/jails/{jail}/bans/{ip}", "ban.remove"),
    Route::new("DELETE", "/api/v1/servers/{server}/jails/{jail}/bans", "ban.remove_all"),
    Route::new("POST", "/api/v1/servers/{server}/recovery/rollback", "recovery.roll_back"),
    Route::new("DELETE", "/api/v1/servers/{server}/recovery", "recovery.clear"),
    Route::new("POST", "/api/v1/servers/{server}/jails/{jail}/bans", "ban_job.begin"),
];
pub const OTHERS: &[Route] = &[
    Route::new("PATCH", "/api/v1/settings", "settings.change"),
    Route::new("POST", "/api/v1/servers/{server}/probe", ""),
    Route::new("POST", "/api/v1/ban-jobs/{id}/cancel", "ban_job.cancel"),
];

/// The path of a route of these tests.
fn filled(route: &Route) -> String {
    let jail = if route.what.ends_with("activate") { "app" } else { "web" };
    route.path.replace("{server}", SERVER).replace("{jail}", jail).replace("{ip}", "203.0.113.7")
}

fn body(what: &str) -> Value {
    match what {
        "jail.settings" => json!({ "maxretry": 7 }),
        "jail.ignore" => json!({ "network": "203.0.113.9" }),
        "ban.add" | "ban.remove" => json!({ "ips": ["203.0.113.7", "203.0.113.8"] }),
        "ban_job.begin" => json!({ "ips": (0..130).map(|n| format!("203.0.113.{n}")).collect::<Vec<_>>() }),
        _ => Value::Null,
    }
}

async fn crashed(seen: &Observed, jail: &str) {
    let (name, jail) = (ServerName::parse(SERVER).unwrap(), JailName::parse(jail).unwrap());
    eventually("a pending recovery", SOON, || async {
        let change = |state, now| {
            let (mut state, events) = record_activation(state, jail.clone(), now);
            state.pending_recovery = state.last_activation.as_ref().map(|activation| activation.crashed(now));
            Ok::<_, std::convert::Infallible>(Some((state, events)))
        };
        seen.store.change_server(&name, change).await.ok()
    })
    .await;
}

/// A cluster with one jail that runs and one that does not, without scheduled probes.
async fn observed() -> (Observed, Client) {
    let builder = Cluster::with_fail2ban(1).jails(&["web"]).proxied();
    let mut cluster = builder.env("BANGUI_PROBE_INTERVAL_SECONDS", 300).set_up().await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, ""));
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    (Observed::new(cluster).await, client)
}

#[tokio::test]
async fn changes_on_a_host_are_finished_and_accounted_for_though_the_client_hung_up() {
    let (seen, client) = observed().await;
    for route in ROUTES {
        for after in after_and_answered(8) {
            if route.what.starts_with("recovery.") {
                crashed(&seen, "app").await;
            }
            let request = client.request(route.method(), &filled(route)).json(&body(route.what));
            hang_up(&client, request, after).await;
        }
    }

    for what in ROUTES.iter().map(|route| route.what).collect::<BTreeSet<_>>() {
        eventually(&format!("the end of each `{what}` that was begun"), 8 * SOON, || async {
            let entries = seen.entries(what).await;
            let ended: BTreeSet<&String> = entries.iter().filter_map(|entry| entry.begun.as_ref()).collect();
            let begun: Vec<&AuditEntry> =
                entries.iter().filter(|entry| entry.outcome == bangui::store::BEGUN).collect();
            (!entries.is_empty() && begun.iter().all(|entry| ended.contains(&entry.id))).then_some(())
        })
        .await;
        let changed =
            seen.entries(what).await.iter().filter(|entry| entry.outcome != bangui::store::BEGUN).count();
        let mut lines = 0;
        for route in ROUTES.iter().filter(|route| route.what == what) {
            seen.accounted(route.method, route.path, 1).await;
            lines += seen.lines(route.method, route.path).len();
        }
        assert!(lines >= changed, "{lines} lines in the access log for {changed} times `{what}`");
    }
    let events: redis::Value = seen.cluster.redis.command(&["XRANGE", "{it}:events", "-", "+"]).await;
    let cleared = format!("{events:?}").matches("recovery.cleared").count();
    let rolled_back = seen.entries("recovery.roll_back").await;
    let rolled_back = rolled_back.iter().filter(|entry| entry.outcome == "done").count();
    let dismissed = seen.entries("recovery.clear").await.len();
    assert!((dismissed..=dismissed + rolled_back).contains(&cleared), "{cleared} {dismissed} {rolled_back}");
    let jobs = seen.number(&["ZCARD", "{it}:ban-jobs"]).await;
    assert_eq!(seen.entries("ban_job.begin").await.len(), jobs);
}

#[tokio::test]
async fn settings_probes_and_cancellations_are_accounted_for_though_the_client_hung_up() {
    let (mut seen, client) = observed().await;
    let [settings, probe, cancel] = OTHERS else { unreachable!("three") };
    for (n, after) in (0..).zip(after_and_answered(8)) {
        let request = client.request(settings.method(), settings.path).header("if-match", "*");
        let request = request.json(&json!({ "probe_interval_seconds": 300 + n }));
        hang_up(&client, request, after).await;
    }
    let revision = eventually("an entry for each change of the settings", SOON, || async {
        let revision = seen.number(&["HGET", "{it}:settings", "revision"]).await;
        (revision > 0 && seen.entries(settings.what).await.len() == revision).then_some(revision)
    })
    .await;
    seen.accounted(settings.method, settings.path, revision).await;

    let probed_at = async || server(&client).await["status"]["checked_at"].clone();
    let before = probed_at().await;
    for after in after_and_answered(8) {
        hang_up(&client, client.request(probe.method(), &filled(probe)), after).await;
    }
    // It has no audit entry: the request shows in the state.
    eventually("the probe that was asked for", SOON, || async {
        (probed_at().await != before).then_some(())
    })
    .await;
    seen.accounted(probe.method, probe.path, 1).await;

    // With a fail2ban that does not answer, jobs stay open and can be cancelled.
    seen.cluster.fail2ban().pause();
    let ips: Vec<String> = (0..130_u32).map(|n| format!("2001:db8::{n:x}")).collect();
    let bans = format!("/api/v1/servers/{SERVER}/jails/web/bans");
    let mut open = Vec::new();
    for _ in 0..10 {
        let job = client.post(&bans, json!({ "ips": ips })).await;
        open.push(job.expect(202).body["id"].as_str().unwrap().to_owned());
    }
    for (job, after) in open[1..].iter().zip(after_and_answered(8)) {
        let request = client.request(cancel.method(), &cancel.path.replace("{id}", job));
        hang_up(&client, request, after).await;
    }
    let cancelled = eventually("the end of each cancellation", SOON, || async {
        let jobs = client.get("/api/v1/ban-jobs?limit=200").await;
        let state = |state: &str| {
            jobs.body["items"].as_array().unwrap().iter().filter(|job| job["state"] == state).count()
        };
        let cancelled = state("cancelled");
        let entries = seen.entries(cancel.what).await.len();
        (state("cancelling") == 0 && cancelled == entries && cancelled > 0).then_some(cancelled)
    })
    .await;
    seen.accounted(cancel.method, cancel.path, cancelled).await;
    seen.cluster.fail2ban().resume();
}
