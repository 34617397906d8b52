//! Ends a part of a running worker from a test: `BANGUI_TEST_END_PARTS` names a folder, and a file in it named as the part, with
//! the word `panic` or `return`, ends that part in this way.
//!
//! Compiled only with `debug_assertions`, which every test build has and no release build can have unless `[profile.release]` in
//! Cargo.toml says so (a test checks that). A cargo feature would be switched on by `--all-features`, and a variable
//! alone by anyone who can set one. A release binary does not know the variable.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

const VARIABLE: &str = "BANGUI_TEST_END_PARTS";
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs the part until it ends or a test ends it.
pub(super) async fn breakable(name: &'static str, part: impl Future<Output = ()>) {
    tokio::select! {
        () = part => {}
        () = ended_by_test(name) => {}
    }
}

async fn ended_by_test(name: &str) {
    let Some(folder) = std::env::var_os(VARIABLE) else { return std::future::pending().await };
    let file = PathBuf::from(folder).join(name);
    loop {
        match std::fs::read_to_string(&file).as_deref() {
            Ok("panic") => panic!("ended by a test"),
            Ok("return") => return,
            _ => sleep(POLL_INTERVAL).await,
        }
    }
}
