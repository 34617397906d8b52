//! Every field that the pages have, found in the pages themselves, at its limits and beyond: it is refused with the reason beside it,
//! what was typed is kept as text, and nothing is changed.

use reqwest::StatusCode;
use scraper::{ElementRef, Selector};

use crate::jails::beside_web;
use crate::pages_user::WEB;
use crate::support::Cluster;
use crate::support::browser::{Browser, Page};

/// A field of a form.
#[derive(Debug)]
struct Field {
    form: String,
    button: String,
    id: String,
    name: String,
    secret: bool,
    list: bool,
}

/// Longer than any sensible value, and longer than any field accepts.
fn typed() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        "-1.5",
        "0x10",
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'+'{{ 7*7 }}%s%00",
        "пароль; 密码; סיסמה",
        "\u{202e}txt.exe\u{2066}\u{200f}",
        "e\u{301}\u{fe0f}\u{1f468}\u{200d}\u{1f469}",
        "tab\tand\u{7}bell",
    ]
    .map(str::to_owned)
    .into();
    all.extend(["9".repeat(25), "x".repeat(200), "x".repeat(201), "ä".repeat(5_000)]);
    all
}

/// The fields of the forms that change something. Disabled buttons are pressed too.
fn fields(page: &Page) -> Vec<Field> {
    let select = |selector: &str| Selector::parse(selector).unwrap();
    let (form, button) = (select("main form[method=post]"), select("button"));
    let field = select("textarea, select, input:not([type=hidden]):not([type=checkbox]):not([type=radio])");
    let attribute = |element: ElementRef<'_>, name| element.value().attr(name).unwrap_or_default().to_owned();
    let document = page.document();
    let mut all = Vec::new();
    for form in document.select(&form) {
        for field in form.select(&field) {
            let button = form.select(&button).next().expect("a button to send it with");
            all.push(Field {
                form: format!("form[action='{}']", attribute(form, "action")),
                button: button.text().collect::<String>().trim().to_owned(),
                id: attribute(field, "id"),
                name: attribute(field, "name"),
                secret: attribute(field, "type") == "password",
                list: field.value().name() == "select",
            });
        }
    }
    all
}

/// What is in a field.
fn shown(page: &Page, id: &str) -> String {
    let document = page.document();
    let field = document.select(&Selector::parse(&format!("#{id}")).unwrap()).next();
    let field = field.unwrap_or_else(|| panic!("no field {id} in {}: {}", page.asked, page.html));
    match field.value().name() {
        // The first line break of a text area is not part of its value.
        "textarea" => field.text().collect::<String>().trim_start_matches('\n').to_owned(),
        _ => field.value().attr("value").unwrap_or_default().to_owned(),
    }
}

/// What is wrong with the page that a value in a field was answered with.
fn wrong(seen: &Page, field: &Field, value: &str) -> Vec<String> {
    let mut all = Vec::new();
    // A wrong code must not complete the setup.
    if ![StatusCode::UNPROCESSABLE_ENTITY, StatusCode::FORBIDDEN].contains(&seen.status) {
        return vec![format!("it is answered {}", seen.status)];
    }
    if ["<script>alert", "<img"].iter().any(|markup| seen.html.contains(markup)) {
        all.push("it became markup".to_owned());
    }
    let document = seen.document();
    let marked = Selector::parse("main [aria-invalid=true]").unwrap();
    let marked: Vec<_> = document.select(&marked).filter_map(|field| field.value().attr("id")).collect();
    if marked.is_empty() {
        all.push("no field is marked".to_owned());
    }
    for id in marked {
        let sentence = seen.error_at(id).unwrap_or_default();
        let described = seen.attribute(&format!("#{id}"), "aria-describedby").unwrap_or_default();
        if sentence.is_empty()
            || sentence.chars().count() > 400
            || !described.contains(&format!("{id}-error"))
        {
            all.push(format!("{id} is described by {described}: {sentence}"));
        }
    }
    let kept = shown(seen, &field.id);
    if field.secret && !kept.is_empty() {
        all.push("a secret is shown".to_owned());
    }
    if !field.secret && !field.list && kept.trim() != value.trim() {
        all.push(format!("what was typed is not kept, but {kept:?}"));
    }
    all
}

/// Types each value into each field of a page; returns the number of fields, and what was wrong.
async fn refused(browser: &mut Browser, path: &str) -> (usize, Vec<String>) {
    let page = browser.get(path).await;
    let (fields, mut all) = (fields(page.expect(200)), Vec::new());
    for field in &fields {
        for value in &typed() {
            // A setting that may be empty, and is: nothing is wrong with it.
            if path == "/settings" && !field.list && shown(&page, &field.id) == *value {
                continue;
            }
            let seen = browser.submit(&page, &field.form, &[(&field.name, value)], &field.button).await;
            let begins: String = value.chars().take(30).collect();
            let what = format!("{} of {path} with {begins:?}", field.id);
            all.extend(wrong(&seen, field, value).into_iter().map(|wrong| format!("{what}: {wrong}")));
        }
    }
    (fields.len(), all)
}

#[tokio::test]
async fn each_field_of_each_page_is_refused_beside_itself_and_keeps_what_was_typed() {
    let (mut cluster, client) = beside_web().await;
    let files = cluster.fail2ban().jail_d();
    let before = client.get("/api/v1/settings").await.body.clone();
    let fresh = Cluster::bare(1).start().await;
    let (mut many, mut wrong) = refused(&mut Browser::new(fresh.workers[0].address), "/setup").await;
    let mut user = Browser::new(cluster.workers[0].address);
    let mut look = async |user: &mut Browser, path: &str| {
        let (fields, more) = refused(user, path).await;
        many += fields;
        wrong.extend(more);
    };
    look(&mut user, "/login").await;
    user.log_in().await;
    // Forms of what is sensitive are judged after that.
    user.confirm_beforehand().await;
    let pages = [
        "/",
        "/servers/web-1",
        WEB,
        "/addresses/203.0.113.77",
        "/activity",
        "/jobs",
        "/settings",
        "/account",
        "/setup/next",
    ];
    for path in pages {
        look(&mut user, path).await;
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(many > 15, "{many} fields were found");
    assert_eq!(client.get("/api/v1/settings").await.body, before, "nothing was changed");
    assert_eq!(cluster.fail2ban().jail_d(), files, "nothing was written");
}

#[tokio::test]
async fn whatever_is_searched_for_is_shown_as_text_in_the_field_it_was_typed_into() {
    let (cluster, _client) = beside_web().await;
    let mut user = Browser::new(cluster.workers[0].address);
    user.log_in().await;
    for value in typed().iter().filter(|value| value.len() < 2_000 && !value.contains('\u{7}')) {
        let asked: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        for (path, id) in [(format!("/?q={asked}"), "q"), (format!("{WEB}?q={asked}"), "begins")] {
            let seen = user.get(&path).await;
            assert!(
                !seen.expect(200).html.contains("<script>alert") && !seen.html.contains("<img"),
                "{}",
                seen.html
            );
            assert_eq!(shown(&seen, id).trim(), value.trim(), "{path}");
        }
    }
}
