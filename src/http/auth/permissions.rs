//! Who may do what: one table of rights, and one of routes.
//!
//! ```text
//! request ─▶ session (caller.rs) ─▶ its route's row ─▶ right ─▶ role, servers ─▶ handler
//! page ────▶ shell.may(Right::Ban) ──────────────────▶ right ─▶ role ─────────▶ a form, or none
//! ```
//!
//! [`RIGHTS`] says which role a right needs, [`ROUTES`] which right a route needs, for each method. `allowed.rs` enforces both. Pages ask
//! for the right whose form they would show, so that they show what the routes take.
//!
//! A new route needs a row in [`ROUTES`]: without one, only an admin of all servers may use it, and a test fails. A new right
//! needs a row in [`RIGHTS`], and its line in `docs/accounts.md`, which a test compares with this table. What depends on more than the route
//! (the body, whose job it is, what is undone) is judged by a right of its own: see `allowed.rs`.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use crate::domain::access::{Access, Role};
use crate::domain::undo::{Deed, Undoable};
use crate::store::StoredEvent;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// What needs no login.
    Open,
    /// Their own account.
    OwnAccount,
    /// Looking at servers.
    Look,
    /// Bans, unbans.
    Ban,
    /// Entries that are never banned and end.
    NeverBan,
    /// Cancelling one's own jobs.
    CancelJob,
    /// Probes.
    Probe,
    /// Undoing what one may do.
    Undo,
    /// Entries that are never banned, for good.
    NeverBanForGood,
    /// Cancelling jobs of others.
    CancelAnyJob,
    /// Jails on and off.
    SwitchJail,
    /// Settings of jails.
    ChangeJail,
    /// Decisions about pending recoveries.
    Recover,
    /// The audit.
    ReadAudit,
    /// Settings of bangui.
    Settings,
    /// Users and invitations.
    Users,
}

/// Who has a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Strangers too.
    Everybody,
    /// Whoever is logged in, with any role.
    LoggedIn,
    /// Whoever has this role, or a greater one, for the servers of their account.
    Role(Role),
    /// An admin whose account is for all servers: what it changes concerns every server.
    AdminOfAll,
}

/// Each right, who has it, and what it is for, as in "only an admin may ...".
pub const RIGHTS: &[(Right, Who, &str)] = &[
    (Right::Open, Who::Everybody, "log in, read the documentation of the API, probe workers"),
    (
        Right::OwnAccount,
        Who::LoggedIn,
        "see and end their own sessions and tokens, change their own password and second factors",
    ),
    (
        Right::Look,
        Who::Role(Role::Viewer),
        "see servers, jails, bans, jobs, events, the diagnosis, the cluster",
    ),
    (Right::Ban, Who::Role(Role::Operator), "ban and unban addresses"),
    (Right::NeverBan, Who::Role(Role::Operator), "add entries to never-banned lists until the next reload"),
    (Right::CancelJob, Who::Role(Role::Operator), "cancel their own ban jobs"),
    (Right::Probe, Who::Role(Role::Operator), "request a probe of a server"),
    (Right::Undo, Who::Role(Role::Operator), "undo what they may do themselves"),
    (Right::NeverBanForGood, Who::Role(Role::Admin), "add entries to never-banned lists for good"),
    (Right::CancelAnyJob, Who::Role(Role::Admin), "cancel ban jobs of others"),
    (Right::SwitchJail, Who::Role(Role::Admin), "switch jails on and off"),
    (
        Right::ChangeJail,
        Who::Role(Role::Admin),
        "change settings of jails, remove entries from never-banned lists",
    ),
    (Right::Recover, Who::Role(Role::Admin), "roll back or dismiss a pending recovery"),
    (Right::ReadAudit, Who::AdminOfAll, "read the audit"),
    (Right::Settings, Who::AdminOfAll, "see and change the settings of bangui"),
    (Right::Users, Who::AdminOfAll, "see, invite, change and delete users"),
];

/// Which servers a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The one that its path names as `{server}`: for an account that is not for it, there is no such server.
    Server,
    /// All that the account is for: its handler leaves the others out.
    Servers,
    /// None: it is about bangui or the caller.
    Bangui,
}

/// A route with one method.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// `POST`
    pub method: &'static str,
    /// As the router has it: `/servers/{server}`
    pub path: &'static str,
    /// What the caller must have.
    pub right: Right,
    /// Which servers it is about.
    pub about: About,
    /// Whether it takes a form: then a `GET` of the same path leads strangers too to the page of the form.
    pub form: bool,
}

const fn route(method: &'static str, path: &'static str, right: Right, about: About) -> Route {
    Route { method, path, right, about, form: false }
}

