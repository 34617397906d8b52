//! The outcome of a form, shown on the next page.
//!
//! ```text
//! POST ─▶ action ─▶ done(.., "/path", Message) ─▶ Redis, under the session ─▶ 303 /path?m=ID ─▶ any worker shows it
//! ```
//!
//! The URL carries an id and no text, and an id is valid only in the session that it was made in, so that nobody can make a page show
//! a text of their own. A message lives as long as its undo, ten minutes.

use askama::Template;
use askama::filters::HtmlSafe;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::serde::ts_microseconds;
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::marks::Mark;
use super::words::{Coded, sentence};
use crate::actions::Actor;
use crate::domain::{Timestamp, UndoId};
use crate::http::error::Problem;
use crate::http::state::AppState;
use crate::store::UNDO_FOR;

/// The kind of outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// It was done.
    Ok,
    /// It was done in part, or is under way.
    #[default]
    Wait,
    /// It was not done.
    Bad,
}

/// The outcome of a form. All of it is text; markup in it is shown as text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// How it went.
    #[serde(default)]
    pub tone: Tone,
    /// The main sentence, shown in bold.
    #[serde(default)]
    pub title: String,
    /// Further sentences.
    #[serde(default)]
    pub text: String,
    /// fail2ban's own words.
    #[serde(default)]
    pub said: String,
    /// The undo.
    #[serde(default)]
    pub undo: Option<Undo>,
}

/// A form with the opposite action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// The label of its button: the opposite verb.
    pub label: String,
    /// The path that it is posted to, on this host.
    pub action: String,
    /// Its hidden fields.
    #[serde(default)]
    pub fields: Vec<(String, String)>,
    /// Until when it is offered.
    #[serde(with = "ts_microseconds")]
    pub until: Timestamp,
}

impl Message {
    /// It was done.
    #[must_use]
    pub fn ok(title: impl Into<String>) -> Self {
        Self { tone: Tone::Ok, title: title.into(), ..Self::default() }
    }

    /// It is under way, or was done in part.
    #[must_use]
    pub fn wait(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// It was not done.
    #[must_use]
    pub fn bad(title: impl Into<String>) -> Self {
        Self { tone: Tone::Bad, title: title.into(), ..Self::default() }
    }

    /// The same refusal as in the API.
    #[must_use]
    pub fn refused(problem: &Problem) -> Self {
        Self::bad(format!("{}.", problem.title())).and(sentence(problem.detail()))
    }

    /// With another sentence.
    #[must_use]
    pub fn and(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// With fail2ban's own words.
    #[must_use]
    pub fn said(mut self, words: impl Into<String>) -> Self {
        self.said = words.into();
        self
    }

    /// With an undo: a button that posts `fields` to `action`, for ten minutes from `now` on.
    #[must_use]
    pub fn undo(
        mut self,
        label: impl Into<String>,
        action: impl Into<String>,
        fields: &[(&str, &str)],
        now: Timestamp,
    ) -> Self {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.undo = Some(Undo { label: label.into(), action: action.into(), fields, until: now + UNDO_FOR });
        self
    }

    /// With the undo that was saved under this id (`actions/undo.rs`); it leads to the page at `back`.
    #[must_use]
    pub fn undo_of(self, id: &UndoId, label: impl Into<String>, back: &str, now: Timestamp) -> Self {
        self.undo(label, "/undo", &[("id", id.as_str()), ("back", back)], now)
    }

    fn coded_title(&self) -> Coded<'_> {
        Coded(&self.title)
    }

    fn coded_text(&self) -> Coded<'_> {
        Coded(&self.text)
    }

    /// The message as a part of a page.
    #[must_use]
    pub fn markup<'a>(&'a self, clock: &'a Clock) -> Shown<'a> {
        let (class, mark, role) = match self.tone {
            Tone::Ok => ("ok", Mark::CHECK, "status"),
            Tone::Wait => ("warn", Mark::CLOCK, "status"),
            Tone::Bad => ("bad", Mark::CROSS, "alert"),
        };
        let undo = self.undo.as_ref().filter(|undo| undo.until > clock.now && is_own(&undo.action));
        Shown { message: self, clock, class, mark, role, undo }
    }
}

