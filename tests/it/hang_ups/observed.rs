//! The visible traces of a change whose client hung up: in Redis, the audit, the access log, the metrics.

use std::time::Duration;

use bangui::actions::Actor;
use bangui::domain::access::Access;
use bangui::store::{AuditEntry, LoginOrigin, Owner, SessionId, SessionLife, Store};
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::support::proxy::Mode;
use crate::support::rounds::holds;
use crate::support::worker::field;
use crate::support::{Client, Cluster, SOON, eventually};

const STEP: Duration = Duration::from_millis(50);
/// The delay added to each Redis command of a worker.
const LATENCY: Duration = Duration::from_millis(80);
pub const LIFE: SessionLife =
    SessionLife { idle: Duration::from_secs(600), absolute: Duration::from_secs(600) };

/// The visible traces of the changes.
pub struct Observed {
    pub cluster: Cluster,
    pub store: Store,
}

impl Observed {
    pub async fn new(cluster: Cluster) -> Self {
        let store = cluster.connected_store().await;
        cluster.proxy.as_ref().unwrap().set(Mode::Delay(LATENCY));
        Self { cluster, store }
    }

    /// All audit entries about this.
    pub async fn entries(&self, what: &str) -> Vec<AuditEntry> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.store.audit_page(cursor, 200).await.unwrap();
            found.extend(page.items.into_iter().filter(|entry| entry.what == what));
            let Some(next) = page.next_cursor else { return found };
            cursor = bangui::store::AuditCursor::parse(&next);
        }
    }

    /// The ids of the requests to this route that have a line in the access log.
    pub fn lines(&self, method: &str, route: &str) -> Vec<String> {
        let of_route = |line: &Value| {
            let (status, span) = (field(line, "http.status")?, field(line, "span")?);
            let ours = span["http.method"] == method && span["http.route"] == route && status.is_u64();
            let access = field(line, "duration_ms").is_some();
            (ours && access).then(|| span["request.id"].as_str().unwrap().to_owned())
        };
        self.cluster.workers[0].log().iter().filter_map(of_route).collect()
    }

    /// How many requests to this route the metrics count.
    pub async fn counted(&self, method: &str, route: &str) -> usize {
        let page = self.cluster.client(0).get("/metrics").await.text;
        let start = format!("bangui_http_requests_total{{route=\"{route}\",method=\"{method}\",");
        sum(&page, &start)
    }

    pub async fn number(&self, words: &[&str]) -> usize {
        self.cluster.redis.command::<Option<usize>>(words).await.unwrap_or_default()
    }

    /// How many generations of sessions there were: each password, setup and revocation of all begins one.
    pub async fn generation(&self) -> usize {
        self.number(&["GET", "{it}:generation:admin"]).await
    }

    /// Waits until the log and the metrics account for `changed` changes at least, and for the same requests.
    pub async fn accounted(&self, method: &str, route: &str, changed: usize) {
        let what = format!("{changed} changes by {method} {route} in the access log and the metrics");
        eventually(&what, SOON, || async {
            let (lines, counted) = (self.lines(method, route).len(), self.counted(method, route).await);
            (lines >= changed && lines == counted).then_some(())
        })
        .await;
    }

    pub async fn begun_session(&self) -> (SessionId, String) {
        let admin = Owner::admin();
        let origin = LoginOrigin { ip: [198, 51, 100, 7].into(), user_agent: "hang-ups".to_owned() };
        let audit = |_: &_| Actor::operator().record("test");
        let (token, details) =
            eventually("a session, though another generation may just begin", SOON, || async {
                let generation = self.store.account(&admin.username).await.unwrap()?.generation;
                self.store
                    .begin_session((&admin, &Access::everything()), generation, &origin, LIFE, audit)
                    .await
                    .unwrap()
            })
            .await;
        (details.session.id, token.reveal())
    }

    /// Stops the second worker while Redis believes that it holds a near cache.
    pub async fn silence_holder(&self) {
        self.cluster.workers[1].resume();
        for n in 0..2 {
            holds(&self.cluster.client(n), true).await;
        }
        self.cluster.workers[1].pause();
    }
}

/// The sum of the series of a metrics page that begin so.
pub fn sum(page: &str, start: &str) -> usize {
    let of = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok());
    page.lines().filter(|line| line.starts_with(start)).filter_map(of).sum::<f64>() as usize
}

/// Sends a request and hangs up after this time; returns whether the answer came before.
pub async fn hang_up(client: &Client, request: RequestBuilder, after: Duration) -> bool {
    tokio::time::timeout(after, client.try_send(request)).await.is_ok()
}

/// The times after which clients hang up.
pub fn after(steps: u32) -> Vec<Duration> {
    (1..=steps).map(|n| STEP * n).collect()
}

/// The same, and one that waits for the answer: on a busy machine no change may have begun before the others hung up.
pub fn after_and_answered(steps: u32) -> Vec<Duration> {
    [after(steps), vec![SOON]].concat()
}
