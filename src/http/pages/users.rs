//! The users, for admins of all servers: what each may do, and invitations.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::confirm;
use super::form::{Errors, Field, Form};
use super::marks::counted;
use super::message::{Message, done};
use super::once;
use super::page::Page;
use super::paging::Paging;
use super::shell::{Shell, Visitor};
use super::words::sentence;
use crate::actions::invite_users::{self, InviteError};
use crate::actions::manage_users::{self, UserChange, UserError};
use crate::domain::Timestamp;
use crate::domain::access::{Access, Role, ServerPattern};
use crate::http::api::invitations::path_of;
use crate::http::api::users::Servers;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::{Problem, Result};
use crate::http::extract::Query;
use crate::http::query::cursor_of_page;
use crate::http::state::AppState;
use crate::store::{Factors, InvitationCode, InvitationId, Username};

/// The path of the page.
const PATH: &str = "/users";
/// The number of users on a page.
const PAGE: usize = 50;

/// The page of users to show.
#[derive(Deserialize)]
pub struct Wanted {
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "users.html")]
struct Users {
    shell: Shell,
    users: Vec<User>,
    /// The cursor of this page, for its forms.
    cursor: String,
    invitations: Vec<Invited>,
    paging: Paging,
    /// The link of the invitation that was just made.
    link: Option<String>,
    name: Field,
    role: Field,
    servers: Field,
}

struct User {
    name: String,
    role: Role,
    servers: String,
    disabled: bool,
    /// The second factors of the account; none where they are the provider's affair.
    factors: Option<String>,
    /// The provider's issuer, where the user logs in with one.
    provider: Option<String>,
    own: bool,
    /// `admin` stays.
    permanent: bool,
    change: ChangeForm,
}

/// The fields that change a user.
struct ChangeForm {
    role: Field,
    servers: Field,
    /// It is shown with what was typed, which was refused.
    open: bool,
}

impl ChangeForm {
    fn new(name: &str, access: &Access) -> Self {
        Self::typed(name, access.role.as_str(), &named(&access.servers), &Errors::default())
    }

    fn typed(name: &str, role: &str, servers: &str, errors: &Errors) -> Self {
        Self {
            role: Field::choice("role", "Role", Role::ALL.map(Role::as_str).into())
                .id(format!("role-of-{name}"))
                .value(role)
                .with(errors),
            servers: Field::text("servers", "Servers")
                .id(format!("servers-of-{name}"))
                .value(servers)
                .with(errors)
                .attribute("autocomplete", "off")
                .attribute("spellcheck", "false"),
            open: !errors.is_empty(),
        }
    }
}

/// The second factors of an account, in words.
fn in_words(factors: &Factors) -> String {
    let app = factors.app.as_ref().map(|_| "app".to_owned());
    let passkeys = Some(factors.passkeys.len() as u64).filter(|number| *number > 0);
    let both: Vec<String> =
        app.into_iter().chain(passkeys.map(|number| counted(number, "passkey"))).collect();
    if both.is_empty() { "none".to_owned() } else { both.join(", ") }
}

struct Invited {
    id: String,
    name: String,
    role: Role,
    servers: String,
    by: String,
    expires: Timestamp,
}

fn named(servers: &[ServerPattern]) -> String {
    let names: Vec<&str> = servers.iter().map(ServerPattern::as_str).collect();
    names.join(", ")
}

/// The servers that were typed, separated by commas or spaces; none if one of them is no server and no pattern.
pub(super) fn typed_servers(text: &str) -> Option<Vec<ServerPattern>> {
    let names = text.split([',', ' ', '\n', '\r']).map(str::trim).filter(|name| !name.is_empty());
    let servers: Vec<ServerPattern> =
        names.map(|name| ServerPattern::parse(name).ok()).collect::<Option<_>>()?;
    Servers::try_from(servers).ok().map(|Servers(servers)| servers)
}

/// The sentence beside a field of servers that cannot be read.
pub(super) const WRONG_SERVERS: &str = "Names of servers or patterns such as web-*, separated by commas, 50 at most. Leave it empty for all servers.";

/// The sentence beside a role that there is none of.
pub(super) const WRONG_ROLE: &str = "Choose one of the roles.";

/// The role that was chosen.
pub(super) fn typed_role(text: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.as_str() == text)
}

