//! Pages: what a person does in a browser, on any worker. HTML first; every action is a form that works without JavaScript.
//!
//! ```text
//! GET  ─▶ Visitor (session, menu, message) ─▶ handler ─▶ actions, store ─▶ Page(template) ─▶ HTML
//! POST ─▶ layers.rs (origin) ─▶ Visitor ─▶ Form ─▶ action ─▶ done(.., "/path", Message) ─▶ 303 ─▶ GET
//!                                                      └─▶ Page::refused(template, errors) ─▶ 422, what was typed kept
//! ```
//!
//! Pages and the API use the same actions: neither calls the other. A refusal ([`crate::http::error::Problem`])
//! automatically becomes a page (`refused.rs`); what our scripts request is made from the same pages (`smooth.rs`).
//!
//! # To add a page
//!
//! 1. `jobs.html` beside `jobs.rs`. It extends the layout, and fills its blocks:
//!
//!    ```html
//!    {% extends "layout.html" %}
//!    {% block title %}Jobs{% endblock %}
//!    {% block heading %}<h1>Jobs</h1>{% endblock %}
//!    {% block content %}<table> ... <td data-k="{{ job.id }}.tried">{{ job.tried }}</td> ... {% endblock %}
//!    ```
//!
//! 2. `jobs.rs`: a struct with the field `shell`, and handlers.
//!
//!    ```ignore
//!    #[derive(Template)]
//!    #[template(path = "jobs.html")]
//!    struct Jobs { shell: Shell, jobs: Vec<Row> }
//!
//!    pub async fn show(State(state): State<AppState>, visitor: Visitor, Query(query): Query<Wanted>) -> Result<Page<impl Template>> {
//!        let jobs = state.store.ban_jobs(query.cursor, 100).await?; // `?` turns any error of a store or action into its page
//!        Ok(Page::new(Jobs { jobs: jobs.items.into_iter().map(Row::of).collect(), shell: visitor.shell }))
//!    }
//!
//!    pub async fn cancel(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>, form: Form) -> Result<Response> {
//!        match ban_jobs::cancel(&state, visitor.actor.clone(), ..).await {
//!            Ok(job) => Ok(done(&state, &visitor.actor, "/jobs", Message::ok("Cancelled at 3,120 of 5,000.")).await),
//!            Err(error) => Ok(done(&state, &visitor.actor, "/jobs", Message::refused(&error.into())).await),
//!        }
//!    }
//!    ```
//!
//! 3. A row in [`router`] below, one in `auth/permissions.rs`, one in `tests/browser` (it walks all pages), and its place in `nav.rs` if the menu has it.
//!
//! | needed | is |
//! |---|---|
//! | a time, since when, a countdown, how long ago | `{{ shell.clock.time(at) }}`, `.since(at)`, `.left(until)`, `.ago(at)` (`clock.rs`) |
//! | a mark, a condition, a number | `{{ Mark::DOT }}` as a value, `marks::condition(..)`, `marks::count(..)`, `marks::counted(3, "jail")` |
//! | a field with label, hint, error | `{{ Field::text("ip", "Address").value(typed).hint("..").with(&errors) }}` as a value (`form.rs`) |
//! | errors beside fields | `Errors::one("ip", "203.0.113.300 is not an address.")`, then `Page::refused(page, errors)` |
//! | a message with an undo for 10 minutes | `Message::ok(..).and(..).undo_of(&id, "Ban it again", "/path", shell.clock.now)`, where the action has saved the undo under that id |
//! | a question in place | `<details class="confirm"><summary class="destroy">Unban all…</summary>`: see `account.html` |
//! | the password again, where an action ends with `ConfirmationRequired` | `Err(..::Unconfirmed(_)) => return confirm::ask(visitor, "Save the settings", "/settings", &form)` (`confirm.rs`) |
//! | pages of a list | `{{ paging }}` of a [`paging::Paging`] |
//! | live values | `data-k="KEY"` on an element with nothing but text, `data-row="KEY"` on rows (`smooth.rs`): nothing else is needed |
//! | what only some may do | `{% if shell.may(Right::Ban) %}` around its form (`auth/permissions.rs`) |
//! | an empty list | `<div class="empty"><p><b>The state.</b></p><p>Why. What to do.</p></div>` |
//! | fail2ban's words, commands | `<code class="said">`, `<code class="command">` |

mod account;
mod account_factors;
mod account_passkeys;
mod account_sessions;
mod account_tokens;
mod activity;
mod activity_audit;
mod activity_events;
mod address;
mod address_forms;
mod address_never;
pub mod assets;
pub mod attention;
mod ban_progress;
pub mod clock;
mod cluster;
mod confirm;
pub mod device;
mod diagnosis;
mod diagnosis_groups;
mod diagnosis_rows;
pub mod form;
mod form_pages;
mod help;
mod invitation;
mod jail;
mod jail_asked;
mod jail_bans;
mod jail_bans_list;
mod jail_bans_outcome;
mod jail_fields;
mod jail_never;
mod jail_reads;
mod jail_settings;
mod jail_steps;
mod jail_switches;
mod jail_words;
mod jobs;
mod jobs_rows;
mod keep_form;
mod kept;
mod login;
mod login_departure;
mod login_factor;
mod login_factor_new;
mod login_form;
mod login_passkey;
mod login_paths;
mod login_provider;
mod login_set_up;
mod login_step;
pub mod marks;
mod menu_findings;
pub mod message;
pub mod nav;
mod never_ban;
mod once;
pub mod page;
pub mod paging;
pub mod prefs;
mod qr;
mod recovery;
pub(super) mod refused;
pub mod search;
mod server;
mod server_history;
mod server_jails;
pub mod server_list;
mod server_rows;
mod servers;
mod settings;
mod settings_form;
mod settings_words;
mod setup;
mod setup_next;
pub mod shell;
mod smooth;
pub mod sparkline;
mod undo;
mod undo_label;
mod users;
pub mod words;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn;
use axum::routing::{MethodRouter, get, post};

