//! Reports, in the access log and in the audit, the refusals that were only counted because they came in floods.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::http::AppState;

/// How often to check which minutes are over.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Reports until `stop`; then reports all that are left.
pub async fn report(state: AppState, stop: CancellationToken) {
    loop {
        let wait = POLL_INTERVAL.mul_f64(rand::rng().random_range(0.9..1.1));
        let stopped = stop.run_until_cancelled(sleep(wait)).await.is_none();
        state.log_folded_refusals(stopped);
        state.note_folded_refusals(stopped).await;
        if stopped {
            return;
        }
    }
}
