//! Forms: a posted form, the errors beside its fields, and the fields themselves.

use std::borrow::Cow;
use std::fmt::Write as _;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};

use super::words::Coded;
use crate::http::error::{Problem, Result};
use crate::http::extract::{BODY_LIMIT, read_body};
use crate::http::large_forms::FormPlace;
use crate::http::state::AppState;

/// A posted form of `LIMIT` bytes at most: 415 if it is not a form, 413 if it is larger, 400 if it is not UTF-8. Its fields are in
/// order; a missing field is empty.
#[derive(Default)]
pub struct Form<const LIMIT: usize = BODY_LIMIT>(Vec<(String, String)>);

impl<const LIMIT: usize> FromRequest<AppState> for Form<LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AppState) -> Result<Self> {
        Self::read(request, LIMIT).await
    }
}

/// A form of somebody who is not logged in, which may have kept another one over the login: see `http/large_forms.rs`.
pub struct StrangersForm {
    form: Form,
    _place: FormPlace,
}

impl std::ops::Deref for StrangersForm {
    type Target = Form;
    fn deref(&self) -> &Form {
        &self.form
    }
}

impl FromRequest<AppState> for StrangersForm {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AppState) -> Result<Self> {
        let Some(place) = FormPlace::of(request.headers()) else {
            // Taken off the wire, so that a client that is busy sending sees the answer.
            let _ = read_body(request.into_body(), 0).await;
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-large-forms",
                "Too many large forms",
                "too many large forms of people who are not logged in arrive at once: send it again",
            )
            .retry_after(1));
        };
        Ok(Self { form: Form::read(request, place.limit()).await?, _place: place })
    }
}

impl<const LIMIT: usize> Form<LIMIT> {
    async fn read(request: Request, limit: usize) -> Result<Self> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-a-form",
                "The body is not a form",
                "pages take forms only; programs send JSON to /api/v1",
            ));
        }
        let body = read_body(request.into_body(), limit).await.map_err(|problem| match problem.status() {
            // Whoever pasted a list does not think in bytes.
            StatusCode::PAYLOAD_TOO_LARGE => {
                let kib = limit / 1024;
                Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body-too-large",
                    "The body is too large",
                    format!(
                        "a form may have {kib} KiB at most, and nothing was done: send a long list in parts"
                    ),
                )
            }
            _ => problem,
        })?;
        let fields = url::form_urlencoded::parse(&body).into_owned().collect();
        Ok(Self(fields))
    }

    /// The field of that name, as it was typed.
    #[must_use]
    pub fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// The field of that name without spaces around it.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// All fields, as they were typed.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Every field of that name that is not empty.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(field, value)| field == name && !value.trim().is_empty())
            .map(|(_, value)| value.trim())
    }

    /// Whether a box is ticked, or a button of that name was pressed.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }
}

/// The errors in a form: a sentence for each field with an error. The name `""` stands for the form itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errors(Vec<(&'static str, String)>);

impl Errors {
    /// One error.
    #[must_use]
    pub fn one(field: &'static str, sentence: impl Into<String>) -> Self {
        Self(vec![(field, sentence.into())])
    }

    /// Adds an error.
    pub fn add(&mut self, field: &'static str, sentence: impl Into<String>) {
        self.0.push((field, sentence.into()));
    }

    /// Whether there is no error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The error in this field.
    #[must_use]
    pub fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == field).map(|(_, sentence)| &**sentence)
    }

    /// All errors, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(field, sentence)| (*field, &**sentence))
    }
}

/// A field with its label above it, its hint below it, and its error, if it has one. `{{ field }}` in a template shows it.
#[derive(Template, Debug, Clone, Default)]
#[template(path = "parts/field.html")]
pub struct Field {
    id: Cow<'static, str>,
    name: &'static str,
    label: String,
    kind: &'static str,
    value: String,
    hint: String,
    error: Option<String>,
    attributes: String,
    rows: usize,
    choices: Vec<&'static str>,
}

impl HtmlSafe for Field {}

impl Field {
    /// A field for a line of text.
    #[must_use]
    pub fn text(name: &'static str, label: impl Into<String>) -> Self {
        Self { id: name.into(), name, label: label.into(), kind: "text", ..Self::default() }
    }

    /// A field for a secret: it never shows what was typed before.
    #[must_use]
    pub fn password(name: &'static str, label: impl Into<String>) -> Self {
        Self { id: name.into(), name, label: label.into(), kind: "password", ..Self::default() }
    }

    /// A field for many lines.
    #[must_use]
    pub fn lines(name: &'static str, label: impl Into<String>, rows: usize) -> Self {
        Self { id: name.into(), name, label: label.into(), rows, ..Self::default() }
    }

    /// A field for one of a few words; the first one unless another is its value.
    #[must_use]
    pub fn choice(name: &'static str, label: impl Into<String>, choices: Vec<&'static str>) -> Self {
        Self { id: name.into(), name, label: label.into(), choices, ..Self::default() }
    }

    /// With an explicit id, for when another field of the page has this name.
    #[must_use]
    pub fn id(mut self, id: impl Into<Cow<'static, str>>) -> Self {
        self.id = id.into();
        self
    }

    /// With this value.
    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.value = value.into();
        self
    }

    /// With a hint below it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// With its error from `errors`, if there is one.
    #[must_use]
    pub fn with(mut self, errors: &Errors) -> Self {
        self.error = errors.of(self.name).map(str::to_owned);
        self
    }

    /// With an attribute, such as `autocomplete`. Both are literals: nothing that was typed becomes an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &'static str, value: &'static str) -> Self {
        let _ = write!(self.attributes, " {name}=\"{value}\"");
        self
    }

    fn coded_error(&self) -> Coded<'_> {
        Coded(self.error.as_deref().unwrap_or_default())
    }

    fn described_by(&self) -> String {
        let mut ids = Vec::new();
        if self.error.is_some() {
            ids.push(format!("{}-error", self.id));
        }
        if !self.hint.is_empty() {
            ids.push(format!("{}-hint", self.id));
        }
        ids.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_text_in_a_field_and_never_in_one_for_a_secret() {
        let typed = "\"><script>alert(1)</script>";
        let field = Field::text("name", "Name").value(typed).with(&Errors::one("name", typed)).to_string();
        assert!(!field.contains("<script") && field.contains("&#60;script"), "{field}");
        assert!(
            field.contains("aria-describedby=\"name-error\"") && field.contains("aria-invalid=\"true\""),
            "{field}"
        );
        assert!(!Field::password("password", "Password").value("secret").to_string().contains("secret"));
        let lines = Field::lines("ips", "Addresses", 4).value("</textarea><b>").to_string();
        assert!(!lines.contains("</textarea><b>"), "{lines}");
    }

    #[test]
    fn fields_are_found_by_name() {
        let form: Form = Form(vec![
            ("ip".into(), " 198.51.100.7 ".into()),
            ("ip".into(), "".into()),
            ("ip".into(), "x".into()),
        ]);
        assert_eq!(
            (form.raw("ip"), form.text("ip"), form.text("none")),
            (" 198.51.100.7 ", "198.51.100.7", "")
        );
        assert_eq!(form.all("ip").collect::<Vec<_>>(), ["198.51.100.7", "x"]);
        assert!(form.has("ip") && !form.has("force"));
    }
}
