//! axe-core on every page, in both themes, wide and narrow.

use serde_json::Value;

use crate::chrome::{Chrome, PHONE, WIDE};
use crate::site::{furnished, logged_in, url};
use crate::support::Cluster;

/// Where `make test-browser` puts the script.
fn script() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser/axe.min.js");
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; `make test-browser` puts it there", path.display()))
}

async fn violations(chrome: &Chrome, axe: &str) -> Vec<String> {
    chrome.client.execute(axe, Vec::new()).await.unwrap();
    let run = "const done = arguments[arguments.length - 1]; axe.run(document, { resultTypes: ['violations'] }).then(found => \
               done(found.violations), error => done([{ id: String(error), nodes: [] }]))";
    let found = chrome.client.execute_async(run, Vec::new()).await.unwrap();
    let nodes = |violation: &Value| {
        let nodes = violation["nodes"].as_array().cloned().unwrap_or_default();
        nodes
            .iter()
            .map(|node| format!("{} {}", node["target"], node["failureSummary"]))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let all = found.as_array().cloned().unwrap_or_default();
    all.iter().map(|violation| format!("{}: {}", violation["id"], nodes(violation))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_any_page_in_either_theme_wide_or_narrow() {
    let (axe, (cluster, pages)) = (script(), furnished().await);
    let fresh = Cluster::bare(1).start().await;
    let mut all = Vec::new();
    for (words, look) in
        [("light", WIDE), ("dark", WIDE.dark()), ("narrow", PHONE), ("narrow and dark", PHONE.dark())]
    {
        let stranger = Chrome::start(look).await;
        let chrome = logged_in(&cluster, look).await;
        for (name, path, inside) in &pages {
            let browser = if *inside { &chrome } else { &stranger };
            browser.goto(&url(&cluster, 0, path)).await;
            all.extend(
                violations(browser, &axe).await.into_iter().map(|found| format!("{name}, {words}: {found}")),
            );
        }
        stranger.goto(&url(&fresh, 0, "/setup")).await;
        let found = violations(&stranger, &axe).await;
        all.extend(found.into_iter().map(|found| format!("setup, {words}: {found}")));
        stranger.end().await;
        chrome.end().await;
    }
    assert!(all.is_empty(), "{} violations:\n{}", all.len(), all.join("\n"));
}
