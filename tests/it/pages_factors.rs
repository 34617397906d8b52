//! Second factors in a browser without JavaScript, and at the command line.

use crate::support::browser::{Browser, Page};
use crate::support::factors::{App, forget_steps, with_app};
use crate::support::person::Person;
use crate::support::{Cluster, PASSWORD};

fn browser(cluster: &Cluster, n: usize) -> Browser {
    Browser::new(cluster.workers[n].address)
}

/// The page that a form leads to.
async fn follow(user: &mut Browser, sent: &Page) -> Page {
    let seen = user.get(&sent.expect(303).to().unwrap()).await;
    seen.expect(200);
    seen
}

/// Sends the password on this page, as often as too many are being checked.
async fn password(user: &mut Browser, page: &Page, button: &str) -> Page {
    loop {
        let seen = user.submit(page, "main form", &[("password", PASSWORD)], button).await;
        if seen.status != 503 {
            return seen;
        }
    }
}

#[tokio::test]
async fn an_app_is_set_up_on_the_page_of_the_account_and_a_login_then_takes_two_steps_at_two_workers() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let page = user.get("/account").await;
    assert!(page.html.contains("None is set up"), "{}", page.html);
    let page = user.get("/account/factors").await;
    let asked = user.submit(&page, "main form", &[], "Set up an app").await;
    assert_eq!(asked.expect(403).text("h1"), "Confirm with your password");
    let sent = password(&mut user, &asked, "Confirm password").await;
    let offer = follow(&mut user, &sent).await;
    let sent = user.submit(&offer, "#messages form", &[], "Set up an authenticator app").await;
    let page = follow(&mut user, &sent).await;
    assert_eq!(page.texts("svg.qr").len(), 1, "{}", page.html);
    let app = App::of(&page.text("code.command"));
    let form = "form[action='/account/factors/first-code']";
    let refused = user.submit(&page, form, &[("code", &app.wrong_code())], "Set up the app").await;
    assert!(refused.expect(422).error_at("code").unwrap().contains("not the code"), "{}", refused.html);
    let sent = user.submit(&page, form, &[("code", &app.code())], "Set up the app").await;
    let made = follow(&mut user, &sent).await;
    let codes = made.texts(".codes code");
    assert_eq!(codes.len(), 10, "{}", made.html);
    let again = user.get("/account/factors").await;
    assert!(!again.html.contains(&codes[0]), "they are shown once");
    assert!(again.html.contains("10 of 10"), "{}", again.html);
    forget_steps(&cluster, "admin").await;

    let mut user = browser(&cluster, 0);
    let page = user.get("/login?next=%2Faddresses%2F203.0.113.77").await;
    let step = password(&mut user, &page, "Log in").await;
    assert_eq!(step.expect(200).text("h1"), "Second factor");
    assert!(user.cookie("bangui").is_none(), "nobody is logged in yet");
    assert_eq!(step.attribute("#code", "autocomplete").as_deref(), Some("one-time-code"));
    assert_eq!(step.attribute("#code", "inputmode").as_deref(), Some("numeric"));
    let mut user = user.at(cluster.workers[1].address);
    let wrong = user.submit(&step, "main form", &[("code", &app.wrong_code())], "Log in").await;
    assert!(wrong.expect(422).error_at("code").unwrap().contains("wrong"), "{}", wrong.html);
    let sent = user.submit(&wrong, "main form", &[("code", &app.code())], "Log in").await;
    assert_eq!(sent.expect(303).to().as_deref(), Some("/addresses/203.0.113.77"));
    user.get("/account").await.expect(200);
    let over = user.submit(&wrong, "main form", &[("code", &codes[0])], "Log in").await;
    let to = over.expect(303).to().unwrap();
    assert_eq!(to, "/login?next=%2Faddresses%2F203.0.113.77&over=1");
    let mut stranger = browser(&cluster, 0);
    assert!(stranger.get(&to).await.expect(200).text(".lead").contains("That login has ended"));
    assert_eq!(stranger.get("/login/factor").await.to().as_deref(), Some("/login"));

    let page = user.get("/account/factors").await;
    let asked = user.submit(&page, "form[action='/account/factors/remove-app']", &[], "Remove the app").await;
    let sent = password(&mut user, &asked, "Confirm password").await;
    let offer = follow(&mut user, &sent).await;
    let sent = user.submit(&offer, "#messages form", &[], "Remove the authenticator app").await;
    assert!(follow(&mut user, &sent).await.text("[role=status]").contains("removed"));
    browser(&cluster, 0).log_in().await;
}

#[tokio::test]
async fn a_form_whose_session_has_ended_is_kept_over_both_steps_of_the_login() {
    let cluster = Cluster::bare(2).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (app, codes) = with_app(&cluster, &admin, "admin").await;
    let mut user = browser(&cluster, 1);
    let fields = [("username", "anna"), ("role", "viewer")];
    let login = user.post("/users/invite", &fields).await;
    let step = password(&mut user, login.expect(401), "Log in").await;
    let wrong = user.submit(step.expect(200), "main form", &[("code", "1")], "Log in").await;
    let sent = user.submit(wrong.expect(422), "main form", &[("code", &app.code())], "Log in").await;
    let offer = follow(&mut user, &sent).await;
    assert!(offer.text("#messages").contains("What you typed is kept"), "{}", offer.html);
    let asked = user.submit(&offer, "#messages form", &[], "Send it now").await;
    assert_eq!(asked.expect(403).text("h1"), "Confirm with your password");

    // Also when too many codes were wrong.
    let mut user = browser(&cluster, 1);
    let login = user.post("/users/invite", &fields).await;
    let mut page = password(&mut user, login.expect(401), "Log in").await;
    for _ in 0..4 {
        page = user.submit(&page, "main form", &[("code", "1")], "Log in").await;
        page.expect(422);
    }
    let over = user.submit(&page, "main form", &[("code", "1")], "Log in").await;
    assert!(over.expect(401).html.contains("What you typed is kept"), "{}", over.html);
    let step = password(&mut user, &over, "Log in").await;
    let sent = user.submit(step.expect(200), "main form", &[("code", &codes[0])], "Log in").await;
    assert!(follow(&mut user, &sent).await.text("#messages").contains("What you typed is kept"));
}

#[tokio::test]
async fn the_command_line_asks_for_the_code_after_the_password() {
    let cluster = Cluster::bare(1).set_up().await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (app, codes) = with_app(&cluster, &admin, "admin").await;
    let url = format!("http://{}", cluster.workers[0].address);
    let person = Person::new();
    let none = person.run(&["login", &url], &format!("{PASSWORD}\n")).await;
    assert!(none.expect(2).err.contains("no code on standard input"), "{none:?}");
    let wrong = person.run(&["login", &url], &format!("{PASSWORD}\n{}\n", app.wrong_code())).await;
    assert!(wrong.expect(1).err.contains("Wrong code"), "{wrong:?}");
    person.run(&["login", &url], &format!("{PASSWORD}\n{}\n", app.code())).await.expect(0);
    person.run(&["servers"], "").await.expect(0);
    person.run(&["login", &url], &format!("{PASSWORD}\n{}\n", codes[0])).await.expect(0);
}
