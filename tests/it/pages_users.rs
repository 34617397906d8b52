//! The page of users, that of an invitation, and tokens on the page of the account, in a browser without JavaScript.

use serde_json::json;

use crate::support::Cluster;
use crate::support::browser::{Browser, Page};
use crate::support::people::{USERS_PASSWORD, logged_in_as};

fn browser(cluster: &Cluster, n: usize) -> Browser {
    Browser::new(cluster.workers[n].address)
}

/// Logged in, and confirmed.
async fn admin(cluster: &Cluster) -> Browser {
    let mut admin = browser(cluster, 0);
    admin.log_in().await;
    admin.confirm_beforehand().await;
    admin
}

/// The page that a form leads to.
async fn follow(user: &mut Browser, sent: &Page) -> Page {
    let seen = user.get(&sent.expect(303).to().unwrap()).await;
    seen.expect(200);
    seen
}

#[tokio::test]
async fn a_user_is_invited_by_a_link_that_is_shown_once_and_sets_a_password_at_another_worker() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut admin = admin(&cluster).await;
    let page = admin.get("/users").await;
    let wrong = [("username", "Anna"), ("servers", "web-*, a/b"), ("role", "operator")];
    let refused = admin.submit(&page, ".side form", &wrong, "Make an invitation").await;
    assert_eq!(refused.expect(422).error_at("username").unwrap(), "A name must be in lower case.");
    assert!(refused.error_at("user-servers").is_some(), "{}", refused.html);
    let typed = [("username", "anna"), ("servers", "web-*, db-1"), ("role", "operator")];
    let sent = admin.submit(&page, ".side form", &typed, "Make an invitation").await;
    let made = follow(&mut admin, &sent).await;
    let link = made.text("code.command");
    assert!(link.starts_with("/invitation/"), "{link}");
    let again = admin.get("/users").await;
    assert!(!again.html.contains(&link), "the link is shown once");
    assert!(again.html.contains("anna"), "the invitation is listed");
    let code = link.rsplit('/').next().unwrap();
    assert!(!format!("{:?}", cluster.redis.keys().await).contains(code));
    let stored = cluster.redis.everything().await;
    assert!(!stored.windows(code.len()).any(|bytes| bytes == code.as_bytes()), "the code is stored");

    let mut anna = browser(&cluster, 1);
    let page = anna.get(&link).await;
    assert!(page.expect(200).text(".lead").contains("Your name is anna"), "{}", page.html);
    let weak = anna.submit(&page, "main form", &[("password", "short")], "Set password").await;
    assert!(weak.expect(422).error_at("password").is_some(), "{}", weak.html);
    loop {
        let sent = anna.submit(&page, "main form", &[("password", USERS_PASSWORD)], "Set password").await;
        if sent.status != 503 {
            sent.expect(303);
            break;
        }
    }
    // A login that found too many passwords being checked leads to the login page.
    let client = logged_in_as(&cluster.client(0), "anna").await;
    assert_eq!(client.get("/api/v1/session").await.body["servers"], json!(["db-1", "web-*"]));
    browser(&cluster, 0).get(&link).await.expect(404);
    for worker in &cluster.workers {
        assert!(!worker.process.printed().contains(code), "the code is in the log");
    }
}

#[tokio::test]
async fn users_are_changed_disabled_and_deleted_on_their_page_after_the_password() {
    let cluster = Cluster::bare(2).set_up().await;
    let client = cluster.client(0).logged_in().await.confirmed().await;
    crate::support::people::create_user(&client, "anna", "viewer").await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let change =
        |what: &'static str| [("user", "anna"), ("role", "operator"), ("servers", "web-*"), ("do", what)];
    for (field, value, id) in
        [("servers", "\u{202e}web <b>*", "servers-of-anna"), ("role", "owner", "role-of-anna")]
    {
        let fields = [("user", "anna"), ("role", "viewer"), ("servers", ""), ("do", "change")];
        let fields = fields.map(|(name, as_it_is)| (name, if name == field { value } else { as_it_is }));
        let refused = user.post("/users/change", &fields).await;
        assert!(refused.expect(422).error_at(id).is_some(), "{}", refused.html);
        assert!(field == "role" || refused.attribute(&format!("#{id}"), "value").as_deref() == Some(value));
        assert!(refused.attribute("details[open] [name=user]", "value").as_deref() == Some("anna"));
    }
    let asked = user.post("/users/change", &change("change")).await;
    assert_eq!(asked.expect(403).text("h1"), "Confirm with your password");
    let right = loop {
        let sent = user
            .submit(&asked, "main form", &[("password", crate::support::PASSWORD)], "Confirm password")
            .await;
        if sent.status != 503 {
            break sent;
        }
    };
    let offer = follow(&mut user, &right).await;
    let sent = user.submit(&offer, "#messages form", &[], "Change anna").await;
    let shown = follow(&mut user, &sent).await;
    assert!(shown.text("[role=status]").contains("All sessions and tokens of this user have ended."));
    let anna = logged_in_as(&cluster.client(1), "anna").await;
    assert_eq!(anna.get("/api/v1/session").await.body["role"], "operator");
    let sent = user.post("/users/change", &change("disable")).await;
    follow(&mut user, &sent).await;
    anna.get("/api/v1/session").await.problem(401);
    let sent = user.post("/users/change", &[("user", "admin"), ("do", "disable")]).await;
    let shown = follow(&mut user, &sent).await;
    assert!(shown.text("#messages").contains("last admin"), "{}", shown.html);
    let sent = user.post("/users/change", &change("delete")).await;
    let shown = follow(&mut user, &sent).await;
    assert!(!shown.text("#list").contains("anna"), "{}", shown.html);
}

#[tokio::test]
async fn a_token_is_made_on_the_page_of_the_account_and_its_secret_shown_once() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = admin(&cluster).await;
    let page = user.get("/account").await;
    let form = "form[action='/account/tokens']";
    let wrong = [("name", "cron"), ("days", "400"), ("networks", "x")];
    let refused = user.submit(&page, form, &wrong, "Make a token").await;
    assert!(refused.expect(422).error_at("networks").is_some(), "{}", refused.html);
    let typed = [("name", "cron"), ("role", "viewer"), ("networks", "127.0.0.0/8, ::1"), ("days", "7")];
    let sent = user.submit(&page, form, &typed, "Make a token").await;
    let made = follow(&mut user, &sent).await;
    let secret = made.text("code.command");
    let program = cluster.client(1).with_bearer(&secret);
    assert_eq!(program.get("/api/v1/session").await.expect(200).body["role"], "viewer");
    let page = user.get("/account").await;
    assert!(!page.html.contains(&secret), "the secret is shown once");
    let sent = user.submit(&page, "form[action='/account/revoke-token']", &[], "Revoke").await;
    follow(&mut user, &sent).await;
    program.get("/api/v1/session").await.problem(401);
}
