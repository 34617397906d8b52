//! axum-login on the same sessions: it also looks its user up, here in memory.

use std::convert::Infallible;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend, UserId};

use crate::answer::Answer;
use crate::sessions::layer;

/// The only user.
#[derive(Debug, Clone)]
pub struct User;

impl AuthUser for User {
    type Id = u64;

    fn id(&self) -> u64 {
        1
    }

    fn session_auth_hash(&self) -> &[u8] {
        b"a hash of the password"
    }
}

/// Knows the only user.
#[derive(Debug, Clone)]
pub struct Users;

impl AuthnBackend for Users {
    type User = User;
    type Credentials = ();
    type Error = Infallible;

    async fn authenticate(&self, (): ()) -> Result<Option<User>, Infallible> {
        Ok(Some(User))
    }

    async fn get_user(&self, _: &UserId<Self>) -> Result<Option<User>, Infallible> {
        Ok(Some(User))
    }
}

/// Answers requests with a session that is logged in.
pub async fn router() -> Router {
    Router::new()
        .route("/session", get(checked))
        .route("/login", post(log_in))
        .layer(AuthManagerLayerBuilder::new(Users, layer().await).build())
        .with_state(Answer::read())
}

async fn checked(State(answer): State<Answer>, auth: AuthSession<Users>) -> Result<Answer, StatusCode> {
    auth.user.map(|_| answer).ok_or(StatusCode::UNAUTHORIZED)
}

async fn log_in(mut auth: AuthSession<Users>) {
    auth.login(&User).await.expect("the session takes a user");
}
