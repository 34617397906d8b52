//! Reports the refusals that were only counted, since they came in floods, in the access log and in the audit.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::http::AppState;

/// How often it is looked which minutes are over.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Until `stop`; then it reports all that are left.
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
