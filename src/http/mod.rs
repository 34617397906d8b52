//! The HTTP interface: every route on this page, one file per resource, refusals in `error/`.
//!
//! ```text
//! listener.rs ─▶ layers.rs (id, span, host, origin, panic, headers, metrics, log) ─▶ router() ─▶ extract.rs ─▶ a handler
//! ```
//!
//! A handler names in its arguments what it assumes: [`auth::caller::Caller`] is somebody logged in, [`extract::Json`]
//! a body that could be read, [`auth::address::CallerAddress`] where the request comes from. It never sees a request
//! that lacks them. It returns its answer or an [`error::Problem`].
//!
//! A new resource needs a file in `api/`, its handlers on this page, and a row for each in `auth/permissions.rs`. Method, path and documentation are only at the handler
//! (`#[utoipa::path]`): the router and the OpenAPI document are both made from them. Its refusals go into `error/`.
//! A new page needs a template and a handler in `pages/` (its `mod.rs` says how).
//! This layer never imports the scheduler: it asks for work through Redis.

pub mod api;
pub mod auth;
pub mod error;
mod event_clients;
pub mod extract;
mod large_forms;
pub mod long_change;
mod middleware;
pub mod pages;
mod query;
pub mod state;

pub use api::metrics::metrics_router;
pub use auth::proxies::Proxies;
pub use large_forms::LARGE_FORM_BYTES;
pub use middleware::host::AllowedHosts;
pub use state::{AppState, Parts, Phase, Readiness};

use axum::extract::{Request, State};
use axum::{Extension, Router};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use api::{
    agents, audit, ban_actions, ban_jobs, bans, cluster, diagnosis, docs, events, factors, health,
    invitations, jail_changes, jail_settings, jail_switch, jails, metrics, openapi, passkey_login, passkeys,
    password, recovery, second_step, servers, session, sessions, settings, setup, tokens, users,
};
use error::Problem;
use middleware::{idempotency, layers};

/// All routes of a worker.
pub fn router(state: AppState) -> Router {
    let about_fail2ban =
        fail2ban().route_layer(axum::middleware::from_fn_with_state(state.clone(), idempotency::once));
    // Only around these routes: every request pays for a layer around all routes.
    let documentation = documentation().layer(Extension(docs::Document::new(document())));
    let people = account().merge(people());
    let mut all = open().merge(documentation).merge(people).merge(about_fail2ban).merge(own());
    if state.metrics().is_some() {
        all = all.merge(monitoring());
    }
    let router = Router::from(all)
        .merge(pages::router())
        .fallback(no_route)
        .method_not_allowed_fallback(async || Problem::method_not_allowed());
    layers::around(router, &state).with_state(state)
}

/// Whose page says so has the menu of their account.
async fn no_route(State(state): State<AppState>, request: Request) -> Problem {
    let (parts, _) = request.into_parts();
    auth::caller::notice(&parts, &state).await;
    Problem::no_route()
}

/// The OpenAPI document of all routes.
#[must_use]
pub fn document() -> OpenApi {
    let public = open().merge(documentation());
    let all = public.merge(account()).merge(people()).merge(fail2ban()).merge(own()).merge(monitoring());
    openapi::complete(all.into_openapi())
}

/// Routes that need no login. A handler states its own method and path.
fn open() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        // for load balancers and monitoring
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        // before anybody can log in
        .routes(routes!(setup::show, setup::complete))
        .routes(routes!(invitations::accept))
}

/// The documentation of the API, for people and programs.
fn documentation() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(docs::document)).routes(routes!(docs::page))
}

/// Metrics for Prometheus, unless they are served on a separate address.
fn monitoring() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metrics::show))
}

/// The caller's account.
fn account() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(session::log_in, session::show, session::log_out))
        .routes(routes!(second_step::finish))
        .routes(routes!(second_step::propose_app))
        .routes(routes!(second_step::set_app))
        .routes(routes!(second_step::begin_passkey))
        .routes(routes!(second_step::add_passkey))
        .routes(routes!(passkey_login::begin))
        .routes(routes!(passkey_login::finish))
        .routes(routes!(session::confirm))
        .routes(routes!(sessions::list, sessions::end_all))
        .routes(routes!(sessions::end_one))
        .routes(routes!(password::change))
        .routes(routes!(factors::show))
        .routes(routes!(factors::propose_app, factors::remove_app))
        .routes(routes!(factors::set_app))
        .routes(routes!(factors::renew_recovery_codes))
        .routes(routes!(passkeys::begin))
        .routes(routes!(passkeys::add))
        .routes(routes!(passkeys::remove))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
}

/// The users of this installation.
fn people() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(users::list))
        .routes(routes!(users::change, users::delete))
        .routes(routes!(invitations::list, invitations::invite))
        .routes(routes!(invitations::revoke))
}

/// The routes about fail2ban: a change that comes with an `Idempotency-Key` is made once.
fn fail2ban() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(servers::list))
        .routes(routes!(servers::show))
        .routes(routes!(servers::probe))
        .routes(routes!(recovery::clear))
        .routes(routes!(recovery::roll_back))
        .routes(routes!(jails::list))
        .routes(routes!(jails::show, jail_settings::change))
        .routes(routes!(jail_settings::ignore))
        .routes(routes!(jail_switch::activate))
        .routes(routes!(jail_switch::deactivate))
        .routes(routes!(jail_changes::show))
        .routes(routes!(bans::list, ban_actions::ban, ban_actions::unban_all))
        .routes(routes!(ban_actions::unban))
        .routes(routes!(ban_actions::unban_some))
        .routes(routes!(ban_jobs::list))
        .routes(routes!(ban_jobs::show))
        .routes(routes!(ban_jobs::cancel))
        .routes(routes!(bans::look_up))
}

/// bangui itself.
fn own() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(settings::show, settings::change))
        .routes(routes!(events::follow))
        .routes(routes!(audit::list))
        .routes(routes!(cluster::show))
        .routes(routes!(agents::list))
        .routes(routes!(diagnosis::show))
}

#[cfg(test)]
mod routes_tests;
#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
