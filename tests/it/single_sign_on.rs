//! Single sign-on with an identity provider (OpenID Connect): begun on one worker and finished on another, once; what the groups allow.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::browser::{Browser, Page};
use crate::support::people::{create_user, try_log_in};
use crate::support::provider::{Provider, User};
use crate::support::{Client, Cluster, PASSWORD};

/// Rounds of two logins at once.
const ROUNDS: usize = 50;

pub async fn with_provider(workers: usize) -> (Cluster, Provider) {
    let provider = Provider::start().await;
    let cluster = provider.for_workers(Cluster::bare(workers)).set_up().await;
    (cluster, provider)
}

pub fn browser(cluster: &Cluster, n: usize) -> Browser {
    Browser::new(cluster.workers[n].address)
}

/// Goes to the provider from this worker, and comes back to that one.
pub async fn sign_on(
    cluster: &Cluster,
    provider: &Provider,
    user: &User,
    from: usize,
    to: usize,
) -> (Browser, Page) {
    let mut browser = browser(cluster, from);
    let there = browser.get("/login/sso").await;
    let back = provider.approve(&there.expect(303).to().unwrap(), user);
    let mut browser = browser.at(cluster.workers[to].address);
    let page = browser.get(&back).await;
    (browser, page)
}

/// The session that this browser has now.
pub fn client(cluster: &Cluster, browser: &Browser, n: usize) -> Client {
    cluster.client(n).with_cookie(browser.cookie("bangui").expect("a session"))
}

pub async fn logged_in(cluster: &Cluster, provider: &Provider, user: &User) -> Client {
    let (browser, page) = sign_on(cluster, provider, user, 0, 1).await;
    page.expect(303);
    client(cluster, &browser, 0)
}

pub async fn session(client: &Client) -> Value {
    client.get("/api/v1/session").await.expect(200).body.clone()
}

pub async fn refused_everywhere(cluster: &Cluster, client: &Client) {
    for worker in &cluster.workers {
        client.at(worker.address).get("/api/v1/session").await.problem(401);
    }
}

/// What the audit has of refused logins.
pub async fn refusals(cluster: &Cluster) -> Vec<String> {
    let store = cluster.connected_store().await;
    let page = store.audit_page(None, 200).await.unwrap();
    page.items.into_iter().filter(|entry| entry.what == "login.refused").map(|entry| entry.outcome).collect()
}

#[tokio::test]
async fn a_login_begun_on_one_worker_is_finished_on_another_and_counts_once_on_all() {
    let (cluster, provider) = with_provider(3).await;
    let anna = User::new("anna", &["web", "unknown"]);
    let mut browser = browser(&cluster, 0);
    let page = browser.get("/login?next=%2Factivity").await;
    assert_eq!(page.expect(200).text("a.button"), "Log in with Example ID");
    let there = browser.get(&page.attribute("a.button", "href").unwrap()).await;
    let back = provider.approve(&there.expect(303).to().unwrap(), &anna);
    let mut on_b = browser.at(cluster.workers[1].address);
    let done = on_b.get(&back).await;
    assert_eq!(done.expect(303).to().as_deref(), Some("/activity"));
    let shown = session(&client(&cluster, &on_b, 2)).await;
    assert_eq!((&shown["username"], &shown["role"]), (&json!("anna"), &json!("operator")), "{shown}");
    assert_eq!(shown["servers"], json!(["web-*"]), "{shown}");

    // The same answer of the provider, at every worker, and the same code with a state of its own.
    for worker in &cluster.workers {
        let mut again = browser.at(worker.address);
        let refused = again.get(&back).await;
        assert_eq!(refused.expect(400).text("h1"), "This login cannot be finished here");
        assert!(again.cookie("bangui").is_none() && !refused.html.contains("code-1"), "{}", refused.html);
    }
    let code = url::Url::parse(&format!("http://x{back}")).unwrap();
    let code = code.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    for worker in &cluster.workers {
        let mut again = browser.at(worker.address);
        let there = again.get("/login/sso").await;
        let fresh = provider.approve(&there.expect(303).to().unwrap(), &anna);
        let stale = fresh.replace("code-", "gone-").replacen(
            &fresh[fresh.find("code=").unwrap()..fresh.find("&state").unwrap()],
            &format!("code={code}"),
            1,
        );
        let mut back = again.at(cluster.workers[0].address);
        assert_eq!(back.get(&stale).await.expect(403).text("h1"), "The single sign-on was refused");
    }
    for worker in &cluster.workers {
        let log = worker.process.printed();
        assert!(!log.contains("code-1") && !log.contains(crate::support::provider::CLIENT_SECRET), "{log}");
    }
}

