//! Finds every log line, every problem document and every error text in the source.
//!
//! The source is read as tokens. A log line is a macro `error!`, `warn!`, `info!` or `debug!`, with or without `tracing::`
//! before it; its text is the first argument that is a string. A problem is a call or a tuple that begins with a status, a name
//! and a title: `Problem::new(StatusCode::CONFLICT, "name", "Title", detail)`, or one of the short forms of
//! `http/error/mod.rs`. The value of a variable is searched for in the statements before the call. The text of an error is in its attribute, `#[error("...")]`. Code of tests is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// A text that the program logs.
#[derive(Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: String,
    pub text: String,
    /// The files that log it, below the folder that was read.
    pub files: Vec<String>,
}

/// A kind of problem document.
#[derive(Debug, Default)]
pub struct Problem {
    pub name: String,
    pub details: Vec<String>,
    statuses: Vec<u16>,
    titles: Vec<String>,
}

impl Problem {
    pub fn statuses(&self) -> String {
        self.statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
    }

    pub fn titles(&self) -> String {
        self.titles.join("; ")
    }
}

/// Every log line, in the order of the files; one entry for a text that is logged in several places.
pub fn log_lines(src: &Path) -> Vec<LogLine> {
    let mut found: Vec<LogLine> = Vec::new();
    for (file, tokens) in sources(src) {
        walk(tokens, &mut |before, group| {
            let Some(level) = level(before) else { return };
            let text = arguments(group).iter().find_map(|argument| literal(argument));
            let text = text.unwrap_or_else(|| panic!("{file}: {level}! without a text: {group}"));
            match found.iter_mut().find(|line| line.level == level && line.text == text) {
                Some(known) if known.files.contains(&file) => {}
                Some(known) => known.files.push(file.clone()),
                None => found.push(LogLine { level, text, files: vec![file.clone()] }),
            }
        });
    }
    found
}

/// The text of every error, with its file.
pub fn error_texts(src: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (file, tokens) in sources(src) {
        walk(tokens, &mut |_, group| {
            let attribute: Vec<TokenTree> = group.stream().into_iter().collect();
            let text = match &attribute[..] {
                [name, TokenTree::Group(text)] if ident(name).is_some_and(|name| name == "error") => text,
                _ => return,
            };
            let text = arguments(text).first().and_then(|argument| literal(argument));
            // `{0}` alone is the text of another error.
            let text = text.filter(|text| !(text.starts_with('{') && text.ends_with('}')));
            add(&mut found, text.map(|text| (file.clone(), text)));
        });
    }
    found
}

/// Every kind of problem, by name.
pub fn problems(http: &Path) -> Vec<Problem> {
    let mut found: BTreeMap<String, Problem> = BTreeMap::new();
    for (_, tokens) in sources(http) {
        walk(tokens, &mut |before, group| {
            for made in made_here(before, group).into_iter().flatten() {
                let problem = found.entry(made.name.clone()).or_default();
                problem.name = made.name;
                made.statuses.into_iter().for_each(|status| add(&mut problem.statuses, Some(status)));
                add(&mut problem.titles, made.title);
                add(&mut problem.details, made.detail);
            }
        });
    }
    let mut all: Vec<Problem> = found.into_values().collect();
    all.iter_mut().for_each(|problem| problem.statuses.sort_unstable());
    all
}

fn add<T: PartialEq>(all: &mut Vec<T>, new: Option<T>) {
    all.extend(new.filter(|new| !all.contains(new)));
}

/// One place where a problem is made, with the parts that are literals there.
struct Made {
    name: String,
    statuses: Vec<u16>,
    title: Option<String>,
    detail: Option<String>,
}

