//! The [`Actor`] of a request: a user who is logged in, with the address that the request comes from and the worker that
//! serves it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::address::CallerAddress;
use super::allowed::name_in_log;
use crate::actions::Actor;
use crate::http::auth::caller::Caller;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;

/// A user who is logged in, and no program with a token: accounts, passwords, sessions, tokens and users are for people.
pub struct Person(pub Actor);

impl FromRequestParts<AppState> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        let actor = Actor::from_request_parts(parts, state).await?;
        if actor.is_program { Err(Problem::token_not_allowed()) } else { Ok(Self(actor)) }
    }
}

impl FromRequestParts<AppState> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self> {
        // Check the session first: a stranger learns nothing about what else is wrong.
        let Caller { session } = Caller::from_request_parts(parts, state).await?;
        let Ok(CallerAddress(address)) = CallerAddress::from_request_parts(parts, state).await;
        // If the request is refused later, the access log says whose it was.
        name_in_log(&session);
        Ok(Self::of_session(&session, address, &state.worker))
    }
}
