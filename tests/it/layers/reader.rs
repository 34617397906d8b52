//! Reads which file of `src` names an item of which other file.
//!
//! ```text
//! files ─▶ modules (child files, names in use, names re-exported) ─▶ paths in the code ─▶ the file that defines the item
//! ```
//!
//! Code of tests (`#[cfg(test)]`) is left out. A path is followed through `pub use` to the file that defines the item, so
//! that a folder's `mod.rs` may list the names of its files without being imported by, and importing, each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, Item, UseTree};

/// One file names something that another file defines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The file that names it, below `src`, without `.rs`: `store/servers/bans`.
    pub from: String,
    /// The file that defines it.
    pub to: String,
    /// Whether the item is only re-exported (`pub use`).
    pub handed_on: bool,
}

/// The path of a module from the root of the crate; `main` is the binary's root.
type ModulePath = Vec<String>;

#[derive(Default)]
struct Module {
    file: String,
    /// Names that `use` brings in, with the path of each.
    uses: BTreeMap<String, Vec<String>>,
    /// Names that are re-exported.
    handed_on: Vec<Vec<String>>,
    /// Everything else, to be searched for paths.
    code: Vec<TokenStream>,
}

/// The modules of a crate, by path.
#[derive(Default)]
pub struct Modules(BTreeMap<ModulePath, Module>);

impl Modules {
    /// Reads the crate whose root is `src/lib.rs`, and its binary `src/main.rs` where there is one.
    pub fn read(src: &Path) -> Self {
        let mut modules = Self::default();
        modules.read_file(src, &src.join("lib.rs"), Vec::new());
        if src.join("main.rs").exists() {
            modules.read_file(src, &src.join("main.rs"), vec!["main".to_owned()]);
        }
        modules
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.0.values().map(|module| &module.file).collect::<BTreeSet<_>>().len()
    }

    fn read_file(&mut self, src: &Path, file: &Path, path: ModulePath) {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = file.strip_prefix(src).unwrap().with_extension("").display().to_string();
        self.read_items(src, file, &name, path, parsed.items);
    }

    fn read_items(&mut self, src: &Path, file: &Path, name: &str, path: ModulePath, items: Vec<Item>) {
        let mut module = Module { file: name.to_owned(), ..Module::default() };
        for item in items {
            match item {
                Item::Mod(inner) if !is_test(&inner.attrs) => {
                    let mut child = path.clone();
                    child.push(inner.ident.to_string());
                    match inner.content {
                        Some((_, items)) => self.read_items(src, file, name, child, items),
                        None => self.read_file(src, &child_file(file, &inner.ident.to_string()), child),
                    }
                }
                Item::Use(tree) if !is_test(&tree.attrs) => {
                    let private = matches!(tree.vis, syn::Visibility::Inherited);
                    for (name, target) in leaves(&tree.tree, &[]) {
                        if !private {
                            module.handed_on.push(target.clone());
                        }
                        module.uses.insert(name, target);
                    }
                }
                Item::Mod(_) | Item::Use(_) => {}
                item if is_test(attributes(&item)) => {}
                item => module.code.push(item.into_token_stream()),
            }
        }
        self.0.insert(path, module);
    }

    /// Every import between two files.
    pub fn imports(&self) -> BTreeSet<Import> {
        let mut found = BTreeSet::new();
        for (path, module) in &self.0 {
            let mut add = |target: &[String], handed_on: bool| {
                if let Some(to) = self.resolve(path, target, 0)
                    && to != module.file
                {
                    found.insert(Import { from: module.file.clone(), to, handed_on });
                }
            };
            for target in module.uses.values() {
                add(target, module.handed_on.contains(target));
            }
            for code in &module.code {
                let mut paths = Vec::new();
                collect_paths(code.clone(), &mut paths);
                for target in paths {
                    add(&target, false);
                }
            }
        }
        found
    }

