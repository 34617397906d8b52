//! What an error of a scheduled step means for the term.

use super::term::{Term, TermEnd};
use crate::store::StoreError;

/// A refused write proves that another worker leads: the term is over, whatever this worker assumed.
pub fn on_error(term: &Term, what: &str, error: &StoreError) {
    if matches!(error, StoreError::Fenced) {
        metrics::counter!("bangui_scheduler_fenced_writes_total").increment(1);
        tracing::warn!(
            lease.epoch = term.fence.epoch(),
            what,
            "lost leadership: a scheduled write was refused, another worker leads"
        );
        term.end(TermEnd::Fenced);
    } else {
        tracing::warn!(what, error = %error, "scheduled step `{what}` failed");
    }
}
