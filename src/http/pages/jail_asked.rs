//! What is asked of the page of a jail: by its query, and by a form of it that was refused.

use serde::Deserialize;

use super::form::{Errors, Form};
use crate::http::extract::LARGE_BODY;

/// The largest form of this page: many addresses.
pub const FORM: usize = LARGE_BODY;

/// Which bans, which part, and which job.
#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub struct Wanted {
    /// How an address begins.
    pub q: String,
    /// The last address of the page before.
    pub cursor: Option<String>,
    /// The part of the page that narrow screens show.
    pub part: String,
    /// A job to follow.
    pub job: String,
}

/// What was typed into a form that was refused.
#[derive(Default)]
pub struct Typed {
    /// Each field with its value.
    pub fields: Vec<(&'static str, String)>,
    /// What is wrong.
    pub errors: Errors,
    /// Addresses that are right, of those to be banned.
    pub good: usize,
    /// The part of the page that the form is in.
    pub part: &'static str,
}

impl Typed {
    /// What these fields of a form have in them, with errors.
    #[must_use]
    pub fn of<const LIMIT: usize>(
        form: &Form<LIMIT>,
        names: &[&'static str],
        errors: Errors,
        part: &'static str,
    ) -> Self {
        let fields = names.iter().map(|name| (*name, form.raw(name).to_owned())).collect();
        Self { fields, errors, good: 0, part }
    }

    /// What was typed into this field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| &**value)
    }
}