/// The users.
pub async fn show(
    State(state): State<AppState>,
    visitor: Visitor,
    cookie: CookieKind,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    let code = once::find(&headers).and_then(InvitationCode::parse);
    let link = code.map(|code| {
        let base = state.public_url().map(|url| url.as_str().trim_end_matches('/').to_owned());
        format!("{}{}", base.unwrap_or_default(), path_of(&code))
    });
    let shown = link.is_some();
    let after = cursor_of_page(wanted.cursor.as_deref(), |cursor| Username::parse(cursor).ok())?;
    let page = users(&state, visitor, after.as_ref(), link, &Form::default(), &Errors::default()).await?;
    let mut response = Page::new(page).into_response();
    if shown {
        once::remove(&mut response, cookie, PATH);
    }
    Ok(response)
}

async fn users(
    state: &AppState,
    visitor: Visitor,
    after: Option<&Username>,
    link: Option<String>,
    typed: &Form,
    errors: &Errors,
) -> Result<Users> {
    let page = manage_users::list(state, &visitor.actor, after, PAGE).await?;
    let invitations = invite_users::list(state, &visitor.actor).await?;
    let users: Vec<User> = page
        .items
        .into_iter()
        .map(|account| User {
            own: account.owner.username == visitor.actor.username,
            permanent: account.owner.username.as_str() == Username::ADMIN,
            change: ChangeForm::new(account.owner.username.as_str(), &account.standing.access),
            name: account.owner.username.to_string(),
            role: account.standing.access.role,
            servers: named(&account.standing.access.servers),
            disabled: account.standing.disabled,
            factors: account.provider.is_none().then(|| in_words(&account.factors)),
            provider: account.provider.map(|user| user.issuer),
        })
        .collect();
    let invitations = invitations.into_iter().map(|invitation| Invited {
        id: invitation.id.to_string(),
        name: invitation.username.to_string(),
        role: invitation.access.role,
        servers: named(&invitation.access.servers),
        by: invitation.by.username.to_string(),
        expires: invitation.expires_at,
    });
    let next = page.next_cursor.map(|cursor| format!("{PATH}?cursor={cursor}"));
    let paging = Paging { says: format!("{} on this page", users.len()), previous: None, next, size: PAGE };
    Ok(Users {
        shell: visitor.shell,
        invitations: invitations.collect(),
        users,
        cursor: after.map(Username::to_string).unwrap_or_default(),
        paging,
        link,
        name: Field::text("username", "Name")
            .value(typed.text("username"))
            .with(errors)
            .hint("1 to 32 of a-z, 0-9, '.', '_' and '-'.")
            .attribute("autocomplete", "off")
            .attribute("autocapitalize", "none")
            .attribute("spellcheck", "false")
            .attribute("maxlength", "32")
            .attribute("required", "required"),
        role: Field::choice("role", "Role", Role::ALL.map(Role::as_str).into())
            .id("invite-role")
            .value(typed.text("role"))
            .with(errors),
        // A symbol of every page has the id `servers`.
        servers: Field::text("servers", "Servers")
            .id("user-servers")
            .value(typed.text("servers"))
            .with(errors)
            .hint("Names or patterns such as web-*, separated by commas. Empty for all servers.")
            .attribute("autocomplete", "off")
            .attribute("spellcheck", "false"),
    })
}

/// Invites a user. The link is on the next page, once.
pub async fn invite(
    State(state): State<AppState>,
    visitor: Visitor,
    cookie: CookieKind,
    form: Form,
) -> Result<Response> {
    let mut errors = Errors::default();
    let username = Username::parse(form.text("username"));
    if let Err(error) = &username {
        errors.add("username", sentence(&error.to_string()));
    }
    let (servers, role) = (typed_servers(form.text("servers")), typed_role(form.text("role")));
    if servers.is_none() {
        errors.add("servers", WRONG_SERVERS);
    }
    if role.is_none() {
        errors.add("role", WRONG_ROLE);
    }
    if let (Ok(username), Some(servers), Some(role)) = (username, servers, role) {
        let access = Access { role, servers };
        match invite_users::invite(&state, visitor.actor.clone(), username.clone(), access).await {
            Ok(made) => {
                let message = Message::ok(format!("{username} is invited."))
                    .and("The link below works once, within a day, and is shown only now.");
                let mut response = done(&state, &visitor.actor, PATH, message).await;
                once::hand_over(&mut response, cookie, PATH, made.code.reveal());
                return Ok(response);
            }
            Err(InviteError::Unconfirmed(_)) => return confirm::ask(visitor, "Invite a user", PATH, &form),
            Err(error @ (InviteError::Exists | InviteError::PasswordOff)) => {
                errors.add("username", sentence(Problem::from(error).detail()))
            }
            Err(error) => return Err(error.into()),
        }
    }
    let page = users(&state, visitor, None, None, &form, &errors).await?;
    Ok(Page::refused(page, errors).into_response())
}

