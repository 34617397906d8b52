//! The Grafana dashboard against what a cluster exports: a panel for a metric or a label that no worker exports
//! would stay empty, and nobody would notice until it is needed.

use std::collections::{BTreeMap, BTreeSet};

use bangui::telemetry::METRICS;
use serde_json::{Value, json};

use crate::support::cluster::server_is;
use crate::support::{Cluster, SOON, eventually};

fn dashboard() -> Value {
    serde_json::from_str(include_str!("../../k8s/grafana-dashboard.json")).unwrap()
}

/// Every query of every panel.
fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().clone();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The metrics that a query names, without what a histogram appends.
fn named(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words.filter(|word| word.starts_with("bangui_"));
    let base = |word: &str| {
        ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    metrics.map(base).collect()
}

/// The labels that a query groups by.
fn grouped_by(query: &str) -> BTreeSet<String> {
    let lists = query.split(" by (").skip(1).map(|rest| rest.split(')').next().unwrap());
    lists.flat_map(|list| list.split(',')).map(|label| label.trim().to_owned()).collect()
}

/// From each exported name to its labels.
fn exported(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut exported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once("=\""));
        exported.entry(name.to_owned()).or_default().extend(labels.map(|(label, _)| label.to_owned()));
    }
    exported
}

#[test]
fn every_metric_is_on_the_dashboard_and_no_other() {
    let shown: BTreeSet<String> = queries().iter().flat_map(|query| named(query)).collect();
    let known: BTreeSet<String> = METRICS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(shown, known);
}

#[test]
fn every_panel_says_what_it_shows_and_lies_beside_the_others() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        assert!(panel["type"] == "row" || !panel["description"].as_str().unwrap().is_empty(), "{title}");
        let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} lies upon another");
            }
        }
    }
}

#[tokio::test]
async fn every_query_names_metrics_and_labels_that_a_worker_exports() {
    let mut cluster = Cluster::with_fail2ban(1).set_up().await;
    let client = cluster.client(0).logged_in().await;
    client.post("/api/v1/session", json!({ "password": "a wrong password" })).await.problem(401);
    server_is(&client, "up").await;
    cluster.fail2ban().log_failure("app", "203.0.113.7");
    let page = eventually("the ban in the metrics", SOON, || async {
        let page = client.get("/metrics").await.text;
        page.contains("bangui_jail_banned{").then_some(page)
    })
    .await;
    let exported = exported(&page);
    for (name, ..) in METRICS {
        assert!(page.contains(&format!("# HELP {name} ")), "{name} is not described in\n{page}");
    }
    for query in queries() {
        for metric in named(&query) {
            let series = [metric.clone(), format!("{metric}_bucket")];
            let labels = series.iter().find_map(|name| exported.get(name));
            let labels = labels.unwrap_or_else(|| panic!("{metric} is not exported:\n{page}"));
            for label in grouped_by(&query) {
                // Those that Prometheus itself adds.
                assert!(
                    label == "instance" || labels.contains(&label) || metric == "bangui_scheduler_leader",
                    "{metric} has no label {label}: {query}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_worker_that_has_seen_nothing_yet_exports_zeroes() {
    let cluster = Cluster::bare(2).start().await;
    for n in 0..2 {
        let page = cluster.client(n).get("/metrics").await.text;
        for line in [
            "bangui_scheduler_fenced_writes_total 0",
            "bangui_rate_limited_total{limit=\"account\"} 0",
            "bangui_logins_total{outcome=\"success\"} 0",
            "bangui_redis_up 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }
    // Each says whether it leads, and one does.
    eventually("one leader", SOON, || async {
        let mut leading = 0.0;
        for n in 0..2 {
            let page = cluster.client(n).get("/metrics").await.text;
            let line = page.lines().find_map(|line| line.strip_prefix("bangui_scheduler_leader "));
            leading += line.expect("the gauge").parse::<f64>().unwrap();
        }
        (leading == 1.0).then_some(())
    })
    .await;
}
