//! Pages, in a browser without JavaScript, on two workers: first run, login, account, overview.

use reqwest::Method;

use crate::support::browser::Browser;
use crate::support::{Cluster, PASSWORD, SETUP_TOKEN, SOON, eventually};

fn browser(cluster: &Cluster, n: usize) -> Browser {
    Browser::new(cluster.workers[n].address)
}

#[tokio::test]
async fn the_first_run_leads_from_the_link_to_the_servers_on_any_worker() {
    let cluster = Cluster::bare(2).start().await;
    let mut user = browser(&cluster, 0);
    let page = user.open("/").await;
    assert_eq!(page.expect(200).text("h1"), "Set up bangui", "nobody can log in yet");

    let wrong = user
        .submit(&page, "main form", &[("code", "<i>wrong</i>"), ("password", PASSWORD)], "Set password")
        .await;
    assert!(wrong.expect(403).error_at("code").unwrap().contains("This is not the setup code"), "{wrong:?}");
    assert_eq!(wrong.attribute("#code", "value").as_deref(), Some("<i>wrong</i>"), "what was typed is kept");
    let short = user
        .submit(&page, "main form", &[("code", SETUP_TOKEN), ("password", "short")], "Set password")
        .await;
    assert_eq!(
        short.expect(422).error_at("password").as_deref(),
        Some("A password must have 12 characters or more, this one has 5.")
    );
    assert!(!short.html.contains("\"short\""), "a password is never sent back");

    let mut user = user.at(cluster.workers[1].address);
    let page = user.get(&format!("/setup?code={SETUP_TOKEN}")).await;
    assert_eq!(page.expect(200).attribute("#code", "value").as_deref(), Some(SETUP_TOKEN));
    let done = user.submit(&page, "main form", &[("password", PASSWORD)], "Set password").await;
    assert_eq!(done.expect(303).to().as_deref(), Some("/setup/next"));
    let mut user = user.at(cluster.workers[0].address);
    let next = user.open("/setup/next").await;
    assert_eq!(next.expect(200).text("h1"), "Logged in. Do these next");
    assert_eq!(user.open("/").await.expect(200).text("h1"), "Servers");
    assert_eq!(user.get("/setup").await.expect(303).to().as_deref(), Some("/login"), "setup is over");
}

#[tokio::test]
async fn a_login_leads_back_to_where_one_wanted_to_go_and_nowhere_else() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = browser(&cluster, 0);
    let sent = user.get("/account?x=1&y=2").await;
    let login = sent.expect(303).to().unwrap();
    assert_eq!(login, "/login?next=%2Faccount%3Fx%3D1%26y%3D2");
    let page = user.get(&login).await;
    assert!(page.expect(200).text("main").contains("You will continue to account"), "{}", page.html);
    let wrong =
        user.submit(&page, "main form", &[("username", "<b>x"), ("password", "wrong")], "Log in").await;
    assert_eq!(wrong.expect(422).error_at("password").as_deref(), Some("The name or the password is wrong."));
    assert_eq!(wrong.attribute("#username", "value").as_deref(), Some("<b>x"));
    let mut user = user.at(cluster.workers[1].address);
    let right =
        user.submit(&wrong, "main form", &[("username", "admin"), ("password", PASSWORD)], "Log in").await;
    assert_eq!(right.expect(303).to().as_deref(), Some("/account?x=1&y=2"));
    let mut user = user.at(cluster.workers[0].address);
    assert_eq!(user.get("/account?x=1&y=2").await.expect(200).text("h1"), "Your account");
    assert_eq!(user.get("/login?next=/account").await.expect(303).to().as_deref(), Some("/account"));

    for elsewhere in
        ["//evil.example/", "https://evil.example/", "/\\evil.example", "/logout", "javascript:alert(1)"]
    {
        let mut user = browser(&cluster, 0);
        let login = url::form_urlencoded::Serializer::new("/login?".to_owned())
            .append_pair("next", elsewhere)
            .finish();
        let page = user.get(&login).await;
        let right = user.submit(&page, "main form", &[("password", PASSWORD)], "Log in").await;
        assert_eq!(right.expect(303).to().as_deref(), Some("/"), "{elsewhere}");
        let fields = [("username", "admin"), ("password", PASSWORD), ("next", elsewhere)];
        assert_eq!(user.post("/login", &fields).await.expect(303).to().as_deref(), Some("/"), "{elsewhere}");
    }
}

