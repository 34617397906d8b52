//! The user's own account: sessions, password, tokens for programs, theme, keys.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::device::device;
use super::form::{Errors, Field, Form};
use super::message::{Message, done, is_own, see_other};
use super::once;
use super::page::Page;
use super::paging::Paging;
use super::prefs::{remember, theme};
use super::shell::{Shell, Visitor};
use crate::actions::Actor;
use crate::actions::api_tokens::{self, DEFAULT_DAYS, MAX_DAYS};
use crate::actions::change_password::{self, ChangePasswordError, Changed, PasswordChange};
use crate::actions::second_factor;
use crate::domain::Timestamp;
use crate::domain::access::{Role, ServerPattern};
use crate::http::auth::cookie::CookieKind;
use crate::http::auth::permissions::Right;
use crate::http::error::{Problem, Result};
use crate::http::extract::Query;
use crate::http::query::cursor_of_page;
use crate::http::state::AppState;
use crate::password::rules;
use crate::store::{ApiTokenView, ProofKind, SessionToken, SessionsCursor};

/// The number of sessions on a page.
const PAGE: usize = 50;

/// The page of sessions to show.
#[derive(Deserialize)]
pub struct Wanted {
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "account.html")]
pub(super) struct Account {
    shell: Shell,
    sessions: Vec<Session>,
    others: bool,
    paging: Paging,
    current: Field,
    new: Field,
    /// Whether a login needs a second factor.
    factor: bool,
    codes_left: usize,
    tokens: Vec<Token>,
    /// The secret of the token that was just made.
    secret: Option<String>,
    /// Of those that a token of this user may have.
    role: Field,
    name: Field,
    servers: Field,
    networks: Field,
    days: Field,
    manages_users: bool,
    has_password: bool,
}

struct Token {
    id: String,
    name: String,
    role: Role,
    servers: String,
    networks: String,
    used: Option<Timestamp>,
    expires: Timestamp,
}

impl Token {
    fn of(token: ApiTokenView) -> Self {
        let servers: Vec<&str> = token.access.servers.iter().map(ServerPattern::as_str).collect();
        let networks: Vec<String> = token.grant.networks.iter().map(ToString::to_string).collect();
        Self {
            id: token.id.to_string(),
            servers: servers.join(", "),
            networks: networks.join(", "),
            name: token.grant.name,
            role: token.access.role,
            used: token.last_used_at,
            expires: token.expires_at,
        }
    }
}

struct Session {
    id: String,
    device: String,
    user_agent: String,
    address: String,
    begun: Timestamp,
    seen: Timestamp,
    current: bool,
}

/// The account.
pub async fn show(
    State(state): State<AppState>,
    visitor: Visitor,
    cookie: CookieKind,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    let secret = once::find(&headers)
        .filter(|text| SessionToken::parse(text).is_some_and(|token| token.kind() == ProofKind::ApiToken));
    let cursor = cursor_of_page(wanted.cursor.as_deref(), SessionsCursor::parse)?;
    let (secret, nothing) = (secret.map(str::to_owned), Form::default());
    let shown = secret.is_some();
    let page = account(&state, visitor, cursor, secret, &nothing, &Errors::default()).await?;
    let mut response = Page::new(page).into_response();
    if shown {
        once::remove(&mut response, cookie, "/account");
    }
    Ok(response)
}

