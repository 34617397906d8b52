//! A seeded stress test of a host with a real fail2ban: `make chaos-host`, with `CHAOS_SECONDS` and `CHAOS_SEED`.
//!
//! A user changes jails through the API of a real worker: good jails, bad ones, odd ones. Beside it a hostile neighbour
//! edits files, reloads and restarts fail2ban, fills the disk, takes rights away and kills the agent. After every step, each
//! jail that was running and was not switched off is running, or the API's state says why not; in the end nothing is left
//! that is not in force. All of it is private, and no ban reaches a firewall.
//!
//! The seed decides what is done; the timing differs from run to run.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot continue should panic")]

mod host;
mod jails;
mod look;
mod neighbour;
mod run;
#[expect(dead_code, unused_imports, reason = "the integration tests use more of it")]
#[path = "../it/support/mod.rs"]
mod support;
mod tally;
mod user;

use std::os::unix::process::CommandExt as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::FutureExt as _;

use host::{Host, KEEPER};
use run::Run;
use support::Cluster;

/// Set in the process that runs in a separate mount namespace.
const INSIDE: &str = "CHAOS_INSIDE";

fn main() -> ExitCode {
    in_own_namespace();
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("CHAOS_SEED").unwrap_or_else(rand::random);
    let seconds = number("CHAOS_SECONDS").unwrap_or(60);
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(chaos(seed, seconds))
}

/// Starts this program again in a separate mount namespace, so that the small disk goes with the last process, however this one
/// ends. Where that is not allowed, there may be no small disk.
fn in_own_namespace() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let unshare = || {
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--"]);
        command
    };
    if unshare().arg("true").output().is_ok_and(|output| output.status.success()) {
        let error = unshare().arg(std::env::current_exe().unwrap()).env(INSIDE, "1").exec();
        panic!("cannot start again in a namespace: {error}");
    }
}

async fn chaos(seed: u64, seconds: u64) -> ExitCode {
    let mut cluster = Cluster::with_fail2ban(1).jails(&[KEEPER]).set_up().await;
    let client = cluster.client(0).logged_in().await;
    let host = Host::new(cluster.fail2ban.take().unwrap(), cluster.agent.take().unwrap()).await;
    if host.disk.is_none() {
        println!("NOT DONE: the disk is never full, since a small file system cannot be mounted here");
    }
    let host = Arc::new(host);
    let mut manager = tokio::task::JoinSet::new();
    manager.spawn(Arc::clone(&host).manage());
    let mut run = Run::new(host, client, seed);
    if AssertUnwindSafe(run.steps(seconds)).catch_unwind().await.is_err() {
        run.tally.violation(seed, "the run panicked, see above");
    }
    run.tally.print(seed, seconds);
    manager.shutdown().await;
    if run.tally.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
