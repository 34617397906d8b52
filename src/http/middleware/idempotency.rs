//! `Idempotency-Key`: a change that is sent again is not made again (draft-ietf-httpapi-idempotency-key-header).
//!
//! | the key came before | answer |
//! |---|---|
//! | never, or longer than a day ago | the change is made |
//! | with another request of the same user | 422 `idempotency-key-reused` |
//! | with this request, which is under way on some worker | 409 `request-under-way` with `Retry-After` |
//! | with this request, which was answered | that answer, with `Idempotency-Replayed: true` |
//! | with this request, whose worker has died | the change is made again, marked by `Idempotency-Rerun: true` |
//!
//! The last row is right because every change here has the same result when it is made twice: a ban of an address that is banned,
//! switching on a jail that is on, a ban job with the same id. An answer that means "try again" (5xx, 401, 403, 408,
//! 409, 429) is not kept, so that a retry runs the request. Without Redis nothing is run: 503.
//!
//! It is a layer around the routes, so handlers need not know about it, except for the id of a ban job.

use std::pin::pin;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use rand::RngExt as _;
use tokio::time::timeout;

use crate::domain::BanJobId;
use crate::http::api::ban_jobs::Name;
use crate::http::auth::caller::Caller;
use crate::http::error::{Problem, Result};
use crate::http::extract::{LARGE_BODY, read_body};
use crate::http::state::AppState;
use crate::store::idempotency::{SILENT_AFTER, digest};
use crate::store::{Idempotent, IdempotentRun, KeptAnswer};

/// The header.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// A valid key: characters of tokens, UUIDs and base64, quoted or not.
pub const PATTERN: &str = r#"^("[A-Za-z0-9_.:+/=~-]{1,255}"|[A-Za-z0-9_.:+/=~-]{1,255})$"#;
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const RERUN: HeaderName = HeaderName::from_static("idempotency-rerun");
const YES: HeaderValue = HeaderValue::from_static("true");

/// No handler behind this layer gives a larger answer.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// A larger answer is given but not kept.
const LARGEST_KEPT: usize = 256 * 1024;

/// Runs a change once for each key.
pub async fn once(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if request.method().is_safe() || !request.headers().contains_key(&KEY) {
        return next.run(request).await;
    }
    begin(state, request, next).await.unwrap_or_else(Problem::into_response)
}

async fn begin(state: AppState, request: Request, next: Next) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &state).await?;
    let key = key(&parts.headers)?;
    let body = read_body(body, LARGE_BODY).await?;
    let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
    let digest = digest(parts.method.as_str(), address, &body);
    let run = match state.store.begin_idempotent(caller.session.account, key, &digest).await? {
        Idempotent::Run(run) => run,
        Idempotent::Answered(answer) => return replay(answer),
        Idempotent::Running(left) => {
            let detail = "the first request with this Idempotency-Key has not been answered yet: send it again to get its answer";
            let seconds = u32::try_from(left.as_secs().clamp(1, 2)).unwrap_or(1);
            return Err(Problem::conflict("request-under-way", "The same request is under way", detail)
                .retry_after(seconds));
        }
        Idempotent::Other => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The Idempotency-Key belongs to another request",
                "this Idempotency-Key was used for another method, path or body within the last day: nothing was \
                 done. Use a new key for each new request",
            ));
        }
    };
    parts.extensions.insert(Name(BanJobId::of(run.name)));
    parts.extensions.insert(caller);
    let request = Request::from_parts(parts, Body::from(body));
    // Runs to its end even if the client hangs up: it may come back for the answer.
    let in_flight = state.in_flight.clone();
    let work = async move {
        let response = alive(&state, &run, next.run(request)).await;
        keep(&state, &run, response).await
    };
    in_flight.complete(work).await
}

/// Keeps the run marked as alive while `work` runs.
async fn alive<T>(state: &AppState, run: &IdempotentRun, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        let wait = SILENT_AFTER.mul_f64(rand::rng().random_range(0.2..0.3));
        match timeout(wait, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) => {
                if let Err(error) = state.store.hold_idempotent(run).await {
                    tracing::debug!(error = %error, "failed to extend an idempotent request's claim");
                }
            }
        }
    }
}

