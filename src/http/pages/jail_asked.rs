//! The input of the page of a jail: its query, and a form that was refused.

use serde::Deserialize;

use super::form::{Errors, Form};
use crate::http::extract::LARGE_BODY;

/// The largest form of this page: many addresses.
pub const FORM: usize = LARGE_BODY;

/// The bans, the part and the job to show.
#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub struct Wanted {
    /// The beginning of the addresses.
    pub q: String,
    /// The last address of the previous page.
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
    /// The errors.
    pub errors: Errors,
    /// The number of valid addresses among those to ban.
    pub good: usize,
    /// The part of the page that the form is in.
    pub part: &'static str,
}

impl Typed {
    /// The values of these fields of a form, with errors.
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