/// The page, with what was typed into the form for a new token.
pub(super) async fn account(
    state: &AppState,
    visitor: Visitor,
    cursor: Option<SessionsCursor>,
    secret: Option<String>,
    typed: &Form,
    errors: &Errors,
) -> Result<Account> {
    let own = visitor.session.id;
    let page =
        state.store.list_sessions(&visitor.session.owner(), cursor, PAGE, state.session_life()).await?;
    let mut sessions: Vec<Session> = page
        .items
        .into_iter()
        .map(|details| Session {
            id: details.session.id.to_string(),
            device: device(&details.user_agent),
            user_agent: details.user_agent,
            address: details.session.ip.to_string(),
            begun: details.session.created_at,
            seen: details.session.last_seen_at,
            current: details.session.id == own,
        })
        .collect();
    sessions.sort_by_key(|session| !session.current);
    let next = page.next_cursor.map(|cursor| {
        format!(
            "/account?{}",
            url::form_urlencoded::Serializer::new(String::new()).append_pair("cursor", &cursor).finish()
        )
    });
    let paging =
        Paging { says: format!("{} on this page", sessions.len()), previous: None, next, size: PAGE };
    let field = |name, label| Field::password(name, label).with(errors);
    let line = |name, label| {
        Field::text(name, label)
            .value(typed.text(name))
            .with(errors)
            .attribute("autocomplete", "off")
            .attribute("spellcheck", "false")
    };
    let tokens = api_tokens::list(state, &visitor.actor, None).await?;
    let factors = second_factor::list(state, &visitor.actor).await?;
    let access = &visitor.actor.access;
    let manages_users = Right::Users.of(access);
    let roles = Role::ALL.into_iter().filter(|role| *role <= access.role).map(Role::as_str).collect();
    let has_password = match &state.provider {
        Some(_) => {
            let own = state.store.account(&visitor.actor.username).await?;
            own.is_some_and(|account| account.provider.is_none())
                && state.password_login.admits(visitor.actor.username())
        }
        None => true,
    };
    let days = Some(typed.text("days")).filter(|_| typed.has("days"));
    Ok(Account {
        shell: visitor.shell,
        others: sessions.iter().any(|session| !session.current),
        sessions,
        paging,
        current: field("current", "Current password")
            .attribute("autocomplete", "current-password")
            .attribute("required", "required"),
        new: field("new", "New password")
            .hint(format!("{} characters or more. All other sessions end.", rules::MIN_CHARACTERS))
            .attribute("autocomplete", "new-password")
            .attribute("required", "required"),
        factor: factors.any(),
        codes_left: factors.recovery_codes,
        tokens: tokens.into_iter().map(Token::of).collect(),
        secret,
        role: Field::choice("role", "Role", roles).id("token-role").value(typed.text("role")).with(errors),
        name: line("name", "Name")
            .hint("What it is for, such as backup.")
            .attribute("maxlength", "64")
            .attribute("required", "required"),
        // A symbol of every page has the id `servers`.
        servers: line("servers", "Servers")
            .id("token-servers")
            .hint("Names or patterns such as web-*. Empty for all of yours."),
        networks: line("networks", "Allowed networks").hint("Such as 203.0.113.0/24. Empty for anywhere."),
        days: line("days", "Days until it expires")
            .value(days.map_or_else(|| DEFAULT_DAYS.to_string(), str::to_owned))
            .hint(format!("{MAX_DAYS} at most."))
            .attribute("inputmode", "numeric"),
        manages_users,
        has_password,
    })
}

/// Changes the password, which ends every other session.
pub async fn change_password(
    State(state): State<AppState>,
    visitor: Visitor,
    cookie: CookieKind,
    form: Form,
) -> Result<Response> {
    let change = PasswordChange { current: form.raw("current").to_owned(), new: form.raw("new").to_owned() };
    let (errors, status) = match change_password::change_password(&state, visitor.actor.clone(), change).await
    {
        Ok(Changed { token, .. }) => {
            let message = Message::ok("The password was changed.").and("All other sessions have ended.");
            // The message is stored under the session, which has a new token now.
            let actor = Actor { session: token.as_ref().map(SessionToken::id), ..visitor.actor };
            let mut response = done(&state, &actor, "/account", message).await;
            let set = token.map_or_else(|| cookie.remove(), |token| cookie.set(&token));
            response.headers_mut().append(header::SET_COOKIE, set);
            return Ok(response);
        }
        Err(ChangePasswordError::Wrong) => {
            (Errors::one("current", "This is not the current password."), StatusCode::FORBIDDEN)
        }
        Err(ChangePasswordError::Weak(weak)) => {
            (Errors::one("new", super::words::sentence(&weak.to_string())), StatusCode::UNPROCESSABLE_ENTITY)
        }
        Err(error @ ChangePasswordError::Limited(_)) => {
            let problem = Problem::from(error);
            (Errors::one("current", super::words::sentence(problem.detail())), StatusCode::TOO_MANY_REQUESTS)
        }
        Err(error) => return Err(error.into()),
    };
    let page = account(&state, visitor, None, None, &Form::default(), &errors).await?;
    Ok(Page::refused(page, errors).status(status).into_response())
}

/// Saves the theme in this browser.
pub async fn change_theme(_: Visitor, form: Form) -> Response {
    remembered(&form, remember("bangui-theme", theme(form.text("theme"))))
}

/// Saves in this browser whether single keys are on.
pub async fn change_keys(_: Visitor, form: Form) -> Response {
    remembered(&form, remember("bangui-keys", if form.text("keys") == "off" { "off" } else { "on" }))
}

fn remembered(form: &Form, cookie: HeaderValue) -> Response {
    let back = form.text("back");
    let mut response = see_other(if is_own(back) { back } else { "/account" });
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}