const fn get(path: &'static str, right: Right, about: About) -> Route {
    route("GET", path, right, about)
}

const fn post(path: &'static str, right: Right, about: About) -> Route {
    route("POST", path, right, about)
}

const fn patch(path: &'static str, right: Right, about: About) -> Route {
    route("PATCH", path, right, about)
}

const fn delete(path: &'static str, right: Right, about: About) -> Route {
    route("DELETE", path, right, about)
}

const fn form(path: &'static str, right: Right, about: About) -> Route {
    Route { form: true, ..route("POST", path, right, about) }
}

/// Every route. [`all`] adds the `GET` of forms.
pub const ROUTES: &[Route] = &[
    // for monitoring, and before anybody can log in
    get("/healthz", Right::Open, About::Bangui),
    get("/readyz", Right::Open, About::Bangui),
    get("/metrics", Right::Open, About::Bangui),
    get("/openapi.json", Right::Open, About::Bangui),
    get("/docs", Right::Open, About::Bangui),
    get("/docs/{file}", Right::Open, About::Bangui),
    get("/assets/{hash}/{name}", Right::Open, About::Bangui),
    get("/api/v1/setup", Right::Open, About::Bangui),
    post("/api/v1/setup", Right::Open, About::Bangui),
    post("/api/v1/session", Right::Open, About::Bangui),
    post("/api/v1/session/factor", Right::Open, About::Bangui),
    post("/api/v1/session/factor/app", Right::Open, About::Bangui),
    post("/api/v1/session/factor/app/confirm", Right::Open, About::Bangui),
    post("/api/v1/session/factor/passkey", Right::Open, About::Bangui),
    post("/api/v1/session/factor/passkey/finish", Right::Open, About::Bangui),
    post("/api/v1/session/passkey", Right::Open, About::Bangui),
    post("/api/v1/session/passkey/finish", Right::Open, About::Bangui),
    get("/login", Right::Open, About::Bangui),
    post("/login", Right::Open, About::Bangui),
    get("/login/sso", Right::Open, About::Bangui),
    post("/login/sso", Right::Open, About::Bangui),
    get("/login/callback", Right::Open, About::Bangui),
    post("/login/backchannel-logout", Right::Open, About::Bangui),
    form("/login/factor", Right::Open, About::Bangui),
    form("/login/passkey", Right::Open, About::Bangui),
    form("/login/set-up", Right::Open, About::Bangui),
    form("/login/set-up-passkey", Right::Open, About::Bangui),
    get("/setup", Right::Open, About::Bangui),
    post("/setup", Right::Open, About::Bangui),
    post("/api/v1/invitations/accept", Right::Open, About::Bangui),
    get("/invitation/{code}", Right::Open, About::Bangui),
    post("/invitation/{code}", Right::Open, About::Bangui),
    // Logging out twice is a success.
    form("/logout", Right::Open, About::Bangui),
    // the caller's account
    get("/api/v1/session", Right::OwnAccount, About::Bangui),
    delete("/api/v1/session", Right::OwnAccount, About::Bangui),
    post("/api/v1/session/confirm", Right::OwnAccount, About::Bangui),
    get("/api/v1/sessions", Right::OwnAccount, About::Bangui),
    delete("/api/v1/sessions", Right::OwnAccount, About::Bangui),
    delete("/api/v1/sessions/{id}", Right::OwnAccount, About::Bangui),
    route("PUT", "/api/v1/password", Right::OwnAccount, About::Bangui),
    get("/api/v1/tokens", Right::OwnAccount, About::Bangui),
    post("/api/v1/tokens", Right::OwnAccount, About::Bangui),
    delete("/api/v1/tokens/{id}", Right::OwnAccount, About::Bangui),
    form("/account/tokens", Right::OwnAccount, About::Bangui),
    form("/account/revoke-token", Right::OwnAccount, About::Bangui),
    get("/api/v1/factors", Right::OwnAccount, About::Bangui),
    post("/api/v1/factors/app", Right::OwnAccount, About::Bangui),
    post("/api/v1/factors/app/confirm", Right::OwnAccount, About::Bangui),
    delete("/api/v1/factors/app", Right::OwnAccount, About::Bangui),
    post("/api/v1/factors/recovery-codes", Right::OwnAccount, About::Bangui),
    post("/api/v1/factors/passkeys", Right::OwnAccount, About::Bangui),
    post("/api/v1/factors/passkeys/finish", Right::OwnAccount, About::Bangui),
    delete("/api/v1/factors/passkeys/{id}", Right::OwnAccount, About::Bangui),
    get("/account/factors", Right::OwnAccount, About::Bangui),
    form("/account/factors/passkey", Right::OwnAccount, About::Bangui),
    form("/account/factors/remove-passkey", Right::OwnAccount, About::Bangui),
    form("/account/factors/app", Right::OwnAccount, About::Bangui),
    form("/account/factors/first-code", Right::OwnAccount, About::Bangui),
    form("/account/factors/remove-app", Right::OwnAccount, About::Bangui),
    form("/account/factors/recovery-codes", Right::OwnAccount, About::Bangui),
    get("/account", Right::OwnAccount, About::Bangui),
    form("/account/password", Right::OwnAccount, About::Bangui),
    form("/account/theme", Right::OwnAccount, About::Bangui),
    form("/account/keys", Right::OwnAccount, About::Bangui),
    form("/account/sessions", Right::OwnAccount, About::Bangui),
    get("/login/sso/confirm", Right::OwnAccount, About::Bangui),
    post("/login/sso/confirm", Right::OwnAccount, About::Bangui),
    form("/confirm", Right::OwnAccount, About::Bangui),
    get("/help", Right::OwnAccount, About::Bangui),
    // servers
    get("/api/v1/servers", Right::Look, About::Servers),
    get("/api/v1/servers/{server}", Right::Look, About::Server),
    post("/api/v1/servers/{server}/probe", Right::Probe, About::Server),
    delete("/api/v1/servers/{server}/recovery", Right::Recover, About::Server),
    post("/api/v1/servers/{server}/recovery/rollback", Right::Recover, About::Server),
    get("/", Right::Look, About::Servers),
    get("/suggestions", Right::Look, About::Servers),
    get("/setup/next", Right::Look, About::Servers),
    form("/setup/never-ban", Right::NeverBanForGood, About::Servers),
    get("/servers/{server}", Right::Look, About::Server),
    form("/servers/{server}/recovery", Right::Recover, About::Server),
    form("/servers/{server}/probe", Right::Probe, About::Server),
    // jails
    get("/api/v1/servers/{server}/jails", Right::Look, About::Server),
    get("/api/v1/servers/{server}/jails/{jail}", Right::Look, About::Server),
    patch("/api/v1/servers/{server}/jails/{jail}", Right::ChangeJail, About::Server),
    post("/api/v1/servers/{server}/jails/{jail}/ignore", Right::NeverBan, About::Server),
    post("/api/v1/servers/{server}/jails/{jail}/activate", Right::SwitchJail, About::Server),
    post("/api/v1/servers/{server}/jails/{jail}/deactivate", Right::SwitchJail, About::Server),
    get("/api/v1/jail-changes/{id}", Right::Look, About::Servers),
    get("/servers/{server}/jails/{jail}", Right::Look, About::Server),
    form("/servers/{server}/jails/{jail}/switch", Right::SwitchJail, About::Server),
    get("/servers/{server}/jails/{jail}/changes/{id}", Right::Look, About::Server),
    form("/servers/{server}/jails/{jail}/settings", Right::ChangeJail, About::Server),
    form("/servers/{server}/jails/{jail}/never-ban", Right::NeverBan, About::Server),
    // bans
    get("/api/v1/servers/{server}/jails/{jail}/bans", Right::Look, About::Server),
    post("/api/v1/servers/{server}/jails/{jail}/bans", Right::Ban, About::Server),
    delete("/api/v1/servers/{server}/jails/{jail}/bans", Right::Ban, About::Server),
    delete("/api/v1/servers/{server}/jails/{jail}/bans/{ip}", Right::Ban, About::Server),
    post("/api/v1/servers/{server}/jails/{jail}/unban", Right::Ban, About::Server),
    get("/api/v1/bans/{ip}", Right::Look, About::Servers),
    get("/api/v1/ban-jobs", Right::Look, About::Servers),
    get("/api/v1/ban-jobs/{id}", Right::Look, About::Servers),
    post("/api/v1/ban-jobs/{id}/cancel", Right::CancelJob, About::Servers),
    form("/servers/{server}/jails/{jail}/bans", Right::Ban, About::Server),
    form("/servers/{server}/jails/{jail}/unban", Right::Ban, About::Server),
    form("/servers/{server}/jails/{jail}/unban-all", Right::Ban, About::Server),
    form("/servers/{server}/jails/{jail}/cancel", Right::CancelJob, About::Server),
    get("/jobs", Right::Look, About::Servers),
    form("/jobs/{id}/cancel", Right::CancelJob, About::Servers),
    get("/addresses/{ip}", Right::Look, About::Servers),
    form("/addresses/{ip}/unban", Right::Ban, About::Servers),
    form("/addresses/{ip}/ban", Right::Ban, About::Servers),
    form("/addresses/{ip}/never-ban", Right::NeverBan, About::Servers),
    form("/undo", Right::Undo, About::Servers),
    // bangui itself
    get("/api/v1/events", Right::Look, About::Servers),
    get("/api/v1/diagnosis", Right::Look, About::Servers),
    get("/api/v1/cluster", Right::Look, About::Servers),
    get("/api/v1/cluster/agents", Right::Look, About::Servers),
    get("/activity", Right::Look, About::Servers),
    get("/diagnosis", Right::Look, About::Servers),
    get("/cluster", Right::Look, About::Servers),
    get("/api/v1/audit", Right::ReadAudit, About::Bangui),
    get("/api/v1/settings", Right::Settings, About::Bangui),
    patch("/api/v1/settings", Right::Settings, About::Bangui),
    get("/settings", Right::Settings, About::Bangui),
    post("/settings", Right::Settings, About::Bangui),
    // users
    get("/api/v1/users", Right::Users, About::Bangui),
    patch("/api/v1/users/{name}", Right::Users, About::Bangui),
    delete("/api/v1/users/{name}", Right::Users, About::Bangui),
    get("/api/v1/invitations", Right::Users, About::Bangui),
    post("/api/v1/invitations", Right::Users, About::Bangui),
    delete("/api/v1/invitations/{id}", Right::Users, About::Bangui),
    get("/users", Right::Users, About::Bangui),
    form("/users/invite", Right::Users, About::Bangui),
    form("/users/change", Right::Users, About::Bangui),
    form("/users/revoke", Right::Users, About::Bangui),
];

