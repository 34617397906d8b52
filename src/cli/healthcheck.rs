//! `bangui healthcheck`: one request, one line, one exit code. For health checks in containers that have no curl.

use super::{Outcome, one_thread, started};
use crate::config::{Environment, Flags, roles};
use crate::net::readiness;

/// Requests `url`, or `/readyz` of the worker with this configuration, and prints the answer.
///
/// # Errors
/// If the configuration is invalid, or the worker is not ready.
pub fn run(environment: &Environment, flags: &Flags, url: Option<&str>) -> Outcome {
    let listen = started(roles::healthcheck(environment, flags)?);
    println!("{}", one_thread()?.block_on(readiness::ask(url, listen))?);
    Ok(())
}
