//! `bangui child` (hidden): a process that `up` starts and that must not outlive it.

use std::ffi::OsString;

use clap::ArgMatches;

use super::Outcome;
use crate::config::command;
use crate::up;

/// Replaces this process with the program in the arguments.
///
/// # Errors
/// If the program cannot be run.
pub fn run(arguments: &ArgMatches) -> Outcome {
    let parent = arguments.get_one::<i32>(command::CHILD_PARENT).copied().unwrap_or_default();
    let program: Vec<OsString> =
        arguments.get_many::<OsString>(command::CHILD_COMMAND).into_iter().flatten().cloned().collect();
    Ok(up::child::become_child(parent, &program)?)
}
