//! `bangui agent`: runs the agent, beside fail2ban.

use anyhow::Context as _;

use super::{Outcome, many_threads, started};
use crate::config::{Environment, Flags, roles};
use crate::{agent, shutdown};

/// Runs the agent until it is stopped.
///
/// # Errors
/// If the configuration is wrong, or the agent cannot listen.
pub fn run(environment: &Environment, flags: &Flags) -> Outcome {
    let config = started(roles::agent(environment, flags)?);
    many_threads()?.block_on(async {
        let shutdown = shutdown::signals().context("failed to listen for signals")?;
        Ok(agent::server::run(config, shutdown.soft).await?)
    })
}