#[tokio::test]
async fn a_limited_login_says_for_how_long_and_that_no_account_is_locked() {
    let cluster = Cluster::bare(1).env("BANGUI_LOGIN_LIMIT", "3/3600").set_up().await;
    let mut user = browser(&cluster, 0);
    let page = user.get("/login").await;
    for _ in 0..3 {
        user.submit(&page, "main form", &[("password", "wrong")], "Log in").await.expect(422);
    }
    let limited = user.submit(&page, "main form", &[("password", PASSWORD)], "Log in").await;
    let message = limited.expect(429).text(".message");
    assert!(
        message.contains("Too many attempts from your address")
            && message.contains("you can log in from elsewhere"),
        "{message}"
    );
    assert!(limited.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn the_cookie_is_lax_and_a_cross_site_form_changes_nothing_all_the_same() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = browser(&cluster, 0);
    let login = user.log_in().await;
    let cookie = login.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; SameSite=Lax") && cookie.contains("; HttpOnly"), "{cookie}");
    // A link on another site opens a page that is logged in.
    let linked = user.send(Method::GET, "/account", None, &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(linked.expect(200).text("h1"), "Your account");
    let own = format!("http://{}", cluster.workers[0].address);
    let foreign: [&[(&str, &str)]; 4] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example")],
        &[("sec-fetch-site", "cross-site"), ("origin", &own)],
    ];
    for (path, fields) in [
        ("/logout", vec![]),
        ("/account/sessions", vec![("end", "all")]),
        ("/account/theme", vec![("theme", "dark")]),
        ("/confirm", vec![("to", "/account/sessions"), ("back", "/account"), ("password", PASSWORD)]),
    ] {
        for headers in foreign {
            let refused = user.send(Method::POST, path, Some(&fields), headers).await;
            assert!(refused.expect(403).text("h1").contains("another site"), "{path}: {}", refused.html);
            assert!(!refused.headers.contains_key("set-cookie"), "{path}");
        }
    }
    user.get("/account").await.expect(200);
    // Pages refuse JSON, and the API refuses forms.
    let json =
        user.send(Method::POST, "/account/sessions", None, &[("content-type", "application/json")]).await;
    json.expect(415);
    let form = user.send(Method::POST, "/api/v1/session", Some(&[("password", PASSWORD)]), &[]).await;
    form.expect(415);
}

#[tokio::test]
async fn what_came_of_a_form_is_shown_by_another_worker_and_only_to_its_session() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let mut other = browser(&cluster, 1);
    other.log_in().await;
    let page = user.get("/account").await;
    assert_eq!(page.texts("tbody tr").len(), 2, "{}", page.html);
    let asked = user.submit(&page, "tbody form", &[], "End session").await;
    let ended = user.confirm(&asked).await;
    let to = ended.expect(303).to().unwrap();
    assert!(to.starts_with("/account?m="), "{to}");
    let mut user = user.at(cluster.workers[1].address);
    let shown = user.get(&to).await;
    assert!(shown.expect(200).text("[role=status]").contains("The session has ended."), "{}", shown.html);
    assert_eq!(shown.texts("tbody tr").len(), 1);
    assert_eq!(
        other.get("/account").await.expect(303).to().as_deref(),
        Some("/login?next=%2Faccount&ended=1")
    );
    // An id shows nothing in another session, and an invented one nothing at all.
    let mut third = browser(&cluster, 0);
    third.log_in().await;
    for forged in [to.as_str(), "/account?m=0123456789abcdef", "/account?m=%3Cb%3E", "/account?m="] {
        let seen = third.get(forged).await;
        assert!(seen.expect(200).texts("#messages .message").is_empty(), "{forged}: {}", seen.html);
    }
}

#[tokio::test]
async fn ending_others_keeps_this_session_and_ending_all_says_that_one_is_logged_out() {
    let cluster = Cluster::bare(2).set_up().await;
    let (mut user, mut other) = (browser(&cluster, 0), browser(&cluster, 1));
    user.log_in().await;
    other.log_in().await;
    let page = user.get("/account").await;
    let asked = user.submit(&page, "form", &[], "End all other sessions").await;
    user.confirm(&asked).await.expect(303);
    other.get("/").await.expect(303);
    let page = user.get("/account").await;
    let all = user.submit(page.expect(200), "details form", &[], "End all sessions").await;
    assert_eq!(all.expect(303).to().as_deref(), Some("/login?out=1"));
    assert_eq!(user.cookie("bangui"), None);
    assert!(user.get("/login?out=1").await.expect(200).text("main").contains("You are logged out."));
}

