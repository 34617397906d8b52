//! What people, and others, type into the fields of pages: it is shown as text, refused with a reason, and breaks nothing.

use reqwest::Method;

use crate::support::Cluster;
use crate::support::browser::{Browser, Page};

/// Markup, other scripts, marks that turn the direction, nothing, much.
fn typed() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        " ",
        "\"><script>alert(1)</script>",
        "'><img src=x onerror=alert(1)>",
        "{{ shell.who }}{% block x %}",
        "javascript:alert(1)",
        "пароль от сервера",
        "密码密码密码密码",
        "\u{202e}gnp.exe\u{2066}x\u{2069}",
        "a\0b\u{7f}\u{feff}",
        "a\r\nset-cookie: x=y",
        "%00%0d%0a",
        "../../etc/passwd",
    ]
    .map(str::to_owned)
    .into();
    all.extend(["x".repeat(1025), "ä".repeat(20_000)]);
    all
}

#[track_caller]
fn harmless(seen: &Page, value: &str) {
    assert!(seen.status.as_u16() < 500, "{} {value:?}: {}", seen.asked, seen.html);
    for markup in ["<script>alert", "<img src=x", "{{ shell", "set-cookie: x"] {
        let shown = seen.html.contains(markup) && markup.starts_with('<');
        assert!(!shown, "{} {value:?} became markup: {}", seen.asked, seen.html);
    }
    assert!(
        !seen.headers.get_all("set-cookie").iter().any(|cookie| cookie.to_str().unwrap().starts_with("x="))
    );
    if seen.to().is_none() {
        let policy = seen.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("require-trusted-types-for 'script'"), "{}: {policy}", seen.asked);
    }
    if let Some(to) = seen.to() {
        assert!(to.starts_with('/') && !to.starts_with("//"), "{} {value:?} leads to {to}", seen.asked);
    }
}

#[tokio::test]
async fn whatever_is_typed_into_a_field_is_text_and_breaks_nothing() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut user = Browser::new(cluster.workers[0].address);
    let mut stranger = user.clone();
    user.log_in().await;
    for value in &typed() {
        for fields in [[("username", &**value), ("password", "x")], [("username", "admin"), ("next", value)]]
        {
            harmless(&stranger.post("/login", &fields).await, value);
        }
        harmless(&stranger.post("/setup", &[("code", value), ("password", value)]).await, value);
        for (path, field) in [
            ("/account/theme", "theme"),
            ("/account/theme", "back"),
            ("/account/keys", "keys"),
            ("/account/keys", "back"),
            ("/account/password", "new"),
        ] {
            harmless(&user.post(path, &[(field, value)]).await, value);
        }
        if !["all", "others"].contains(&&**value) {
            harmless(&user.post("/account/sessions", &[("end", value)]).await, value);
        }
        let kept =
            [("what", "this"), ("to", "/account/sessions"), ("back", "/account"), ("keep.end", &**value)];
        harmless(&user.post("/confirm", &kept).await, value);
        harmless(&user.post("/undo", &[("id", value)]).await, value);
        // Several large ones are cut off before they have arrived, and so is one that is refused without being read.
        if value.len() < 2_000 {
            harmless(&stranger.post("/account/keys", &[("keys", value)]).await, value);
            let kept = [("what", &**value), ("to", value), ("back", value), ("password", value)];
            harmless(&user.post("/confirm", &kept).await, value);
            let names = ["what", "to", "back", "keep.x", "password"];
            harmless(&stranger.post("/login", &names.map(|name| (name, &**value))).await, value);
            let id = "0123456789abcdef0123456789abcdef";
            harmless(&user.post("/undo", &[("id", id), ("back", value)]).await, value);
            let both = [("detected_at", &**value), ("do", value)];
            harmless(&user.post("/servers/web-1/recovery", &both).await, value);
            harmless(&stranger.post("/account/keys", &[(value, value)]).await, value);
        }
        if value.len() < 2_000 {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(["q", "condition", "group", "open", "m", "attention"].map(|name| (name, value)))
                .finish();
            harmless(&user.get(&format!("/?{query}")).await, value);
            let login =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("next", value).finish();
            harmless(&stranger.get(&format!("/login?{login}")).await, value);
        }
    }
    user.get("/account").await.expect(200);
}

#[tokio::test]
async fn a_form_that_is_too_large_or_no_form_is_refused_with_a_page() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut user = Browser::new(cluster.workers[0].address);
    user.log_in().await;
    let large = "x".repeat(70_000);
    let seen = user.post("/account/password", &[("current", &large), ("new", "y")]).await;
    assert_eq!(seen.expect(413).text("h1"), "The body is too large");
    assert!(seen.html.contains("A form may have 64 KiB at most, and nothing was done"), "{}", seen.html);
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/json"] {
        let seen = user.send(Method::POST, "/account/keys", None, &[("content-type", kind)]).await;
        assert_eq!(seen.expect(415).text("h1"), "The body is not a form", "{kind}");
    }
    let wrong = user.send(Method::PUT, "/account", None, &[]).await;
    assert_eq!(wrong.expect(405).text("h1"), "Method not allowed");
    // After the last page there is the last one.
    user.get("/?page=99999999999999999999").await.expect(200);
}