#[tokio::test]
async fn who_is_in_no_listed_group_gets_no_account_and_the_groups_decide_at_each_login() {
    let (cluster, provider) = with_provider(3).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let users = async || -> Vec<String> {
        let listed = admin.get("/api/v1/users").await;
        let items = listed.expect(200).body["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["username"].as_str().unwrap().to_owned()).collect()
    };
    let mut anna = User::new("Anna", &["strangers"]);
    let (browser, page) = sign_on(&cluster, &provider, &anna, 0, 1).await;
    assert!(page.expect(403).html.contains("none of your groups"), "{}", page.html);
    assert!(browser.cookie("bangui").is_none());
    assert_eq!(users().await, ["admin"]);

    anna.groups = vec!["looks".to_owned()];
    let first = logged_in(&cluster, &provider, &anna).await;
    assert_eq!(session(&first).await["role"], "viewer");
    let same = logged_in(&cluster, &provider, &anna).await;
    for client in [&first, &same] {
        session(client).await;
    }
    // Other groups: what is there ends everywhere, and the new session has the new role.
    anna.groups = vec!["web".to_owned(), "looks".to_owned(), "db".to_owned()];
    let operator = logged_in(&cluster, &provider, &anna).await;
    for client in [&first, &same] {
        refused_everywhere(&cluster, client).await;
    }
    let shown = session(&operator).await;
    assert_eq!(shown["servers"], json!(["db-1", "db-2", "web-*"]), "{shown}");
    // Another name at the provider, and the same subject: the same account.
    anna.name = "anna.married".to_owned();
    assert_eq!(session(&logged_in(&cluster, &provider, &anna).await).await["username"], "anna");
    assert_eq!(users().await, ["admin", "anna"]);
    // No group any more.
    anna.groups.clear();
    let (_, page) = sign_on(&cluster, &provider, &anna, 2, 0).await;
    page.expect(403);
    refused_everywhere(&cluster, &operator).await;
    assert_eq!(users().await, ["admin"]);
    // And back: another account, of whatever name is free then.
    anna.groups = vec!["admins".to_owned()];
    let back = logged_in(&cluster, &provider, &anna).await;
    assert_eq!(session(&back).await["role"], "admin");
    refused_everywhere(&cluster, &operator).await;
    let store = cluster.connected_store().await;
    let entries: Vec<String> =
        store.audit_page(None, 200).await.unwrap().items.into_iter().map(|entry| entry.what).collect();
    for what in ["user.provide", "user.change", "user.delete", "session.begin"] {
        assert!(entries.iter().any(|entry| entry == what), "{what}: {entries:?}");
    }
}

#[tokio::test]
async fn a_login_that_another_browser_has_begun_is_finished_in_no_other() {
    let (cluster, provider) = with_provider(3).await;
    let (mallory, anna) = (User::new("mallory", &["looks"]), User::new("anna", &["looks"]));
    // Somebody begins a login to their own account, and sends the last step to somebody else.
    let mut theirs = browser(&cluster, 0);
    let there = theirs.get("/login/sso").await;
    let link = provider.approve(&there.expect(303).to().unwrap(), &mallory);
    let mut victim = browser(&cluster, 1);
    victim.get(&link).await.expect(400);
    assert!(victim.cookie("bangui").is_none());
    // Also to somebody who has begun one.
    victim.get("/login/sso").await.expect(303);
    victim.get(&link).await.expect(400);
    assert!(victim.cookie("bangui").is_none());
    // It was not used up by that.
    theirs.get(&link).await.expect(303);
    assert_eq!(session(&client(&cluster, &theirs, 2)).await["username"], "mallory");
    // Two tabs of one browser.
    let mut tabs = browser(&cluster, 2);
    let one = tabs.get("/login/sso?next=%2Fjobs").await.to().unwrap();
    let other = tabs.get("/login/sso?next=%2Factivity").await.to().unwrap();
    assert_eq!(tabs.get(&provider.approve(&one, &anna)).await.expect(303).to().as_deref(), Some("/jobs"));
    assert_eq!(
        tabs.get(&provider.approve(&other, &anna)).await.expect(303).to().as_deref(),
        Some("/activity")
    );
    // Nothing at all, and nonsense.
    for query in ["", "?code=x", "?state=x&code=x", "?error=access_denied", "?state=&code="] {
        browser(&cluster, 0).get(&format!("/login/callback{query}")).await.expect(400);
    }
}

#[tokio::test]
async fn the_answer_of_another_provider_and_a_refusal_log_nobody_in() {
    let (cluster, provider) = with_provider(2).await;
    let anna = User::new("anna", &["looks"]);
    let mut user = browser(&cluster, 0);
    let back = provider.approve(&user.get("/login/sso").await.to().unwrap(), &anna);
    let issuer: String = url::form_urlencoded::byte_serialize(provider.issuer.as_bytes()).collect();
    let mixed_up = back.replace(&issuer, "https%3A%2F%2Fevil.example");
    assert_ne!(mixed_up, back);
    let refused = user.get(&mixed_up).await;
    assert!(refused.expect(403).html.contains("another provider"), "{}", refused.html);
    assert_eq!(provider.asked("token"), 0, "no code is shown to the wrong one");
    user.get(&back).await.expect(400);
    let there = user.get("/login/sso").await.to().unwrap();
    let state = url::Url::parse(&there).unwrap();
    let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let denied = user.get(&format!("/login/callback?error=access_denied%3Cb%3E&state={state}")).await;
    assert!(denied.expect(403).text("main").contains("(access_deniedb)"), "{}", denied.html);
    assert!(user.cookie("bangui").is_none());
    let said = refusals(&cluster).await;
    assert!(said.iter().any(|one| one.contains("another provider has answered")), "{said:?}");
}

#[tokio::test]
async fn another_site_gets_a_browser_no_further_than_the_login_page_and_uses_up_no_attempt() {
    let provider = Provider::start().await;
    let cluster = provider.for_workers(Cluster::bare(1)).env("BANGUI_LOGIN_LIMIT", "3/3600").set_up().await;
    let mut user = browser(&cluster, 0);
    for site in ["cross-site", "same-site"] {
        for _ in 0..5 {
            let led =
                user.send(Method::GET, "/login/sso?next=%2Fjobs", None, &[("sec-fetch-site", site)]).await;
            assert_eq!(led.expect(303).to().as_deref(), Some("/login?next=%2Fjobs"), "{site}");
        }
    }
    let anna = User::new("anna", &["looks"]);
    // A login that succeeds gives its attempt back.
    for _ in 0..5 {
        let there = user.send(Method::GET, "/login/sso", None, &[("sec-fetch-site", "same-origin")]).await;
        user.get(&provider.approve(&there.expect(303).to().unwrap(), &anna)).await.expect(303);
    }
    for _ in 0..3 {
        user.get("/login/sso").await.expect(303);
    }
    let limited = user.get("/login/sso").await;
    assert!(limited.expect(429).headers.contains_key("retry-after"), "{}", limited.html);
}

#[tokio::test]
async fn a_login_leads_to_no_other_site() {
    let (cluster, provider) = with_provider(1).await;
    let anna = User::new("anna", &["looks"]);
    for next in
        ["https://evil.example", "//evil.example", "/\\evil.example", "/logout", "javascript:alert(1)"]
    {
        let mut user = browser(&cluster, 0);
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let there = user.get(&format!("/login/sso?{query}")).await.to().unwrap();
        let done = user.get(&provider.approve(&there, &anna)).await;
        assert_eq!(done.expect(303).to().as_deref(), Some("/"), "{next}");
    }
}

#[tokio::test]
async fn an_account_is_never_taken_over_by_its_name_and_a_disabled_one_stays_out() {
    let (cluster, provider) = with_provider(2).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    create_user(&admin, "bert", "admin").await;
    for name in ["bert", "admin", "ADMIN"] {
        let (browser, page) = sign_on(&cluster, &provider, &User::new(name, &["admins"]), 0, 1).await;
        assert!(page.expect(403).html.contains("exists already"), "{name}: {}", page.html);
        assert!(browser.cookie("bangui").is_none());
    }
    let anna = User::new("anna", &["looks"]);
    let session = logged_in(&cluster, &provider, &anna).await;
    // Another subject of that name is somebody else.
    let other = User { sub: "another".to_owned(), ..anna.clone() };
    sign_on(&cluster, &provider, &other, 0, 1).await.1.expect(403);
    // No password logs it in, at the words of a wrong one.
    for password in ["", PASSWORD, "seven quiet lanterns at dusk"] {
        let wrong = try_log_in(&cluster.client(0), "anna", password).await;
        assert_eq!(wrong.problem(401), "wrong-login");
    }
    let disabled = admin.patch("/api/v1/users/anna", "*", json!({ "disabled": true })).await;
    disabled.expect(200);
    refused_everywhere(&cluster, &session).await;
    let (_, page) = sign_on(&cluster, &provider, &anna, 0, 1).await;
    assert!(page.expect(403).html.contains("account is disabled"), "{}", page.html);
    // Its groups decide what it may do, and nobody here.
    for change in [json!({ "role": "admin" }), json!({ "servers": ["x"] })] {
        assert_eq!(admin.patch("/api/v1/users/anna", "*", change).await.problem(409), "user-of-provider");
    }
    admin.delete("/api/v1/users/anna").await.expect(204);
    logged_in(&cluster, &provider, &other).await;
    sign_on(&cluster, &provider, &anna, 0, 1).await.1.expect(403);
}

#[tokio::test]
async fn the_last_admin_stays_one_whatever_the_groups_say() {
    let (cluster, provider) = with_provider(2).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let mut anna = User::new("anna", &["admins"]);
    let session = logged_in(&cluster, &provider, &anna).await;
    admin.patch("/api/v1/users/admin", "*", json!({ "disabled": true })).await.expect(200);
    anna.groups = vec!["looks".to_owned()];
    let (_, page) = sign_on(&cluster, &provider, &anna, 0, 1).await;
    assert!(page.expect(403).html.contains("nobody else is an admin"), "{}", page.html);
    assert_eq!(session.get("/api/v1/users").await.expect(200).body["items"].as_array().unwrap().len(), 2);
    // Without any group the account stays, and its sessions end.
    anna.groups.clear();
    sign_on(&cluster, &provider, &anna, 0, 1).await.1.expect(403);
    refused_everywhere(&cluster, &session).await;
    anna.groups = vec!["admins".to_owned()];
    let again = logged_in(&cluster, &provider, &anna).await;
    assert_eq!(again.get("/api/v1/users").await.expect(200).body["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn two_first_logins_at_once_on_two_workers_make_one_account() {
    let (cluster, provider) = with_provider(3).await;
    let admin = cluster.client(2).logged_in().await;
    for round in 0..ROUNDS {
        let user = User::new(&format!("user{round}"), &["looks"]);
        // In every other round the two go by different names: then both may only get the account of the faster one.
        let names =
            [user.name.clone(), if round % 2 == 0 { user.name.clone() } else { format!("other{round}") }];
        let mut ready = Vec::new();
        for (n, name) in names.into_iter().enumerate() {
            let mut browser = browser(&cluster, n);
            let there = browser.get("/login/sso").await.to().unwrap();
            let back = provider.approve(&there, &User { name, ..user.clone() });
            ready.push((browser, back));
        }
        let came_back = ready.into_iter().map(|(mut browser, back)| async move {
            browser.get(&back).await.expect(303);
            browser
        });
        let browsers = join_all(came_back).await;
        let first = session(&client(&cluster, &browsers[0], 2)).await;
        let second = session(&client(&cluster, &browsers[1], 2)).await;
        assert_eq!(first["username"], second["username"], "{first} {second}");
    }
    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin.get(&format!("/api/v1/users?limit=50{cursor}")).await;
        names.extend(
            page.expect(200).body["items"].as_array().unwrap().iter().map(|item| item["username"].clone()),
        );
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(names.len(), 1 + ROUNDS, "{names:?}");
}
