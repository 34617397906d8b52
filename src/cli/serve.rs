//! `bangui serve`: runs one worker.

use super::{Failure, Outcome, many_threads, started};
use crate::config::{Environment, Flags, roles};
use crate::worker::{self, ServeError};

/// Runs a worker until it is stopped.
///
/// # Errors
/// If the worker may not run with this configuration, or a part of it fails.
pub fn run(environment: &Environment, flags: &Flags) -> Outcome {
    let config = started(roles::serve(environment, flags)?);
    many_threads()?.block_on(worker::run(config)).map_err(|error| match error {
        ServeError::Refused(reason) => Failure::Refused(reason),
        ServeError::Failed(error) => Failure::Running(error),
    })
}
