//! axum alone, and with the one read that a session check cannot do without.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;

use crate::answer::Answer;

/// Answers every request.
pub fn router() -> Router {
    Router::new().route("/session", get(async |State(answer): State<Answer>| answer)).with_state(Answer::read())
}

/// Answers requests whose token is a key in Redis.
pub async fn router_with_get() -> Router {
    let client = redis::Client::open(crate::redis_url()).expect("an address of Redis");
    let connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
    Router::new()
        .route("/session", get(checked))
        .route("/login", post(log_in))
        .with_state((Answer::read(), connection))
}

type Parts = (Answer, MultiplexedConnection);

async fn checked(
    State((answer, mut redis)): State<Parts>,
    headers: HeaderMap,
) -> Result<Answer, StatusCode> {
    let shown = headers.get(header::COOKIE).and_then(|value| value.to_str().ok());
    let token = shown.and_then(|value| value.strip_prefix("token=")).ok_or(StatusCode::UNAUTHORIZED)?;
    let session: Option<Vec<u8>> = redis.get(token).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    session.map(|_| answer).ok_or(StatusCode::UNAUTHORIZED)
}

async fn log_in(State((_, mut redis)): State<Parts>) -> [(header::HeaderName, &'static str); 1] {
    // As many bytes as a session of bangui.
    let () = redis.set("peer-session", "x".repeat(160)).await.expect("Redis takes writes");
    [(header::SET_COOKIE, "token=peer-session")]
}
