//! A client that hangs up changes nothing about what it has asked for: what was changed has its audit entry, its line in the
//! access log and its place in the metrics, wherever between the steps of the change the client went away.
//!
//! Each changing route is left at every 50 ms, through a Redis that takes its time, and where sessions end beside a near cache
//! that is silent, so that hang-ups land in the middle.

use std::collections::BTreeSet;
use std::time::Duration;

use bangui::actions::Actor;
use bangui::domain::transition::record_activation;
use bangui::domain::{JailName, ServerName};
use bangui::store::{AuditEntry, LoginOrigin, SessionId, SessionLife, Store, Username};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::cluster::{SERVER, server_is};
use crate::support::proxy::Mode;
use crate::support::rounds::holds;
use crate::support::worker::field;
use crate::support::{Client, Cluster, PASSWORD, SETUP_TOKEN, SOON, eventually};

const STEP: Duration = Duration::from_millis(50);
/// What each command of a worker takes more than usual.
const LATENCY: Duration = Duration::from_millis(80);
const LIFE: SessionLife = SessionLife { idle: Duration::from_secs(600), absolute: Duration::from_secs(600) };

/// What can be seen of the changes from outside.
struct Observed {
    cluster: Cluster,
    store: Store,
}

impl Observed {
    async fn new(cluster: Cluster) -> Self {
        let store = cluster.connected_store().await;
        cluster.proxy.as_ref().unwrap().set(Mode::Delay(LATENCY));
        Self { cluster, store }
    }

    /// All audit entries about this.
    async fn entries(&self, what: &str) -> Vec<AuditEntry> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.store.audit_page(cursor, 200).await.unwrap();
            found.extend(page.items.into_iter().filter(|entry| entry.what == what));
            let Some(next) = page.next_cursor else { return found };
            cursor = bangui::store::AuditCursor::parse(&next);
        }
    }

    /// The ids of the requests to this route that have a line in the access log.
    fn lines(&self, method: &str, route: &str) -> Vec<String> {
        let of_route = |line: &Value| {
            let (status, span) = (field(line, "http.status")?, field(line, "span")?);
            let ours = span["http.method"] == method && span["http.route"] == route && status.is_u64();
            let access = field(line, "duration_ms").is_some();
            (ours && access).then(|| span["request.id"].as_str().unwrap().to_owned())
        };
        self.cluster.workers[0].log().iter().filter_map(of_route).collect()
    }

    /// How many requests to this route the metrics count.
    async fn counted(&self, method: &str, route: &str) -> usize {
        let page = self.cluster.client(0).get("/metrics").await.text;
        let start = format!("bangui_http_requests_total{{route=\"{route}\",method=\"{method}\",");
        sum(&page, &start)
    }

    async fn number(&self, words: &[&str]) -> usize {
        self.cluster.redis.command::<Option<usize>>(words).await.unwrap_or_default()
    }

    /// How many generations of sessions there were: each password, setup and revocation of all begins one.
    async fn generation(&self) -> usize {
        self.number(&["GET", "{it}:generation:admin"]).await
    }

    /// Waits until the log and the metrics account for `changed` changes at least, and for the same requests.
    async fn accounted(&self, method: &str, route: &str, changed: usize) {
        let what = format!("{changed} changes by {method} {route} in the access log and the metrics");
        eventually(&what, SOON, || async {
            let (lines, counted) = (self.lines(method, route).len(), self.counted(method, route).await);
            (lines >= changed && lines == counted).then_some(())
        })
        .await;
    }

    async fn begun_session(&self) -> (SessionId, String) {
        let admin = Username::admin();
        let generation = self.store.account(&admin).await.unwrap().unwrap().generation;
        let origin = LoginOrigin { ip: [198, 51, 100, 7].into(), user_agent: "hang-ups".to_owned() };
        let audit = |_: &_| Actor::operator().record("test");
        let begun = self.store.begin_session(&admin, generation, &origin, LIFE, audit).await;
        let (token, details) = begun.unwrap().unwrap();
        (details.session.id, token.reveal())
    }

    /// Stops the second worker while Redis believes that it holds a near cache.
    async fn silence_holder(&self) {
        self.cluster.workers[1].resume();
        for n in 0..2 {
            holds(&self.cluster.client(n), true).await;
        }
        self.cluster.workers[1].pause();
    }
}

fn sum(page: &str, start: &str) -> usize {
    let of = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok());
    page.lines().filter(|line| line.starts_with(start)).filter_map(of).sum::<f64>() as usize
}

/// Sends a request and hangs up after this time; whether the answer came before.
async fn hang_up(client: &Client, request: RequestBuilder, after: Duration) -> bool {
    tokio::time::timeout(after, client.try_send(request)).await.is_ok()
}

fn after(steps: u32) -> Vec<Duration> {
    (1..=steps).map(|n| STEP * n).collect()
}

