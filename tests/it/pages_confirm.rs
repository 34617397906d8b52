//! The page that asks for the password again, in a browser without JavaScript, on two workers.

use reqwest::StatusCode;

use crate::support::browser::{Browser, Page};
use crate::support::{Cluster, PASSWORD};

fn browser(cluster: &Cluster, n: usize) -> Browser {
    Browser::new(cluster.workers[n].address)
}

/// Posts to the page; retries if too many passwords are being checked.
async fn post(user: &mut Browser, fields: &[(&str, &str)]) -> Page {
    loop {
        let seen = user.post("/confirm", fields).await;
        if seen.status != StatusCode::SERVICE_UNAVAILABLE {
            return seen;
        }
    }
}

#[tokio::test]
async fn all_other_sessions_end_through_the_password_with_each_step_on_another_worker() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let mut other = browser(&cluster, 1);
    other.log_in().await;
    let page = user.get("/account").await;
    let asked = user.submit(&page, "form", &[], "End all other sessions").await;
    assert_eq!(asked.expect(403).text("h1"), "Confirm with your password");
    assert!(
        asked.text(".lead").contains("End all other sessions. Nothing has been done yet."),
        "{}",
        asked.html
    );
    other.get("/account").await.expect(200);

    let mut user = user.at(cluster.workers[1].address);
    let right = user.submit(&asked, "main form", &[("password", PASSWORD)], "Confirm password").await;
    let to = right.expect(303).to().unwrap();
    assert!(to.starts_with("/account?m="), "{to}");
    assert!(!right.headers.contains_key("set-cookie"), "the session is the same");
    other.get("/account").await.expect(200);

    let mut user = user.at(cluster.workers[0].address);
    let offer = user.get(&to).await;
    assert!(offer.expect(200).text("#messages").contains("One step is left"), "{}", offer.html);
    let mut user = user.at(cluster.workers[1].address);
    let ended = user.submit(&offer, "#messages form", &[], "End all other sessions").await;
    let shown = user.get(&ended.expect(303).to().unwrap()).await;
    assert!(shown.text("[role=status]").contains("All other sessions have ended."), "{}", shown.html);
    assert_eq!(shown.texts("tbody tr").len(), 1);
    other.get("/account").await.expect(303);

    // For five minutes nothing is asked again.
    other.log_in().await;
    let page = user.get("/account").await;
    user.submit(&page, "tbody form", &[], "End session").await.expect(303);
    other.get("/account").await.expect(303);
}

#[tokio::test]
async fn a_wrong_password_is_reported_beside_its_field_and_the_form_is_kept() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let asked = user.post("/account/sessions", &[("end", "all"), ("password", "typed elsewhere")]).await;
    assert!(!asked.expect(403).html.contains("typed elsewhere"), "{}", asked.html);
    let kept = [
        ("what", "End all sessions"),
        ("to", "/account/sessions"),
        ("back", "/account"),
        ("keep.end", "all"),
    ];
    let typed =
        [&kept[..], &[("password", "a wrong password"), ("keep.password", "typed elsewhere")]].concat();
    let wrong = post(&mut user.at(cluster.workers[1].address), &typed).await;
    let error = wrong.expect(403).error_at("password");
    assert_eq!(error.as_deref(), Some("This is not your password. Nothing was done."));
    for secret in ["a wrong password", "typed elsewhere"] {
        assert!(!wrong.html.contains(secret), "{}", wrong.html);
    }
    assert_eq!(wrong.attribute("[name='keep.end']", "value").as_deref(), Some("all"));
    user.get("/account").await.expect(200);
    // Confirmed in the end, with the form that the page kept.
    assert_eq!(user.confirm(&wrong).await.expect(303).to().as_deref(), Some("/login?out=1"));
    assert_eq!(user.cookie("bangui"), None);
}

