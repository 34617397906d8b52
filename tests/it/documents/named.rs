//! Everything that a document names exists: links, files, tests, targets of make, variables and metrics. And the code names no
//! document that is gone.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bangui::config::variables;

use super::{documents, files_below, is_exported, read, root};

/// The anchor that a heading gets, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let headings = text.lines().filter(|line| {
        in_code ^= line.starts_with("```");
        !in_code && line.starts_with('#')
    });
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut checked = 0;
    for file in documents() {
        let text = read(&file);
        for (_, rest) in text.match_indices("](").map(|(at, sign)| text.split_at(at + sign.len())) {
            let target = rest.split(')').next().unwrap();
            if target.starts_with("http") {
                continue;
            }
            checked += 1;
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            assert!(root().join(&path).exists(), "{}: {target} does not exist", file.display());
            if !fragment.is_empty() {
                let known = anchors(&read(&path));
                assert!(known.contains(fragment), "{}: {target}: no such heading", file.display());
            }
        }
    }
    assert!(checked > 20, "only {checked} links were found");
}

/// Everything between backticks in a text, and every line of its code blocks.
fn code_of(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (n, block) in text.split("```").enumerate() {
        if n % 2 == 1 {
            found.extend(block.lines());
        } else {
            found.extend(block.split('`').skip(1).step_by(2));
        }
    }
    found
}

#[test]
fn every_file_that_a_document_names_exists() {
    let folders = ["src/", "tests/", "docs/", "k8s/", ".deploy/", ".ci/", "benches/"];
    let made = ["k8s/own"];
    let mut checked = 0;
    for file in documents() {
        let text = read(&file);
        for code in code_of(&text).into_iter().flat_map(|code| code.split_whitespace()) {
            let path = code.trim_end_matches([':', ',', '.', ')', ';']).trim_end_matches("::");
            if !folders.iter().any(|folder| path.starts_with(folder)) || path.contains(['*', '<', '{', 'X']) {
                continue;
            }
            checked += 1;
            let exists = made.contains(&path) || root().join(path).exists();
            assert!(exists, "{} names {path}, which does not exist", file.display());
        }
    }
    assert!(checked > 50, "only {checked} paths were found");
}

/// All Rust files, with their text.
fn rust_files() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        files_below(&root().join(folder), &mut files);
    }
    files.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The name of a file of tests, without its folder.
fn file_of_tests(code: &str) -> Option<&str> {
    (code.ends_with(".rs") && !code.contains(['/', ' '])).then_some(code)
}

/// The name of a test: a sentence. Settings and metrics have fewer words.
fn test_name(code: &str) -> Option<&str> {
    let is_name = code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    (is_name && code.matches('_').count() > 3 && !code.starts_with("bangui_")).then_some(code)
}

#[test]
fn every_test_that_a_document_names_exists_in_the_file_it_names() {
    let files = rust_files();
    let is_in = |text: &str, name: &str| text.contains(&format!("fn {name}("));
    let (mut tests, mut named) = (0, 0);
    for file in documents() {
        let text = read(&file);
        // Each text in backticks, with the text between it and the one before.
        let parts: Vec<&str> = text.split("```").step_by(2).flat_map(|text| text.split('`')).collect();
        let mut before: Option<&str> = None;
        for (at, code) in parts.iter().enumerate().skip(1).step_by(2) {
            let follows = parts[at - 1] == ": " || parts[at - 1] == " (" || parts[at - 1] == ", ";
            if let Some(own) = file_of_tests(code) {
                named += 1;
                let exists = files.iter().any(|(path, _)| path.file_name().is_some_and(|name| name == own));
                assert!(exists, "{} names {own}, which does not exist", file.display());
                before = Some(own);
            } else if let Some(test) = test_name(code) {
                tests += 1;
                let of = before.filter(|_| follows);
                let exists = files.iter().any(|(path, text)| {
                    of.is_none_or(|own| path.file_name().is_some_and(|name| name == own)) && is_in(text, test)
                });
                assert!(exists, "{} names the test {test} of {of:?}, which does not exist", file.display());
            } else {
                before = None;
            }
        }
    }
    assert!(tests > 5 && named > 20, "only {tests} tests and {named} files were found");
}

#[test]
fn every_make_target_and_variable_that_a_document_names_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split_once(':').map(|(target, _)| target))
        .collect();
    let known: BTreeSet<String> =
        variables::ALL.iter().flat_map(|v| [v.name.to_owned(), v.file_name()]).collect();
    let of_the_deployment = ["BANGUI_PORT", "BANGUI_SUBNET", "BANGUI_IMAGE", "BANGUI_HOST_IMAGE"];
    for file in documents() {
        let text = read(&file);
        for code in code_of(&text) {
            if let Some(rest) = code.trim().strip_prefix("make ") {
                let target = rest.split_whitespace().next().unwrap();
                assert!(targets.contains(target), "{} names `make {target}`", file.display());
            }
        }
        let word = |c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        for name in text.split(word).filter(|name| name.starts_with("BANGUI_") && name.len() > 7) {
            let exists = known.contains(name)
                || of_the_deployment.contains(&name)
                || name.starts_with("BANGUI_TEST_")
                || name.ends_with('_');
            assert!(exists, "{} names {name}, which is not a variable", file.display());
        }
    }
}

#[test]
fn every_metric_that_a_document_names_is_exported() {
    let mut checked = 0;
    for file in documents() {
        let text = read(&file);
        let word = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        for name in text.split(word).filter(|name| name.starts_with("bangui_")) {
            checked += 1;
            assert!(is_exported(name), "{} names {name}, which is not a metric", file.display());
        }
    }
    assert!(checked > 20, "only {checked} names were found");
}

#[test]
fn the_code_points_to_no_document_that_is_not_here() {
    let mut files = Vec::new();
    for folder in ["src", "k8s", ".ci", ".deploy", "benches"] {
        files_below(&root().join(folder), &mut files);
    }
    files.extend(
        [".clippy.toml", "Makefile", "Dockerfile", "docker-compose.yml"].map(|file| root().join(file)),
    );
    let here: BTreeSet<String> = documents().iter().map(|path| path.display().to_string()).collect();
    for file in files {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/')));
        for word in words.map(|word| word.trim_end_matches('.')).filter(|word| word.ends_with(".md")) {
            assert!(here.contains(word), "{} names {word}", file.display());
        }
        assert!(
            !text.contains("README ") && !text.contains("README:"),
            "{}: say which document",
            file.display()
        );
    }
}