/// Revokes an invitation.
pub async fn revoke(State(state): State<AppState>, visitor: Visitor, form: Form) -> Result<Response> {
    let id = InvitationId::parse(form.text("id")).ok_or(InviteError::Unknown)?;
    let message = match invite_users::revoke(&state, visitor.actor.clone(), id).await {
        Ok(()) => Message::ok("The invitation is revoked.").and("Its link no longer works."),
        Err(InviteError::Unknown) => {
            Message::ok("That invitation was accepted, revoked or had expired before.")
        }
        Err(InviteError::Unconfirmed(_)) => {
            return confirm::ask(visitor, "Revoke an invitation", PATH, &form);
        }
        Err(error) => return Err(error.into()),
    };
    Ok(done(&state, &visitor.actor, PATH, message).await)
}

/// The page with the form that was refused, and the errors beside its fields.
async fn refused(state: &AppState, visitor: Visitor, form: &Form, errors: Errors) -> Result<Response> {
    let after = Username::parse(form.text("cursor")).ok();
    let mut page = users(state, visitor, after.as_ref(), None, &Form::default(), &Errors::default()).await?;
    let user = page.users.iter_mut().find(|user| user.name == form.text("user")).ok_or(UserError::Unknown)?;
    user.change = ChangeForm::typed(&user.name, form.text("role"), form.text("servers"), &errors);
    Ok(Page::refused(page, errors).into_response())
}

/// Changes, disables, enables or deletes a user, as the button says.
pub async fn change(State(state): State<AppState>, visitor: Visitor, form: Form) -> Result<Response> {
    let username = Username::parse(form.text("user")).map_err(|_| UserError::Unknown)?;
    let name = username.to_string();
    let (actor, what) = (visitor.actor.clone(), form.text("do"));
    let change = match what {
        "disable" => UserChange { disabled: Some(true), ..UserChange::default() },
        "enable" => UserChange { disabled: Some(false), ..UserChange::default() },
        _ => {
            let (servers, role) = (typed_servers(form.text("servers")), typed_role(form.text("role")));
            let mut errors = Errors::default();
            if role.is_none() {
                errors.add("role", WRONG_ROLE);
            }
            if servers.is_none() {
                errors.add("servers", WRONG_SERVERS);
            }
            if !errors.is_empty() {
                return refused(&state, visitor, &form, errors).await;
            }
            UserChange { role, servers, disabled: None }
        }
    };
    let changed = match what {
        "delete" => manage_users::delete_user(&state, actor, username).await.map(|()| true),
        _ => {
            let before = state.store.account(&username).await?;
            let changed = manage_users::change_user(&state, actor, username, change).await;
            changed.map(|after| before.is_none_or(|before| before.standing != after.standing))
        }
    };
    let ended = "All sessions and tokens of this user have ended.";
    let (label, message) = match what {
        "disable" => (format!("Disable {name}"), format!("{name} is disabled.")),
        "enable" => (format!("Enable {name}"), format!("{name} is enabled.")),
        "delete" => (format!("Delete {name}"), format!("{name} is deleted.")),
        _ => (format!("Change {name}"), format!("What {name} may do is changed.")),
    };
    let message = match changed {
        Ok(true) => Message::ok(message).and(ended),
        Ok(false) => Message::ok("Nothing was different, so nothing was changed."),
        Err(UserError::Unconfirmed(_)) => return confirm::ask(visitor, &label, PATH, &form),
        Err(
            error @ (UserError::LastAdmin
            | UserError::OfProvider
            | UserError::Permanent
            | UserError::Overtaken
            | UserError::Unknown),
        ) => Message::refused(&error.into()),
        Err(error) => return Err(error.into()),
    };
    Ok(done(&state, &visitor.actor, PATH, message).await)
}
