//! The leader's sign of life: a subscription to the channel of its term, which ends with its process.
//!
//! If the subscription breaks although the leader is healthy, the leader subscribes again within milliseconds, since the watcher
//! considers it gone once two looks in a row find no subscription. If that takes longer (a slow link, a right that was taken away,
//! too many clients), the leader keeps renewing its lease until then: a watcher that sees a renewal between its two looks knows that
//! the leader is alive, and does not take over until it has seen a subscription again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{Instant, sleep};

use super::term::Term;
use crate::domain::succession::{LOOK_INTERVAL, SECOND_LOOK_AFTER};
use crate::store::{Presence, Result, Store};

/// The interval of renewals while there is no subscription: a few come between the watcher's two looks.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(50);
/// How long these renewals continue: by then the watcher has looked twice, and has found the lease renewed.
const RENEWED_FOR: Duration = LOOK_INTERVAL.saturating_add(SECOND_LOOK_AFTER).saturating_mul(2);
/// A subscription that breaks sooner than this is not made again at once: something keeps ending them.
const SHORT_LIVED: Duration = Duration::from_secs(1);
/// The pause before subscribing again: at first, and once the extra renewals have ended.
const RETRY_AFTER_MS: [std::ops::Range<u64>; 2] = [30..60, 500..1000];

/// Subscribes, again and again, until it is aborted with the term.
pub async fn keep(term: Arc<Term>, store: Store) -> Infallible {
    // The old one is dropped only once there is a new one, so that one that merely seems broken leaves no gap.
    let mut presence: Option<Presence> = None;
    let mut missing_since = Instant::now();
    loop {
        match subscribe(&term, &store, missing_since).await {
            Ok(next) => {
                let begun = Instant::now();
                presence.insert(next).lost().await;
                missing_since = Instant::now();
                if begun.elapsed() >= SHORT_LIVED {
                    continue;
                }
            }
            Err(error) => {
                tracing::debug!(error = %error, "failed to subscribe to the leader's channel: retrying");
            }
        }
        let [soon, later] = RETRY_AFTER_MS;
        let wait = if show_life(&term, missing_since) { soon } else { later };
        let wait = rand::rng().random_range(wait);
        sleep(Duration::from_millis(wait)).await;
    }
}

/// Subscribes; until it has succeeded, has the lease renewed.
async fn subscribe(term: &Term, store: &Store, missing_since: Instant) -> Result<Presence> {
    let mut subscribing = std::pin::pin!(store.subscribe_as_leader(&term.fence));
    loop {
        tokio::select! {
            subscribed = &mut subscribing => return subscribed,
            () = sleep(RENEWAL_INTERVAL) => {}
        }
        show_life(term, missing_since);
    }
}

/// Has the lease renewed, unless the watcher must have seen a renewal already; returns whether it did.
fn show_life(term: &Term, missing_since: Instant) -> bool {
    let renews = missing_since.elapsed() < RENEWED_FOR;
    if renews {
        term.renew_at_once();
    }
    renews
}
