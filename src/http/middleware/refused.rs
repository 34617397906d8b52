//! The lines of the access log about refusals: every 401, 403, 421 and 429 at `info`, with who was refused and why; for clients
//! that are not logged in also every 4xx, 503 and redirect, except those that answer a mere read. Their hang-ups have 300 lines a
//! minute (`accounted.rs`).
//!
//! Strangers can cause them at will: the first ten from an address (an IPv6 /64) in a minute have a line each, the others are counted,
//! and one line has their number when the minute is over.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use ipnet::IpNet;
use tracing::Span;

use crate::domain::fold::Folds;
use crate::store::{address_of, boot_now};

/// The refusals of this worker that were counted and not reported yet. Cheap to clone; all clones share them.
#[derive(Debug, Clone, Default)]
pub struct RefusedLog(Arc<Mutex<Folds<IpNet>>>);

/// One refusal.
pub struct Refused<'a> {
    /// `POST`
    pub method: &'static str,
    /// `/api/v1/session`
    pub route: &'a str,
    /// Where it came from.
    pub address: IpAddr,
    /// The name of the problem.
    pub reason: &'static str,
    /// 401, 403, 421 or 429; of a stranger any other 4xx, or 503.
    pub status: StatusCode,
    /// How long the answer took.
    pub duration_ms: f64,
}

/// Whether an answer with this status belongs here, whoever asked.
pub fn is_refusal(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 421 | 429)
}

impl RefusedLog {
    /// Logs the refusal, or counts it.
    pub fn note(&self, refused: &Refused<'_>, span: &Span) {
        let Refused { method, route, address, reason, status, duration_ms } = refused;
        if !self.admit(*address) {
            return;
        }
        tracing::info!(
            parent: span,
            http.status = status.as_u16(),
            http.refusal = reason,
            client.address = %address,
            duration_ms = duration_ms,
            "{method} {route} from {address} was refused with {}: {reason}", status.as_u16()
        );
    }

    /// Whether a line about this address may be written. If not, it is counted.
    pub fn admit(&self, address: IpAddr) -> bool {
        self.lock().say(address_of(address), boot_now())
    }

    /// Logs what was counted, in the minutes that are over, or in all of them.
    pub fn close(&self, everything: bool) {
        let folded = self.lock().close(boot_now(), everything);
        for folded in folded {
            let more = folded.more;
            match folded.source {
                Some(network) => tracing::info!(
                    client.network = %network, http.refused = more,
                    "{more} more requests from {network} were refused, or came without a session, within a minute"
                ),
                None => tracing::info!(
                    http.refused = more,
                    "{more} more requests from other addresses were refused, or came without a session, within a minute"
                ),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Folds<IpNet>> {
        // No code panics while it holds the lock, so the data is consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