    /// The file that defines what `target` names, seen from the module `from`; none for what is of another crate, or a module
    /// as a whole.
    fn resolve(&self, from: &[String], target: &[String], depth: usize) -> Option<String> {
        assert!(depth < 32, "`pub use` in a circle: {target:?}");
        let mut at = from.to_vec();
        let mut rest = target;
        match rest.first().map(String::as_str)? {
            "crate" if from.first().is_some_and(|root| root == "main") => at = vec!["main".to_owned()],
            "crate" | "bangui" => at = Vec::new(),
            "self" => {}
            "super" => {
                at.pop();
            }
            first => {
                let mut child = at.clone();
                child.push(first.to_owned());
                let module = self.0.get(&at)?;
                if !self.0.contains_key(&child) {
                    // A name that was brought in; `use anyhow::anyhow` is of another crate.
                    let used = module.uses.get(first).filter(|used| used[0] != first)?;
                    let whole: Vec<String> = used.iter().chain(&target[1..]).cloned().collect();
                    return self.resolve(from, &whole, depth + 1);
                }
            }
        }
        if matches!(rest[0].as_str(), "crate" | "bangui" | "self" | "super") {
            rest = &rest[1..];
        }
        while let Some((segment, after)) = rest.split_first() {
            if segment == "super" {
                at.pop();
                rest = after;
                continue;
            }
            let module = self.0.get(&at)?;
            let mut child = at.clone();
            child.push(segment.clone());
            if self.0.contains_key(&child) {
                at = child;
                rest = after;
            } else if let Some(used) = module.uses.get(segment) {
                let whole: Vec<String> = used.iter().chain(after).cloned().collect();
                return self.resolve(&at, &whole, depth + 1);
            } else {
                return Some(module.file.clone());
            }
        }
        None
    }
}

fn child_file(parent: &Path, name: &str) -> PathBuf {
    let folder = parent.parent().unwrap();
    let stem = parent.file_stem().unwrap().to_str().unwrap();
    let folder = if matches!(stem, "mod" | "lib" | "main") { folder.to_owned() } else { folder.join(stem) };
    let file = folder.join(format!("{name}.rs"));
    if file.exists() { file } else { folder.join(name).join("mod.rs") }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.to_token_stream().to_string().contains("test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        _ => &[],
    }
}

/// What a `use` brings in: the name and its path.
fn leaves(tree: &UseTree, before: &[String]) -> Vec<(String, Vec<String>)> {
    let with = |segment: String| before.iter().cloned().chain([segment]).collect::<Vec<_>>();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &with(path.ident.to_string())),
        UseTree::Group(group) => group.items.iter().flat_map(|tree| leaves(tree, before)).collect(),
        UseTree::Name(name) if name.ident == "self" => {
            vec![(before.last().unwrap().clone(), before.to_vec())]
        }
        UseTree::Name(name) => vec![(name.ident.to_string(), with(name.ident.to_string()))],
        UseTree::Rename(rename) => {
            let target =
                if rename.ident == "self" { before.to_vec() } else { with(rename.ident.to_string()) };
            vec![(rename.rename.to_string(), target)]
        }
        UseTree::Glob(_) => vec![(format!("*{}", before.join("::")), with("*".to_owned()))],
    }
}

/// Every path of the code, in macros too, as its segments.
fn collect_paths(code: TokenStream, into: &mut Vec<Vec<String>>) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in code {
        match token {
            TokenTree::Ident(ident) if path.is_empty() || colons == 2 => {
                path.push(ident.to_string());
                colons = 0;
                continue;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() && colons < 2 => {
                colons += 1;
                continue;
            }
            token => {
                if !path.is_empty() {
                    into.push(std::mem::take(&mut path));
                }
                colons = 0;
                match token {
                    TokenTree::Ident(ident) => path.push(ident.to_string()),
                    TokenTree::Group(group) => collect_paths(group.stream(), into),
                    TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                }
            }
        }
    }
    if !path.is_empty() {
        into.push(path);
    }
}