/// Every route with its method, those of [`ROUTES`] and the `GET` of each form.
pub fn all() -> impl Iterator<Item = Route> {
    let redirect = |route: &Route| get(route.path, Right::Open, About::Bangui);
    ROUTES.iter().flat_map(move |row| [Some(*row), row.form.then(|| redirect(row))].into_iter().flatten())
}

/// The row of a route, by the router's pattern and the method. `HEAD` is a `GET` without a body.
#[must_use]
pub fn find(method: &str, path: &str) -> Option<&'static Route> {
    static ROWS: LazyLock<HashMap<&'static str, Vec<Route>>> = LazyLock::new(|| {
        let mut rows: HashMap<_, Vec<Route>> = HashMap::new();
        for row in all() {
            rows.entry(row.path).or_default().push(row);
        }
        rows
    });
    let method = if method == "HEAD" { "GET" } else { method };
    ROWS.get(path)?.iter().find(|row| row.method == method)
}

impl Right {
    fn row(self) -> (Who, &'static str) {
        // None is missing: a test looks for each.
        let row = RIGHTS.iter().find(|(right, ..)| *right == self);
        row.map_or((Who::AdminOfAll, "do this"), |(_, who, words)| (*who, words))
    }

    /// Who has it.
    #[must_use]
    pub fn who(self) -> Who {
        self.row().0
    }