async fn keep(state: &AppState, run: &IdempotentRun, response: Response) -> Result<Response> {
    let (mut parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, LARGEST_ANSWER).await.map_err(Problem::internal)?;
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let answer = is_kept(parts.status).then(|| KeptAnswer {
        status: parts.status.as_u16(),
        content_type: header(header::CONTENT_TYPE).map(str::to_owned),
        location: header(header::LOCATION).map(str::to_owned),
        body: String::from_utf8_lossy(&body).into_owned(),
    });
    let answer =
        answer.map(|answer| if answer.body.len() > LARGEST_KEPT { too_large(&answer) } else { answer });
    match state.store.end_idempotent(run, answer.as_ref()).await {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!("an idempotent request outlived its claim: another worker ran it again")
        }
        // The client has its answer. If it sends the request again, it runs again, and is marked as a rerun.
        Err(error) => {
            tracing::warn!(error = %error, "failed to save the answer of an idempotent request: a retry runs it again")
        }
    }
    if run.again {
        parts.headers.insert(RERUN, YES);
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// Whether an answer is also right for a repeated request.
fn is_kept(status: StatusCode) -> bool {
    !status.is_server_error() && !matches!(status.as_u16(), 401 | 403 | 408 | 409 | 429)
}

fn too_large(answer: &KeptAnswer) -> KeptAnswer {
    let detail = format!(
        "this request was already made and answered with {}; the answer was too large to keep: check what was changed",
        answer.status
    );
    KeptAnswer {
        status: 409,
        content_type: Some("application/problem+json".to_owned()),
        location: None,
        body: serde_json::json!({
            "type": "urn:bangui:problem:answer-not-kept", "title": "The request was run before", "status": 409,
            "detail": detail,
        })
        .to_string(),
    }
}

fn replay(answer: KeptAnswer) -> Result<Response> {
    let status = StatusCode::from_u16(answer.status).map_err(Problem::internal)?;
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    for (name, value) in [(header::CONTENT_TYPE, answer.content_type), (header::LOCATION, answer.location)] {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::try_from(value).map_err(Problem::internal)?);
        }
    }
    headers.insert(REPLAYED, YES);
    Ok(response)
}

/// The key, without the quotes of a structured-field string.
fn key(headers: &HeaderMap) -> Result<&str> {
    let wrong = || {
        Problem::malformed(
            "`Idempotency-Key` must be given once: 1 to 255 characters of A-Z, a-z, 0-9 and _.:+/=~-, quoted or not",
        )
    };
    let mut values = headers.get_all(&KEY).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(wrong()) };
    let text = value.to_str().map_err(|_| wrong())?;
    let key = text.strip_prefix('"').map_or(Some(text), |rest| rest.strip_suffix('"')).ok_or_else(wrong)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.:+/=~-".contains(&b);
    if (1..=255).contains(&key.len()) && key.bytes().all(allowed) { Ok(key) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_token_or_a_string_of_structured_fields() {
        let read = |values: &[&str]| {
            let headers: HeaderMap =
                values.iter().map(|value| (KEY, HeaderValue::from_str(value).unwrap())).collect();
            key(&headers).map(str::to_owned).ok()
        };
        let uuid = "8e03978e-40d5-43dd-bc93-6894a57f9324";
        assert_eq!(read(&[uuid]).as_deref(), Some(uuid));
        assert_eq!(read(&[&format!("\"{uuid}\"")]).as_deref(), Some(uuid), "the same key");
        assert_eq!(read(&[&"x".repeat(255)]).map(|key| key.len()), Some(255));
        for bad in ["", "\"\"", "\"", "a\"", "\"a", "a b", "a;b=1", "ä", &"x".repeat(256)] {
            assert_eq!(read(&[bad]), None, "{bad:?}");
        }
        assert_eq!(read(&["a", "b"]), None);
    }

    #[test]
    fn an_answer_that_says_try_again_is_not_kept() {
        let kept = |status| is_kept(StatusCode::from_u16(status).unwrap());
        assert!([200, 202, 204, 400, 404, 413, 415, 422].into_iter().all(kept));
        assert!(![401, 403, 408, 409, 429, 500, 502, 503].into_iter().any(kept));
    }
}
