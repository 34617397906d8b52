//! Ends a part of a running worker from a test: `BANGUI_TEST_END_PARTS` names a folder, and a file in it named as the part, with
//! the word `panic` or `return`, ends that part in this way.
//!
//! Compiled only with `debug_assertions`, which every test build has and no release build can have unless `[profile.release]` in
//! Cargo.toml says so (a test looks). A cargo feature would be within reach of whoever packages with `--all-features`; a
//! variable alone within reach of whoever can set one. To a release binary this is just a variable that it does not know.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

const VARIABLE: &str = "BANGUI_TEST_END_PARTS";
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The part, until it ends or a test ends it.
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
            _ => sleep(LOOK_INTERVAL).await,
        }
    }
}