    /// What it is for, as in "only an admin may ...".
    #[must_use]
    pub fn words(self) -> &'static str {
        self.row().1
    }

    /// Whether an account with this access has it; on a server that the access is for, where it is about one.
    #[must_use]
    pub fn of(self, access: &Access) -> bool {
        match self.who() {
            Who::Everybody | Who::LoggedIn => true,
            Who::Role(role) => access.includes(role),
            Who::AdminOfAll => access.is_everything(),
        }
    }

    /// The right to do the opposite of this.
    #[must_use]
    pub fn to_undo(done: &Undoable) -> Self {
        match &done.deed {
            Deed::Bans { .. } => Self::Ban,
            Deed::Ignored { persistent: false, .. } => Self::NeverBan,
            Deed::Ignored { persistent: true, .. } => Self::NeverBanForGood,
            Deed::Switched { .. } => Self::SwitchJail,
            Deed::Settings(_) => Self::ChangeJail,
            Deed::Product { .. } | Deed::Unknown => Self::Settings,
        }
    }
}

/// Whether an event is for this account: it is about a server that the account is for, or about bangui. Events about settings have their
/// values, and are for those who may see the settings.
#[must_use]
pub fn is_shown(event: &StoredEvent, access: &Access) -> bool {
    match &event.server {
        Some(server) => access.reaches_named(server),
        None => !event.kind.starts_with("settings.") || Right::Settings.of(access),
    }
}

impl fmt::Display for Who {
    /// As in "only ... may".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everybody => "everybody",
            Self::LoggedIn => "whoever is logged in",
            Self::Role(Role::Viewer) => "viewers, operators and admins",
            Self::Role(Role::Operator) => "operators and admins",
            Self::Role(Role::Admin) => "admins",
            Self::AdminOfAll => "admins of all servers",
        })
    }
}

#[cfg(test)]
#[path = "permissions_tests.rs"]
mod tests;
