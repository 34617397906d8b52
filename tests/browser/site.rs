//! A cluster whose pages the tests visit, and the list of these pages.

use serde_json::json;

use crate::chrome::{Chrome, Look};
use crate::support::agent::Agent;
use crate::support::fail2ban::Fail2ban;
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually};

/// Every page: a short name, its path, whether the browser is logged in. axe and the screenshots visit each. A page that only a
/// form leads to is `POST` and its path, with the fields of the form after a `?`.
pub const PAGES: &[(&str, &str, bool)] = &[
    ("login", "/login?next=%2Faddresses%2F203.0.113.77", false),
    ("overview", "/", true),
    ("overview-empty", "/?q=nothing", true),
    ("account", "/account", true),
    ("factors", "/account/factors", true),
    ("users", "/users", true),
    ("server", "/servers/web-1", true),
    ("server-unreachable", "/servers/db-2", true),
    ("server-degraded", "/servers/web-2", true),
    ("server-down", "/servers/mail-1", true),
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
    ("refused", "POST /servers/web-1/jails/sshd/switch?do=neither", true),
    ("confirm", "POST /account/sessions?end=others", true),
    ("jail-ban-refused", "POST /servers/web-1/jails/sshd/bans?ips=203.0.113.300%0A198.51.100.7", true),
    ("settings-refused", "POST /settings?revision=1&session_idle_seconds=x&login_limit=0", true),
    ("login-refused", "POST /login?username=admin&password=wrong", false),
    ("login-out", "/login?out=1", false),
    ("login-ended", "/login?ended=1&next=%2Fjobs", false),
    ("login-over", "/login?over=1", false),
    ("account-refused", "POST /account/password?current=wrong&new=short", true),
    ("token-refused", "POST /account/tokens?name=&role=x&servers=a%20b&networks=x&days=0", true),
    ("jail-settings-refused", "POST /servers/web-1/jails/sshd/settings?bantime=0&maxretry=x", true),
    ("jail-never-ban-refused", "POST /servers/web-1/jails/sshd/never-ban?network=x", true),
    ("jail-search-empty", "/servers/web-1/jails/sshd?q=9", true),
    ("diagnosis-empty", "/diagnosis?kind=redis-eviction", true),
    ("activity-empty", "/activity?jail=none", true),
    ("query-refused", "/diagnosis?page=x", true),
];

/// The page of a change of a jail, whose id is another one each time.
pub const CHANGE: &str = "/servers/web-1/jails/nginx-botsearch/changes/x";

/// Two workers, and three servers: one that is up, one that cannot be reached, and one whose agent's socket does not exist.
pub async fn cluster() -> Cluster {
    with("web-2=http+unix:///nowhere/agent.sock", &[]).await
}