/// A message as a part of a page.
#[derive(Template)]
#[template(path = "parts/message.html")]
pub struct Shown<'a> {
    message: &'a Message,
    clock: &'a Clock,
    class: &'static str,
    mark: Mark,
    role: &'static str,
    undo: Option<&'a Undo>,
}

impl HtmlSafe for Shown<'_> {}

/// Whether this is a path on this host, and not one that a browser would take for another site's.
#[must_use]
pub fn is_own(path: &str) -> bool {
    let Ok(base) = url::Url::parse("http://own.invalid/") else { return false };
    path.starts_with('/')
        && !path.contains(['\\', '\t', '\n', '\r'])
        && base.join(path).is_ok_and(|url| url.origin() == base.origin())
}

/// Answers a form that was carried out: redirects to the page at `to`, a path on this host, with the message.
pub async fn done(state: &AppState, actor: &Actor, to: &str, message: Message) -> Response {
    let to = match keep(state, actor, &message).await {
        Some(id) => {
            let (path, fragment) =
                to.split_once('#').map_or((to, String::new()), |(path, part)| (path, format!("#{part}")));
            format!("{path}{}m={id}{fragment}", if path.contains('?') { '&' } else { '?' })
        }
        None => to.to_owned(),
    };
    see_other(&to)
}

/// 303 to a path.
#[must_use]
pub fn see_other(to: &str) -> Response {
    let location = HeaderValue::try_from(to).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (
        StatusCode::SEE_OTHER,
        [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
    )
        .into_response()
}

/// Saves the message. The change is made, so a message that cannot be saved is only logged.
async fn keep(state: &AppState, actor: &Actor, message: &Message) -> Option<String> {
    let session = actor.session?;
    let kept = match rmp_serde::to_vec_named(message) {
        Ok(bytes) => state.store.keep_message(&session, &bytes, UNDO_FOR).await,
        Err(error) => Err(crate::store::StoreError::corrupt(error.to_string())),
    };
    kept.inspect_err(|error| tracing::warn!(error = %error, "failed to save the message for the next page: {}", message.title)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::pages::prefs::Prefs;

    fn clock(now: &str) -> Clock {
        Clock::new(now.parse().unwrap(), &Prefs::of(&axum::http::HeaderMap::new()))
    }

    #[test]
    fn markup_in_a_message_is_shown_as_text_and_its_undo_ends() {
        let clock_then = clock("2026-11-26T21:43:15Z");
        let message = Message::ok("Banned <b>x</b>.").said("<script>").undo(
            "Unban <i>",
            "/jails/x",
            &[("ip", "\"><b>")],
            clock_then.now,
        );
        let shown = message.markup(&clock_then).to_string();
        for markup in ["<b>x", "<script>", "<i>", "\"><b>"] {
            assert!(!shown.contains(markup), "{shown}");
        }
        assert!(shown.contains("action=\"/jails/x\""), "{shown}");
        assert!(
            !message.markup(&clock("2026-11-26T21:53:16Z")).to_string().contains("<form"),
            "its time is over"
        );
        let elsewhere = Message::ok("x").undo("x", "//evil.example/", &[], clock_then.now);
        assert!(!elsewhere.markup(&clock_then).to_string().contains("evil"));
    }

    #[test]
    fn only_paths_on_this_host_are_our_own() {
        for own in ["/", "/servers/web-1?part=ban#x", "/addresses/2001:db8::1"] {
            assert!(is_own(own), "{own}");
        }
        for other in [
            "",
            "servers",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/",
            "/\t/evil.example",
            "javascript:alert(1)",
            "\\\\x",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }
}
