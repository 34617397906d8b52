//! A form that waits for the password (`confirm.rs`), or for a login because its session had ended (`keep_form.rs`).
//!
//! It waits in the browser, as hidden fields of the page in between, so it is checked when it comes back: its path must be one of our
//! pages, as browsers parse paths, and its fields few and short. Fields for secrets are never kept.
//!
//! While the browser is at the provider of single sign-on there is no such page: then it waits in Redis (`login_provider.rs`).

use serde::{Deserialize, Serialize};

use super::form::Form;
use super::message::{Undo, is_own};
use crate::domain::Timestamp;
use crate::http::error::{Problem, Result};

/// The maximum number of fields that are kept, and of bytes of all of them. Percent-encoding can triple their size, which is still
/// within the limit of a form.
const MAX_FIELDS: usize = 100;
const MAX_BYTES: usize = 16 * 1024;
/// The maximum number of bytes that wait in Redis: strangers may have a form kept, too.
const MAX_STORED: usize = 8 * 1024;
/// The maximum length of the text that says what the form does.
const MAX_WHAT: usize = 200;
/// The prefix of the names of kept fields.
const KEPT: &str = "keep.";
/// Fields that are never kept.
pub const SECRET: [&str; 6] = ["password", "current", "new", "code", "ceremony", "credential"];
/// Paths, with all below them, that are not forms of pages.
const NO_FORMS: [&str; 7] = ["/api", "/assets", "/confirm", "/invitation", "/login", "/logout", "/setup"];

/// A form that waits for the password, or for a login.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// What it does, as on its button.
    pub what: String,
    /// The path that it is posted to.
    pub to: String,
    /// The page that it is on.
    pub back: String,
    /// Its fields.
    pub fields: Vec<(String, String)>,
}

impl Kept {
    /// The form that the page in between has kept in its fields, if there is one.
    ///
    /// # Errors
    /// If it may not be kept.
    pub fn from_form(form: &Form) -> Result<Option<Self>> {
        if !form.has("to") {
            return Ok(None);
        }
        let fields = form.fields().filter_map(|(name, value)| Some((name.strip_prefix(KEPT)?, value)));
        let fields = fields.filter(|(name, _)| !SECRET.contains(name));
        let kept = Self {
            what: form.text("what").to_owned(),
            to: form.text("to").to_owned(),
            back: form.text("back").to_owned(),
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        };
        kept.checked().map(Some)
    }

    /// The name of a field while it is kept.
    #[must_use]
    pub fn name(field: &str) -> String {
        format!("{KEPT}{field}")
    }

    /// The form as the button of a message, which sends it.
    #[must_use]
    pub fn button(self, until: Timestamp) -> Undo {
        Undo { label: self.what, action: self.to, fields: self.fields, until }
    }

    /// The form as it waits in Redis; none if it is too large for that.
    #[must_use]
    pub fn stored(&self) -> Option<String> {
        serde_json::to_string(self).ok().filter(|text| text.len() <= MAX_STORED)
    }

    /// The form that has waited in Redis.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok()?.checked().ok()
    }

    /// The form, if it may be kept.
    ///
    /// # Errors
    /// If it is not a form of one of our pages, or too large.
    pub fn checked(self) -> Result<Self> {
        let length: usize = self.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        if !is_form(&self.to) || !is_own(&self.back) {
            Err(Problem::malformed("this form does not come from a page of bangui; nothing was done"))
        } else if self.fields.len() > MAX_FIELDS || length > MAX_BYTES || self.what.len() > MAX_WHAT {
            Err(Problem::malformed(
                "this form is too large to be kept while the password is asked for; nothing was done",
            ))
        } else {
            Ok(self)
        }
    }
}

/// Whether a browser that posts to this path posts to a page of ours.
#[must_use]
pub fn is_form(path: &str) -> bool {
    let below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let as_read = url::Url::parse("http://own.invalid/").and_then(|base| base.join(path));
    is_own(path)
        && as_read.is_ok_and(|url| url.as_str()["http://own.invalid".len()..] == *path)
        && !path.contains(['?', '#'])
        && !NO_FORMS.into_iter().any(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(to: &str, fields: usize, length: usize) -> Result<Kept> {
        let fields = vec![("x".to_owned(), "y".repeat(length)); fields];
        Kept { what: "Do it".to_owned(), to: to.to_owned(), back: "/".to_owned(), fields }.checked()
    }

    #[test]
    fn only_forms_of_our_pages_are_kept() {
        for own in ["/account/sessions", "/settings", "/servers/web-1/probe", "/logins"] {
            assert!(is_form(own), "{own}");
        }
        for other in [
            "",
            "account",
            "//evil.example/",
            "https://evil.example/",
            "/\\evil.example",
            "/api/v1/sessions",
            "/account/../api/v1/sessions",
            "/account/%2e%2E/api/v1/sessions",
            "/confirm",
            "/logout",
            "/account?x=1",
            "/account#x",
            "javascript:alert(1)",
        ] {
            assert!(!is_form(other), "{other}");
        }
    }

    #[test]
    fn a_kept_form_has_bounds() {
        assert!(kept("/settings", MAX_FIELDS, 1).is_ok());
        assert!(kept("/settings", MAX_FIELDS + 1, 1).is_err());
        assert!(kept("/settings", 1, MAX_BYTES).is_err(), "with its name it is too long");
        let stored = |length| kept("/settings", 1, length).unwrap().stored();
        assert_eq!(Kept::from_stored(&stored(100).unwrap()).unwrap().fields[0].1.len(), 100);
        assert!(stored(MAX_STORED).is_none(), "in Redis it has less room");
        let elsewhere = stored(1).unwrap().replace("/settings", "//evil.example");
        assert!(Kept::from_stored(&elsewhere).is_none(), "it is checked when it comes back");
    }
}
