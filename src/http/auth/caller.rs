//! The extractors for a user who is logged in.
//!
//! | extractor | proves | else |
//! |---|---|---|
//! | [`Caller`] | the session is alive, and its role may send this request (`allowed.rs`) | 401; 503 if Redis could not be asked; 403, or 404 for a server that its account is not for |
//! | [`super::actor::Person`] | the same, and that no token for programs asks | the same; 403 |
//! | [`AwaitRevocation`] | the same as the extractor in it | the same; a 401 only once the session is refused everywhere |

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use metrics::Counter;

use super::address;
use super::allowed;
use super::cookie::CookieKind;
use crate::actions::Actor;
use crate::actions::api_tokens::note_foreign_network;
use crate::domain::access::Access;
use crate::http::error::Problem;
use crate::http::state::AppState;
use crate::store::{Checked, LiveSession, ProofKind, SessionToken, StoreError, Username};

/// Somebody who is logged in.
#[derive(Clone)]
pub struct Caller {
    /// The session, as Redis has it.
    pub session: LiveSession,
}

/// Whether a request turned out to come from somebody who is logged in: for whoever has put this into its extensions.
#[derive(Debug, Clone, Default)]
pub struct LoggedIn(Arc<AtomicBool>);

impl LoggedIn {
    /// Whether it did.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Who a request turned out to come from: for whoever has put this into its extensions.
#[derive(Debug, Clone, Default)]
pub struct SeenCaller(Arc<OnceLock<(Username, Access)>>);

impl SeenCaller {
    /// The name of the account, and what it is for; `None` as long as no session was found alive.
    #[must_use]
    pub fn get(&self) -> Option<&(Username, Access)> {
        self.0.get()
    }

    fn put(&self, session: &LiveSession) {
        // A request has one session.
        let _ = self.0.set((session.username.clone(), session.access.clone()));
    }
}

/// Notes who sent a request that no handler takes, if somebody waits for it.
pub async fn notice(parts: &Parts, state: &AppState) {
    let Some(seen) = parts.extensions.get::<SeenCaller>() else { return };
    let Some(token) = shown_token(parts, state) else { return };
    if let Ok(Checked { session: Some(session), .. }) =
        state.store.check_session(&token, state.session_life()).await
    {
        seen.put(&session);
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        // A layer around the routes (`idempotency.rs`) may have checked it already: one check per request.
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let token = shown_token(parts, state).ok_or_else(Problem::no_session)?;
        let checked = state.store.check_session(&token, state.session_life()).await;
        count(&checked);
        let session = checked?.session.ok_or_else(Problem::no_session)?;
        admit_program(parts, state, &session)?;
        if let Some(LoggedIn(logged_in)) = parts.extensions.get() {
            logged_in.store(true, Relaxed);
        }
        if let Some(seen) = parts.extensions.get::<SeenCaller>() {
            seen.put(&session);
        }
        // On the heap, and only where there is something to look up: the future of every handler has this in it.
        if !session.access.is_everything() {
            Box::pin(allowed::check(parts, state, &session)).await?;
        }
        Ok(Self { session })
    }
}

/// Refuses a token for programs that is used from a network that it is not for. The answer does not wait for the audit.
fn admit_program(parts: &Parts, state: &AppState, session: &LiveSession) -> Result<(), Problem> {
    let Some(grant) = &session.api_token else { return Ok(()) };
    let address = address::of(&parts.extensions, &parts.headers, state);
    if grant.admits(address) {
        return Ok(());
    }
    let (task, session) = (state.clone(), session.clone());
    let actor = Actor::of_session(&session, address, &state.worker);
    state.in_flight.spawn(async move { note_foreign_network(&task, &session, actor).await });
    Err(Problem::token_network())
}

/// Each counter is looked up once: this is on the way of every request.
fn count(checked: &Result<Checked, StoreError>) {
    macro_rules! one {
        ($source:literal, $result:literal) => {{
            static COUNTER: OnceLock<Counter> = OnceLock::new();
            let counter = COUNTER.get_or_init(
                || metrics::counter!("bangui_session_checks_total", "source" => $source, "result" => $result),
            );
            counter.increment(1);
        }};
    }
    match checked {
        Ok(Checked { session: Some(_), near: true }) => one!("near_cache", "live"),
        Ok(Checked { session: Some(_), near: false }) => one!("redis", "live"),
        // Only Redis can say that a session is gone.
        Ok(Checked { session: None, .. }) => one!("redis", "gone"),
        Err(_) => one!("redis", "error"),
    }
}

/// A user who is logged in and wants to end sessions. If their own session is gone, the 401 waits until it is refused on every
/// worker: this may be the second try of a logout whose answer was lost.
pub struct AwaitRevocation<T>(pub T);

impl<T: FromRequestParts<AppState, Rejection = Problem> + Send> FromRequestParts<AppState>
    for AwaitRevocation<T>
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let caller = T::from_request_parts(parts, state).await;
        let gone = caller.as_ref().is_err_and(|problem| problem.status() == StatusCode::UNAUTHORIZED);
        if gone && shown_token(parts, state).is_some() {
            state.store.await_revocations().await?;
        }
        caller.map(Self)
    }
}

/// The token of the `Authorization` header, or else of the cookie. Anything that cannot be a token is dropped here without
/// asking Redis.
fn shown_token(parts: &Parts, state: &AppState) -> Option<SessionToken> {
    let mut authorizations = parts.headers.get_all(header::AUTHORIZATION).iter();
    if let Some(authorization) = authorizations.next() {
        // With two headers, a proxy and this program might each use a different one.
        if authorizations.next().is_some() {
            return None;
        }
        let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| SessionToken::parse(token.trim()))?;
    }
    let kind = CookieKind::of(state, address::peer(&parts.extensions), &parts.headers);
    // A token for programs is no cookie: a browser would send it where its owner did not mean it to.
    SessionToken::parse(kind.find(&parts.headers)?).filter(|token| token.kind() == ProofKind::Session)
}
