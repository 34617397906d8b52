//! `bangui healthcheck`: one request, one line, one exit code. For container health checks, so it needs nothing but
//! the binary.

use super::{Outcome, one_thread, started};
use crate::config::{Environment, Flags, roles};
use crate::net::readiness;

/// Asks `url`, or the worker that this configuration describes, and prints the answer.
///
/// # Errors
/// If the configuration is wrong, or the worker is not ready.
pub fn run(environment: &Environment, flags: &Flags, url: Option<&str>) -> Outcome {
    let listen = started(roles::healthcheck(environment, flags)?);
    println!("{}", one_thread()?.block_on(readiness::ask(url, listen))?);
    Ok(())
}
