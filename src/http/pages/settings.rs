//! The page of the settings: each with its value, where it comes from, and what goes wrong if it is very low or very high. They are
//! saved together, based on the revision that was shown: of two people who change them at once, the second is asked to check again.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::confirm;
use super::form::{Errors, Field, Form};
use super::marks::counted;
use super::message::{Message, done};
use super::page::Page;
use super::settings_form::{mistakes, patch, text};
use super::settings_words::{Words, of};
use super::shell::{Shell, Visitor};
use crate::actions::change_settings::{ChangeSettingsError, change_settings};
use crate::domain::UndoId;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;
use crate::settings::{Effective, Origin, Shape, shapes};

/// In seconds.
const MINUTE: u64 = 60;

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    shell: Shell,
    revision: u64,
    rows: Vec<Row>,
    errors: Errors,
    stale: Option<String>,
}

struct Row {
    words: Words,
    now: String,
    origin: Origin,
    control: Control,
}

enum Control {
    Text(Box<Field>),
    /// Whether it is on.
    Switch(bool),
}

impl Row {
    fn comes_from(&self) -> &'static str {
        match self.origin {
            Origin::Default => "default",
            Origin::Environment => "environment of the worker",
            Origin::Runtime => "set here",
        }
    }

    fn can_go_back(&self) -> bool {
        self.origin == Origin::Runtime
    }

    fn error(&self, errors: &Errors) -> Option<String> {
        errors.of(self.words.name).map(str::to_owned)
    }
}

/// The settings.
pub async fn show(State(state): State<AppState>, visitor: Visitor) -> Result<Response> {
    let effective = effective(&state).await?;
    Ok(Page::new(settings(visitor.shell, &effective, None, Errors::default())).into_response())
}

async fn effective(state: &AppState) -> Result<Effective> {
    let stored = state.store.settings().await?;
    Ok(state.settings.bootstrap().with(&stored.overrides, stored.revision))
}

fn settings(shell: Shell, effective: &Effective, form: Option<&Form>, errors: Errors) -> Settings {
    let rows = shapes().zip(effective.shown()).map(|((name, shape), (_, value, origin))| {
        let words = of(name);
        let typed = form.filter(|form| form.has(name)).map(|form| form.raw(name).to_owned());
        let control = match shape {
            Shape::Switch => {
                Control::Switch(typed.map_or(value == Value::Bool(true), |typed| typed == "true"))
            }
            Shape::Seconds(_) | Shape::Rate | Shape::Roles => {
                let field = Field::text(name, words.label).value(typed.unwrap_or_else(|| text(&value)));
                let field = field.hint(words.decides).with(&errors).attribute("autocomplete", "off");
                Control::Text(Box::new(match shape {
                    Shape::Seconds(_) => field.attribute("inputmode", "numeric"),
                    _ => field,
                }))
            }
        };
        Row { words, now: spoken(shape, &value), origin, control }
    });
    let rows = rows.collect();
    let stale = errors.of("revision").map(str::to_owned);
    Settings { shell, revision: effective.revision, rows, errors, stale }
}

/// A value in words.
fn spoken(shape: &Shape, value: &Value) -> String {
    match (shape, value) {
        (Shape::Seconds(_), value) => duration(value.as_u64().unwrap_or_default()),
        (Shape::Switch, value) => (if *value == Value::Bool(true) { "on" } else { "off" }).to_owned(),
        (Shape::Roles, value) => match text(value) {
            none if none.is_empty() => "none".to_owned(),
            roles => roles.replace(',', ", "),
        },
        (Shape::Rate, value) => {
            let value = text(value);
            let (attempts, seconds) = value.split_once('/').unwrap_or((&value, "0"));
            format!(
                "{} in {}",
                counted(attempts.parse().unwrap_or_default(), "attempt"),
                duration(seconds.parse().unwrap_or_default())
            )
        }
    }
}

fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (MINUTE, "min"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, word) in units {
        if rest >= unit {
            parts.push(format!("{} {word}", super::marks::count(rest / unit)));
            rest %= unit;
        }
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// Saves what was typed, or resets one setting.
pub async fn change(State(state): State<AppState>, visitor: Visitor, form: Form) -> Result<Response> {
    let before = effective(&state).await?;
    let shown: u64 = form.text("revision").parse().map_err(|_| {
        Problem::malformed("the form has no revision of the settings: reload the page, then save again")
    })?;
    if shown != before.revision {
        return Ok(stale(visitor, &before, &form));
    }
    let patch = match patch(&form, &before) {
        Ok(patch) => patch,
        Err(errors) => return Ok(refused(visitor, &before, &form, errors, StatusCode::UNPROCESSABLE_ENTITY)),
    };
    let expected = move |revision| revision == shown;
    let undo = UndoId::of(rand::random());
    match change_settings(&state, visitor.actor.clone(), expected, patch.clone(), undo.clone()).await {
        Ok(after) => {
            let names: Vec<String> = patch.keys().cloned().collect();
            let message = changed(&before, &after, &names, &undo, &visitor.shell);
            Ok(done(&state, &visitor.actor, "/settings", message).await)
        }
        Err(ChangeSettingsError::Invalid(wrong)) => {
            let errors = mistakes(&form, &wrong);
            Ok(refused(visitor, &before, &form, errors, StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(ChangeSettingsError::Stale { .. }) => {
            let now = effective(&state).await?;
            Ok(stale(visitor, &now, &form))
        }
        Err(ChangeSettingsError::Unconfirmed(_)) => {
            confirm::ask(visitor, "Save the settings", "/settings", &form)
        }
        Err(error) => Err(error.into()),
    }
}

fn stale(visitor: Visitor, now: &Effective, form: &Form) -> Response {
    let sentence = "The settings were changed since you opened this page, so nothing was saved.";
    refused(visitor, now, form, Errors::one("revision", sentence), StatusCode::CONFLICT)
}

fn refused(visitor: Visitor, now: &Effective, form: &Form, errors: Errors, status: StatusCode) -> Response {
    let page = settings(visitor.shell, now, Some(form), errors.clone());
    Page::refused(page, errors).status(status).into_response()
}

/// The message about what was changed, with its undo.
#[must_use]
pub fn changed(
    before: &Effective,
    after: &Effective,
    names: &[String],
    undo: &UndoId,
    shell: &Shell,
) -> Message {
    let both = shapes().zip(before.shown()).zip(after.shown());
    let changes: Vec<String> = both
        .filter(|((_, was), is)| was.1 != is.1 || was.2 != is.2)
        .map(|(((name, shape), was), is)| {
            format!("{}: {}, was {}.", of(name).label, spoken(shape, &is.1), spoken(shape, &was.1))
        })
        .collect();
    if changes.is_empty() {
        return Message::ok("Nothing was different, so nothing was changed.");
    }
    let title = format!("{} saved, for all workers.", counted(changes.len() as u64, "setting"));
    let label =
        match (changes.len(), before.shown().find(|(name, ..)| names.iter().any(|named| named == name))) {
            (1, Some((name, value, _))) => {
                let shape = shapes().find(|(known, _)| *known == name).map(|(_, shape)| shape);
                shape.map_or("Set back".to_owned(), |shape| format!("Set back to {}", spoken(shape, &value)))
            }
            (number, _) => format!("Set {number} settings back"),
        };
    Message::ok(title).and(changes.join(" ")).undo_of(undo, label, "/settings", shell.clock.now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_worded_as_people_count() {
        for (seconds, text) in [(0, "0 s"), (90, "1 min 30 s"), (43_200, "12 h"), (90_000, "1 d 1 h")] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(spoken(&Shape::Rate, &"10/60".into()), "10 attempts in 1 min");
        assert_eq!(spoken(&Shape::Switch, &true.into()), "on");
    }
}
