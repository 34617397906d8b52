//! `bangui up`: runs everything on one machine.

use anyhow::Context as _;

use super::{Outcome, one_thread, started};
use crate::config::{Environment, Flags, roles};
use crate::{shutdown, up};

/// Runs everything until it is stopped.
///
/// # Errors
/// If the configuration is wrong, or something cannot be started.
pub fn run(environment: &Environment, flags: &Flags) -> Outcome {
    let config = started(roles::up(environment, flags)?);
    // The children die with the thread that started them: this one, the process's main thread.
    one_thread()?.block_on(async {
        let shutdown = shutdown::signals().context("failed to listen for signals")?;
        Ok(up::run(config, shutdown).await?)
    })
}