#[tokio::test]
async fn sessions_that_ended_are_accounted_for_though_the_client_hung_up() {
    let cluster = Cluster::bare(2).proxied().env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    let seen = Observed::new(cluster).await;
    let (admin_id, admin) = seen.begun_session().await;
    let client = seen.cluster.client(0);
    let admin = client.with_bearer(&admin).confirmed().await;
    for (route, what) in [("/api/v1/session", "session.end"), ("/api/v1/sessions/{id}", "session.revoke")] {
        let mut sessions = Vec::new();
        for _ in 0..24 {
            sessions.push(seen.begun_session().await);
        }
        seen.silence_holder().await;
        let gone = sessions.iter().zip(after(24)).map(async |((id, token), after)| {
            let client = if what == "session.end" { client.with_bearer(token) } else { admin.clone() };
            let path = route.replace("{id}", &id.to_string());
            let request = client.request(Method::DELETE, &path).header("x-request-id", id.to_string());
            hang_up(&client, request, after).await
        });
        let answered = futures_util::future::join_all(gone).await;
        let changed = eventually("an entry for each session that has ended", SOON, || async {
            let entries: BTreeSet<String> = seen
                .entries(what)
                .await
                .into_iter()
                .filter_map(|entry| if what == "session.end" { entry.session } else { entry.target })
                .collect();
            let lines = seen.lines("DELETE", route);
            let (mut ended, mut left_alone) = (0, 0);
            for ((id, _), answered) in sessions.iter().zip(&answered) {
                if !seen.store.session_lives(id, LIFE).await.unwrap() {
                    let id = id.to_string();
                    (entries.contains(&id) && lines.contains(&id)).then_some(())?;
                    ended += 1;
                    left_alone += usize::from(!answered);
                }
            }
            (left_alone > 0).then_some(ended)
        })
        .await;
        seen.accounted("DELETE", route, changed).await;
        assert_eq!(seen.entries(what).await.len(), changed, "more entries than sessions that ended");
        eventually("the waits of all revocations in the metrics", SOON, || async {
            let page = client.get("/metrics").await.text;
            let all = seen.entries("session.end").await.len() + seen.entries("session.revoke").await.len();
            (sum(&page, "bangui_session_revocations_total") >= all).then_some(())
        })
        .await;
    }
    assert!(seen.store.session_lives(&admin_id, LIFE).await.unwrap());
}

