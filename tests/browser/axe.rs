//! axe-core on every page, wide and narrow: light, dark, with high contrast, and in the colours that a system forces.
//!
//! Two browsers share the pages. Each page is loaded once; then the width and the theme of the system change in place. Of rows
//! with the same structure only a few stay: the time of axe grows with the page, and the hundredth row shows what the first shows.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bangui::http::auth::permissions::{ROUTES, Route};
use serde_json::{Value, json};

use crate::chrome::{Chrome, PHONE, SYSTEMS, WIDE};
use crate::site::{CHANGE, PAGES, furnished, log_in, open, url};
use crate::states::{self, Doors};
use crate::support::Cluster;

/// The rules about colours: the others find the same in every theme.
const OF_COLOURS: [&str; 2] = ["color-contrast", "link-in-text-block"];
const BROWSERS: usize = 2;
/// Systems that force their own colours: a short name, and whether they are dark.
const FORCED: [(&str, bool); 2] = [("forced", false), ("forced-dark", true)];
/// The page of the interface: of a third party, and made by its script. Some of its operations and models are opened.
const DOCS: (&str, &str) = ("docs", "/docs");
const OPEN_SOME: &str = "const some = ['.opblock-get', '.opblock-post', '.opblock-patch'].map((kind) => kind + ' .opblock-summary-control'); \
    for (const one of [...some, '.json-schema-2020-12-accordion']) document.querySelector(one).click();";
/// Lets what the page does about a new theme happen, without its fades, and has the browser work out all colours again: of elements
/// that it has drawn before, Chromium does not show those that a system forces.
const SETTLE: &str = "const [done] = Array.from(arguments).slice(-1); \
    requestAnimationFrame(() => requestAnimationFrame(() => { \
        document.documentElement.style.display = 'none'; \
        document.documentElement.getBoundingClientRect(); \
        document.documentElement.style.display = ''; \
        for (const fade of document.getAnimations()) fade.finish(); \
        done(); \
    }))";

/// Leaves three of the rows with the same structure. A removed row leaves a placeholder, which the page's script takes for the row.
const SHORTEN: &str = "const built = (row) => row.outerHTML.replace(/>[^<]+</g, '><').replace(/ (?!class)[a-z-]+=\"[^\"]*\"/g, ''); \
    for (const list of document.querySelectorAll('tbody, ul, ol, dl, table')) { \
        const seen = new Map(); \
        for (const row of Array.from(list.children)) { \
            const many = (seen.get(built(row)) ?? 0) + 1; \
            seen.set(built(row), many); \
            if (many <= 3) continue; \
            const place = document.createElement('template'); \
            if (row.dataset.row) place.dataset.row = row.dataset.row; \
            row.replaceWith(place); \
        } \
    }";
/// Ids that two elements share: axe no longer has a rule for them.
const TWICE: &str = "const ids = Array.from(document.querySelectorAll('[id]'), (element) => element.id); \
    return ids.filter((id, at) => ids.indexOf(id) !== at)";
const RUN: &str = "const done = arguments[arguments.length - 1]; \
    axe.run(document, { resultTypes: ['violations'], preload: false, ...arguments[0] }).then( \
        (found) => done(found.violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.target + ' ' + node.failureSummary)])), \
        (error) => done([[String(error)]]))";

/// Where `make test-browser` puts the script.
fn script() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser/axe.min.js");
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; `make test-browser` puts it there", path.display()))
}

/// What is wrong with the open page: in both widths and every theme.
async fn wrong(chrome: &Chrome, axe: &str, page: &str) -> Vec<String> {
    let mut all: Vec<String> = strings(&chrome.run(TWICE).await)
        .into_iter()
        .map(|id| format!("{page}: two elements have the id {id}"))
        .collect();
    chrome.client.execute(axe, Vec::new()).await.unwrap();
    let widths = [("narrow", PHONE), ("wide", WIDE)];
    for (width, look) in widths {
        chrome.look(look).await;
        match chrome.excess().await {
            0 => {}
            excess => all.push(format!("{page}, {width}: scrolls sideways by {excess} px")),
        }
    }
    chrome.run(SHORTEN).await;
    for (width, look) in widths {
        chrome.look(look).await;
        for (system, dark, contrast) in SYSTEMS {
            chrome.system(dark, contrast).await;
            let rules = if system == "light" { json!({}) } else { json!({ "runOnly": OF_COLOURS }) };
            all.extend(violations(chrome, rules, &format!("{page}, {width}, {system}")).await);
        }
        for (system, dark) in FORCED {
            chrome.forced(dark).await;
            let rules = json!({ "runOnly": OF_COLOURS });
            all.extend(violations(chrome, rules, &format!("{page}, {width}, {system}")).await);
        }
    }
    all
}

/// What axe finds with these rules, each after where that is.
async fn violations(chrome: &Chrome, rules: Value, place: &str) -> Vec<String> {
    chrome.client.execute_async(SETTLE, Vec::new()).await.unwrap();
    let found = chrome.client.execute_async(RUN, vec![rules]).await.unwrap();
    let found = found.as_array().unwrap().iter();
    found.map(|found| format!("{place}: {}", strings(found).join("; "))).collect()
}

