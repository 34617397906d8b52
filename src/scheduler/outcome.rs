//! What the outcome of a scheduled step means for the term and for the log.
//!
//! A step that keeps failing is logged once, and rarely after that (`troubles.rs`). That Redis is away or refuses writes is one
//! failure, however many steps it stops: the connection logs it (`store/connection`), so the steps do not.

use super::term::{Term, TermEnd};
use crate::store::{Store, StoreError};

/// A refused write proves that another worker leads: the term is over, whatever this worker assumed.
pub fn on_error(store: &Store, term: &Term, what: &str, error: &StoreError) {
    if matches!(error, StoreError::Fenced) {
        metrics::counter!("bangui_scheduler_fenced_writes_total").increment(1);
        tracing::warn!(
            lease.epoch = term.fence.epoch(),
            what,
            "lost leadership: a scheduled write was refused, another worker leads"
        );
        term.end(TermEnd::Fenced);
        return;
    }
    let is_known = error.refuses_writes() || store.available().is_err();
    let lasts = (!is_known).then(|| term.troubles.fails(what, &error.to_string())).flatten();
    match lasts {
        Some(lasts) => {
            tracing::warn!(what, error = %error, lasts_s = lasts.as_secs(), "scheduled step `{what}` failed");
        }
        None => {
            tracing::debug!(what, error = %error, "scheduled step `{what}` failed: retrying (logged as a warning already, or Redis is the cause)")
        }
    }
}

/// The step works, again maybe.
pub fn on_success(term: &Term, what: &str) {
    if let Some(lasted) = term.troubles.ends(what) {
        tracing::info!(what, lasted_s = lasted.as_secs(), "scheduled step `{what}` works again");
    }
}
