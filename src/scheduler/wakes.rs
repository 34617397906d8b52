//! The messages that shorten waiting: the lease was given back, a probe was asked for, settings or discovered servers
//! were changed, a ban job was put (which is passed on to the store: they concern every worker, whoever leads).
//!
//! Pub/sub loses messages (while a connection is away, above all), so whoever waits here has a timer too. After each
//! new subscription all are signalled, since something may have been missed.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use rand::RngExt as _;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::store::{Store, Wake};

/// A subscription is idle for hours, and a firewall that forgets it tells nobody: it is made anew this often.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(60);

/// Signals of one worker; each keeps one permit, so that none is missed between two waits.
#[derive(Default)]
pub struct Wakes {
    /// The lease was given back.
    pub released: Notify,
    /// A probe was asked for.
    pub probe_requested: Notify,
}

impl Wakes {
    /// Listens until `stop`, subscribing anew whenever Redis has been away.
    pub async fn listen(&self, store: &Store, stop: &CancellationToken) {
        let listening = async {
            loop {
                if store.ready().await.is_err() {
                    return; // This Redis must not be used: the process is about to end.
                }
                match store.wakes().await {
                    Ok(wakes) => self.forward(wakes, store).await,
                    Err(error) => {
                        tracing::debug!(error = %error, "cannot subscribe to the scheduler's messages")
                    }
                }
                let wait = rand::rng().random_range(100..300);
                sleep(Duration::from_millis(wait)).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = listening => {}
        }
    }

    /// Ends with the subscription, when Redis was away (a link that has swallowed bytes once is not listened to), and
    /// after [`RESUBSCRIBE_AFTER`].
    async fn forward(&self, wakes: impl futures_util::Stream<Item = Wake>, store: &Store) {
        let mut wakes = pin!(wakes);
        self.released.notify_one();
        self.probe_requested.notify_one();
        store.suspect_settings();
        store.suspect_discoveries();
        store.suspect_ban_jobs();
        let end = tokio::time::Instant::now() + RESUBSCRIBE_AFTER;
        loop {
            tokio::select! {
                () = store.outage() => return,
                () = tokio::time::sleep_until(end) => return,
                wake = wakes.next() => match wake {
                    Some(Wake::Released) => self.released.notify_one(),
                    Some(Wake::ProbeRequested) => self.probe_requested.notify_one(),
                    Some(Wake::SettingsChanged) => store.suspect_settings(),
                    Some(Wake::ServersChanged) => store.suspect_discoveries(),
                    Some(Wake::BanJob) => store.suspect_ban_jobs(),
                    None => return,
                }
            }
        }
    }
}
