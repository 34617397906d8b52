//! The arrows between the folders of `src` point one way, and no file imports in a circle.
//!
//! Every path of the code is followed to the file that defines the item it names, whether it begins with `crate::`,
//! `super::`, `self::`, or with a name that a `use` brought in (`layers/reader.rs`). A new folder or file at the root of
//! `src` goes into [`RANKS`].

mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reader::{Import, Modules};

/// Parts of `src`, longest names first where one is inside another. A part may import from parts of a lower rank, and from
/// itself.
const RANKS: &[(&str, u32)] = &[
    ("cause", 0),
    ("domain", 0),
    ("crypto", 0),
    ("net", 1),
    ("shutdown", 0),
    ("config", 1),
    ("settings", 2),
    ("telemetry", 2),
    ("password", 2),
    ("provider", 2),
    ("fail2ban", 3),
    ("store", 3),
    ("agent/wire", 4),
    ("agent/refusal", 4),
    ("agent/names", 5),
    ("agent/token", 4),
    ("agent/certificate", 3),
    ("agent/tls", 4),
    ("agent/client", 6),
    ("agent/host", 6),
    ("agent/server", 7),
    ("agent", 7),
    ("actions", 7),
    ("http", 8),
    ("scheduler", 8),
    ("jobs", 8),
    ("cli", 10),
    ("worker", 9),
    ("up", 9),
    ("main", 11),
    ("lib", 11),
];

/// Imports that the ranks alone would allow but that are forbidden: workers know nothing of fail2ban's protocol or of a host's files,
/// an agent nothing of Redis.
const FORBIDDEN: &[(&str, &str)] = &[
    ("http", "fail2ban"),
    ("http", "agent/host"),
    ("scheduler", "fail2ban"),
    ("scheduler", "agent/host"),
    ("scheduler", "actions"),
    ("jobs", "fail2ban"),
    ("jobs", "agent/host"),
    ("actions", "fail2ban"),
    ("actions", "agent/host"),
    ("store", "fail2ban"),
    ("agent/host", "store"),
    ("agent/server", "store"),
    ("agent/client", "store"),
    ("agent/host", "agent/client"),
    ("agent/server", "agent/client"),
];

fn part(file: &str) -> (&'static str, u32) {
    let found = RANKS.iter().find(|(name, _)| file == *name || file.starts_with(&format!("{name}/")));
    *found.unwrap_or_else(|| panic!("`{file}` has no place in the table of layers yet: give it one"))
}

fn wrong_arrows(imports: &BTreeSet<Import>) -> Vec<String> {
    let is_wrong = |import: &&Import| {
        let ((from, from_rank), (to, to_rank)) = (part(&import.from), part(&import.to));
        from != to && (to_rank >= from_rank || FORBIDDEN.contains(&(from, to)))
    };
    imports.iter().filter(is_wrong).map(|import| format!("{} -> {}", import.from, import.to)).collect()
}

/// Groups of files each of which imports, by way of others, itself. A mere re-export is not an import.
fn circles(imports: &BTreeSet<Import>) -> Vec<BTreeSet<String>> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in imports.iter().filter(|import| !import.handed_on) {
        next.entry(&import.from).or_default().insert(&import.to);
    }
    let reached = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = next.get(from).into_iter().flatten().copied().collect();
        while let Some(file) = open.pop() {
            if reached.insert(file.to_owned()) {
                open.extend(next.get(file).into_iter().flatten());
            }
        }
        reached
    };
    let reach: BTreeMap<&str, BTreeSet<String>> = next.keys().map(|file| (*file, reached(file))).collect();
    let circle_of = |file: &str| {
        let others =
            reach[file].iter().filter(|other| reach.get(other.as_str()).is_some_and(|r| r.contains(file)));
        others.cloned().collect::<BTreeSet<_>>()
    };
    let all: BTreeSet<_> =
        next.keys().map(|file| circle_of(file)).filter(|circle| !circle.is_empty()).collect();
    all.into_iter().collect()
}

