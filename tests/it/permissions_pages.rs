//! Pages show nothing that the table of permissions refuses: every form, every button with a target of its own and every link of every
//! page, as each role.

use bangui::domain::access::{Access, Role};
use bangui::http::auth::permissions::{self, Right};
use reqwest::Method;
use scraper::{Html, Selector};
use serde_json::json;

use crate::support::access::{access, session_of};
use crate::support::browser::Browser;
use crate::support::cluster::{SERVER, server_is};
use crate::support::{Client, Cluster, SOON, eventually};

const BANNED: &str = "203.0.113.77";

/// The right that a request for this path needs, by the pattern that it has.
fn right_of(method: &str, path: &str) -> Right {
    let path = path.split(['?', '#']).next().unwrap();
    let fits = |pattern: &str| {
        let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
        let same = pattern.iter().zip(&path).all(|(part, of)| part.starts_with('{') || part == of);
        same && pattern.len() == path.len()
    };
    let mut rows: Vec<_> = permissions::all().filter(|row| row.method == method && fits(row.path)).collect();
    // `/setup/next` before `/setup/{step}`, as the router does.
    rows.sort_by_key(|row| row.path.matches('{').count());
    rows.first().unwrap_or_else(|| panic!("{method} {path} is no route")).right
}

/// What a page offers: method and path of each form, each button and each link, and the fields that ask for more than the route.
fn offered(html: &str) -> Vec<(String, Right)> {
    let document = Html::parse_document(html);
    let all = |selector: &str, attribute: &str| {
        let selector = Selector::parse(selector).unwrap();
        let values = document.select(&selector).filter_map(|found| found.value().attr(attribute));
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    for action in all("form[method=post]", "action").into_iter().chain(all("button", "formaction")) {
        found.push((format!("POST {action}"), right_of("POST", &action)));
    }
    for link in all("a", "href").into_iter().filter(|link| link.starts_with('/')) {
        found.push((format!("GET {link}"), right_of("GET", &link)));
    }
    if !all("form[action$='never-ban'] button[name=persistent][value=yes]", "value").is_empty() {
        found.push(("an entry for good".to_owned(), Right::NeverBanForGood));
    }
    if !all("input[name=remove]", "value").is_empty() {
        found.push(("the removal of an entry".to_owned(), Right::ChangeJail));
    }
    found
}

async fn cluster() -> (Cluster, Client) {
    let mut cluster = Cluster::with_fail2ban(2)
        .env("BANGUI_PROBE_INTERVAL_SECONDS", 300)
        .jails(&["app", "web"])
        .set_up()
        .await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let jail = format!("/api/v1/servers/{SERVER}/jails/web");
    client.post(&format!("{jail}/bans"), json!({ "ips": [BANNED] })).await.expect(200);
    let ignored = json!({ "network": "192.0.2.1", "persistent": true });
    client.post(&format!("{jail}/ignore"), ignored).await.expect(200);
    client.post(&format!("/api/v1/servers/{SERVER}/jails/app/deactivate"), json!({})).await.expect(200);
    // A list that is as long as this is read by a probe.
    eventually("the ban in the list", SOON, || async {
        let page = client.get(&format!("{jail}/bans")).await;
        (page.body["items"].as_array()?.len() == 1).then_some(())
    })
    .await;
    cluster.fail2ban().bans_again("web", BANNED).await;
    (cluster, client)
}

#[tokio::test]
async fn no_page_offers_what_the_role_may_not_do() {
    let (cluster, _) = cluster().await;
    let store = cluster.connected_store().await;
    let many: Vec<String> = (0..150).map(|n| format!("198.51.100.{n}")).collect();
    // A job that waits, of an agent that does not answer any more, and a server that needs attention.
    let mut cluster = cluster;
    cluster.agent().kill();
    let admin = cluster.client(0).logged_in().await;
    admin.post(&format!("/api/v1/servers/{SERVER}/probe"), json!({})).await.expect(202);
    server_is(&admin, "unreachable").await;
    admin.post(&format!("/api/v1/servers/{SERVER}/jails/web/bans"), json!({ "ips": many })).await.expect(202);
    let without_agent = offers_of_all(&cluster, &store).await;
    cluster.agent().start_again().await;
    admin.post(&format!("/api/v1/servers/{SERVER}/probe"), json!({})).await.expect(202);
    server_is(&admin, "up").await;
    let with_agent = offers_of_all(&cluster, &store).await;
    // Everything that pages offer is among what was judged.
    let seen: Vec<Right> = without_agent.into_iter().chain(with_agent).collect();
    for right in [
        Right::Ban,
        Right::NeverBan,
        Right::NeverBanForGood,
        Right::CancelJob,
        Right::Probe,
        Right::Undo,
        Right::SwitchJail,
        Right::ChangeJail,
        Right::Settings,
    ] {
        assert!(seen.contains(&right), "no page offers the admin {right:?}");
    }
}

/// Opens every page as each role; returns what the admin of all servers is offered.
async fn offers_of_all(cluster: &Cluster, store: &bangui::store::Store) -> Vec<Right> {
    let jail = format!("/servers/{SERVER}/jails/web");
    let off = format!("/servers/{SERVER}/jails/app");
    let (banned, free) = (format!("/addresses/{BANNED}"), "/addresses/203.0.113.99".to_owned());
    let more = [jail, off, banned, free, format!("/servers/{SERVER}")];
    let listed = permissions::all().filter(|row| row.method == "GET" && !row.path.contains('{'));
    let pages: Vec<String> = listed
        .filter(|row| {
            // One answers with a list, and one leads to the identity provider.
            let no_page = ["/suggestions", "/login/sso/confirm"].contains(&row.path);
            !row.path.starts_with("/api/") && !no_page && row.right != Right::Open
        })
        .map(|row| row.path.to_owned())
        .chain(more)
        .collect();
    let mut to_admin = Vec::new();
    let bound = access(Role::Admin, &["web-*"]);
    for access in Role::ALL.map(|role| access(role, &[])).into_iter().chain([bound]) {
        let mut browser = Browser::new(cluster.workers[1].address);
        browser.set_cookie("bangui", &session_of(store, &access).await);
        let mut offers = 0;
        for page in &pages {
            let seen = browser.send(Method::GET, page, None, &[]).await;
            if !right_of("GET", page).of(&access) {
                seen.expect(403);
            } else {
                seen.expect(200);
            }
            for (what, right) in offered(&seen.html) {
                assert!(right.of(&access), "{page} offers {access:?} {what}, which needs {right:?}");
                offers += usize::from(what.starts_with("POST"));
                if access == Access::everything() {
                    to_admin.push(right);
                }
            }
        }
        assert!(offers > 0, "there is the logout at least");
    }
    to_admin
}
