//! The interfaces that others rely on, as snapshots: the OpenAPI document, the help texts, the list of metrics. A change of one of
//! them shows as a diff to review.
//!
//! After an intended change: `INSTA_UPDATE=always cargo test --test it interface::`, then look at `git diff`.

use std::fmt::Write as _;

use bangui::config::command::COMMANDS;
use bangui::telemetry::METRICS;

use crate::support::SOON;
use crate::support::process::{Child, bangui};

/// What the program prints when it is called with these arguments.
async fn printed(arguments: &[&str]) -> String {
    let (first, rest) = arguments.split_first().unwrap();
    let mut command = bangui(first);
    command.args(rest);
    let (code, printed) = Child::run("bangui", command, SOON).await;
    assert_eq!(code, Some(0), "bangui {arguments:?}: {printed}");
    printed
}

#[tokio::test]
async fn the_openapi_document_is_the_reviewed_one() {
    insta::assert_snapshot!("openapi", printed(&["openapi"]).await);
}

#[tokio::test]
async fn the_help_texts_are_the_reviewed_ones() {
    let overview = printed(&["--help"]).await;
    insta::assert_snapshot!("help", overview);
    for (command, ..) in COMMANDS {
        assert!(overview.contains(command), "{command} is missing: {overview}");
        insta::assert_snapshot!(format!("help-{command}"), printed(&[command, "--help"]).await);
    }
}

#[test]
fn the_metrics_are_the_reviewed_ones() {
    let mut list = String::new();
    for (name, kind, meaning) in METRICS {
        writeln!(list, "{name} ({kind:?}): {meaning}").unwrap();
    }
    insta::assert_snapshot!("metrics", list);
}
