//! A process that cannot outlive `bangui up`, even if that is killed with SIGKILL.
//!
//! `up` starts each child as `bangui child --parent PID -- program args...`. That asks the kernel for a SIGKILL at the
//! parent's death, then execs the program; the request survives the exec. If the parent died before the request was
//! made, the process has another parent by then, and exits. All of this is safe code; a `pre_exec` hook in the parent
//! would not be.
//!
//! SIGKILL, because a stopped or hung child would ignore anything milder. By then Redis has handed each acknowledged
//! write to the kernel, and fail2ban's database has a journal.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Replaces this process with `command`; returns only on failure.
///
/// # Errors
/// If the parent is gone, or the program cannot be run.
pub fn become_child(parent: i32, command: &[OsString]) -> anyhow::Result<()> {
    let Some((program, arguments)) = command.split_first() else { bail!("no program was given") };
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("failed to ask the kernel for a signal at the parent's death")?;
    let now = getppid().map(|pid| pid.as_raw_nonzero().get());
    if now != Some(parent) {
        bail!("the parent (process {parent}) has died");
    }
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("failed to run {}", program.display()))
}
