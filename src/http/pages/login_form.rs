//! A form that logs somebody in, whichever step of the login it belongs to: where it comes from, and what it leads to.

use std::net::IpAddr;

use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::header;
use axum::response::Response;

use super::form::StrangersForm;
use super::kept::Kept;
use super::login_paths::own;
use super::message::{Message, done, see_other};
use crate::actions::Actor;
use crate::actions::finish_login::SecondStep;
use crate::domain::Timestamp;
use crate::http::auth::address::{CallerAddress, login_origin};
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;
use crate::store::{LoginOrigin, Proof, SessionId, SessionToken, UNDO_FOR};

/// The form, read.
pub(super) struct LoginForm {
    /// What was typed.
    pub form: StrangersForm,
    /// Where it comes from.
    pub origin: LoginOrigin,
    /// The session that the browser has already.
    pub replaces: Option<Proof>,
    /// A form that was kept over the login. One that cannot be kept is dropped; the login continues without it.
    pub kept: Option<Kept>,
    cookie: CookieKind,
}

impl FromRequest<AppState> for LoginForm {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self> {
        let (mut parts, body) = request.into_parts();
        let Ok(CallerAddress(ip)) = CallerAddress::from_request_parts(&mut parts, state).await;
        let Ok(cookie) = CookieKind::from_request_parts(&mut parts, state).await;
        let origin = login_origin(ip, &parts.headers);
        let replaces = cookie.session_of_browser(&parts.headers);
        let form = StrangersForm::from_request(Request::from_parts(parts, body), state).await?;
        let kept = Kept::from_form(&form).ok().flatten();
        Ok(Self { form, origin, replaces, kept, cookie })
    }
}

impl LoginForm {
    /// What it leads to, as it was sent.
    pub fn next(&self) -> &str {
        self.form.raw("next")
    }

    /// The secret by which the login continues.
    pub fn secret(&self) -> &str {
        self.form.raw("login")
    }

    /// The step of a login that waits for a code.
    pub fn step(&self) -> SecondStep {
        SecondStep {
            secret: self.secret().to_owned(),
            code: self.form.raw("code").to_owned(),
            origin: self.origin.clone(),
            replaces: self.replaces,
        }
    }

    /// The answer to a login that has succeeded: the session's cookie, and the page that it leads to.
    pub async fn logged_in(self, state: &AppState, token: &SessionToken, now: Timestamp) -> Response {
        let next = own(self.next());
        let mut response = match self.kept {
            Some(kept) => offered(state, token.id(), self.origin.ip, kept, now).await,
            None => see_other(&next),
        };
        response.headers_mut().insert(header::SET_COOKIE, self.cookie.set(token));
        response
    }
}

/// Redirects to the page of the kept form, with a message whose button sends it.
pub(super) async fn offered(
    state: &AppState,
    session: SessionId,
    ip: IpAddr,
    kept: Kept,
    now: Timestamp,
) -> Response {
    let actor = Actor { session: Some(session), ..Actor::without_session(ip, &state.worker) };
    let back = own(&kept.back);
    let message = Message::wait("Logged in again.").and("What you typed is kept, and nothing was done yet.");
    let message = Message { undo: Some(kept.button(now + UNDO_FOR)), ..message };
    done(state, &actor, &back, message).await
}
