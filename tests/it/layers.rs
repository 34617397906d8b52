//! The arrows between the folders of `src` point one way (DESIGN.md, "Source tree").
//!
//! Every `crate::` path in the code is read, in `use` lines and elsewhere. A new file or folder at the root of `src`
//! goes into [`RANKS`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What may be named from where: only a lower rank, or the same part.
const RANKS: &[(&str, u32)] = &[
    ("domain", 0),
    ("password", 0),
    ("crypto", 0),
    ("net", 1),
    ("config", 1),
    ("settings", 2),
    ("telemetry", 2),
    ("shutdown", 2),
    ("store", 3),
    ("fail2ban", 3),
    ("agent::wire", 4),
    ("agent::client", 5),
    ("agent::server", 6),
    ("http", 6),
    ("scheduler", 6),
    ("jobs", 6),
    ("worker", 7),
    ("up", 7),
    ("cli", 8),
    ("agent", 6),
    ("main", 9),
    ("lib", 9),
];
/// Files of the binary, which wire everything.
const ROLES: &[&str] = &["main", "lib"];

fn rank(part: &str) -> u32 {
    let found = RANKS.iter().find(|(name, _)| *name == part).map(|(_, rank)| *rank);
    let role = ROLES.contains(&part).then_some(9);
    found.or(role).unwrap_or_else(|| panic!("`{part}` has no place in the table of layers yet: give it one"))
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// `agent` is three parts: what travels, the worker's end, and the end beside fail2ban.
fn part(segments: &[&str]) -> String {
    match segments {
        // The list of clients is of the worker's end.
        ["agent", "fleet", ..] => "agent::client".to_owned(),
        ["agent", "wire" | "client" | "server", ..] => format!("agent::{}", segments[1]),
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    }
}

/// The paths after each `crate::`, with one level of braces opened.
fn named(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut take = |text: &str| {
        let segments: Vec<&str> = text
            .split("::")
            .map(|segment| {
                segment.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
            })
            .take_while(|segment| !segment.is_empty())
            .take(2)
            .collect();
        // A name that begins with a capital is one of the root's own items.
        if segments.first().is_some_and(|first| first.starts_with(char::is_lowercase)) {
            found.insert(part(&segments));
        }
    };
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if code[..at].ends_with('$') {
            continue;
        }
        let Some(group) = rest.strip_prefix('{') else {
            take(rest);
            continue;
        };
        let (mut depth, mut begin) = (0, 0);
        for (end, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    take(group[begin..end].trim());
                    begin = end + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn no_arrow_between_the_layers_turns_round() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20);
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().with_extension("");
        let segments: Vec<&str> = relative.iter().map(|segment| segment.to_str().unwrap()).collect();
        let from = part(&segments);
        let code: String = std::fs::read_to_string(&file)
            .unwrap()
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| format!("{line}\n"))
            .collect();
        for to in named(&code) {
            if from != to
                && rank(&from) <= rank(&to)
                && rank(&from) != 9
                && !(from.starts_with("agent") && to == "agent")
            {
                wrong.push(format!("{}: {from} -> {to}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that turn round:\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_paths_sees_groups_and_inline_paths() {
    let code = "use crate::{config::{A, B}, domain::X, store};\nlet x = crate::http::error::Problem;\npub(crate) fn f() {}\n\
                use crate::agent::client::AgentClient; use crate::Root;";
    let expected = ["agent::client", "config", "domain", "http", "store"];
    assert_eq!(named(code), expected.map(str::to_owned).into());
}
