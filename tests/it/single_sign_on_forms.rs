//! A form whose session has ended, or that needs a confirmation, is kept while its user is at the provider: for the same browser, once, at any
//! worker, and it is sent by a person only.

use reqwest::Method;
use serde_json::Value;

use crate::single_sign_on::{browser, with_provider};
use crate::support::browser::{Browser, Page};
use crate::support::provider::{Provider, User};
use crate::support::{Client, Cluster};

const LOG_IN: &str = "Log in with Example ID";
const INVITED: [(&str, &str); 3] = [("username", "bert"), ("role", "viewer"), ("servers", "web-*")];

/// The login page that keeps a form, of a browser at this worker.
async fn typed(cluster: &Cluster, n: usize) -> (Browser, Page) {
    let mut user = browser(cluster, n);
    let login = user.post("/users/invite", &INVITED).await;
    assert!(login.expect(401).html.contains("What you typed is kept"), "{}", login.html);
    (user, login)
}

/// The address at the provider that a page leads to, by itself or by its link.
fn there(leaving: &Page) -> String {
    let link = leaving.expect(200).attribute("main a.button", "href").unwrap();
    let by_itself = leaving.attribute("meta[http-equiv=refresh]", "content").unwrap();
    assert_eq!(by_itself, format!("0;url={link}"));
    link
}

/// Comes back from the provider to this worker; the page that it leads to.
async fn come_back(user: &mut Browser, provider: &Provider, leaving: &Page, who: &User) -> Page {
    let back = user.get(&provider.approve(&there(leaving), who)).await;
    let to = back.expect(303).to().unwrap();
    let page = user.get(&to).await;
    page.expect(200);
    page
}

async fn invitations(admin: &Client) -> usize {
    let listed = admin.get("/api/v1/invitations").await;
    listed.expect(200).body["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn what_was_typed_is_offered_after_the_login_at_another_worker_once_and_sent_by_nobody_else() {
    let (cluster, provider) = with_provider(3).await;
    let admin = cluster.client(0).logged_in().await;
    let anna = User::new("anna", &["admins"]);
    let (mut user, login) = typed(&cluster, 0).await;
    let leaving = user.submit(&login, "main form", &[], LOG_IN).await;
    let back = provider.approve(&there(&leaving), &anna);
    // Not for another browser, which finds nothing.
    let mut other = browser(&cluster, 1);
    other.get("/login/sso").await.expect(303);
    other.get(&back).await.expect(400);
    let mut on_b = user.at(cluster.workers[1].address);
    let done = on_b.get(&back).await;
    let to = done.expect(303).to().unwrap();
    assert!(to.starts_with("/users"), "{to}");
    let page = on_b.get(&to).await;
    assert!(page.expect(200).text("#messages").contains("What you typed is kept"), "{}", page.html);
    let kept = |name: &str| page.attribute(&format!("#messages input[name={name}]"), "value");
    for (name, value) in INVITED {
        assert_eq!(kept(name).as_deref(), Some(value), "{}", page.html);
    }
    assert_eq!(invitations(&admin).await, 0, "nothing is sent by itself");
    // Once.
    user.at(cluster.workers[2].address).get(&back).await.expect(400);
    let again = on_b.get("/users").await;
    assert!(!again.expect(200).text("#messages").contains("kept"), "{}", again.html);

    // The form needs a confirmation, which the provider gives, over which it is kept too.
    let mut on_c = on_b.at(cluster.workers[2].address);
    let asked = on_c.submit(&page, "#messages form", &[], "Send it now").await;
    assert_eq!(asked.expect(403).text("h1"), "Confirm with your password");
    let leaving = on_c.submit(&asked, "main form", &[], "Confirm with Example ID").await;
    let page = come_back(&mut on_b, &provider, &leaving, &anna).await;
    assert!(page.text("#messages").contains("nothing has been done so far"), "{}", page.html);
    assert_eq!(invitations(&admin).await, 0);
    let sent = on_b.submit(&page, "#messages form", &[], "Invite a user").await;
    let made = on_b.get(&sent.expect(303).to().unwrap()).await;
    assert!(made.expect(200).html.contains("bert is invited"), "{}", made.html);
    assert_eq!(invitations(&admin).await, 1);
    let listed: Value = admin.get("/api/v1/users").await.body;
    let anna = listed["items"].as_array().unwrap().iter().find(|user| user["username"] == "anna").unwrap();
    assert_eq!(anna["second_factor"], Value::Null, "that is the provider's affair");
}

#[tokio::test]
async fn a_form_that_is_too_long_or_none_of_ours_is_not_kept_and_the_login_goes_on() {
    let (cluster, provider) = with_provider(2).await;
    let anna = User::new("anna", &["admins"]);
    let mut user = browser(&cluster, 0);
    let long = "203.0.113.7 ".repeat(900);
    let login = user.post("/servers/web-1/jails/x/bans", &[("ips", &long)]).await;
    assert!(login.expect(401).html.contains("too long to be kept on the way there"), "{}", login.html);
    assert_eq!(login.text("a.button"), LOG_IN);
    // As if it were offered.
    let next = "/activity";
    for (to, back, ips) in [
        ("/servers/web-1/jails/x/bans", "/", &*long),
        ("/logout", "/", "203.0.113.7"),
        ("//evil.example/x", "/", "203.0.113.7"),
        ("/users/invite", "//evil.example", "203.0.113.7"),
        ("/api/v1/session", "/", "203.0.113.7"),
    ] {
        let fields = [("next", next), ("what", "Do it"), ("to", to), ("back", back), ("keep.ips", ips)];
        let leaving = user.post("/login/sso", &fields).await;
        assert!(!cluster.redis.everything().await.windows(11).any(|bytes| bytes == b"203.0.113.7"), "{to}");
        let page = come_back(&mut user, &provider, &leaving, &anna).await;
        assert_eq!(page.asked, format!("GET {next}"));
        assert!(!page.html.contains("203.0.113.7") && !page.html.contains("evil"), "{}", page.html);
        user = browser(&cluster, 0);
    }
    // Secrets are never kept, and nothing that another site sends.
    let (mut user, login) = typed(&cluster, 0).await;
    let secret = [("keep.password", "a secret that was typed"), ("keep.code", "a secret that was typed")];
    let fields = [&secret[..], &[("what", "x"), ("to", "/users/invite"), ("back", "/users")]].concat();
    user.post("/login/sso", &fields).await.expect(200);
    let stored = cluster.redis.everything().await;
    assert!(!stored.windows(23).any(|bytes| bytes == b"a secret that was typed"), "it is stored");
    let elsewhere = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    user.send(Method::POST, "/login/sso", Some(&fields), &elsewhere).await.expect(403);
    // Somebody whom the provider refuses is not logged in, and the form is gone with the login.
    let leaving = user.submit(&login, "main form", &[], LOG_IN).await;
    let back = provider.approve(&there(&leaving), &User::new("eve", &["nobody"]));
    assert!(!user.get(&back).await.expect(403).html.contains("bert"));
    user.get(&back).await.expect(400);
}
