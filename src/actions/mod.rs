//! Use cases: what a user can do, the same for every caller (the API, a page, a job, the command line).
//!
//! ```text
//! API, page ─▶ names parsed, session checked ─▶ action(&Context, Actor, ...) ─▶ typed outcome or error ─▶ JSON, HTML
//! ```
//!
//! One file per use case. An action
//!
//! * takes an [`Actor`], unless it only reads, and the parts of a [`Context`], and knows nothing of HTTP;
//! * returns the outcome, or its own error type that keeps the cause; the caller words the text for users (`http/error/`);
//! * writes the audit: nothing else does. A change in Redis has its entry in the same script, a change on a host has
//!   one before and one after (`host_change.rs`);
//! * runs to completion once it has begun to change something, even if the caller has gone ([`InFlight::complete`]).
//!
//! A new action needs a file here, its errors in the file of their subject in `http/error/`, and a row in `tests/it/hang_ups.rs`.

pub mod actor;
pub mod api_tokens;
pub mod ask_agents;
pub mod attempt;
pub mod ban;
pub mod ban_batches;
pub mod ban_jobs;
pub mod change_jail;
pub mod change_password;
pub mod change_settings;
pub mod confirm_session;
pub mod diagnose;
pub mod dismiss_recovery;
pub mod finish_login;
mod follow_change;
mod host_change;
pub mod in_flight;
pub mod inspections;
pub mod invite_users;
pub mod log_in;
pub mod log_in_with_passkey;
pub mod log_in_with_provider;
pub mod log_out;
pub mod log_out_at_provider;
pub mod look_up;
pub mod manage_users;
mod open_session;
pub mod passkeys;
mod provider_account;
pub mod reach;
pub mod refusals;
pub mod relying_party;
pub mod request_probe;
pub mod revoke_sessions;
pub mod roll_back;
pub mod second_factor;
pub mod set_up;
pub mod set_up_at_login;
mod settings_seen;
pub mod switch_jail;
pub mod target;
pub mod unban_all;
pub mod undo;
mod until_finished;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::agent::client::fleet::Fleet;
use crate::config::PasswordLogin;
use crate::domain::access::Role;
use crate::domain::undo::{UndoId, Undoable};
use crate::password::PasswordGate;
use crate::provider::Provider;
use crate::settings::Live;
use crate::store::{AuditRecord, LoginLimits, SessionLife, Store, StoreError, WorkerId};

pub use actor::Actor;
pub use in_flight::InFlight;
pub use refusals::{Refusal, Refusals};
pub use relying_party::Passkeys;
pub use target::{JailTarget, ServerTarget, UnknownTarget};

/// The parts of a worker that actions use. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Everything the cluster remembers.
    pub store: Store,
    /// The fail2ban servers, each with its agent.
    pub agents: Fleet,
    /// This worker.
    pub worker: WorkerId,
    /// The settings in force.
    pub settings: Live,
    /// The only place where passwords are hashed.
    pub gate: PasswordGate,
    /// The provider of single sign-on.
    pub provider: Option<Provider>,
    /// Who may log in with a password.
    pub password_login: PasswordLogin,
    /// `BANGUI_SETUP_TOKEN`; without it the cluster's one-time code is valid.
    pub setup_token: Option<SecretString>,
    /// Whether `BANGUI_ADMIN_PASSWORD` provisions the admin: then setup is always complete.
    pub admin_is_provisioned: bool,
    /// Peers whose `X-Forwarded-*` headers are trusted; never banned without force.
    pub trusted_proxies: Vec<IpNet>,
    /// The running actions.
    pub in_flight: InFlight,
    /// The refusals that are only counted.
    pub refusals: Refusals,
    /// For whom passkeys are.
    pub passkeys: Passkeys,
}

impl Context {
    /// How long sessions live, by the settings in force.
    #[must_use]
    pub fn session_life(&self) -> SessionLife {
        let now = self.settings.now();
        SessionLife { idle: now.settings.session_idle, absolute: now.settings.session_absolute }
    }

    /// How many passwords may be tried, by the settings in force.
    #[must_use]
    pub fn login_limits(&self) -> LoginLimits {
        let now = self.settings.now();
        LoginLimits { attempts: now.settings.login_limit, failures: now.settings.login_failure_limit }
    }

    /// Whether accounts with this role need a second factor, by the settings in force.
    #[must_use]
    pub fn needs_second_factor(&self, role: Role) -> bool {
        self.settings.now().settings.second_factor_roles.contains(&role)
    }

    /// Runs a change to completion even if the caller stops waiting; see [`InFlight::complete`].
    pub(crate) fn complete<T: Send + 'static>(
        &self,
        action: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        self.in_flight.complete(action)
    }

    /// Writes an audit entry for a change that is already made, and returns its place. An entry that cannot be written is logged instead.
    async fn note(&self, record: &AuditRecord) -> Option<String> {
        match self.store.audit(record).await {
            Ok(id) => Some(format!("{}/{id}", record.trail.as_str())),
            Err(error) => {
                tracing::error!(error = %error, ?record, "failed to write the audit entry");
                None
            }
        }
    }

    /// Saves how to undo a change that has this entry in the audit.
    async fn keep_undo(&self, id: &UndoId, done: &Undoable, entry: &str) {
        if let Err(error) = self.store.keep_undo(id, done, entry).await {
            tracing::warn!(error = %error, "failed to save the undo of a change: bangui cannot undo it");
        }
    }

    /// Writes an audit entry for a refusal, unless there were so many that it is only counted.
    pub async fn note_refusal(&self, refusal: Refusal) {
        if self.refusals.say(&refusal) {
            self.note(&refusal.record()).await;
        }
    }

    /// Writes audit entries for refusals that were only counted, in the minutes that are over, or in all of them.
    pub async fn note_folded_refusals(&self, everything: bool) {
        for record in self.refusals.close(&self.worker, everything) {
            self.note(&record).await;
        }
    }

    /// Adds an audit entry for a change that the replicas did not confirm: the script's own entry says `done`.
    async fn note_unconfirmed<T>(
        &self,
        record: AuditRecord,
        done: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Err(error @ StoreError::Unconfirmed { .. }) = &done {
            self.note(&AuditRecord { outcome: error.to_string(), ..record }).await;
        }
        done
    }
}