/// The problems that are made with the arguments in this group, if any.
fn made_here(before: &[TokenTree], group: &Group) -> Option<Vec<Made>> {
    let arguments = arguments(group);
    let at = |n: usize| arguments.get(n).and_then(|argument| text(argument));
    let of_problem = || ["Problem", "Self"].iter().any(|owner| ends_with(before, &[owner, ":", ":", "*"]));
    let first_status = || status(arguments.first()?);
    let one = |name: String, statuses: Vec<u16>, title, detail| vec![Made { name, statuses, title, detail }];
    let called = before.last().and_then(ident);
    Some(match called.as_deref() {
        Some("new") if of_problem() && arguments.len() > 3 => {
            let statuses = first_status().map_or_else(|| statuses_in(before), |status| vec![status]);
            let named = at(1).map(|name| (name, at(2)));
            let all = named.map_or_else(|| names_in(before), |one| vec![one]);
            let made = |(name, title)| Made { name, statuses: statuses.clone(), title, detail: at(3) };
            all.into_iter().map(made).collect()
        }
        Some("conflict") if of_problem() => one(at(0)?, vec![409], at(1), at(2)),
        Some("malformed") if of_problem() => one("malformed-request".to_owned(), Vec::new(), None, at(0)),
        Some("invalid") if of_problem() => one("invalid-request".to_owned(), Vec::new(), None, at(0)),
        // A tuple.
        None if arguments.len() == 3 => one(at(1)?, vec![first_status()?], at(2), None),
        _ => return None,
    })
}

/// Every `StatusCode::CONFLICT` of some statements.
fn statuses_in(tokens: &[TokenTree]) -> Vec<u16> {
    let mut found = Vec::new();
    let stream = tokens.iter().cloned().collect();
    walk(stream, &mut |_, group| found.extend(arguments(group).iter().find_map(|argument| status(argument))));
    found
}

/// Every tuple of a name and a title of some statements.
fn names_in(tokens: &[TokenTree]) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let stream = tokens.iter().cloned().collect();
    walk(stream, &mut |before, group| {
        let arguments = arguments(group);
        let [name, title] = &arguments[..] else { return };
        if before.last().is_none_or(|token| ident(token).is_none()) {
            found.extend(literal(name).map(|name| (name, literal(title))));
        }
    });
    found
}

/// The number of `StatusCode::CONFLICT`.
fn status(argument: &[TokenTree]) -> Option<u16> {
    argument.iter().find(|token| ident(token).is_some_and(|name| name == "StatusCode"))?;
    let name = ident(argument.last()?)?;
    let is = |code: &u16| {
        let code = reqwest::StatusCode::from_u16(*code).ok();
        let reason = code.and_then(|code| code.canonical_reason()).unwrap_or_default();
        reason.to_uppercase().replace([' ', '-'], "_") == name
    };
    (100..600).find(is)
}

/// The level, if a group has the arguments of a macro that logs.
fn level(before: &[TokenTree]) -> Option<String> {
    let [.., name, bang] = before else { return None };
    // `$level!` of a macro that logs at several levels.
    let name = ident(name).map(|name| if name == "level" { "info".to_owned() } else { name })?;
    (is_punct(bang, '!') && LEVELS.contains(&name.as_str())).then_some(name)
}

/// Whether the tokens end with these words and signs; `*` is any.
fn ends_with(tokens: &[TokenTree], end: &[&str]) -> bool {
    tokens.len() >= end.len()
        && tokens[tokens.len() - end.len()..]
            .iter()
            .zip(end)
            .all(|(token, wanted)| *wanted == "*" || token.to_string() == *wanted)
}

fn ident(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

/// The parts between the commas of a group.
fn arguments(group: &Group) -> Vec<Vec<TokenTree>> {
    let mut all = vec![Vec::new()];
    for token in group.stream() {
        if is_punct(&token, ',') { all.push(Vec::new()) } else { all.last_mut().unwrap().push(token) }
    }
    all.retain(|argument| !argument.is_empty());
    all
}

/// The text of an argument that begins with a string.
fn literal(argument: &[TokenTree]) -> Option<String> {
    let TokenTree::Literal(literal) = argument.first()? else { return None };
    syn::parse_str::<syn::LitStr>(&literal.to_string()).ok().map(|text| text.value())
}

/// The text of an argument that is a string or a `format!`.
fn text(argument: &[TokenTree]) -> Option<String> {
    let formatted = || match argument {
        [name, bang, TokenTree::Group(group), ..]
            if ident(name).is_some_and(|name| name == "format") && is_punct(bang, '!') =>
        {
            arguments(group).first().and_then(|format| literal(format))
        }
        _ => None,
    };
    literal(argument).or_else(formatted)
}

/// Calls `found` for every group in round brackets and every attribute, with the tokens before it.
fn walk(tokens: TokenStream, found: &mut impl FnMut(&[TokenTree], &Group)) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut skipping = false;
    for (n, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) if skipping => skipping = group.delimiter() != Delimiter::Brace,
            TokenTree::Punct(punct) if skipping => skipping = punct.as_char() != ';',
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket && is_test(group) => {
                skipping = n > 0 && is_punct(&tokens[n - 1], '#');
            }
            TokenTree::Group(group) => {
                let is_attribute =
                    group.delimiter() == Delimiter::Bracket && n > 0 && is_punct(&tokens[n - 1], '#');
                if is_attribute || group.delimiter() == Delimiter::Parenthesis {
                    found(&tokens[..n], group);
                }
                walk(group.stream(), found);
            }
            _ => {}
        }
    }
}

