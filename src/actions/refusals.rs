//! Refusals for the audit: wrong passwords, limits, requests that another site forged.
//!
//! Anybody can cause these, as often as they like. So they have a separate trail, where they displace nothing else, and they
//! are folded: the first ten of a kind from an address in a minute have an entry each, then one entry has the number of the others.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::actor::Actor;
use crate::domain::fold::{Folded, Folds};
use crate::store::{AuditRecord, Trail, Username, WorkerId, address_of, boot_now};

/// A kind of refusal and the network that it came from.
type Source = (&'static str, IpNet);

/// The refusals that were counted and not reported yet. Cheap to clone; all clones share them.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Counted>);

/// Counted separately, so that refusals of strangers cannot turn those of somebody with a session into a mere number.
#[derive(Debug, Default)]
struct Counted {
    strangers: Mutex<Folds<Source>>,
    sessions: Mutex<Folds<Source>>,
    /// Logins that failed and were no refusals: they have a line in the log and no entry.
    failed: Mutex<Folds<Source>>,
}

impl Refusals {
    /// Whether this refusal gets its own audit entry; if not, it is only counted.
    pub(super) fn say(&self, refusal: &Refusal) -> bool {
        let address = refusal.actor.address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let counted = if refusal.actor.session.is_some() { &self.0.sessions } else { &self.0.strangers };
        lock(counted).say((refusal.what, address_of(address)), boot_now())
    }

    /// Whether a login from there that failed, and was not refused, gets its own line in the log.
    pub(super) fn say_failed(&self, address: IpAddr) -> bool {
        lock(&self.0.failed).say(("login.failed", address_of(address)), boot_now())
    }

    /// Entries for what was only counted, in the windows that are over, or in all of them.
    pub(super) fn close(&self, worker: &WorkerId, everything: bool) -> Vec<AuditRecord> {
        drop(lock(&self.0.failed).close(boot_now(), everything));
        let both = [&self.0.strangers, &self.0.sessions];
        let folded = both.into_iter().flat_map(|counted| lock(counted).close(boot_now(), everything));
        let record = |Folded { source, more }: Folded<Source>| {
            let (what, network) = match source {
                Some((what, network)) => (what, Value::String(network.to_string())),
                None => ("request.refused", Value::Null),
            };
            AuditRecord {
                trail: Trail::Refusals,
                username: NOBODY.to_owned(),
                worker: Some(worker.clone()),
                after: json!({ "more": more, "network": network }),
                outcome: format!("{more} more within a minute"),
                ..Actor::operator().record(what)
            }
        };
        folded.map(record).collect()
    }
}

fn lock(counted: &Mutex<Folds<Source>>) -> MutexGuard<'_, Folds<Source>> {
    // No code panics while it holds the lock, so the data is consistent.
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name in the audit for somebody who named no existing account.
pub const NOBODY: &str = "-";

/// What was refused, to whom and why.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// `login.refused` ...
    pub what: &'static str,
    /// Who asked, as far as that is known.
    pub actor: Actor,
    /// The account that was named, if it is a valid name.
    pub account: Option<Username>,
    /// Why, in a few words.
    pub reason: String,
}

impl Refusal {
    pub(super) fn record(self) -> AuditRecord {
        let username = self.account.map_or_else(|| NOBODY.to_owned(), |account| account.as_str().to_owned());
        AuditRecord { trail: Trail::Refusals, username, outcome: self.reason, ..self.actor.record(self.what) }
    }
}
