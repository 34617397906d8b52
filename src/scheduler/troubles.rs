//! Which steps of a term have failed, and what was logged about each.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::telemetry::Lasting;

/// The steps that have failed. There are no more than steps and servers.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<String, Lasting>>);

impl Troubles {
    /// A step failed. `Some` if that should be logged: with how long it has failed by now.
    pub fn fails(&self, what: &str, reason: &str) -> Option<Duration> {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.entry(what.to_owned()).or_default().fails(reason)
    }

    /// A step works. `Some` if that should be logged: with how long it has not.
    pub fn ends(&self, what: &str) -> Option<Duration> {
        let troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.get(what).and_then(Lasting::ends)
    }
}
