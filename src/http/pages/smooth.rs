//! What our scripts request from the same handlers. The handlers do not know about the scripts: pages and forms work without them.
//!
//! | header of the request | answer |
//! |---|---|
//! | `x-bangui-live` | from the page that would be sent, the texts and attributes that a script patches, by key |
//! | `x-bangui-form` | `{"to"}` for a redirect, `{"errors": {FIELD: SENTENCE}}` for a form that was refused, `{"login", "passkeys"}` if a login needs its second factor, `{"whole": true}` if the next page must be shown by the browser itself |
//!
//! A patched element has `data-k="KEY"`: `<td data-k="web-1.banned">412</td>`. Its text is patched if it has no elements in it,
//! and those of its attributes that are listed below. A row that may come or go has `data-row="KEY"`: rows that are new are
//! counted, not inserted. Inside it a key that begins with a dot, `data-k=".banned"`, continues that of the row: lists are long.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::assets;
use super::form::Errors;
use super::page::{AsksFactor, Whole};
use crate::http::error::Problem;

/// The largest page whose parts are extracted.
const LARGEST: usize = 4 * 1024 * 1024;
/// Attributes that a script may patch.
const PATCHED: [&str; 8] = ["class", "href", "d", "value", "max", "datetime", "title", "aria-label"];

/// The layer around all routes of pages.
pub async fn smooth(request: Request, next: Next) -> Response {
    let live = request.headers().contains_key("x-bangui-live");
    let form = request.headers().contains_key("x-bangui-form");
    let response = next.run(request).await;
    if live && response.status().is_success() {
        return patches(response).await;
    }
    if form {
        return answered(response);
    }
    response
}

fn answered(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let location = parts.headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
    let asks = parts.extensions.get::<AsksFactor>();
    let document = match (location, parts.extensions.get::<Errors>(), asks) {
        (Some(to), ..) => json!({ "to": to }),
        (None, Some(errors), _) => {
            let errors: Map<String, Value> =
                errors.iter().map(|(field, sentence)| (field.to_owned(), sentence.into())).collect();
            json!({ "errors": errors })
        }
        (None, None, Some(asks)) => json!({ "login": asks.login, "passkeys": asks.passkeys }),
        (None, None, None) if parts.extensions.get::<Whole>().is_some() => json!({ "whole": true }),
        (None, None, None) => return Response::from_parts(parts, body),
    };
    let status = if location.is_some() { StatusCode::OK } else { parts.status };
    let mut answer = (status, axum::Json(document)).into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in parts.headers.get_all(header::SET_COOKIE) {
        answer.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
    answer
}

async fn patches(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let page: Bytes = match axum::body::to_bytes(body, LARGEST).await {
        Ok(page) => page,
        Err(error) => {
            return Problem::internal(format!("a page cannot be read again: {error}")).into_response();
        }
    };
    let Ok(html) = std::str::from_utf8(&page) else { return Response::from_parts(parts, Body::from(page)) };
    let document = json!({ "assets": assets::HASH, "parts": found(html), "rows": rows(html) });
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(document.to_string()))
}

/// The patched parts: `{KEY: [TEXT, {ATTRIBUTE: VALUE}]}`. It reads what askama wrote: attributes in double quotes, all escaped.
fn found(html: &str) -> Map<String, Value> {
    let mut all = Map::new();
    let mut rest = html;
    let mut row = "";
    while let Some(at) = rest.find(" data-k=\"") {
        let start = rest[..at].rfind('<').unwrap_or(at);
        // The row's own tag may be patched too, and comes before it.
        if let Some(of) = rest[..at].rfind(" data-row=\"") {
            row = attribute(&rest[of..at], "data-row").unwrap_or_default();
        }
        let Some(length) = rest[at..].find('>') else { break };
        let (tag, after) = (&rest[start..at + length], &rest[at + length + 1..]);
        let text = after.split('<').next().unwrap_or_default();
        if let Some(key) = attribute(tag, "data-k") {
            let attributes: Map<String, Value> = PATCHED
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), plain(attribute(tag, name)?).into())))
                .collect();
            let key = if key.starts_with('.') { plain(row) + key } else { plain(key) };
            all.insert(key, json!([plain(text), attributes]));
        }
        rest = after;
    }
    all
}

fn rows(html: &str) -> Vec<String> {
    html.split(" data-row=\"").skip(1).filter_map(|rest| Some(plain(rest.split('"').next()?))).collect()
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let begin = format!(" {name}=\"");
    let at = tag.find(&begin)? + begin.len();
    tag[at..].split('"').next()
}

/// Without askama's escapes.
fn plain(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    let escapes = [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")];
    escapes.iter().fold(text.to_owned(), |text, (escape, letter)| text.replace(escape, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patched_parts_of_a_page_are_its_texts_and_attributes_by_key() {
        let html = r##"<tr data-row="a&#38;b"><td class="n ok" data-k="web-1.banned">1,204</td><i data-k=".e">5</i><b data-k=".f">6</b>
            <use data-k="web-1.mark" href="#dot"/><a title="&#60;b&#62;" data-k="x">&#38;#60;</a></tr>"##;
        let parts = Value::Object(found(html));
        assert_eq!(parts["web-1.banned"], json!(["1,204", { "class": "n ok" }]));
        assert_eq!(parts["web-1.mark"], json!(["", { "href": "#dot" }]));
        assert_eq!(parts["x"], json!(["&#60;", { "title": "<b>" }]), "what is escaped twice is plain once");
        assert_eq!(rows(html), ["a&b"]);
        assert_eq!(
            (&parts["a&b.e"][0], &parts["a&b.f"][0]),
            (&json!("5"), &json!("6")),
            "it continues the row's"
        );
    }
}
