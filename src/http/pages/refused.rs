//! A refusal as a person at a browser sees it: a page that says what is wrong and what to do.
//!
//! | refused | shown |
//! |---|---|
//! | 401, a page was asked for | 303 to the login, which leads back to that page |
//! | 401, a form was posted | the login, which keeps what was typed (`keep_form.rs`); for a large form, or one with a password, a page that says that nothing was done, and how to continue |
//! | 503, a page was asked for | a page that reloads itself after 5 s |
//! | anything else | a page with the refusal's words and the id of the request |
//!
//! Programs, and our scripts, send no `Accept: text/html`: they get the problem document as it is.

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::kept::Kept;
use super::message::see_other;
use super::page::Page;
use super::prefs::Prefs;
use super::shell::Shell;
use super::words::{Coded, sentence};
use crate::domain::access::{Access, Role};
use crate::http::auth::caller::SeenCaller;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Shown};
use crate::http::state::AppState;

/// A person at a browser who requested something outside the API.
pub struct Reader {
    prefs: Prefs,
    here: String,
    has_cookie: bool,
    method: Method,
    /// Filled in as soon as the session is known.
    caller: SeenCaller,
}

impl Reader {
    /// The reader that this request comes from, if a person sent it.
    #[must_use]
    pub fn of(request: &Request, cookie: CookieKind) -> Option<Self> {
        let headers = request.headers();
        let wants_html = headers
            .get_all(header::ACCEPT)
            .iter()
            .any(|accepted| accepted.to_str().is_ok_and(|accepted| accepted.contains("text/html")));
        if !wants_html || request.uri().path().starts_with("/api/") {
            return None;
        }
        Some(Self {
            prefs: Prefs::of(headers),
            here: request.uri().path_and_query().map_or("/", |here| here.as_str()).to_owned(),
            has_cookie: cookie.find(headers).is_some(),
            method: request.method().clone(),
            caller: SeenCaller::default(),
        })
    }

    /// Where the handler notes who this is.
    #[must_use]
    pub fn caller(&self) -> SeenCaller {
        self.caller.clone()
    }

    /// The name and the access for the menu of the page: those of the session; if it is not known, what every role may see.
    fn who(&self) -> (String, Access) {
        match self.caller.get() {
            Some((username, access)) => (username.to_string(), access.clone()),
            None => ("Account".to_owned(), Access { role: Role::Viewer, servers: Vec::new() }),
        }
    }

    /// The answer for this reader: a refusal becomes a page, anything else stays as it is.
    #[must_use]
    pub fn dress(&self, response: Response, state: &AppState, request_id: &HeaderValue) -> Response {
        let Some(shown) = response.extensions().get::<Shown>() else { return response };
        let status = response.status();
        let asked = self.method.is_safe();
        if status == StatusCode::UNAUTHORIZED && asked {
            return see_other(&super::login_paths::path(&self.here, self.has_cookie));
        }
        if status == StatusCode::UNAUTHORIZED
            && let Some(kept) = response.extensions().get::<Kept>()
        {
            let shell = Shell::unasked(self.prefs.clone(), &kept.back, state, None);
            return super::login::with_form(state, shell, kept.clone());
        }
        let who = (self.has_cookie && status != StatusCode::UNAUTHORIZED).then(|| self.who());
        let words = Words::of(shown, asked);
        let page = RefusedPage {
            shell: Shell::unasked(self.prefs.clone(), &self.here, state, who),
            without: self.here.split_once('?').map(|(path, _)| path.to_owned()).filter(|_| words.of_query),
            words,
            again: (status == StatusCode::SERVICE_UNAVAILABLE && asked).then_some(5),
            login: (status == StatusCode::UNAUTHORIZED).then(|| super::login_paths::path("/", false)),
            request_id: request_id.to_str().unwrap_or_default().to_owned(),
        };
        let mut page = Page::new(page).status(status).into_response();
        for name in [header::RETRY_AFTER, header::ALLOW] {
            if let Some(value) = response.headers().get(&name) {
                page.headers_mut().insert(name, value.clone());
            }
        }
        page
    }
}

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage {
    shell: Shell,
    words: Words,
    /// Seconds until the page reloads itself.
    again: Option<u32>,
    login: Option<String>,
    /// The page without the query that was refused.
    without: Option<String>,
    request_id: String,
}

struct Words {
    title: String,
    text: String,
    /// Whether it is the query of a page that cannot be read.
    of_query: bool,
}

impl Words {
    fn of(shown: &Shown, asked: bool) -> Self {
        let of_query = shown.name == "malformed-request" && asked;
        let (title, text) = match shown.name {
            "malformed-request" if !asked => ("This form cannot be read", sentence(&shown.detail)),
            _ if of_query => ("The address of this page has a mistake", sentence(&shown.detail)),
            "redis-unavailable" if asked => (
                "bangui cannot reach Redis",
                "Nobody is logged out. fail2ban on your servers keeps banning without bangui.".to_owned(),
            ),
            "redis-unavailable" => (
                "bangui cannot reach Redis",
                "Whether this was done is not known: check before you try again. Nobody is logged out. fail2ban on your \
                 servers keeps banning without bangui."
                    .to_owned(),
            ),
            "no-session" => (
                "Your session has ended",
                "Nothing was done. Log in below in a new tab, then go back to this form: your browser kept what you \
                 typed."
                    .to_owned(),
            ),
            "not-found" if shown.detail == Problem::no_route().detail() => {
                ("Not found", "There is no page at this address.".to_owned())
            }
            _ => (shown.title, sentence(&shown.detail)),
        };
        Self { title: title.to_owned(), text, of_query }
    }

    fn text(&self) -> Coded<'_> {
        Coded(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_page_is_refused_in_words_of_pages() {
        let response = Problem::no_route().into_response();
        let shown = response.extensions().get::<Shown>().unwrap();
        assert_eq!(Words::of(shown, true).text, "There is no page at this address.");
        let other = Problem::not_found("server").into_response();
        let shown = other.extensions().get::<Shown>().unwrap();
        assert_eq!(Words::of(shown, true).text, "There is no such server.");
    }
}
