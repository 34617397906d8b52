//! Asks for the password again before an action that a stolen session must not do. Any form whose action needs it leads here, with one
//! call of [`ask`].
//!
//! ```text
//! POST /x ─▶ action ─▶ ConfirmationRequired ─▶ ask(..) ─▶ 403, a page that keeps the form and asks for the password
//! POST /confirm ─▶ wrong ─▶ 403, the same page, an error beside the field
//!               └▶ right ─▶ 303 to the page of the form, whose message has the button that sends the kept form to /x
//! ```
//!
//! The kept form comes back from the browser, so it is checked then (`kept.rs`). As everywhere, only our own pages can post here
//! (`middleware`).

use askama::Template;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::form::{Errors, Field, Form};
use super::kept::{Kept, SECRET};
use super::message::{Message, done};
use super::page::{Page, Whole};
use super::shell::{Shell, Visitor};
use super::words::sentence;
use crate::actions::confirm_session::{ConfirmError, confirm_session};
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;

/// How long the button is offered: as long as a confirmation is valid.
pub(super) const OFFERED_FOR: std::time::Duration = std::time::Duration::from_secs(300);

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

    /// Whether the form can be kept while a user without a password confirms at the provider.
    fn is_kept_there(&self) -> bool {
        self.kept.stored().is_some()
    }

    /// Where they confirm.
    fn provider_path(&self) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("next", &self.kept.back)
            .finish();
        format!("/login/sso/confirm?{query}")
    }
}

/// Answers a form whose action needs the password with a page that asks for it. `what` is what the form does, as on its button;
/// `back` is the page of the form.
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
    let missing = || {
        Problem::malformed(
            "the form does not say what the password is to confirm; nothing was done: go back and send the first form again",
        )
    };
    let kept = Kept::from_form(&form)?.ok_or_else(missing)?;
    let (says, status, wait) =
        match confirm_session(&state, visitor.actor.clone(), form.raw("password").to_owned()).await {
            Ok(()) => {
                let until = visitor.shell.clock.now + OFFERED_FOR;
                let back = kept.back.clone();
                let message = Message::wait("The password is correct.")
                    .and("One step is left: nothing has been done so far.");
                let message = Message { undo: Some(kept.button(until)), ..message };
                return Ok(done(&state, &visitor.actor, &back, message).await);
            }
            Err(ConfirmError::Wrong) => {
                ("This is not your password. Nothing was done.".to_owned(), StatusCode::FORBIDDEN, None)
            }
            Err(error @ (ConfirmError::Limited(_) | ConfirmError::NoPassword)) => {
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
