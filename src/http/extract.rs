//! The extractors: each proves one thing to a handler, or answers with a problem document.
//!
//! | extractor | proves | else |
//! |---|---|---|
//! | [`Json`] | a body of this shape | 415 not `application/json`, 413 over 64 KiB (1 MiB for lists of addresses, 8 KiB where strangers may send one), 408 too slow, 400 not JSON or not UTF-8, 422 wrong shape |
//! | [`Query`] | parameters of this shape (`query.rs`) | 400 |
//! | [`Path`] | parts of the path are text | 404 |
//!
//! The caller is authenticated by [`Caller`](super::auth::caller::Caller), which comes first in a handler's arguments: a
//! stranger learns nothing about what else is wrong.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::error::Problem;
pub use super::query::Query;
use super::state::AppState;

/// The largest body that is read.
pub const BODY_LIMIT: usize = 64 * 1024;
/// For lists of addresses: 20,000 IPv6 networks take about as much.
pub const LARGE_BODY: usize = 1024 * 1024;

/// For bodies that strangers may send: a password of 1,024 bytes fits, even if each byte is escaped.
pub const STRANGERS_BODY: usize = 8 * 1024;

/// How much of a larger body is still read, and dropped: if the connection were closed while the client is sending, it would
/// see a reset instead of the refusal.
const DISCARD_LIMIT: usize = 2 * 1024 * 1024;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body of `LIMIT` bytes at most.
pub struct Json<T, const LIMIT: usize = BODY_LIMIT>(pub T);

impl<T: DeserializeOwned, const LIMIT: usize> FromRequest<AppState> for Json<T, LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AppState) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-json",
                "The body is not JSON",
                "send the header `Content-Type: application/json`",
            ));
        }
        let body = read_body(request.into_body(), LIMIT).await?;
        let text = std::str::from_utf8(&body).map_err(|e| {
            Problem::malformed(format!("the body is not UTF-8 from byte {} on", e.valid_up_to()))
        })?;
        let body = read_shape(text)?;
        // serde takes a list for a struct, field by field: nobody means that
        if text.trim_start().starts_with('[') {
            return Err(Problem::invalid("the body must be a JSON object"));
        }
        Ok(Self(body))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads a whole body: 408 if it is too slow, 413 if it has more than `limit` bytes.
pub(in crate::http) async fn read_body(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    tokio::time::timeout(BODY_TIMEOUT, collect(body, limit)).await.map_err(|_| {
        let detail = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", "The body was too slow", detail)
    })?
}

async fn collect(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut taken = Vec::new();
    let mut arrived = 0;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::malformed("the body ended before it was complete"))?;
        arrived += chunk.len();
        if arrived > DISCARD_LIMIT {
            break;
        }
        if arrived <= limit {
            taken.extend_from_slice(&chunk);
        }
    }
    if arrived <= limit {
        return Ok(taken);
    }
    Err(Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body-too-large",
        "The body is too large",
        format!("a body may have {limit} bytes at most"),
    ))
}

fn read_shape<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let body = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| shape_problem(&error.path().to_string(), error.inner()))?;
    reader.end().map_err(|error| shape_problem(".", &error))?;
    Ok(body)
}

/// The beginnings of serde's own messages. Others come from types of this program, which know which values may be repeated.
const SERDES_WORDS: [&str; 4] = ["invalid type", "invalid value", "invalid length", "unknown variant"];

/// Says what is wrong with a body, and in which field. Values that serde refused are not repeated: they may be passwords.
fn shape_problem(field: &str, error: &serde_json::Error) -> Problem {
    let place = format!("at line {} column {}", error.line(), error.column());
    if error.classify() != Category::Data {
        return Problem::malformed(format!("the body is not JSON {place}"));
    }
    let message = error.to_string();
    let of_fields = ["unknown field", "missing field", "duplicate field"];
    if of_fields.iter().any(|kind| message.starts_with(kind)) {
        return Problem::invalid(message.chars().take(300).collect::<String>());
    }
    let of_field = if field == "." { String::new() } else { format!("`{field}`: ") };
    if !SERDES_WORDS.iter().any(|kind| message.starts_with(kind)) {
        let sentence = message.strip_suffix(&format!(" {place}")).unwrap_or(&message);
        // `bantime must be ...` names its field itself.
        let name = field.rsplit('.').next().unwrap_or(field);
        return Problem::invalid(match sentence.strip_prefix(name).filter(|rest| rest.starts_with(' ')) {
            Some(rest) => format!("`{field}`{rest}"),
            None => format!("{of_field}{sentence}"),
        });
    }
    // serde: `invalid type: string "what was sent", expected a boolean at line 1 column 12`
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => {
            Problem::invalid(format!("{of_field}wrong type or value: expected {expected}"))
        }
        None => Problem::invalid(format!("{of_field}wrong value {place}")),
    }
}

/// Parts of the path. A part that is not text names nothing: 404.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(path)| Self(path))
            .map_err(|_| Problem::no_route())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Body {
        password: String,
        keep: Option<bool>,
    }

    async fn refused(text: &str) -> (u16, String) {
        refused_as::<Body>(text).await
    }

    async fn refused_as<T: DeserializeOwned>(text: &str) -> (u16, String) {
        let response = read_shape::<T>(text).err().expect("refused").into_response();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (status, body["detail"].as_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn a_refusal_names_the_field_and_never_the_value() {
        assert_eq!(
            refused(r#"{"password":"x","extra":"secret"}"#).await,
            (422, "unknown field `extra`, expected `password` or `keep` at line 1 column 23".to_owned())
        );
        let (status, detail) = refused(r#"{"password":"x","keep":"secret, expected y"}"#).await;
        assert_eq!((status, detail.contains("secret")), (422, false), "{detail}");
        let (status, detail) = refused(r#"{"password":4711}"#).await;
        assert_eq!((status, detail.contains("4711")), (422, false), "{detail}");
        assert!(detail.starts_with("`password`: wrong type"), "{detail}");
        assert_eq!(refused("{}").await.0, 422);
        assert_eq!(refused("{").await.0, 400);
        assert_eq!(refused("").await.0, 400);
        assert_eq!(refused("[1").await.0, 422);
        assert_eq!(refused(r#"{"password":"x"} y"#).await.0, 400);
    }

    #[derive(serde::Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Networks {
        ips: Vec<crate::domain::Network>,
    }

    #[tokio::test]
    async fn a_value_that_the_domain_refuses_is_refused_in_its_words_and_with_its_field() {
        let settings = refused_as::<crate::domain::JailSettings>(r#"{"bantime":0}"#).await.1;
        assert_eq!(
            settings,
            "`bantime` must be a number of seconds from 1 to 315576000, or -1 for a permanent ban, and is 0"
        );
        let networks = refused_as::<Networks>(r#"{"ips":["203.0.113.7","127.1"]}"#).await.1;
        assert_eq!(
            networks,
            "`ips[1]`: \"127.1\" is neither an address nor a network such as 203.0.113.0/24"
        );
    }
}
