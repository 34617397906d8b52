//! The HTTP interface: every route on this page, one file per resource, refusals in `error.rs`.
//!
//! ```text
//! listener.rs ─▶ layers.rs (id, span, origin, panic, headers, metrics, log) ─▶ router() ─▶ extract.rs ─▶ a handler
//! ```
//!
//! A handler names in its arguments what it assumes: [`extract::Caller`] is somebody logged in, [`extract::Json`]
//! a body that could be read, [`address::CallerAddress`] where the request comes from. It never sees a request
//! that lacks them. It returns its answer or an [`error::Problem`].
//!
//! A new resource wants a file here, its routes in [`router`], its handlers in `openapi.rs` (a test compares the two), its
//! refusals in `error.rs`, and a line in CONTRACT.md.
//! This layer never imports the scheduler: what a worker is to do it asks for in Redis.

pub mod api;
pub mod auth;
pub mod error;
pub mod extract;
mod middleware;
pub mod state;

pub use api::metrics::metrics_router;
pub use state::{AppState, Parts, Phase, Readiness};

use axum::Router;
use axum::routing::{delete, get, post, put};

use api::{
    audit, ban_jobs, ban_orders, bans, cluster, docs, events, health, jail_settings, jail_switch, jails,
    metrics, password, recovery, servers, session, sessions, settings, setup,
};
use error::Problem;
use middleware::{idempotency, layers};

/// All routes of a worker.
pub fn router(state: AppState) -> Router {
    let mut router = Router::new()
        // for load balancers and monitoring: nobody logs in here
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        // for people and programs that want to know what there is
        .route("/openapi.json", get(docs::document))
        .route("/docs", get(docs::page))
        .route("/docs/page.js", get(docs::script))
        .route("/docs/page.css", get(docs::style))
        // before anybody can log in
        .route("/api/v1/setup", get(setup::show).post(setup::complete))
        .route("/api/v1/session", post(session::log_in).get(session::show).delete(session::log_out))
        // the caller's account
        .route("/api/v1/sessions", get(sessions::list).delete(sessions::end_all))
        .route("/api/v1/sessions/{id}", delete(sessions::end_one))
        .route("/api/v1/password", put(password::change))
        .merge(fail2ban(&state))
        // bangui itself
        .route("/api/v1/settings", get(settings::show).patch(settings::change))
        .route("/api/v1/events", get(events::follow))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/cluster", get(cluster::show));
    if state.metrics.is_some() {
        router = router.route("/metrics", get(metrics::show));
    }
    let router = router
        .fallback(async || Problem::no_route())
        .method_not_allowed_fallback(async || Problem::method_not_allowed());
    layers::around(router, &state).with_state(state)
}

/// The routes about fail2ban: a change that comes with an `Idempotency-Key` is made once.
fn fail2ban(state: &AppState) -> Router<AppState> {
    Router::new()
        .route("/api/v1/servers", get(servers::list))
        .route("/api/v1/servers/{server}", get(servers::show))
        .route("/api/v1/servers/{server}/probe", post(servers::probe))
        .route("/api/v1/servers/{server}/recovery", delete(recovery::clear))
        .route("/api/v1/servers/{server}/recovery/rollback", post(recovery::roll_back))
        .route("/api/v1/servers/{server}/jails", get(jails::list))
        .route("/api/v1/servers/{server}/jails/{jail}", get(jails::show).patch(jail_settings::change))
        .route("/api/v1/servers/{server}/jails/{jail}/ignore", post(jail_settings::ignore))
        .route("/api/v1/servers/{server}/jails/{jail}/activate", post(jail_switch::activate))
        .route("/api/v1/servers/{server}/jails/{jail}/deactivate", post(jail_switch::deactivate))
        .route(
            "/api/v1/servers/{server}/jails/{jail}/bans",
            get(bans::list).post(ban_orders::ban).delete(ban_orders::unban_all),
        )
        .route("/api/v1/servers/{server}/jails/{jail}/bans/{ip}", delete(ban_orders::unban))
        .route("/api/v1/servers/{server}/jails/{jail}/unban", post(ban_orders::unban_some))
        .route("/api/v1/ban-jobs", get(ban_jobs::list))
        .route("/api/v1/ban-jobs/{id}", get(ban_jobs::show))
        .route("/api/v1/ban-jobs/{id}/cancel", post(ban_jobs::cancel))
        .route("/api/v1/bans/{ip}", get(bans::look_up))
        .route_layer(axum::middleware::from_fn_with_state(state.clone(), idempotency::once))
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