/// Whether an attribute is `cfg(test)`.
fn is_test(attribute: &Group) -> bool {
    attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// The files below a folder, without those that hold tests alone.
fn sources(folder: &Path) -> Vec<(String, TokenStream)> {
    let mut files = Vec::new();
    super::files_below(folder, &mut files);
    files.sort();
    let of_tests = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        name == "tests" || name.ends_with("_tests") || name == "test_switch"
    };
    let sources =
        files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs") && !of_tests(path));
    sources
        .map(|path| {
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let text = std::fs::read_to_string(&path).unwrap();
            (name, text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(code: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.rs"), code).unwrap();
        folder
    }

    #[test]
    fn log_lines_are_found_wherever_they_are_and_those_of_tests_are_not() {
        let folder = folder_with(
            r#"
            fn f() { match x { Y => { tracing::warn!(a.b = %c, ?d, "one {e} \
                two", g) } _ => info!("three") }; println!("no"); self.error("no"); info!("three"); }
            #[cfg(test)] mod tests { fn g() { warn!("of a test"); } }
            #[cfg(test)] use a::b;
            fn h() { run(async { loop { error!("four") } }) }
            "#,
        );
        let found = log_lines(folder.path());
        let texts: Vec<String> = found.iter().map(|line| format!("{} {}", line.level, line.text)).collect();
        assert_eq!(texts, ["warn one {e} two", "info three", "error four"]);
        assert_eq!(found[0].files, ["a.rs"]);
    }

    #[test]
    fn the_texts_of_errors_are_found_in_their_attributes() {
        let folder = folder_with(
            r#"
            #[derive(Error)] enum E { #[error("no such {0}")] A(String), #[error(transparent)] B(C), #[error("{0}")] D(F) }
            fn f() { error("no error") }
            "#,
        );
        assert_eq!(error_texts(folder.path()), [("a.rs".to_owned(), "no such {0}".to_owned())]);
    }

    #[test]
    fn problems_are_found_in_each_of_their_forms() {
        let folder = folder_with(
            r#"
            fn f() { Problem::new(StatusCode::CONFLICT, "a", "A", format!("at {x}")).with("b", 1) }
            fn g() { Self::conflict("a", "A", "again".to_owned()); Self::invalid("wrong"); Other::new(1, "x", "y") }
            fn h() { match k { K => (http::StatusCode::NOT_FOUND, "c", "C"), } }
            fn i() { let (name, title) = if j { ("d", "D") } else { ("e", "E") }; Self::new(StatusCode::CONFLICT, name, title, "i") }
            fn k() { let (s, detail) = match l { L => (StatusCode::GONE, x), M => (StatusCode::CONFLICT, y) }; Problem::new(s, "f", "F", detail) }
            "#,
        );
        let found = problems(folder.path());
        let shown = |p: &Problem| format!("{} {} {} {:?}", p.name, p.statuses(), p.titles(), p.details);
        let shown: Vec<String> = found.iter().map(shown).collect();
        assert_eq!(
            shown,
            [
                r#"a 409 A ["at {x}", "again"]"#,
                r#"c 404 C []"#,
                r#"d 409 D ["i"]"#,
                r#"e 409 E ["i"]"#,
                r#"f 409, 410 F []"#,
                r#"invalid-request   ["wrong"]"#
            ]
        );
    }
}
