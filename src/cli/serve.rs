//! `bangui serve`: one worker.

use super::{Failure, Outcome, many_threads, started};
use crate::config::{Environment, Flags, roles};
use crate::worker::{self, ServeError};

/// Runs a worker until it is stopped.
///
/// # Errors
/// If it must not run, or a part of it has failed.
pub fn run(environment: &Environment, flags: &Flags) -> Outcome {
    let config = started(roles::serve(environment, flags)?);
    many_threads()?.block_on(worker::run(config)).map_err(|error| match error {
        ServeError::Refused(reason) => Failure::Refused(reason),
        ServeError::Failed(error) => Failure::Running(error),
    })
}
