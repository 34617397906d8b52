//! Pages: what a person does in a browser, on any worker. HTML first; every action is a form that works without JavaScript.
//!
//! ```text
//! GET  ─▶ Visitor (session, menu, message) ─▶ handler ─▶ actions, store ─▶ Page(template) ─▶ HTML
//! POST ─▶ layers.rs (origin) ─▶ Visitor ─▶ Form ─▶ action ─▶ done(.., "/path", Message) ─▶ 303 ─▶ GET
//!                                                      └─▶ Page::refused(template, errors) ─▶ 422, what was typed kept
//! ```
//!
//! Pages and the API are two faces of the same actions: neither calls the other. A refusal ([`crate::http::error::Problem`])
//! becomes a page by itself (`refused.rs`); what our scripts ask for is made of the same pages (`smooth.rs`).
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
//! 3. A row in [`router`] below, one in `tests/browser` (it walks all pages), and its place in `nav.rs` if the menu has it.
//!
//! | needed | is |
//! |---|---|
//! | a time, since when, a countdown, how long ago | `{{ shell.clock.time(at) }}`, `.since(at)`, `.left(until)`, `.ago(at)` (`clock.rs`) |
//! | a mark, a condition, a number | `{{ Mark::DOT }}` as a value, `marks::condition(..)`, `marks::count(..)`, `marks::counted(3, "jail")` |
//! | a field with label, hint, error | `{{ Field::text("ip", "Address").value(typed).hint("..").with(&errors) }}` as a value (`form.rs`) |
//! | errors beside fields | `Errors::one("ip", "203.0.113.300 is not an address.")`, then `Page::refused(page, errors)` |
//! | a message with a way back for 10 minutes | `Message::ok(..).and(..).undo("Ban it again", "/path", &[("ip", ip)], shell.clock.now)` |
//! | a question in place | `<details class="confirm"><summary class="destroy">Unban all…</summary>`: see `account.html` |
//! | the password again, where an action ends with `ConfirmationRequired` | `Err(..::Unconfirmed(_)) => return confirm::ask(visitor, "Save the settings", "/settings", &form)` (`confirm.rs`) |
//! | pages of a list | `{{ paging }}` of a [`paging::Paging`] |
//! | live values | `data-k="KEY"` on an element with nothing but text, `data-row="KEY"` on rows (`smooth.rs`): nothing else is needed |
//! | an empty list | `<div class="empty"><p><b>The state.</b></p><p>Why. What to do.</p></div>` |
//! | fail2ban's words, commands | `<code class="said">`, `<code class="command">` |

mod account;
mod account_sessions;
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
mod diagnosis_rows;
pub mod form;
mod help;
mod jail;
mod jail_asked;
mod jail_bans;
mod jail_bans_list;
mod jail_fields;
mod jail_settings;
mod jail_switches;
mod jail_words;
mod jobs;
mod jobs_rows;
mod login;
pub mod marks;
mod menu_findings;
pub mod message;
pub mod nav;
mod never_ban;
pub mod page;
pub mod paging;
pub mod prefs;
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
pub mod words;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};

use super::api::docs;
use super::state::AppState;

/// All routes of pages.
pub fn router() -> Router<AppState> {
    Router::new()
        // for everybody
        .route("/login", get(login::show).post(login::log_in))
        .route("/setup", get(setup::show).post(setup::complete))
        // for users who are logged in
        .route("/", get(servers::show))
        .route("/suggestions", get(search::suggest))
        .route("/setup/next", get(setup_next::show))
        .route("/setup/never-ban", post(never_ban::never_ban))
        .route("/account", get(account::show))
        .route("/account/password", post(account::change_password))
        .route("/account/theme", post(account::change_theme))
        .route("/account/keys", post(account::change_keys))
        .route("/account/sessions", post(account_sessions::end))
        .route("/activity", get(activity::show))
        .route("/jobs", get(jobs::show))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .route("/cluster", get(cluster::show))
        .route("/diagnosis", get(diagnosis::show))
        .route("/settings", get(settings::show).post(settings::change))
        .route("/confirm", post(confirm::confirm))
        .route("/help", get(help::show))
        .route("/logout", post(login::log_out))
        .route("/addresses/{ip}", get(address::show))
        .route("/addresses/{ip}/unban", post(address_forms::unban))
        .route("/addresses/{ip}/ban", post(address_forms::ban))
        .route("/addresses/{ip}/never-ban", post(address_forms::never_ban))
        .route("/servers/{server}", get(server::show))
        .route("/servers/{server}/jails/{jail}", get(jail::show))
        .route("/servers/{server}/jails/{jail}/switch", post(jail_switches::switch))
        .route("/servers/{server}/jails/{jail}/changes/{id}", get(jail_switches::show))
        .route("/servers/{server}/jails/{jail}/bans", post(jail_bans::ban))
        .route("/servers/{server}/jails/{jail}/unban", post(jail_bans::unban))
        .route("/servers/{server}/jails/{jail}/unban-all", post(jail_bans::unban_everybody))
        .route("/servers/{server}/jails/{jail}/cancel", post(ban_progress::cancel_job))
        .route("/servers/{server}/jails/{jail}/settings", post(jail_settings::change))
        .route("/servers/{server}/jails/{jail}/never-ban", post(jail_settings::never_ban))
        .route("/servers/{server}/recovery", post(recovery::decide))
        .route("/servers/{server}/probe", post(recovery::check_again))
        .route_layer(from_fn(smooth::smooth))
        // what pages load
        .route("/assets/{hash}/{name}", get(assets::show))
        .route("/docs/{file}", get(docs::file))
}