/// Proves that finding nothing means something: a planted fault is found in each width and theme.
async fn finds_what_is_put_there(chrome: &Chrome, axe: &str) {
    chrome
        .run(
            "const words = document.createElement('p'); words.textContent = 'hardly to be read'; words.id = 'main'; \
             words.style.cssText = 'color: #777; background: #888; width: 2000px; forced-color-adjust: none'; document.querySelector('main').append(words);",
        )
        .await;
    let found = wrong(chrome, axe, "setup").await;
    let ends = |words: &str| found.iter().filter(|found| found.contains(words)).count();
    assert_eq!(ends("color-contrast"), 2 * (SYSTEMS.len() + FORCED.len()), "{found:?}");
    assert_eq!((ends("scrolls sideways"), ends("two elements have the id main")), (2, 1), "{found:?}");
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap_or_default().to_owned()).collect()
}

/// Routes without a page of ours: answers for programs, files, and what leads to a provider at once.
const NO_PAGES: [&str; 9] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs/{file}",
    "/assets/{hash}/{name}",
    "/suggestions",
    "/login/sso",
    "/login/sso/confirm",
];

#[test]
fn axe_visits_every_page_of_the_routing_table() {
    let fits = |pattern: &str, path: &str| {
        let path = path.split('?').next().unwrap();
        let (pattern, path): (Vec<&str>, Vec<&str>) =
            (pattern.split('/').collect(), path.split('/').collect());
        let same = |(part, of): (&&str, &&str)| part.starts_with('{') || part == of;
        pattern.len() == path.len() && pattern.iter().zip(&path).all(same)
    };
    let listed = PAGES.iter().map(|(_, path, _)| *path).filter(|path| !path.starts_with("POST "));
    let visited: Vec<&str> = listed.chain(states::PATHS).chain([DOCS.1, CHANGE]).collect();
    // The `GET` of a form leads to its page.
    let is_page = |row: &&Route| row.method == "GET" && !row.form && !row.path.starts_with("/api/");
    let pages: Vec<&str> = ROUTES.iter().filter(is_page).map(|row| row.path).collect();
    assert!(pages.len() > 20, "{pages:?}");
    for page in pages {
        let known = NO_PAGES.contains(&page);
        assert!(
            known || visited.iter().any(|path| fits(page, path)),
            "axe does not visit {page}: see site.rs"
        );
    }
}

/// Checks one page after the other until none is left.
async fn walk(
    chrome: &Chrome,
    axe: &str,
    (cluster, pages): (&Cluster, &[&(&str, String, bool)]),
    next: &AtomicUsize,
) -> Vec<String> {
    let mut all = Vec::new();
    while let Some((name, path, _)) = pages.get(next.fetch_add(1, Relaxed)) {
        open(chrome, cluster, path).await;
        if *name == DOCS.0 {
            chrome
                .until_run("the operations", "return document.querySelectorAll('.opblock').length > 9", true)
                .await;
            chrome.run(OPEN_SOME).await;
            let opened = "return document.querySelectorAll('.opblock.is-open').length";
            chrome.until_run("some opened operations", opened, 3).await;
        }
        all.extend(wrong(chrome, axe, name).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_any_page_in_any_theme_wide_or_narrow() {
    let axe = script();
    let (site, fresh) = tokio::join!(furnished(), Cluster::bare(1).start());
    let docs = (DOCS.0, DOCS.1.to_owned(), true);
    let pages = site.pages.iter().chain([&docs]);
    let (inside, outside): (Vec<_>, Vec<_>) = pages.partition(|(_, _, inside)| *inside);
    let next = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let browsers = (0..BROWSERS).map(|n| {
        let (axe, site, fresh, inside, outside, next) = (&axe, &site, &fresh, &inside, &outside, &next);
        async move {
            let chrome = Chrome::start(WIDE).await;
            let mut all = Vec::new();
            if n == 0 {
                chrome.goto(&url(fresh, 0, "/setup")).await;
                all.extend(wrong(&chrome, axe, "setup").await);
                finds_what_is_put_there(&chrome, axe).await;
            }
            all.extend(walk(&chrome, axe, (&site.cluster, outside), &next[0]).await);
            log_in(&chrome, &site.cluster).await;
            all.extend(walk(&chrome, axe, (&site.cluster, inside), &next[1]).await);
            chrome.end().await;
            all
        }
    });
    let all = futures_util::future::join_all(browsers).await.concat();
    assert!(all.is_empty(), "{} violations:\n{}", all.len(), all.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_in_any_state_that_only_steps_lead_to() {
    let (axe, doors) = (script(), Doors::open().await);
    let chrome = Chrome::start(WIDE).await;
    let all = RefCell::new(Vec::new());
    let at = async |state: &'static str| {
        println!("in the state {state}");
        let found = wrong(&chrome, &axe, state).await;
        all.borrow_mut().extend(found);
    };
    doors.walk(&chrome, at).await;
    let all = all.into_inner();
    assert!(all.is_empty(), "{} violations:\n{}", all.len(), all.join("\n"));
    chrome.end().await;
}
