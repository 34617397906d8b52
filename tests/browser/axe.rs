//! axe-core on every page, wide and narrow: light, dark, and with high contrast.

use serde_json::{Value, json};

use crate::chrome::{Chrome, PHONE, SYSTEMS, WIDE};
use crate::site::{furnished, logged_in, open, url};
use crate::support::Cluster;

/// What colours have to do with: the other rules see no difference between themes.
const OF_COLOURS: [&str; 2] = ["color-contrast", "link-in-text-block"];

/// Where `make test-browser` puts the script.
fn script() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser/axe.min.js");
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; `make test-browser` puts it there", path.display()))
}

/// What axe finds on the page that is open, on every system.
async fn violations(chrome: &Chrome, axe: &str, page: &str) -> Vec<String> {
    chrome.client.execute(axe, Vec::new()).await.unwrap();
    let run = "const done = arguments[arguments.length - 1]; axe.run(document, arguments[0]).then(found => \
               done(found.violations), error => done([{ id: String(error), nodes: [] }]))";
    let twice = "const ids = Array.from(document.querySelectorAll('[id]'), (element) => element.id); \
                 return ids.filter((id, at) => ids.indexOf(id) !== at)";
    let twice = chrome.run(twice).await;
    let mut all: Vec<String> =
        twice.as_array().unwrap().iter().map(|id| format!("{page}: two elements have the id {id}")).collect();
    for (system, dark, contrast) in SYSTEMS {
        chrome.system(dark, contrast).await;
        let options = match system {
            "light" => json!({ "resultTypes": ["violations"] }),
            _ => json!({ "resultTypes": ["violations"], "runOnly": OF_COLOURS }),
        };
        let found = chrome.client.execute_async(run, vec![options]).await.unwrap();
        let found = found.as_array().cloned().unwrap_or_default();
        all.extend(found.iter().map(|found| format!("{page}, {system}: {}", words(found))));
    }
    all
}

fn words(violation: &Value) -> String {
    let nodes = violation["nodes"].as_array().cloned().unwrap_or_default();
    let nodes: Vec<String> =
        nodes.iter().map(|node| format!("{} {}", node["target"], node["failureSummary"])).collect();
    format!("{}: {}", violation["id"], nodes.join("; "))
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_on_any_page_in_any_theme_wide_or_narrow() {
    let (axe, site) = (script(), furnished().await);
    let (cluster, pages) = (&site.cluster, &site.pages);
    let fresh = Cluster::bare(1).start().await;
    let mut all = Vec::new();
    for (words, look) in [("wide", WIDE), ("narrow", PHONE)] {
        let stranger = Chrome::start(look).await;
        let chrome = logged_in(cluster, look).await;
        for (name, path, inside) in pages {
            let browser = if *inside { &chrome } else { &stranger };
            open(browser, cluster, path).await;
            match browser.excess().await {
                0 => {}
                excess => all.push(format!("{name}, {words}: scrolls sideways by {excess} px")),
            }
            all.extend(violations(browser, &axe, &format!("{name}, {words}")).await);
        }
        stranger.goto(&url(&fresh, 0, "/setup")).await;
        all.extend(violations(&stranger, &axe, &format!("setup, {words}")).await);
        stranger.end().await;
        chrome.end().await;
    }
    assert!(all.is_empty(), "{} violations:\n{}", all.len(), all.join("\n"));
}
