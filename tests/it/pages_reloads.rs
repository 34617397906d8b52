//! Pages when something goes wrong in a browser without JavaScript: a reload at the address of a form, and a session that ended while a
//! form was open, which loses nothing that was typed.

use crate::support::browser::Browser;
use crate::support::{Cluster, PASSWORD};

fn browser(cluster: &Cluster, n: usize) -> Browser {
    Browser::new(cluster.workers[n].address)
}

#[tokio::test]
async fn the_address_of_a_form_leads_a_reload_to_the_page_that_it_is_on() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    for (form, page) in [
        ("/confirm", "/"),
        ("/logout", "/"),
        ("/undo", "/activity"),
        ("/account/sessions", "/account"),
        ("/account/password", "/account"),
        ("/account/theme", "/account"),
        ("/account/keys", "/account"),
        ("/account/tokens", "/account"),
        ("/account/revoke-token", "/account"),
        ("/users/invite", "/users"),
        ("/users/change", "/users"),
        ("/users/revoke", "/users"),
        ("/setup/never-ban", "/setup/next"),
        ("/jobs/0123456789abcdef0123456789abcdef/cancel", "/jobs"),
        ("/addresses/203.0.113.0%2F24/unban", "/addresses/203.0.113.0%2F24"),
        ("/addresses/203.0.113.7/ban", "/addresses/203.0.113.7"),
        ("/addresses/203.0.113.7/never-ban", "/addresses/203.0.113.7"),
        ("/servers/web-1/probe", "/servers/web-1"),
        ("/servers/web-1/recovery", "/servers/web-1"),
        ("/servers/web-1/jails/sshd/switch", "/servers/web-1/jails/sshd"),
        ("/servers/web-1/jails/sshd/bans", "/servers/web-1/jails/sshd"),
        ("/servers/web-1/jails/sshd/unban", "/servers/web-1/jails/sshd"),
        ("/servers/web-1/jails/sshd/unban-all", "/servers/web-1/jails/sshd"),
        ("/servers/web-1/jails/sshd/cancel", "/servers/web-1/jails/sshd"),
        ("/servers/web-1/jails/sshd/settings", "/servers/web-1/jails/sshd"),
        ("/servers/web-1/jails/sshd/never-ban", "/servers/web-1/jails/sshd"),
    ] {
        assert_eq!(user.get(form).await.expect(303).to().as_deref(), Some(page), "{form}");
    }
    user.get("/account").await.expect(200);
}

#[tokio::test]
async fn what_was_typed_is_kept_over_the_login_and_sent_only_when_that_is_pressed() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let page = user.get("/settings").await;
    let mut other = browser(&cluster, 1);
    other.log_in().await;
    let sessions = other.get("/account").await;
    let asked = other.submit(&sessions, "form", &[], "End all other sessions").await;
    other.confirm(&asked).await.expect(303);

    let typed = [("probe_interval_seconds", "7"), ("login_limit", "\"><script>alert(1)</script>\u{202e}")];
    let ended = user.submit(&page, "#settings", &typed, "Save").await;
    let lead = ended.expect(401).text(".lead");
    assert!(lead.contains("Nothing was done. What you typed is kept"), "{lead}");
    assert!(!ended.html.contains("<script>alert"), "{}", ended.html);
    let kept = ended.attribute("[name='keep.login_limit']", "value");
    assert_eq!(kept.as_deref(), Some(typed[1].1), "as it was typed");
    // A wrong password keeps it too, at the other worker.
    let mut user = user.at(cluster.workers[1].address);
    let wrong = user.submit(&ended, "main form", &[("password", "wrong")], "Log in").await;
    assert_eq!(
        wrong.expect(422).attribute("[name='keep.probe_interval_seconds']", "value").as_deref(),
        Some("7")
    );
    let right = user.submit(&wrong, "main form", &[("password", PASSWORD)], "Log in").await;
    let to = right.expect(303).to().unwrap();
    assert!(to.starts_with("/settings?m="), "{to}");
    let offer = user.get(&to).await;
    let message = offer.expect(200).text("#messages");
    assert!(message.contains("Logged in again.") && message.contains("nothing was done yet"), "{message}");
    assert!(!offer.html.contains("<script>alert"), "{}", offer.html);
    assert_eq!(
        offer.attribute("#probe_interval_seconds", "value").as_deref(),
        Some("1"),
        "nothing was saved"
    );
    let refused = user.submit(&offer, "#messages form", &[], "Send it now").await;
    let error = refused.expect(422).error_at("login_limit").unwrap();
    assert!(error.contains("must"), "it is judged like any form: {error}");
    assert_eq!(refused.attribute("#probe_interval_seconds", "value").as_deref(), Some("7"), "and kept");
}

#[tokio::test]
async fn a_form_with_a_secret_or_too_much_in_it_is_not_kept_and_no_foreign_one_is() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut stranger = browser(&cluster, 0);
    for fields in [
        vec![("current", "my old password"), ("new", "my new password")],
        vec![("x", "y"), ("password", "a secret")],
    ] {
        let seen = stranger.post("/account/password", &fields).await;
        assert!(seen.expect(401).text("h1").contains("Your session has ended"), "{}", seen.html);
        assert!(!seen.html.contains("my old password") && !seen.html.contains("a secret"), "{}", seen.html);
    }
    let long = "y".repeat(20_000);
    let seen = stranger.post("/account/keys", &[("keys", &long)]).await;
    assert!(seen.expect(401).text("main").contains("your browser kept what you typed"), "{}", seen.html);
    let many: Vec<(&str, &str)> = (0..101).map(|_| ("x", "y")).collect();
    stranger.post("/account/keys", &many).await.expect(401);
    let seen = stranger.post("/account/keys", &[("keys", "off")]).await;
    assert_eq!(seen.expect(401).attribute("[name='keep.keys']", "value").as_deref(), Some("off"));
    for to in
        ["https://evil.example/", "//evil.example/", "/api/v1/session", "/logout", "javascript:alert(1)", ""]
    {
        for back in ["/account", "//evil.example/"] {
            let fields = [
                ("username", "admin"),
                ("password", PASSWORD),
                ("to", to),
                ("back", back),
                ("what", "x"),
                ("keep.a", "b"),
            ];
            let seen = browser(&cluster, 0).post("/login", &fields).await;
            assert_eq!(seen.expect(303).to().as_deref(), Some("/"), "{to} {back}: nothing is offered");
        }
    }
}
