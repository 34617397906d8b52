//! Keeps what was typed into a form whose session has ended during the login, without JavaScript.
//!
//! ```text
//! POST /x ─▶ 401 ─▶ the login, which has the form in hidden fields ─▶ POST /login ─▶ 303 to the page of the form, whose message has
//!                                                                                   the button that sends it to /x
//! ```
//!
//! Nothing is sent automatically: a person presses the button again. Forms of more than 16 KiB, and those with secrets in them, are
//! not kept: the page says so, and the browser has them still, one step back. Nor is one of more than 8 KiB while many of these
//! arrive at once, since anybody may send them (`http/large_forms.rs`).

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::form_pages::page_of;
use super::kept::{Kept, SECRET, is_form};
use crate::http::extract::read_body;
use crate::http::large_forms::{FormPlace, length};

/// The largest body that is read: three times what is kept, as percent-encoding can triple its size.
const MAX_BODY: usize = 48 * 1024;
/// The label of the button.
const WHAT: &str = "Send it now";

/// The layer around all routes of pages.
pub async fn keep(request: Request, next: Next) -> Response {
    if !is_form_of_a_person(&request) {
        return next.run(request).await;
    }
    let Some(_place) = FormPlace::of(request.headers()) else {
        return next.run(request).await;
    };
    let path = request.uri().path().to_owned();
    let back = referer(&request).unwrap_or_else(|| page_of(&path));
    let (parts, body) = request.into_parts();
    let body = match read_body(body, MAX_BODY).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
    let mut response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let secret = fields.iter().any(|(name, _)| SECRET.contains(&name.as_str()));
    if response.status() == axum::http::StatusCode::UNAUTHORIZED
        && !secret
        && let Ok(kept) = (Kept { what: WHAT.to_owned(), to: path, back, fields }).checked()
    {
        response.extensions_mut().insert(kept);
    }
    response
}

/// Whether a browser, not a script, sent this form, and it is small enough to be kept.
fn is_form_of_a_person(request: &Request) -> bool {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    request.method() == Method::POST
        && is_form(request.uri().path())
        && text(header::CONTENT_TYPE).starts_with("application/x-www-form-urlencoded")
        && text(header::ACCEPT).contains("text/html")
        && length(request.headers()).is_some_and(|length| length <= MAX_BODY)
}

/// The page of the form by the browser's `Referer`, if it is one of ours: on this host, and not itself the URL of a form.
fn referer(request: &Request) -> Option<String> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let url = url::Url::parse(text(header::REFERER)?).ok()?;
    let own = url::Url::parse(&format!("{}://{}/", url.scheme(), text(header::HOST)?)).ok()?;
    (url.origin() == own.origin() && url.path() != request.uri().path()).then(|| match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(referer_is: &str) -> Option<String> {
        let request = Request::post("/servers/web-1/jails/sshd/bans")
            .header("host", "bangui.example:8080")
            .header("referer", referer_is)
            .body(Body::empty());
        referer(&request.unwrap())
    }

    #[test]
    fn the_browser_is_believed_about_the_page_of_a_form_only_if_it_is_on_this_host() {
        let page = "http://bangui.example:8080/servers/web-1/jails/sshd?part=ban";
        assert_eq!(from(page).as_deref(), Some("/servers/web-1/jails/sshd?part=ban"));
        for other in [
            "http://bangui.example/servers/web-1",
            "https://evil.example/servers",
            "http://bangui.example:8080@evil.example/",
            "javascript:alert(1)",
            "http://bangui.example:8080/servers/web-1/jails/sshd/bans",
            "",
        ] {
            assert_eq!(from(other), None, "{other}");
        }
    }
}