fn own() -> Modules {
    Modules::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn no_layer_imports_against_its_arrow() {
    let modules = own();
    assert!(modules.len() > 150, "only {} files were read", modules.len());
    let wrong = wrong_arrows(&modules.imports());
    assert!(wrong.is_empty(), "imports against the arrows:\n{}", wrong.join("\n"));
}

#[test]
fn actions_know_what_they_work_with_and_nothing_of_http() {
    let works_with = [
        "actions",
        "store",
        "agent/client",
        "agent/wire",
        "settings",
        "config",
        "domain",
        "password",
        "provider",
    ];
    let imports = own().imports();
    let of_actions: Vec<&Import> =
        imports.iter().filter(|import| part(&import.from).0 == "actions").collect();
    assert!(of_actions.len() > 50, "only {} imports were read", of_actions.len());
    for Import { from, to, .. } in of_actions {
        assert!(works_with.contains(&part(to).0), "{from} -> {to}");
        let code = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{from}.rs"));
        let code = std::fs::read_to_string(code).unwrap_or_default();
        assert!(!code.contains("axum::") && !code.contains("utoipa"), "{from} names a crate of HTTP");
    }
}

#[test]
fn no_file_imports_in_a_circle() {
    let modules = own();
    let imports = modules.imports();
    assert!(imports.len() > 500, "only {} imports were read", imports.len());
    let circles = circles(&imports);
    let describe = |circle: &BTreeSet<String>| {
        let inside =
            imports.iter().filter(|i| !i.handed_on && circle.contains(&i.from) && circle.contains(&i.to));
        inside.map(|i| format!("{} -> {}", i.from, i.to)).collect::<Vec<_>>().join("\n  ")
    };
    let text: Vec<String> = circles.iter().map(describe).collect();
    assert!(circles.is_empty(), "{} circles:\n  {}", circles.len(), text.join("\n\n  "));
}

/// A small crate for testing the reader.
fn imports_of(files: &[(&str, &str)]) -> BTreeSet<Import> {
    let folder = tempfile::tempdir().unwrap();
    for (name, code) in files {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, code).unwrap();
    }
    Modules::read(folder.path()).imports()
}

fn arrows(imports: &BTreeSet<Import>) -> Vec<String> {
    imports.iter().map(|import| format!("{} -> {}", import.from, import.to)).collect()
}

#[test]
fn paths_are_followed_to_the_file_that_defines_the_item() {
    let imports = imports_of(&[
        ("lib.rs", "mod domain; mod store; mod http;"),
        ("domain.rs", "pub struct Jail;"),
        ("store/mod.rs", "mod keys; mod lease; pub use lease::Lease; pub type Page = Vec<u8>;"),
        ("store/keys.rs", "use super::super::domain::Jail; fn key(_: Jail) {}"),
        ("store/lease.rs", "pub struct Lease; use super::{keys, Page}; fn f() -> Page { keys::key(x) }"),
        (
            "http.rs",
            "use crate::{store::{Lease as L, self}, domain}; mod wire; #[cfg(test)] mod tests { use crate::store::Page; }\n\
             fn f() { json!({ \"x\": store::Page::new(), \"y\": self::wire::Y, \"z\": domain::Jail }) }",
        ),
        ("http/wire.rs", "pub struct Y;"),
    ]);
    let expected = [
        "http -> domain",
        "http -> http/wire",
        "http -> store/lease",
        "http -> store/mod",
        "store/keys -> domain",
        "store/lease -> store/keys",
        "store/lease -> store/mod",
        "store/mod -> store/lease",
    ];
    assert_eq!(arrows(&imports), expected);
    assert!(circles(&imports).is_empty(), "a name that is handed on makes no circle");
}

#[test]
fn an_import_against_the_layers_and_a_circle_are_found() {
    let imports = imports_of(&[
        ("lib.rs", "mod domain; mod store; mod http;"),
        ("domain.rs", "pub struct Jail; fn f(_: super::http::Caller) {}"),
        ("store/mod.rs", "mod a; mod b;"),
        ("store/a.rs", "use super::b::B; pub struct A;"),
        ("store/b.rs", "pub struct B; fn f() -> crate::store::a::A {}"),
        ("http.rs", "pub struct Caller;"),
    ]);
    assert_eq!(wrong_arrows(&imports), ["domain -> http"]);
    let circle = ["store/a", "store/b"].map(str::to_owned).into();
    assert_eq!(circles(&imports), [circle]);
}
