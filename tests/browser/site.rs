//! A cluster to look at, and the list of its pages.

use serde_json::json;

use crate::chrome::{Chrome, Look};
use crate::support::{Cluster, PASSWORD, SOON, eventually};

/// Every page: a short name, its path, whether one is logged in. A page that is added is walked by axe and the screenshots.
pub const PAGES: &[(&str, &str, bool)] = &[
    ("login", "/login?next=%2Faddresses%2F203.0.113.77", false),
    ("overview", "/", true),
    ("overview-empty", "/?q=nothing", true),
    ("account", "/account", true),
    ("server", "/servers/web-1", true),
    ("server-unreachable", "/servers/db-2", true),
    ("jail", "/servers/web-1/jails/sshd", true),
    ("jail-ban", "/servers/web-1/jails/sshd?part=ban", true),
    ("jail-settings", "/servers/web-1/jails/sshd?part=settings", true),
    ("jail-off", "/servers/web-1/jails/nginx-botsearch", true),
    ("address", "/addresses/203.0.113.77", true),
    ("next", "/setup/next", true),
    ("address-own", "/addresses/127.0.0.1", true),
    ("address-free", "/addresses/198.51.100.0%2F24", true),
    ("activity", "/activity", true),
    ("activity-filtered", "/activity?kind=people&server=web-1&address=203.0.113.77", true),
    ("jobs", "/jobs", true),
    ("cluster", "/cluster", true),
    ("settings", "/settings", true),
    ("diagnosis", "/diagnosis", true),
    ("help", "/help", true),
    ("not-found", "/none", true),
];

/// Two workers, and a server that is up; beside it one that cannot be reached and one whose agent is not there.
pub async fn cluster() -> Cluster {
    with(&[]).await
}

/// The same, with variables of both workers.
async fn with(variables: &[(&str, &str)]) -> Cluster {
    let (mut cluster, _) =
        Cluster::with_fail2ban(2).jails(&["sshd", "nginx-botsearch"]).start_surroundings().await;
    let servers = cluster.environment["BANGUI_SERVERS"].clone();
    let servers = format!("{servers},db-2=http://127.0.0.1:1,web-2=http+unix:///nowhere/agent.sock");
    cluster.environment.insert("BANGUI_SERVERS".to_owned(), servers);
    cluster
        .environment
        .extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    for _ in 0..2 {
        cluster.add_worker().await;
    }
    cluster.post_setup(0).await.expect(201);
    let client = cluster.client(0).logged_in().await;
    eventually("each server to be checked", SOON, || async {
        let servers = client.get("/api/v1/servers").await;
        let all = servers.body["items"].as_array()?;
        all.iter().all(|server| server["status"]["condition"] != "unknown").then_some(())
    })
    .await;
    cluster
}

/// The same with something on its pages: bans, also by a network, a setting that was changed, and a
/// jail whose switch took longer than a browser waits. Its pages, as [`PAGES`] has them, and the one of that change.
pub async fn furnished() -> (Cluster, Vec<(&'static str, String, bool)>) {
    let cluster = with(&[("BANGUI_TEST_ANSWER_WITHIN_MS", "1")]).await;
    let client = cluster.client(0).logged_in().await;
    let bans = "/api/v1/servers/web-1/jails/sshd/bans";
    let ips = json!({ "ips": ["203.0.113.77", "203.0.113.64/27", "198.51.100.9"] });
    client.post(bans, ips).await.expect(200);
    eventually("the bans to be listed", SOON, || async {
        (client.get(bans).await.body["items"].as_array()?.len() == 3).then_some(())
    })
    .await;
    client.patch("/api/v1/settings", "*", json!({ "probe_interval_seconds": 2 })).await.expect(200);
    let jail = "servers/web-1/jails/nginx-botsearch";
    let change = client.post(&format!("/api/v1/{jail}/deactivate"), json!(null)).await;
    let change = format!("/{jail}/changes/{}", change.expect(202).body["id"].as_str().unwrap());
    let pages = PAGES.iter().map(|(name, path, inside)| (*name, (*path).to_owned(), *inside));
    (cluster, pages.chain([("jail-change", change, true)]).collect())
}

/// The address of a page at worker `n`.
pub fn url(cluster: &Cluster, n: usize, path: &str) -> String {
    format!("http://{}{path}", cluster.workers[n].address)
}

/// A browser that has logged in at worker 0.
pub async fn logged_in(cluster: &Cluster, look: Look) -> Chrome {
    let chrome = Chrome::start(look).await;
    chrome.goto(&url(cluster, 0, "/login")).await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press("Log in").await;
    chrome.until("h1", "Servers").await;
    chrome
}