#[tokio::test]
async fn a_form_for_another_site_or_for_the_api_or_of_any_size_is_not_kept() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let password = ("password", PASSWORD);
    for foreign in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/api/v1/sessions",
        "/account/../api/v1/sessions",
        "/confirm",
        "javascript:alert(1)",
        "",
    ] {
        let fields = [("what", "x"), ("to", foreign), ("back", "/account"), password];
        let refused = user.post("/confirm", &fields).await;
        assert!(refused.expect(400).to().is_none() && !refused.html.contains("evil"), "{foreign}");
    }
    // Where it leads back to: with the right password it would be a redirect, without it a link.
    for foreign in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/\t/evil.example/",
        "javascript:alert(1)",
        "evil.example",
        "",
    ] {
        for password in [password, ("password", "a wrong password")] {
            let fields = [("what", "x"), ("to", "/account/sessions"), ("back", foreign), password];
            let refused = user.post("/confirm", &fields).await;
            assert!(refused.expect(400).to().is_none() && !refused.html.contains("evil"), "{foreign}");
        }
    }
    let what = "x".repeat(201);
    let fields = [("what", &*what), ("to", "/account/sessions"), ("back", "/account"), password];
    user.post("/confirm", &fields).await.expect(400);
    let kept = [("what", "x"), ("to", "/account/sessions"), ("back", "/account"), password];
    let many = [&kept[..], &[("keep.x", "y"); 101]].concat();
    user.post("/confirm", &many).await.expect(400);
    let long = "y".repeat(20_000);
    user.post("/confirm", &[&kept[..], &[("keep.x", &*long)]].concat()).await.expect(400);
    // The size of a form is also checked before the password is asked for.
    for form in [&[("x", "y"); 101][..], &[("x", &*long)]] {
        let refused = user.post("/account/sessions", &[&[("end", "others")][..], form].concat()).await;
        assert!(refused.expect(400).html.contains("too large to be kept"), "{}", refused.html);
    }
    // None of them has confirmed anything.
    user.post("/account/sessions", &[("end", "others")]).await.expect(403);
}

#[tokio::test]
async fn markup_in_what_is_kept_is_shown_as_text() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let markup = "\"><script>alert(1)</script>";
    let asked = user.post("/account/sessions", &[("end", "others"), (markup, markup)]).await;
    let name = format!("keep.{markup}");
    for page in [
        asked,
        post(
            &mut user,
            &[
                ("what", markup),
                ("to", "/account/sessions"),
                ("back", "/account"),
                (&name, markup),
                ("password", "a wrong password"),
            ],
        )
        .await,
    ] {
        assert!(!page.expect(403).html.contains("<script>alert"), "{}", page.html);
        assert_eq!(page.attribute("[name^='keep.\"']", "name").as_deref(), Some(&*name));
        assert_eq!(page.attribute("[name^='keep.\"']", "value").as_deref(), Some(markup));
    }
    let kept = [("what", markup), ("to", "/account/sessions"), ("back", "/account"), (&*name, markup)];
    let right = post(&mut user, &[&kept[..], &[("password", PASSWORD)]].concat()).await;
    let offer = user.get(&right.expect(303).to().unwrap()).await;
    assert!(!offer.expect(200).html.contains("<script>alert"), "{}", offer.html);
    assert!(offer.text("#messages button").contains(markup), "{}", offer.html);
}

#[tokio::test]
async fn a_long_form_whose_session_has_ended_is_kept_over_the_login_and_sent_by_a_button() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = browser(&cluster, 0);
    // More than any other stranger may send, and as much as is kept; three times that on the wire.
    let typed = "ä/".repeat(5_400);
    let ended = user.post("/settings", &[("none", &typed)]).await;
    assert_eq!(ended.expect(401).attribute("[name='keep.none']", "value").as_deref(), Some(&*typed));
    let mut user = user.at(cluster.workers[1].address);
    let wrong = user.submit(&ended, "main form", &[("password", "a wrong password")], "Log in").await;
    assert_eq!(wrong.expect(422).attribute("[name='keep.none']", "value").as_deref(), Some(&*typed));
    let right = user.submit(&wrong, "main form", &[("password", PASSWORD)], "Log in").await;
    let offer = user.get(&right.expect(303).to().unwrap()).await;
    assert!(offer.expect(200).text("#messages button").contains("Send it now"), "{}", offer.html);
    assert_eq!(offer.attribute("#messages [name=none]", "value").as_deref(), Some(&*typed));
}
