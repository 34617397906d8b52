//! The documents: what they quote from the code is up to date, and everything that they name exists (`documents/named.rs`).
//!
//! After a change of the code that a document quotes: `make docs`, then review `git diff docs`. A new log line or problem
//! appears in `docs/messages.md` with an empty last column: write there what an operator should do.

mod generated;
mod messages;
mod named;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bangui::config::command::COMMANDS;
use bangui::config::variables;
use bangui::telemetry::{Kind, METRICS};
use serde_json::Value;

use generated::{Row, list, table};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every document: those at the root and those in `docs/`.
fn documents() -> Vec<PathBuf> {
    let in_folder = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().flatten();
        let paths = entries.map(|entry| entry.path().strip_prefix(root()).unwrap().to_owned());
        paths.filter(|path| path.extension().is_some_and(|e| e == "md")).collect::<Vec<_>>()
    };
    let mut all = [in_folder(""), in_folder("docs")].concat();
    all.sort();
    all
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

#[test]
fn the_readme_has_at_most_120_lines() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 120, "{lines} lines");
}

#[test]
fn the_list_of_variables_is_that_of_the_program() {
    let rows = variables::ALL.iter().map(|variable| {
        let commands = COMMANDS.iter().filter(|(_, role, _)| variable.is_for(*role)).map(|(name, ..)| *name);
        let name = if variable.secret {
            format!("`{}`, or a file: `{}`", variable.name, variable.file_name())
        } else {
            format!("`{}`", variable.name)
        };
        let default = variable.default.map(|default| format!("`{default}`")).unwrap_or_default();
        Row::complete([name, default, commands.collect::<Vec<_>>().join(", "), variable.help.to_owned()])
    });
    table(
        "docs/configuration.md",
        "variables",
        &["variable", "default", "commands", "meaning"],
        rows.collect(),
    );
}

#[test]
fn the_list_of_settings_is_that_of_the_program() {
    let rows = bangui::settings::shapes().map(|(name, shape)| {
        use bangui::settings::Shape;
        let allowed = match shape {
            Shape::Seconds(range) => format!("{} to {} seconds", range.start(), range.end()),
            Shape::Switch => "`true` or `false`".to_owned(),
            Shape::Rate => "`\"N/SECONDS\"`".to_owned(),
            Shape::Roles => "roles, such as `\"operator,admin\"`, or `\"\"`".to_owned(),
        };
        Row::complete([format!("`{name}`"), allowed])
    });
    table("docs/configuration.md", "settings", &["setting", "value"], rows.collect());
}

#[test]
fn every_metric_is_listed_with_its_meaning_and_use() {
    let rows = METRICS.iter().map(|(name, kind, text)| {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Seconds => "histogram",
        };
        Row::with_advice([format!("`{name}`"), kind.to_owned(), (*text).to_owned()])
    });
    table("docs/operations.md", "metrics", &["metric", "type", "meaning", "watch for"], rows.collect());
}

/// Whether Prometheus finds a series of this name: a metric, or a part of a histogram.
fn is_exported(name: &str) -> bool {
    METRICS.iter().any(|(metric, kind, _)| {
        let part = name.strip_prefix(metric);
        part == Some("")
            || matches!(kind, Kind::Seconds) && matches!(part, Some("_bucket" | "_sum" | "_count"))
    })
}

/// The value of a field of an alert, on the next line: the file has one field per line, in a fixed order.
fn field<'a>(lines: &mut impl Iterator<Item = &'a str>, name: &str) -> &'a str {
    let line = lines.next().unwrap_or_default().trim();
    line.strip_prefix(name).unwrap_or_else(|| panic!("{line:?} instead of {name}")).trim()
}

#[test]
fn every_alert_names_metrics_that_exist_and_is_listed_with_what_to_do() {
    let text = read("k8s/monitoring/alerts.yaml");
    let mut lines = text.lines();
    let mut rows = Vec::new();
    while let Some(line) = lines.next() {
        let Some(alert) = line.trim().strip_prefix("- alert: ") else { continue };
        let (expr, time) = (field(&mut lines, "expr:"), field(&mut lines, "for:"));
        let severity = field(&mut lines, "labels: { severity:").trim_end_matches([' ', '}']);
        let advice =
            field(&mut lines, "annotations: { summary:").trim_end_matches([' ', '}']).trim_matches('"');
        let metrics = expr.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        for name in metrics.filter(|name| name.starts_with("bangui_")) {
            assert!(is_exported(name), "{alert} names {name}, which is not a metric");
        }
        assert!(expr.contains(['<', '>', '=']), "{alert} has no threshold: {expr}");
        assert!(advice.len() > 40, "{alert} does not say what to do: {advice}");
        rows.push(Row::complete([
            format!("`{alert}`, {severity}"),
            format!("`{expr}`"),
            time.to_owned(),
            advice.to_owned(),
        ]));
    }
    assert!(rows.len() >= 10, "only {} alerts were found", rows.len());
    table("docs/operations.md", "alerts", &["alert", "expression", "for", "meaning, and what to do"], rows);
}

#[test]
fn every_call_of_the_api_is_listed() {
    let document = serde_json::to_value(bangui::http::document()).unwrap();
    let mut rows = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete"] {
            let Some(Value::String(summary)) = item[method].get("summary") else { continue };
            let call = format!("`{} {path}`", method.to_uppercase());
            rows.push(Row::complete([call, summary.replace('\n', " ")]));
        }
    }
    assert!(rows.len() > 30, "only {} calls were found", rows.len());
    table("docs/api.md", "calls", &["call", "does"], rows);
}

#[test]
fn every_log_line_is_listed_with_what_to_do() {
    let lines = messages::log_lines(&root().join("src"));
    assert!(lines.len() > 80, "only {} log lines were found", lines.len());
    for level in ["error", "warn", "info", "debug"] {
        let of_level = lines.iter().filter(|line| line.level == level);
        let rows = of_level
            .map(|line| Row::with_advice([code(&line.text), format!("`{}`", line.files.join("`, `"))]));
        table(
            "docs/messages.md",
            level,
            &["message", "file in `src`", "meaning, and what to do"],
            rows.collect(),
        );
    }
}

#[test]
fn every_problem_is_listed_with_what_to_do() {
    let problems = messages::problems(&root().join("src/http"));
    assert!(problems.len() > 30, "only {} problems were found", problems.len());
    let rows = problems.iter().map(|problem| {
        Row::with_advice([format!("`{}`", problem.name), problem.statuses(), problem.titles()])
    });
    table("docs/messages.md", "problems", &["type", "status", "title", "what to do"], rows.collect());
    let mut details = String::new();
    for problem in problems.iter().filter(|problem| !problem.details.is_empty()) {
        writeln!(details, "* `{}`", problem.name).unwrap();
        for detail in &problem.details {
            writeln!(details, "  * {detail}").unwrap();
        }
    }
    list("docs/messages.md", "details", &details);
}

#[test]
fn every_error_text_is_listed() {
    let mut texts = String::new();
    let found = messages::error_texts(&root().join("src"));
    assert!(found.len() > 30, "only {} errors were found", found.len());
    for (file, text) in found {
        writeln!(texts, "* {} (`{file}`)", code(&text)).unwrap();
    }
    list("docs/messages.md", "error texts", &texts);
}

/// A text as code, also one that has backticks in it.
fn code(text: &str) -> String {
    let text = text.replace('\n', " ");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}
