//! The query of a request, by one rule for the API and for pages.
//!
//! | in the query | of the API | of a page |
//! |---|---|---|
//! | a number, a choice, a cursor or a truth that cannot be read; a parameter twice | 400 that names the parameter and what it accepts | the same, as a page |
//! | a parameter that there is not | 400: a misspelt one must not turn into the default | ignored: others add theirs to links |
//! | a text to search for, a name that may be gone (`q`, `server`, `jail`, `address`, `open`, `job`), where a login leads to (`next`) | anything: it finds nothing | the same |
//! | a `page` after the last one | | the last one |
//!
//! Numbers and truths are refused by the extractor; choices by [`require_choice`], cursors by whoever parses them. Values are never
//! repeated: they may be secrets.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use super::error::{Problem, Result};
use super::state::AppState;

/// Parameters of the query.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self> {
        read(parts.uri.query().unwrap_or_default()).map(Self).map_err(Problem::malformed)
    }
}

/// The parameters in this query, or what is wrong with them.
fn read<T: DeserializeOwned>(query: &str) -> std::result::Result<T, String> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
        .map_err(|error| in_our_words(&error.path().to_string(), &error.inner().to_string()))
}

/// What serde and the parsers of the standard library say, in words for people.
fn in_our_words(parameter: &str, words: &str) -> String {
    if let Some(unknown) = words.strip_prefix("unknown field ") {
        let unknown: String = unknown.chars().take(300).collect();
        let unknown = unknown.replacen(", expected one of ", ", expected ", 1);
        return format!("there is no parameter {}", unknown.replacen(", expected ", " here, only ", 1));
    }
    if let Some(twice) = words.strip_prefix("duplicate field ") {
        return format!("the parameter {twice} is there more than once");
    }
    match words {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            format!("`{parameter}` must be a whole number")
        }
        "number too large to fit in target type" => format!("`{parameter}` must be a smaller number"),
        "provided string was not `true` or `false`" => format!("`{parameter}` must be `true` or `false`"),
        // Those of our own types, as [`PageNumber`].
        ours => format!("`{parameter}` {ours}"),
    }
}

/// The number of a page of a list, from 1 on; 1 if the query has none, or an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageNumber(pub usize);

impl Default for PageNumber {
    fn default() -> Self {
        Self(1)
    }
}

impl<'de> Deserialize<'de> for PageNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self::default());
        }
        let digits = text.trim_start_matches('0');
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(D::Error::custom("must be a whole number from 1 on"));
        }
        // A number that is too large to be read is after the last page, too.
        Ok(Self(digits.parse().unwrap_or(usize::MAX)))
    }
}

/// Refuses a value that is none of these; an empty one is as good as none.
///
/// # Errors
/// 400.
pub fn require_choice<'a>(
    parameter: &str,
    value: &str,
    choices: impl IntoIterator<Item = &'a str>,
) -> Result<()> {
    if value.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = Vec::new();
    for choice in choices {
        if choice == value {
            return Ok(());
        }
        if !choice.is_empty() {
            named.push(format!("`{choice}`"));
        }
    }
    let last = named.pop().unwrap_or_default();
    let all = if named.is_empty() { last } else { format!("{} or {last}", named.join(", ")) };
    Err(Problem::malformed(format!("`{parameter}` must be {all}")))
}

/// Reads the cursor of a page's list; an empty one is as good as none.
///
/// # Errors
/// 400 if it is none that the list has given.
pub fn cursor_of_page<T>(text: Option<&str>, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
    let wrong = || Problem::malformed("`cursor` must be the one in a link to the next page");
    text.filter(|text| !text.is_empty()).map(|text| parse(text).ok_or_else(wrong)).transpose()
}

/// Reads the cursor of a list of the API.
///
/// # Errors
/// 400 if it is none that the list has given.
pub fn cursor_of_list<T>(text: Option<&str>, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
    let wrong = || Problem::malformed("`cursor` must be the `next_cursor` of the previous page");
    text.map(|text| parse(text).ok_or_else(wrong)).transpose()
}

/// A number in digits alone: `+7` is none.
#[must_use]
pub fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Wanted {
        q: String,
        limit: Option<usize>,
        keep: bool,
        page: PageNumber,
    }

    #[test]
    fn what_is_wrong_with_a_query_is_said_in_our_words_with_the_parameter_and_without_the_value() {
        for (query, says) in [
            ("limit=-1", "`limit` must be a whole number"),
            ("limit=", "`limit` must be a whole number"),
            ("limit=x'secret", "`limit` must be a whole number"),
            ("limit=99999999999999999999", "`limit` must be a smaller number"),
            ("keep=maybe", "`keep` must be `true` or `false`"),
            ("page=0", "`page` must be a whole number from 1 on"),
            ("page=-1", "`page` must be a whole number from 1 on"),
            ("page=abc", "`page` must be a whole number from 1 on"),
            ("q=a&q=b", "the parameter `q` is there more than once"),
            ("limits=1", "there is no parameter `limits` here, only `q`, `limit`, `keep`, `page`"),
        ] {
            assert_eq!(read::<Wanted>(query).unwrap_err(), says, "{query}");
        }
        let read = read::<Wanted>("q=%ff&page=7&limit=5&keep=true").unwrap();
        let seen = (read.q.as_str(), read.page, read.limit, read.keep);
        assert_eq!(seen, ("\u{fffd}", PageNumber(7), Some(5), true));
        for (query, page) in [("page=", 1), ("page=02", 2), ("page=99999999999999999999", usize::MAX)] {
            assert_eq!(super::read::<Wanted>(query).unwrap().page, PageNumber(page), "{query}");
        }
    }

    #[test]
    fn a_choice_that_there_is_not_is_refused_with_those_that_there_are() {
        let refused = |value, choices: &[&str]| {
            require_choice("kind", value, choices.iter().copied())
                .err()
                .map(|problem| problem.detail().to_owned())
        };
        let choices = ["", "bans", "servers"];
        assert_eq!((refused("", &choices), refused("bans", &choices)), (None, None));
        assert_eq!(refused("x", &choices).as_deref(), Some("`kind` must be `bans` or `servers`"));
        assert_eq!(refused("x", &["all"]).as_deref(), Some("`kind` must be `all`"));
    }
}
