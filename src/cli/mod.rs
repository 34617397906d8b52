//! The subcommands, one file each: configuration in, exit code out.
//!
//! A new one needs a row in `config::command::COMMANDS`, a file here, and a line in the dispatch of `main.rs`.

pub mod agent;
pub mod audit;
pub mod check;
pub mod child;
pub mod client;
mod findings;
pub mod healthcheck;
pub mod openapi;
pub mod reset_password;
pub mod serve;
pub mod shell;
pub mod up;

use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

use crate::config::{ConfigErrors, Loaded};
use crate::store::Store;
use crate::telemetry;

/// The result of a subcommand.
pub type Outcome = Result<(), Failure>;

/// Why the process exits with a code other than 0.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is invalid: exit code 2.
    #[error("{0}")]
    Configuration(ConfigErrors),
    /// It may not run with this configuration or this Redis: exit code 2.
    #[error("{0}")]
    Refused(String),
    /// It failed while running: exit code 1.
    #[error("{0:#}")]
    Running(#[from] anyhow::Error),
    /// The failure has been printed already: exit code 1.
    #[error("failed: see the lines above")]
    Quiet,
    /// The server refused, or what was asked for was not done, wholly or partly: exit code 1.
    #[error("{0}")]
    NotDone(String),
    /// There is no session, or it has ended: exit code 3.
    #[error("{0}")]
    NotLoggedIn(String),
    /// The server cannot be reached, or cannot answer now: exit code 4.
    #[error("{0}")]
    Unavailable(String),
}

impl Failure {
    /// What the process exits with. Scripts rely on these: they do not change.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Running(_) | Self::Quiet | Self::NotDone(_) => 1,
            Self::Configuration(_) | Self::Refused(_) => 2,
            Self::NotLoggedIn(_) => 3,
            Self::Unavailable(_) => 4,
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Configuration(errors)
    }
}

/// Starts logging, and logs the warnings about the configuration.
fn started<T>(loaded: Loaded<T>) -> T {
    telemetry::init(loaded.log_format);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    loaded.config
}

/// How long a command waits for Redis.
const REDIS_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until Redis answers.
async fn connected(store: &Store) -> anyhow::Result<()> {
    let end = Instant::now() + REDIS_TIMEOUT;
    while let Err(error) = store.available() {
        if Instant::now() >= end {
            return Err(error)
                .context("failed to connect to Redis (check that it runs, and BANGUI_REDIS_URL)");
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn many_threads() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("failed to start the async runtime")
}

fn one_thread() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("failed to start the async runtime")
}
