//! The password again, before what a stolen session must not do. Any form whose action wants it leads here, by one call of [`ask`].
//!
//! ```text
//! POST /x ─▶ action ─▶ ConfirmationRequired ─▶ ask(..) ─▶ 403, a page that keeps the form and asks for the password
//! POST /confirm ─▶ wrong ─▶ 403, the same page, an error beside the field
//!               └▶ right ─▶ 303 to the page of the form, whose message has the button that sends the kept form to /x
//! ```
//!
//! What is kept comes back from the browser, so it is checked as it comes: the path is one of our pages, as browsers read paths,
//! and the fields are few and short. Only our own pages can post here (`middleware`), as everywhere.

use askama::Template;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::form::{Errors, Field, Form};
use super::message::{Message, Undo, done, is_own};
use super::page::{Page, Whole};
use super::shell::{Shell, Visitor};
use super::words::sentence;
use crate::actions::confirm_session::{ConfirmError, confirm_session};
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;

/// How long the button is offered: as long as a confirmation is good.
const OFFERED_FOR: std::time::Duration = std::time::Duration::from_secs(300);
/// The most fields that are kept, and the most bytes of all of them. Three times as many, which they are at worst on the wire,
/// are still a form.
const MAX_FIELDS: usize = 100;
const MAX_BYTES: usize = 16 * 1024;
/// The longest sentence of what was to be done.
const MAX_WHAT: usize = 200;
/// How the names of kept fields begin.
const KEPT: &str = "keep.";
/// Fields that are never kept.
const SECRET: [&str; 4] = ["password", "current", "new", "code"];
/// Paths that are no forms of pages, and those below them.
const NO_FORMS: [&str; 6] = ["/api", "/assets", "/confirm", "/login", "/logout", "/setup"];

/// A form that waits for the password.
struct Kept {
    what: String,
    to: String,
    back: String,
    fields: Vec<(String, String)>,
}

impl Kept {
    /// The form, if it may be kept.
    fn checked(self) -> Result<Self> {
        let length: usize = self.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        if !is_form(&self.to) || !is_own(&self.back) {
            Err(Problem::malformed("this form does not come from a page of bangui; nothing was done"))
        } else if self.fields.len() > MAX_FIELDS || length > MAX_BYTES || self.what.len() > MAX_WHAT {
            Err(Problem::malformed("this form is too large to wait for a password; nothing was done"))
        } else {
            Ok(self)
        }
    }
}

/// Whether a browser that posts to this path posts to a page of ours.
fn is_form(path: &str) -> bool {
    let below =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let as_read = url::Url::parse("http://own.invalid/").and_then(|base| base.join(path));
    is_own(path)
        && as_read.is_ok_and(|url| url.as_str()["http://own.invalid".len()..] == *path)
        && !path.contains(['?', '#'])
        && !NO_FORMS.into_iter().any(below)
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    shell: Shell,
    kept: Kept,
    password: Field,
}

impl ConfirmPage {
    fn new(mut shell: Shell, kept: Kept, errors: &Errors) -> Self {
        let password = Field::password("password", "Your password")
            .with(errors)
            .attribute("autocomplete", "current-password")
            .attribute("required", "required");
        shell.here.clone_from(&kept.back);
        Self { shell, kept, password }
    }

    fn name(field: &str) -> String {
        format!("{KEPT}{field}")
    }
}

/// Answers a form whose action wants the password: a page that asks for it. `what` is what the form does, as its button says it;
/// `back` the page that the form is on.
pub fn ask<const LIMIT: usize>(
    visitor: Visitor,
    what: &str,
    back: &str,
    form: &Form<LIMIT>,
) -> Result<Response> {
    let to = visitor.shell.here.split('?').next().unwrap_or_default().to_owned();
    let fields = form.fields().filter(|(name, _)| !SECRET.contains(name));
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let kept = Kept { what: what.to_owned(), to, back: back.to_owned(), fields }.checked()?;
    let page = ConfirmPage::new(visitor.shell, kept, &Errors::default());
    let mut response = Page::new(page).status(StatusCode::FORBIDDEN).into_response();
    response.extensions_mut().insert(Whole);
    Ok(response)
}

/// Confirms the password, and offers the kept form again.
pub async fn confirm(State(state): State<AppState>, visitor: Visitor, form: Form) -> Result<Response> {
    let fields = form.fields().filter_map(|(name, value)| Some((name.strip_prefix(KEPT)?, value)));
    let fields = fields.filter(|(name, _)| !SECRET.contains(name));
    let kept = Kept {
        what: form.text("what").to_owned(),
        to: form.text("to").to_owned(),
        back: form.text("back").to_owned(),
        fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    };
    let kept = kept.checked()?;
    let (says, status, wait) =
        match confirm_session(&state, visitor.actor.clone(), form.raw("password").to_owned()).await {
            Ok(()) => {
                let until = visitor.shell.clock.now + OFFERED_FOR;
                let again = Undo { label: kept.what, action: kept.to, fields: kept.fields, until };
                let message =
                    Message::wait("The password is right.").and("One step is left: nothing was done so far.");
                let message = Message { undo: Some(again), ..message };
                return Ok(done(&state, &visitor.actor, &kept.back, message).await);
            }
            Err(ConfirmError::Wrong) => {
                ("This is not your password. Nothing was done.".to_owned(), StatusCode::FORBIDDEN, None)
            }
            Err(error @ ConfirmError::Limited(_)) => {
                let problem = Problem::from(error);
                (sentence(problem.detail()), problem.status(), problem.retry_after_seconds())
            }
            Err(error) => return Err(error.into()),
        };
    let errors = Errors::one("password", says);
    let page = ConfirmPage::new(visitor.shell, kept, &errors);
    let mut response = Page::refused(page, errors).status(status).into_response();
    if let Some(seconds) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    Ok(response)
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
    }
}
