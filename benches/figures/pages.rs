//! What pages cost: the time and bytes of each at 1,000 servers and at a jail of 100,000 bans, and what `open_pages.rs` measures.

use std::time::Instant;

use bangui::fail2ban::{Client as Fail2banClient, Options};
use serde_json::json;

use crate::bans::{LONG, fill, millis};
use crate::support::cluster::server_is;
use crate::support::{Client, Cluster, PASSWORD, SETUP_TOKEN, eventually};
use crate::{Figure, open_pages, quantile, sweep};

/// Requests for each page.
const REQUESTS: usize = 300;
const AIM_MS: f64 = 20.0;
const JAIL: &str = "/servers/web-1/jails/web";

pub async fn measure() -> Vec<Figure> {
    at_a_thousand_servers().await
}

/// The pages about a jail of 100,000 bans, and those that stay open. Prints each figure as it comes: together they take minutes.
pub async fn measure_crowded(say: impl Fn(Vec<Figure>)) {
    let cluster = crowded_jail().await;
    let client = cluster.client(0).logged_in().await;
    let pages = [
        ("the jail", JAIL),
        ("deep in its list", "/servers/web-1/jails/web?cursor=11.20.50.50"),
        ("a search", "/servers/web-1/jails/web?q=10.20.77."),
        ("its server", "/servers/web-1"),
        ("one of its addresses", "/addresses/10.20.77.7"),
        ("the overview", "/"),
    ];
    say(vec![Figure {
        what: "pages at a jail of 100,000 bans: server time of each, bytes of HTML",
        aim: "p99 under 20 ms, under 60 KB",
        measured: all(&client, &pages).await,
    }]);
    open_pages::measure(&cluster, say).await;
}

async fn at_a_thousand_servers() -> Vec<Figure> {
    let (cluster, names, _folder) = sweep::surroundings().await;
    let store = cluster.store();
    store.ready().await.unwrap();
    let worker = sweep::start(&cluster, &names).await;
    worker
        .client()
        .post("/api/v1/setup", json!({ "password": PASSWORD, "token": SETUP_TOKEN }))
        .await
        .expect(201);
    sweep::all_known(&store).await;
    let client = worker.client().logged_in().await;
    let server = "/servers/node-1.nodes.test";
    let pages = [
        ("overview", "/"),
        ("a group of it", "/?open=node"),
        ("its last page", "/?open=node&page=10"),
        ("a search", "/?q=77"),
        ("a server", server),
        ("activity", "/activity"),
        ("jobs", "/jobs"),
        ("diagnosis", "/diagnosis"),
        ("cluster", "/cluster"),
        ("settings", "/settings"),
        ("account", "/account"),
    ];
    let measured = all(&client, &pages).await;
    vec![Figure {
        what: "pages at 1,000 servers: server time of each, bytes of HTML",
        aim: "p99 under 20 ms, under 60 KB",
        measured,
    }]
}

/// Each page in words, one after the other.
async fn all(client: &Client, pages: &[(&str, &str)]) -> String {
    let mut said = Vec::new();
    for (name, path) in pages {
        let (mut took, mut bytes) = (Vec::new(), 0);
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            let page = client.get(path).await;
            took.push(millis(begun));
            bytes = page.expect(200).text.len();
        }
        let (median, slow) = (quantile(&mut took, 0.5), quantile(&mut took, 0.99));
        let late = if slow > AIM_MS { " (missed)" } else { "" };
        said.push(format!("{name} p50 {median:.1} ms, p99 {slow:.1} ms{late}, {:.1} KB", kilobytes(bytes)));
    }
    format!("{} ({REQUESTS} requests each)", said.join("; "))
}

#[expect(clippy::cast_precision_loss, reason = "the size of a page")]
fn kilobytes(bytes: usize) -> f64 {
    bytes as f64 / 1_000.0
}

/// A worker, and a fail2ban whose jail `web` bans 100,000 addresses; their list was read.
async fn crowded_jail() -> Cluster {
    let mut cluster = Cluster::with_fail2ban(1)
        .jails(&["web"])
        .env("BANGUI_PROBE_INTERVAL_SECONDS", 300)
        .env("BANGUI_MAX_CONNECTIONS_PER_ADDRESS", 1_536)
        .env("RUST_LOG", "warn,bangui::worker=info")
        .set_up()
        .await;
    let direct = Fail2banClient::start(Options::new(cluster.fail2ban().socket()));
    fill(&direct).await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    client.post("/api/v1/servers/web-1/probe", json!({})).await.expect(202);
    eventually("the whole list", LONG, || async {
        let page = client.get("/api/v1/servers/web-1/jails/web/bans?limit=1").await;
        page.body["items"].as_array().is_some_and(|items| !items.is_empty()).then_some(())
    })
    .await;
    cluster
}
