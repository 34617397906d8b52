//! tower-sessions with its Redis store.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tower_sessions::cookie::time::Duration;
use tower_sessions::{Expiry, Session, SessionManagerLayer};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, Pool};

use crate::answer::Answer;

/// The session layer, with a lifetime of a day after the last change.
pub async fn layer() -> SessionManagerLayer<RedisStore<Pool>> {
    let config = Config::from_url(&crate::redis_url()).expect("an address of Redis");
    // Six connections, as in its examples.
    let pool = Pool::new(config, None, None, None, 6).expect("a pool");
    pool.connect();
    pool.wait_for_connect().await.expect("Redis answers");
    SessionManagerLayer::new(RedisStore::new(pool))
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(Duration::days(1)))
}

/// Answers requests whose session names a user.
pub async fn router() -> Router {
    Router::new()
        .route("/session", get(checked))
        .route("/login", post(log_in))
        .layer(layer().await)
        .with_state(Answer::read())
}

async fn checked(State(answer): State<Answer>, session: Session) -> Result<Answer, StatusCode> {
    let user: Option<String> = session.get("user").await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    user.map(|_| answer).ok_or(StatusCode::UNAUTHORIZED)
}

async fn log_in(session: Session) {
    session.insert("user", "admin").await.expect("the session takes a value");
}
