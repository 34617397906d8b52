//! A process that cannot outlive `bangui up`, even if that is killed with SIGKILL.
//!
//! `up` starts each child as `bangui child --parent PID -- program args...`. That asks the kernel for a SIGKILL at the
//! parent's death and becomes the program; the request survives an exec. The parent may have died before the request
//! was made: then the process has another parent by now, and ends. Everything here is safe code, where a `pre_exec`
//! hook in the parent would not be.
//!
//! SIGKILL, because a stopped or hung child would not follow anything milder. Redis has handed each acknowledged write
//! to the kernel by then, and fail2ban's database is a journal.
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Becomes `command`; returns only if it cannot.
///
/// # Errors
/// If the parent is gone, or the program cannot be run.
pub fn become_child(parent: i32, command: &[OsString]) -> anyhow::Result<()> {
    let Some((program, arguments)) = command.split_first() else { bail!("there is no program to run") };
    set_parent_process_death_signal(Some(Signal::KILL)).context("the kernel takes no parent-death signal")?;
    let now = getppid().map(|pid| pid.as_raw_nonzero().get());
    if now != Some(parent) {
        bail!("the parent, process {parent}, is gone");
    }
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("{} cannot be run", program.display()))
}
