//! What every page shows around its content (`layout.html`): the current place, who is logged in, counts in the menu, a message.
//!
//! | extractor | for | else |
//! |---|---|---|
//! | [`Visitor`] | pages and forms for users who are logged in: the shell, and the actor for actions | 401, which a person sees as the login page; 503 |
//! | [`Shell`] | pages for everybody: login, setup | never |

use std::borrow::Borrow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::assets;
use super::clock::Clock;
use super::menu_findings;
use super::message::Message;
use super::nav::{Badge, MENU, MenuItem, Nav};
use super::prefs::{Prefs, THEMES};
use crate::actions::Actor;
use crate::domain::access::Access;
use crate::domain::findings::Finding;
use crate::domain::undo::Undoable;
use crate::http::auth::address::CallerAddress;
use crate::http::auth::caller::Caller;
use crate::http::auth::permissions::Right;
use crate::http::error::Problem;
use crate::http::state::AppState;
use crate::store::LiveSession;

/// A user who is logged in, and what is shown around the page that they requested.
pub struct Visitor {
    /// What `layout.html` shows.
    pub shell: Shell,
    /// Who asks, for actions.
    pub actor: Actor,
    /// Their session.
    pub session: LiveSession,
}

/// What `layout.html` shows.
pub struct Shell {
    /// The browser's preferences.
    pub prefs: Prefs,
    /// The time of the page.
    pub clock: Clock,
    /// The name of the user who is logged in; `None` on pages for everybody.
    pub who: Option<String>,
    /// The outcome of the previous form.
    pub message: Option<Message>,
    /// Path and query of the page, without a message.
    pub here: String,
    /// The text in the search field.
    pub query: String,
    /// The worker that made the page.
    pub worker: String,
    /// The provider's name for people, if there is single sign-on.
    pub provider: Option<String>,
    /// What the user may do; `None` on pages for everybody.
    access: Option<Access>,
    nav: Nav,
}

impl Shell {
    /// The shell of a page for everybody.
    #[must_use]
    pub fn open(prefs: Prefs, here: &str, state: &AppState) -> Self {
        Self {
            clock: Clock::new(state.store.about_now(), &prefs),
            prefs,
            who: None,
            message: None,
            here: without_message(here),
            query: String::new(),
            worker: state.worker.as_str().chars().take(8).collect(),
            provider: state.provider.as_ref().map(|provider| provider.name().to_owned()),
            access: None,
            nav: Nav::default(),
        }
    }

    /// The shell of an error page, without asking Redis: with the menu of this account, or without a menu.
    #[must_use]
    pub fn unasked(prefs: Prefs, here: &str, state: &AppState, who: Option<(String, Access)>) -> Self {
        let (who, access) = who.unzip();
        Self { who, access, ..Self::open(prefs, here, state) }
    }

    /// The shell of a page at that time, for an account with this access.
    #[cfg(test)]
    pub fn of_access(clock: Clock, access: Access) -> Self {
        Self {
            prefs: Prefs::of(&axum::http::HeaderMap::new()),
            clock,
            who: Some("somebody".to_owned()),
            message: None,
            here: "/".to_owned(),
            query: String::new(),
            worker: String::new(),
            provider: None,
            access: Some(access),
            nav: Nav::default(),
        }
    }

    /// The address of an asset.
    #[must_use]
    pub fn asset(&self, name: &str) -> String {
        assets::address(name)
    }