#[tokio::test]
async fn a_password_is_changed_with_errors_beside_their_fields() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let page = user.get("/account").await;
    let new = "another horse battery staple";
    let wrong = user.submit(&page, "form", &[("current", "wrong"), ("new", new)], "Change password").await;
    assert_eq!(wrong.expect(403).error_at("current").as_deref(), Some("This is not the current password."));
    let short = user.submit(&page, "form", &[("current", PASSWORD), ("new", "äöü")], "Change password").await;
    assert_eq!(
        short.expect(422).error_at("new").as_deref(),
        Some("A password must have 12 characters or more, this one has 3.")
    );
    let changed = user.submit(&page, "form", &[("current", PASSWORD), ("new", new)], "Change password").await;
    let mut user = user.at(cluster.workers[1].address);
    let shown = user.get(&changed.expect(303).to().unwrap()).await;
    assert!(shown.text("[role=status]").contains("The password was changed."), "{}", shown.html);
    let mut stranger = browser(&cluster, 1);
    let page = stranger.get("/login").await;
    stranger.submit(&page, "main form", &[("password", PASSWORD)], "Log in").await.expect(422);
    stranger.submit(&page, "main form", &[("password", new)], "Log in").await.expect(303);
}

#[tokio::test]
async fn the_theme_and_the_keys_are_remembered_by_the_browser_and_written_by_the_server() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let page = user.get("/account").await;
    assert_eq!(page.attribute("html", "data-theme").as_deref(), Some("system"));
    let dark = user.submit(&page, "main form", &[], "Dark").await;
    assert_eq!(dark.expect(303).to().as_deref(), Some("/account"));
    let page = user.get("/account").await;
    assert_eq!(page.attribute("html", "data-theme").as_deref(), Some("dark"));
    user.submit(&page, "main form", &[], "Switch single-key shortcuts off").await.expect(303);
    assert_eq!(user.get("/").await.attribute("html", "data-keys").as_deref(), Some("off"));
    user.post("/account/theme", &[("theme", "\"><script>"), ("back", "//evil.example")]).await.expect(303);
    assert_eq!(user.get("/").await.attribute("html", "data-theme").as_deref(), Some("system"));
    user.set_cookie("bangui-zone", "60:CET");
    assert!(user.get("/").await.text(".foot").contains("Times in CET"));
}

#[tokio::test]
async fn the_overview_shows_each_server_and_the_search_leads_on() {
    let cluster = Cluster::with_fail2ban(2).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let page = eventually("the server to be up", SOON, || {
        let mut user = user.clone();
        async move {
            let page = user.get("/").await;
            page.expect(200).text("tbody .b").contains("up").then_some(page)
        }
    })
    .await;
    assert_eq!(page.texts("tbody th"), ["web-1"]);
    assert!(page.texts(".attention").is_empty(), "nothing needs attention: {}", page.html);
    assert_eq!(page.texts(".chip"), ["All 1", "up 1"]);
    assert!(page.text(".facts").starts_with("1 server 1 jail running"), "{}", page.text(".facts"));
    for (words, to) in [
        ("203.0.113.77", "/addresses/203.0.113.77"),
        ("203.0.113.0%2F24", "/addresses/203.0.113.0%2F24"),
        ("2001%3Adb8%3A%3A1", "/addresses/2001:db8::1"),
        ("web", "/servers/web-1"),
        ("app", "/servers/web-1/jails/app"),
    ] {
        assert_eq!(user.get(&format!("/?q={words}")).await.expect(303).to().as_deref(), Some(to));
    }
    let none = user.get("/?q=%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(none.expect(200).text(".empty").contains("<script>alert(1)</script>"), "{}", none.html);
    assert!(!none.html.contains("<script>alert"), "markup in the search is text");
    let down = user.get("/?condition=down").await;
    assert!(down.text(".empty").contains("No server is down."), "{}", down.html);
    // A request for a check, and the parts of the page for scripts.
    let asked = user.post("/servers/web-1/probe", &[]).await;
    let asked = user.get(&asked.expect(303).to().unwrap()).await;
    assert!(asked.text("[role=status]").contains("web-1 is being checked."), "{}", asked.html);
    user.post("/servers/none/probe", &[]).await.expect(404);
    let live = [("x-bangui-live", "1"), ("accept", "application/json")];
    let parts: serde_json::Value =
        serde_json::from_str(&user.send(Method::GET, "/", None, &live).await.html).unwrap();
    assert_eq!(parts["parts"]["web-1.word"][0], "up", "{parts}");
    assert_eq!(parts["rows"], serde_json::json!(["web-1"]));
}