/// The same with other servers, and with more variables for both workers.
async fn with(others: &str, variables: &[(&str, &str)]) -> Cluster {
    let (mut cluster, _) =
        Cluster::with_fail2ban(2).jails(&["sshd", "nginx-botsearch"]).start_surroundings().await;
    let servers = cluster.environment["BANGUI_SERVERS"].clone();
    let servers = format!("{servers},db-2=http://127.0.0.1:1,{others}");
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

/// A cluster with something on its pages.
pub struct Furnished {
    pub cluster: Cluster,
    /// [`PAGES`], and the page of a change of a jail.
    pub pages: Vec<(&'static str, String, bool)>,
    _others: Vec<(Fail2ban, Agent)>,
}

/// More servers: one that is well, one that lacks a jail, one that is down.
async fn others() -> Vec<(&'static str, Fail2ban, Agent)> {
    let mut others = Vec::new();
    for name in ["db-1", "web-2", "mail-1"] {
        let fail2ban = Fail2ban::start(&["sshd", "recidive"]).await;
        let agent = Agent::start(&fail2ban.socket(), &fail2ban.config()).await;
        for n in 0..name.len() * 3 {
            fail2ban.log_failure("sshd", &format!("198.51.100.{}", 20 + n));
        }
        others.push((name, fail2ban, agent));
    }
    others
}

/// Waits until the server of that name has this condition.
async fn is(client: &Client, name: &str, condition: &str) {
    eventually(&format!("{name} to be {condition}"), SOON, || async {
        let server = client.get(&format!("/api/v1/servers/{name}")).await;
        (server.body["status"]["condition"] == condition).then_some(())
    })
    .await;
}

/// A cluster with bans (also of a network, and by a job), servers in every condition, a changed setting, and a jail whose switch
/// took longer than a browser waits.
pub async fn furnished() -> Furnished {
    let mut others = others().await;
    let servers: Vec<String> =
        others.iter().map(|(name, _, agent)| format!("{name}={}", agent.url())).collect();
    let cluster = with(&servers.join(","), &[("BANGUI_TEST_ANSWER_WITHIN_MS", "1")]).await;
    let client = cluster.client(0).logged_in().await;
    for (name, fail2ban, _) in &mut others {
        is(&client, name, "up").await;
        match *name {
            "web-2" => fail2ban.command(&["stop", "recidive"]).await,
            "mail-1" => fail2ban.kill(),
            _ => {}
        }
    }
    is(&client, "web-2", "degraded").await;
    is(&client, "mail-1", "down").await;
    let bans = "/api/v1/servers/web-1/jails/sshd/bans";
    let ips = json!({ "ips": ["203.0.113.77", "203.0.113.64/27", "198.51.100.9"] });
    client.post(bans, ips).await.expect(200);
    eventually("the bans to be listed", SOON, || async {
        (client.get(bans).await.body["items"].as_array()?.len() == 3).then_some(())
    })
    .await;
    let many: Vec<String> = (0..101).map(|n| format!("100.64.0.{n}")).collect();
    client.post(bans, json!({ "ips": many })).await.expect(202);
    client.patch("/api/v1/settings", "*", json!({ "probe_interval_seconds": 2 })).await.expect(200);
    let jail = "servers/web-1/jails/nginx-botsearch";
    let change = client.post(&format!("/api/v1/{jail}/deactivate"), json!(null)).await;
    let change = format!("/{jail}/changes/{}", change.expect(202).body["id"].as_str().unwrap());
    let pages = PAGES.iter().map(|(name, path, inside)| (*name, (*path).to_owned(), *inside));
    Furnished {
        pages: pages.chain([("jail-change", change, true)]).collect(),
        cluster,
        _others: others.into_iter().map(|(_, fail2ban, agent)| (fail2ban, agent)).collect(),
    }
}

/// The address of a page at worker `n`.
pub fn url(cluster: &Cluster, n: usize, path: &str) -> String {
    format!("http://{}{path}", cluster.workers[n].address)
}

/// Opens a page of [`PAGES`] at worker 0.
pub async fn open(chrome: &Chrome, cluster: &Cluster, path: &str) {
    let Some(form) = path.strip_prefix("POST ") else { return chrome.goto(&url(cluster, 0, path)).await };
    let (action, fields) = form.split_once('?').unwrap();
    chrome.goto(&url(cluster, 0, "/login")).await;
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(fields.as_bytes()).into_owned().collect();
    let send = "const form = document.createElement('form'); form.method = 'post'; form.action = arguments[0]; \
        for (const [name, value] of arguments[1]) { const field = document.createElement('input'); field.type = 'hidden'; \
            field.name = name; field.value = value; form.append(field); } \
        document.body.append(form); document.body.id = 'before'; form.submit();";
    chrome.client.execute(send, vec![json!(action), json!(fields)]).await.unwrap();
    eventually(&format!("the answer to {path}"), SOON, || async {
        let there = "return document.readyState === 'complete' && document.body.id !== 'before'";
        (chrome.client.execute(there, Vec::new()).await.ok()? == true).then_some(())
    })
    .await;
}

/// A browser that has logged in at worker 0.
pub async fn logged_in(cluster: &Cluster, look: Look) -> Chrome {
    let chrome = Chrome::start(look).await;
    log_in(&chrome, cluster).await;
    chrome
}

/// Logs in at worker 0.
pub async fn log_in(chrome: &Chrome, cluster: &Cluster) {
    chrome.goto(&url(cluster, 0, "/login")).await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press("Log in").await;
    chrome.until("h1", "Servers").await;
}
