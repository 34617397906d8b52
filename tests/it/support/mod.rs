//! What the tests use: processes, a private Redis, a private fail2ban, a cluster of real workers.

pub mod access;
pub mod agent;
pub mod authenticator;
pub mod balancer;
pub mod broken_fail2ban;
pub mod browser;
pub mod client;
pub mod cluster;
pub mod disk;
pub mod event_stream;
pub mod factors;
pub mod fail2ban;
pub mod failover;
pub mod front;
pub mod names;
pub mod pair;
pub mod people;
pub mod person;
pub mod process;
pub mod provider;
mod provider_lies;
pub mod proxy;
pub mod redis;
pub mod redis_cluster;
pub mod rounds;
pub mod self_test;
pub mod sentinel;
pub mod tls;
pub mod worker;

use std::future::Future;
use std::time::{Duration, Instant};

pub use client::{Answer, Client};
pub use cluster::{Cluster, PASSWORD, SETUP_TOKEN};

/// Long enough for anything that should happen at once, even on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(15);

/// Polls `condition` until it returns something; fails after `deadline` with `what` it waited for.
pub async fn eventually<T, F, Fut>(what: &str, deadline: Duration, mut condition: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(began.elapsed() < deadline, "waited {deadline:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// A builder of HTTP clients for tests.
pub fn http() -> reqwest::ClientBuilder {
    bangui::net::http_client::plain().redirect(reqwest::redirect::Policy::default())
}

/// A private folder, with a path short enough for unix sockets.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bangui-it-").tempdir().unwrap()
}
