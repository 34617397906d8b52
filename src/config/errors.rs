//! Every error in a configuration, all at once, and warnings about what is merely suspicious.
//!
//! An error has the variable's name, its value and what is allowed. Secrets are removed before a value gets here
//! (`sources.rs`).

use std::collections::BTreeSet;
use std::fmt;

use super::variables;

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The variable, or the flag that set it.
    pub name: String,
    /// The value; `None` if it is a secret or not set.
    pub value: Option<String>,
    /// What is allowed, or what to do.
    pub allowed: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value:?}: {}", self.name, self.allowed),
            None => write!(f, "{}: {}", self.name, self.allowed),
        }
    }
}

/// Every error; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The errors.
    pub all: Vec<ConfigError>,
    /// What is suspicious, and may be the reason: a missing variable may have been misspelt.
    pub warnings: Vec<String>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.all.len() == 1 { "" } else { "s" };
        write!(f, "{} configuration error{plural}; nothing was started:", self.all.len())?;
        self.all.iter().try_for_each(|error| write!(f, "\n  {error}"))?;
        self.warnings.iter().try_for_each(|warning| write!(f, "\n  (warning) {warning}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// A warning for each `BANGUI_` variable that this version does not read, with the closest name that it does.
#[must_use]
pub fn unknown_names<'a>(set: impl Iterator<Item = &'a str>) -> Vec<String> {
    let known: BTreeSet<String> = variables::ALL
        .iter()
        .flat_map(|v| std::iter::once(v.name.to_owned()).chain(v.secret.then(|| v.file_name())))
        .collect();
    set.filter(|name| name.starts_with("BANGUI_") && !known.contains(*name) && !is_service_link(name))
        .map(|name| {
            let closest = known.iter().map(|known| (distance(name, known), known)).min();
            match closest.filter(|(distance, _)| *distance <= name.len() / 3) {
                Some((_, closest)) => format!("unknown variable {name}: did you mean {closest}?"),
                None => format!(
                    "unknown variable {name}: `bangui serve --help`, `bangui agent --help` and `bangui login --help` list them all"
                ),
            }
        })
        .collect()
}

/// Whether Kubernetes set it: every container in a namespace with a service `bangui` has `BANGUI_SERVICE_HOST`,
/// `BANGUI_PORT_8080_TCP_ADDR` and so on.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The Levenshtein distance, computed one row of the table at a time.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, b) in to.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or_default();
            let best = (diagonal + usize::from(a != *b)).min(above + 1).min(left + 1);
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            diagonal = above;
            left = best;
        }
        if let Some(last) = row.last_mut() {
            *last = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, d) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("abc", "abc", 0)]
        {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }

    #[test]
    fn an_unknown_name_is_warned_about_with_the_closest_one() {
        let names =
            ["BANGUI_REDIS_ULR", "BANGUI_AGENT_TOKEN_FILE", "BANGUI_LISTEN", "OTHER", "BANGUI_ZZZZZZZZZZZZZ"];
        let warnings = unknown_names(names.into_iter());
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].ends_with("did you mean BANGUI_REDIS_URL?"), "{warnings:?}");
        assert!(warnings[1].contains("list them all"), "{warnings:?}");
    }

    #[test]
    fn variables_that_kubernetes_sets_for_a_service_named_bangui_are_ignored() {
        let names = [
            "BANGUI_SERVICE_HOST",
            "BANGUI_SERVICE_PORT",
            "BANGUI_SERVICE_PORT_HTTP",
            "BANGUI_PORT",
            "BANGUI_PORT_8080_TCP",
            "BANGUI_PORT_8080_TCP_ADDR",
            "BANGUI_REDIS_PORT_6379_TCP_PROTO",
            "BANGUI_REDIS_SERVICE_HOST",
        ];
        assert_eq!(unknown_names(names.into_iter()), Vec::<String>::new());
    }
}
