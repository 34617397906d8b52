//! The heartbeat: what a worker writes about itself, for the list of workers.

use rand::RngExt as _;
use tokio::time::sleep;

use crate::http::Proxies;
use crate::store::cluster::HEARTBEAT_INTERVAL;
use crate::store::{Store, WorkerId, WorkerInfo};

/// Writes the heartbeat at every interval.
pub async fn run(store: Store, worker: WorkerId, proxies: Proxies) {
    let started_at = store.about_now();
    let mut info = WorkerInfo {
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        unnamed_proxy: None,
    };
    loop {
        info.unnamed_proxy = proxies.stranger().map(|peer| peer.to_string());
        if let Err(error) = store.heartbeat(&worker, &info, started_at).await {
            tracing::debug!(error = %error, "failed to write the heartbeat: retrying");
        }
        let wait = HEARTBEAT_INTERVAL.mul_f64(rand::rng().random_range(0.9..1.1));
        sleep(wait).await;
    }
}