#[tokio::test]
async fn logins_passwords_and_setups_are_accounted_for_though_the_client_hung_up() {
    let cluster = Cluster::bare(2).proxied().env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    let seen = Observed::new(cluster).await;
    let client = seen.cluster.client(0);
    let (_, token) = seen.begun_session().await;
    let mut admin = client.with_bearer(&token).confirmed().await;
    let stored: String = seen.cluster.redis.command(&["HGET", "{it}:account:admin", "password_hash"]).await;

    let login = json!({ "password": PASSWORD });
    let password = json!({ "current": PASSWORD, "new": "another password altogether" });
    let setup = json!({ "password": PASSWORD, "token": SETUP_TOKEN });
    for (method, path, what, body) in [
        (Method::POST, "/api/v1/session", "session.begin", login.clone()),
        (Method::DELETE, "/api/v1/sessions?keep_current=true", "session.revoke_others", Value::Null),
        (Method::POST, "/api/v1/session/confirm", "session.confirm", login.clone()),
        (Method::PUT, "/api/v1/password", "password.change", password),
        (Method::POST, "/api/v1/setup", "setup.complete", setup),
    ] {
        let changes = async || match what {
            "session.begin" => seen.number(&["SCARD", "{it}:sessions:admin"]).await,
            "session.confirm" => {
                let keys = seen.cluster.redis.keys().await;
                keys.iter().filter(|key| key.starts_with(b"{it}:confirmed:")).count()
            }
            _ => seen.generation().await,
        };
        seen.silence_holder().await;
        let (before, entries) = (changes().await, seen.entries(what).await.len());
        for after in after(16) {
            if what == "setup.complete" {
                seen.number(&["DEL", "{it}:account:admin"]).await;
            }
            if what == "password.change" {
                // As it was, and a session of its own: a change renews the token.
                seen.number(&["HSET", "{it}:account:admin", "password_hash", &stored]).await;
            }
            if ["session.confirm", "password.change"].contains(&what) {
                admin = client.with_bearer(&seen.begun_session().await.1);
            }
            let request = admin.request(method.clone(), path).json(&body);
            hang_up(&admin, request, after).await;
        }
        let route = path.split('?').next().unwrap();
        let changed = eventually(&format!("an entry `{what}` for each change"), SOON, || async {
            let written = seen.entries(what).await.len() - entries;
            let changed = changes().await - before;
            (changed == written && changed > 0).then_some(changed)
        })
        .await;
        seen.accounted(method.as_str(), route, changed).await;
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

#[tokio::test]
async fn changes_on_a_host_are_finished_and_accounted_for_though_the_client_hung_up() {
    let builder = Cluster::with_fail2ban(1).jails(&["web"]).proxied();
    let mut cluster = builder.env("BANGUI_PROBE_INTERVAL_SECONDS", 300).set_up().await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, ""));
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let mut seen = Observed::new(cluster).await;

    let few = json!({ "ips": ["203.0.113.7", "203.0.113.8"] });
    let many: Vec<String> = (0..130).map(|n| format!("203.0.113.{n}")).collect();
    let mut changing = BTreeSet::new();
    for (method, below, what, body) in [
        (Method::POST, "/jails/app/activate", "jail.activate", Value::Null),
        (Method::POST, "/jails/app/deactivate", "jail.deactivate", Value::Null),
        (Method::PATCH, "/jails/web", "jail.settings", json!({ "maxretry": 7 })),
        (Method::POST, "/jails/web/ignore", "jail.ignore", json!({ "network": "203.0.113.9" })),
        (Method::POST, "/jails/web/bans", "ban.add", few.clone()),
        (Method::POST, "/jails/web/unban", "ban.remove", few),
        (Method::DELETE, "/jails/web/bans/203.0.113.7", "ban.remove", Value::Null),
        (Method::DELETE, "/jails/web/bans", "ban.remove_all", Value::Null),
        (Method::POST, "/recovery/rollback", "recovery.roll_back", Value::Null),
        (Method::DELETE, "/recovery", "recovery.clear", Value::Null),
        (Method::POST, "/jails/web/bans", "ban_job.begin", json!({ "ips": many })),
    ] {
        let path = format!("/api/v1/servers/{SERVER}{below}");
        for after in after(8) {
            if what.starts_with("recovery.") {
                crashed(&seen, "app").await;
            }
            let request = client.request(method.clone(), &path).json(&body);
            hang_up(&client, request, after).await;
        }
        let route = ["{server}", "{jail}", "{ip}"].into_iter().zip([SERVER, "web", "203.0.113.7"]);
        let route = route.fold(path.replace("/jails/app", "/jails/{jail}"), |route, (name, value)| {
            route.replace(&format!("/{value}"), &format!("/{name}"))
        });
        changing.insert((method, route, what));
    }
    for n in 0..8 {
        let request = client.request(Method::PATCH, "/api/v1/settings").header("if-match", "*");
        let request = request.json(&json!({ "probe_interval_seconds": 300 + n }));
        hang_up(&client, request, STEP * (n + 1)).await;
    }

    for what in changing.iter().map(|(_, _, what)| *what).collect::<BTreeSet<_>>() {
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
        for (method, route, _) in changing.iter().filter(|(_, _, other)| *other == what) {
            seen.accounted(method.as_str(), route, 1).await;
            lines += seen.lines(method.as_str(), route).len();
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
    let revision = seen.number(&["HGET", "{it}:settings", "revision"]).await;
    assert_eq!(seen.entries("settings.change").await.len(), revision);
    seen.accounted("PATCH", "/api/v1/settings", revision).await;

    // With a fail2ban that does not answer, jobs stay open and can be cancelled.
    seen.cluster.fail2ban().pause();
    let ips: Vec<String> = (0..130_u32).map(|n| format!("2001:db8::{n:x}")).collect();
    let bans = format!("/api/v1/servers/{SERVER}/jails/web/bans");
    let mut open = Vec::new();
    for _ in 0..9 {
        let job = client.post(&bans, json!({ "ips": ips })).await;
        open.push(job.expect(202).body["id"].as_str().unwrap().to_owned());
    }
    for (job, after) in open[1..].iter().zip(after(8)) {
        let request = client.request(Method::POST, &format!("/api/v1/ban-jobs/{job}/cancel"));
        hang_up(&client, request, after).await;
    }
    let cancelled = eventually("the end of each cancellation", SOON, || async {
        let jobs = client.get("/api/v1/ban-jobs?limit=200").await;
        let state = |state: &str| {
            jobs.body["items"].as_array().unwrap().iter().filter(|job| job["state"] == state).count()
        };
        let cancelled = state("cancelled");
        let entries = seen.entries("ban_job.cancel").await.len();
        (state("cancelling") == 0 && cancelled == entries && cancelled > 0).then_some(cancelled)
    })
    .await;
    seen.accounted("POST", "/api/v1/ban-jobs/{id}/cancel", cancelled).await;
    seen.cluster.fail2ban().resume();
}

#[tokio::test]
async fn a_worker_that_is_stopped_finishes_what_a_client_that_hung_up_has_begun() {
    let cluster = Cluster::bare(2).proxied().env("BANGUI_SESSION_CACHE_ENABLED", true).set_up().await;
    let mut seen = Observed::new(cluster).await;
    let (id, token) = seen.begun_session().await;
    seen.silence_holder().await;
    let client = seen.cluster.client(0).with_bearer(&token);
    let ended = async || !seen.store.session_lives(&id, LIFE).await.unwrap();
    let leaving = async move { client.try_send(client.request(Method::DELETE, "/api/v1/session")).await };
    let leaving = tokio::spawn(leaving);
    eventually("the end of the session", SOON, || async { ended().await.then_some(()) }).await;
    leaving.abort();
    seen.cluster.workers[0].terminate();
    let worker = seen.cluster.workers.remove(0);
    assert_eq!(worker.process.ended(2 * SOON).await.code(), Some(0));
    assert!(!worker.process.printed().contains("timed out waiting for changes"));
    assert_eq!(seen.entries("session.end").await.len(), 1);
}