use super::api::docs;
use super::state::AppState;

/// The route of a form; a `GET` redirects to its page.
fn form<H, T>(handler: H) -> MethodRouter<AppState>
where
    H: Handler<T, AppState>,
    T: 'static,
{
    post(handler).get(form_pages::show)
}

/// All routes of pages.
pub fn router() -> Router<AppState> {
    Router::new()
        // for everybody
        .route("/login", get(login::show).post(login::log_in))
        .route("/login/sso", get(login_provider::start).post(login_provider::start_with_form))
        .route("/login/sso/confirm", get(login_provider::confirm).post(login_provider::confirm_with_form))
        .route("/login/callback", get(login_provider::callback))
        .route("/login/backchannel-logout", post(login_provider::backchannel_logout))
        .route("/login/set-up", form(login_set_up::set_up))
        .route("/login/set-up-passkey", form(login_set_up::add_passkey))
        .route("/login/passkey", form(login_passkey::finish))
        .route("/login/factor", form(login_step::finish))
        .route("/setup", get(setup::show).post(setup::complete))
        .route("/invitation/{code}", get(invitation::show).post(invitation::complete))
        // for users who are logged in
        .route("/", get(servers::show))
        .route("/suggestions", get(search::suggest))
        .route("/setup/next", get(setup_next::show))
        .route("/setup/never-ban", form(never_ban::never_ban))
        .route("/account", get(account::show))
        .route("/account/password", form(account::change_password))
        .route("/account/theme", form(account::change_theme))
        .route("/account/keys", form(account::change_keys))
        .route("/account/sessions", form(account_sessions::end))
        .route("/account/tokens", form(account_tokens::create))
        .route("/account/revoke-token", form(account_tokens::revoke))
        .route("/account/factors", get(account_factors::show))
        .route("/account/factors/app", form(account_factors::propose_app))
        .route("/account/factors/first-code", form(account_factors::set_app))
        .route("/account/factors/remove-app", form(account_factors::remove_app))
        .route("/account/factors/recovery-codes", form(account_factors::renew_recovery_codes))
        .route("/account/factors/passkey", form(account_passkeys::add))
        .route("/account/factors/remove-passkey", form(account_passkeys::remove))
        .route("/users", get(users::show))
        .route("/users/invite", form(users::invite))
        .route("/users/revoke", form(users::revoke))
        .route("/users/change", form(users::change))
        .route("/activity", get(activity::show))
        .route("/jobs", get(jobs::show))
        .route("/jobs/{id}/cancel", form(jobs::cancel))
        .route("/cluster", get(cluster::show))
        .route("/diagnosis", get(diagnosis::show))
        .route("/settings", get(settings::show).post(settings::change))
        .route("/confirm", form(confirm::confirm))
        .route("/undo", form(undo::undo))
        .route("/help", get(help::show))
        .route("/logout", form(login::log_out))
        .route("/addresses/{ip}", get(address::show))
        .route("/addresses/{ip}/unban", form(address_forms::unban))
        .route("/addresses/{ip}/ban", form(address_forms::ban))
        .route("/addresses/{ip}/never-ban", form(address_forms::never_ban))
        .route("/servers/{server}", get(server::show))
        .route("/servers/{server}/jails/{jail}", get(jail::show))
        .route("/servers/{server}/jails/{jail}/switch", form(jail_switches::switch))
        .route("/servers/{server}/jails/{jail}/changes/{id}", get(jail_switches::show))
        .route("/servers/{server}/jails/{jail}/bans", form(jail_bans::ban))
        .route("/servers/{server}/jails/{jail}/unban", form(jail_bans::unban))
        .route("/servers/{server}/jails/{jail}/unban-all", form(jail_bans::unban_everybody))
        .route("/servers/{server}/jails/{jail}/cancel", form(ban_progress::cancel_job))
        .route("/servers/{server}/jails/{jail}/settings", form(jail_settings::change))
        .route("/servers/{server}/jails/{jail}/never-ban", form(jail_settings::never_ban))
        .route("/servers/{server}/recovery", form(recovery::decide))
        .route("/servers/{server}/probe", form(recovery::check_again))
        .route_layer(from_fn(smooth::smooth))
        .route_layer(from_fn(keep_form::keep))
        // what pages load
        .route("/assets/{hash}/{name}", get(assets::show))
        .route("/docs/{file}", get(docs::file))
}