    /// The hash of the assets, by which a page notices that the workers have another version.
    #[must_use]
    pub fn assets(&self) -> &'static str {
        assets::HASH
    }

    /// When the page was made, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.clock.now.timestamp_millis()
    }

    /// This version.
    #[must_use]
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Whether the user has this right: what needs another is not shown. On the page of a server, its account is for that server.
    #[must_use]
    pub fn may(&self, right: impl Borrow<Right>) -> bool {
        self.access.as_ref().is_some_and(|access| right.borrow().of(access))
    }

    /// Whether they may ban and unban somewhere.
    #[must_use]
    pub fn may_ban(&self) -> bool {
        self.may(Right::Ban)
    }

    /// Whether the user may undo this.
    #[must_use]
    pub fn may_undo(&self, done: &Undoable) -> bool {
        self.may(Right::to_undo(done))
    }

    /// The places of the menu.
    #[must_use]
    pub fn places(&self) -> Vec<&'static MenuItem> {
        MENU.iter().filter(|place| self.may(place.right)).collect()
    }

    /// The themes to choose from.
    #[must_use]
    pub fn themes(&self) -> &'static [(&'static str, &'static str)] {
        &THEMES
    }

    /// Whether the page is that place, or below it.
    #[must_use]
    pub fn is_at(&self, place: &MenuItem) -> bool {
        let path = self.here.split(['?', '#']).next().unwrap_or_default();
        match place.path {
            "/" => path == "/" || path.starts_with("/servers/"),
            place => path == place || path.starts_with(&format!("{place}/")),
        }
    }

    /// Replaces the recorded findings in the menu's count with those that were just made.
    #[must_use]
    pub fn with_findings(mut self, findings: &[Finding]) -> Self {
        self.nav.found(menu_findings::of(findings));
        self
    }

    /// The count beside a place of the menu.
    #[must_use]
    pub fn badge(&self, place: &MenuItem) -> Option<Badge> {
        self.nav.badge(place)
    }
}

impl FromRequestParts<AppState> for Shell {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Self::Rejection> {
        Ok(Self::open(Prefs::of(&parts.headers), here(parts), state))
    }
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let Caller { session } = Caller::from_request_parts(parts, state).await?;
        if session.api_token.is_some() {
            // Pages are for people.
            return Err(Problem::token_not_allowed());
        }
        let Ok(CallerAddress(address)) = CallerAddress::from_request_parts(parts, state).await;
        let actor = Actor::of_session(&session, address, &state.worker);
        let mut shell = Shell::open(Prefs::of(&parts.headers), here(parts), state);
        shell.who = Some(session.username.as_str().to_owned());
        shell.access = Some(session.access.clone());
        if parts.method.is_safe() {
            let id = parameter(parts, "m");
            let (nav, message) = tokio::join!(
                Nav::read(state, &session.access, address, parts.uri.path()),
                message(state, &session, id.as_deref())
            );
            (shell.nav, shell.message) = (nav?, message?);
        }
        Ok(Self { shell, actor, session })
    }
}

/// The message of that id. One that this version cannot read is not shown.
async fn message(
    state: &AppState,
    session: &LiveSession,
    id: Option<&str>,
) -> Result<Option<Message>, Problem> {
    let Some(id) = id else { return Ok(None) };
    let bytes = state.store.message(&session.id, id).await?;
    Ok(bytes.and_then(|bytes| rmp_serde::from_slice(&bytes).ok()))
}

fn here(parts: &Parts) -> &str {
    parts.uri.path_and_query().map_or("/", |here| here.as_str())
}

fn parameter(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
}

/// A path and query without the id of a message.
fn without_message(here: &str) -> String {
    let Some((path, query)) = here.split_once('?') else { return here.to_owned() };
    let kept: Vec<&str> =
        query.split('&').filter(|pair| !pair.starts_with("m=") && !pair.is_empty()).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::Role;

    #[test]
    fn the_menu_has_what_the_account_may_see() {
        let places = |role| {
            let clock = Clock::new(chrono::DateTime::UNIX_EPOCH, &Prefs::of(&axum::http::HeaderMap::new()));
            let shell = Shell::of_access(clock, Access { role, servers: Vec::new() });
            shell.places().into_iter().map(|place| place.path).collect::<Vec<_>>()
        };
        assert!(places(Role::Admin).contains(&"/settings"));
        assert!(places(Role::Operator).contains(&"/jobs") && !places(Role::Operator).contains(&"/settings"));
    }

    #[test]
    fn the_id_of_a_message_is_not_part_of_where_one_is() {
        for (here, kept) in [
            ("/", "/"),
            ("/?m=1", "/"),
            ("/servers/a?part=ban&m=1", "/servers/a?part=ban"),
            ("/?m=1&q=m%3D", "/?q=m%3D"),
        ] {
            assert_eq!(without_message(here), kept);
        }
    }
}
