//! Asks the authority again and again whether the primary in use still is the primary.

use std::sync::Weak;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::authority::Authority;
use super::dialer::Verdict;
use super::shared::{Health, SharedConnection};
use crate::store::StoreError;
use crate::telemetry::Lasting;

/// A few times within the time that a primary is trusted after it was named.
const INTERVAL: Duration = Duration::from_millis(400);

/// Asks until `stop`, or until the store is dropped.
pub(in crate::store) async fn follow(shared: Weak<SharedConnection>, stop: CancellationToken) {
    // The log has the reason, which `/readyz` keeps from strangers; once, until the authority has spoken again.
    let mut complained = false;
    // The other primary may be out of reach for long.
    let superseded = Lasting::new();
    while let Some(this) = shared.upgrade() {
        let Some(authority) = this.dialer.authority() else { return };
        let trusted = this.dialer.trusted().is_ok();
        match this.dialer.ask_authority().await {
            Verdict::Superseded => {
                let reason = another(authority);
                if superseded.fails(reason).is_some() {
                    warn_of_another(authority);
                }
                this.dialer.distrust();
                this.live.store(None);
                this.set_health(Health::Away(reason.to_owned()));
                this.suspect.notify_one();
                complained = true;
            }
            // The watchdog says so at once.
            Verdict::Confirmed if !trusted => this.suspect.notify_one(),
            Verdict::Unknown if trusted && this.dialer.trusted().is_err() => this.suspect.notify_one(),
            Verdict::Confirmed | Verdict::Unknown => {}
        }
        match this.dialer.trusted() {
            Ok(()) => {
                complained = false;
                superseded.ends();
            }
            // Before the first connection there was nothing to lose.
            Err(error) if !complained && this.dialer.named().is_some() => {
                warn_of_silence(authority, &error);
                complained = true;
            }
            Err(_) => {}
        }
        drop(this);
        let wait = INTERVAL.mul_f64(rand::rng().random_range(0.9..1.1));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => {}
        }
    }
}

fn another(authority: &Authority) -> &'static str {
    match authority {
        Authority::Sentinels(_) => "the Sentinels name another primary",
        Authority::Cluster(_) => "the masters of the Redis Cluster name another owner of the slot",
    }
}

fn warn_of_another(authority: &Authority) {
    match authority {
        Authority::Sentinels(_) => tracing::warn!("the Sentinels name another primary: reconnecting"),
        Authority::Cluster(_) => {
            tracing::warn!("the masters of the Redis Cluster name another owner of the slot: reconnecting");
        }
    }
}

fn warn_of_silence(authority: &Authority, error: &StoreError) {
    match authority {
        Authority::Sentinels(_) => {
            tracing::warn!(error = %error, "lost the majority of the Sentinels: retrying, requests are answered 503");
        }
        Authority::Cluster(_) => {
            tracing::warn!(error = %error, "lost the masters of the Redis Cluster: retrying, requests are answered 503");
        }
    }
}
