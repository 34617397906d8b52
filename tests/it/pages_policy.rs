//! What holds for every page: its policy, its size, its refusals, its assets during a rolling update.

use std::collections::BTreeSet;

use reqwest::Method;
use scraper::{Html, Selector};

use crate::support::browser::{Browser, Page};
use crate::support::redis::Redis;
use crate::support::{Cluster, SOON, eventually};

/// Pages of somebody who is logged in.
const PAGES: [&str; 14] = [
    "/",
    "/account",
    "/users",
    "/help",
    "/setup/next",
    "/servers/web-1",
    "/servers/web-1/jails/app",
    "/addresses/203.0.113.77",
    "/none",
    "/activity",
    "/jobs",
    "/cluster",
    "/settings",
    "/diagnosis",
];
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'";
/// The most that a browser loads for its first page, uncompressed.
const FIRST_LOAD: usize = 120 * 1024;

fn selected(html: &Html, selector: &str) -> usize {
    html.select(&Selector::parse(selector).unwrap()).count()
}

fn assets(seen: &Page) -> BTreeSet<String> {
    let found = seen.html.split('"').filter(|part| part.starts_with("/assets/"));
    found.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_page_has_the_policy_and_nothing_that_the_policy_forbids() {
    let cluster = Cluster::with_fail2ban(1).set_up().await;
    let mut user = Browser::new(cluster.workers[0].address);
    let mut seen = vec![user.get("/login").await];
    user.log_in().await;
    for page in PAGES {
        seen.push(user.get(page).await);
    }
    for page in seen {
        let header = |name: &str| page.headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-security-policy"), POLICY, "{}", page.asked);
        assert_eq!(
            (&*header("cache-control"), &*header("content-type")),
            ("no-store", "text/html; charset=utf-8")
        );
        let html = page.document();
        for forbidden in [
            "[style]",
            "style",
            "script:not([src])",
            "[onclick], [onsubmit], [onload]",
            "a[href^='javascript:']",
        ] {
            assert_eq!(selected(&html, forbidden), 0, "{}: {forbidden}", page.asked);
        }
        for once in ["h1", "main", "footer", "a.skip", "html[lang]", "title"] {
            assert_eq!(selected(&html, once), 1, "{}: {once}", page.asked);
        }
        let ids: Vec<_> = html
            .select(&Selector::parse("[id]").unwrap())
            .filter_map(|element| element.value().attr("id"))
            .collect();
        assert_eq!(
            ids.iter().collect::<BTreeSet<_>>().len(),
            ids.len(),
            "{}: an id is there twice: {ids:?}",
            page.asked
        );
        // Every form is one that works without a script, and every asset is there.
        for form in html.select(&Selector::parse("form").unwrap()) {
            let method = form.value().attr("method").unwrap();
            assert!(["post", "get", "dialog"].contains(&method), "{}", page.asked);
        }
        let mut total = page.html.len();
        for asset in assets(&page) {
            let loaded = user.send(Method::GET, &asset, None, &[("accept", "*/*")]).await;
            total += loaded.expect(200).html.len();
            assert_eq!(loaded.headers["cache-control"], "public, max-age=31536000, immutable");
        }
        // Scripts load each other by name.
        let base = assets(&page)
            .into_iter()
            .find_map(|asset| asset.strip_suffix("app.js").map(str::to_owned))
            .unwrap();
        let mut open = vec!["app.js".to_owned()];
        let mut known = BTreeSet::new();
        while let Some(name) = open.pop() {
            let script = user.send(Method::GET, &format!("{base}{name}"), None, &[("accept", "*/*")]).await;
            let imports =
                script.expect(200).html.split("\"./").skip(1).filter_map(|rest| rest.split('"').next());
            let imports: Vec<String> =
                imports.map(str::to_owned).filter(|import| known.insert(import.clone())).collect();
            open.extend(imports);
            total += if name == "app.js" { 0 } else { script.html.len() };
        }
        assert!(known.len() >= 6, "{known:?}");
        assert!(total <= FIRST_LOAD, "{}: {total} bytes", page.asked);
    }
}

#[tokio::test]
async fn an_asset_of_another_version_is_answered_with_this_workers_own_and_not_kept() {
    let cluster = Cluster::bare(1).start().await;
    let mut user = Browser::new(cluster.workers[0].address);
    let page = user.open("/").await;
    let own = assets(&page).into_iter().find(|asset| asset.ends_with("style.css")).unwrap();
    let ours = user.get(&own).await;
    assert_eq!(ours.expect(200).headers["content-type"], "text/css; charset=utf-8");
    let other = user.get("/assets/0123456789abcdef/style.css").await;
    assert_eq!(other.expect(200).html, ours.html);
    assert_eq!(other.headers["cache-control"], "no-store");
    user.get("/assets/0123456789abcdef/none.css").await.expect(404);
    user.get("/assets/0123456789abcdef/..%2Fstyle.css").await.expect(404);

    let etag = ours.headers["etag"].to_str().unwrap().to_owned();
    let known = user.send(Method::GET, &own, None, &[("if-none-match", &etag)]).await;
    assert_eq!((known.status.as_u16(), known.html.len()), (304, 0));
    let packed = user.send(Method::GET, &own, None, &[("accept-encoding", "gzip, deflate, br")]).await;
    assert_eq!(packed.expect(200).headers["content-encoding"], "br");
    assert_ne!(packed.headers["etag"], ours.headers["etag"]);
}

#[tokio::test]
async fn a_refusal_is_a_page_for_a_person_and_a_document_for_a_program() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut user = Browser::new(cluster.workers[0].address);
    user.log_in().await;
    let page = user.get("/none/<b>").await;
    assert_eq!(page.expect(404).text("h1"), "Not found");
    let id = page.headers["x-request-id"].to_str().unwrap();
    assert!(page.text("footer").contains(id), "{}", page.html);
    let program = user.send(Method::GET, "/none", None, &[("accept", "application/json")]).await;
    assert_eq!(program.expect(404).headers["content-type"], "application/problem+json");
    let api = user.get("/api/v1/none").await;
    assert_eq!(api.expect(404).headers["content-type"], "application/problem+json");
    // A form with a password in it, whose session has ended: nothing was done, and it says so. Others wait behind the login
    // (pages_reloads.rs).
    let mut stranger = Browser::new(cluster.workers[0].address);
    stranger.set_cookie("bangui", &"A".repeat(43));
    let ended = stranger.post("/account/password", &[("current", "x"), ("new", "y")]).await;
    assert_eq!(ended.expect(401).text("h1"), "Your session has ended");
    assert!(ended.text("main").contains("Nothing was done"), "{}", ended.html);
    // The same from our script.
    let script = [("x-bangui-form", "1"), ("accept", "application/json"), ("sec-fetch-site", "same-origin")];
    let ended = stranger.send(Method::POST, "/account/sessions", Some(&[("end", "all")]), &script).await;
    assert_eq!(ended.expect(401).headers["content-type"], "application/problem+json");
    let refused =
        user.send(Method::POST, "/account/password", Some(&[("current", "x"), ("new", "y")]), &script).await;
    let refused: serde_json::Value = serde_json::from_str(&refused.expect(422).html).unwrap();
    assert!(
        refused["errors"]["new"].as_str().unwrap().starts_with("A password must have 12 characters"),
        "{refused}"
    );
    // A separate page asks for the password; the browser then sends the form again by itself.
    let others = [("end", "others")];
    let asked = user.send(Method::POST, "/account/sessions", Some(&others), &script).await;
    assert_eq!(asked.expect(403).html, r#"{"whole":true}"#);
    let asked = user.post("/account/sessions", &others).await;
    user.confirm(&asked).await.expect(303);
    let sent = user.send(Method::POST, "/account/sessions", Some(&others), &script).await;
    let sent: serde_json::Value = serde_json::from_str(&sent.expect(200).html).unwrap();
    assert!(sent["to"].as_str().unwrap().starts_with("/account?m="), "{sent}");
}

#[tokio::test]
async fn while_redis_is_away_a_page_says_so_loads_itself_again_and_nobody_is_logged_out() {
    let cluster = Cluster::bare(1).redis(Redis::start().await).set_up().await;
    let mut user = Browser::new(cluster.workers[0].address);
    user.log_in().await;
    user.get("/").await.expect(200);
    cluster.redis.pause();
    let page = eventually("the page that says so", SOON, || {
        let mut user = user.clone();
        async move {
            let page = user.get("/").await;
            (page.status == 503).then_some(page)
        }
    })
    .await;
    assert_eq!(page.text("h1"), "bangui cannot reach Redis");
    assert!(page.text("main").contains("Nobody is logged out."), "{}", page.html);
    assert_eq!(page.attribute("meta[http-equiv=refresh]", "content").as_deref(), Some("5"));
    assert!(!page.headers.contains_key("set-cookie"));
    cluster.redis.resume();
    eventually("the page itself", SOON, || {
        let mut user = user.clone();
        async move { (user.get("/").await.status == 200).then_some(()) }
    })
    .await;
}
