//! The audit: who changed what, from where, with what outcome; streams of entries, each with a hash that continues the one before.
//!
//! | trail | holds | so that |
//! |---|---|---|
//! | `security` | logins, setup, passwords, sessions, limits | no flood of ordinary changes pushes them out |
//! | `changes`  | every other change | |
//! | `refusals` | what was refused to somebody: wrong passwords, limits, other sites | no stranger pushes anything else out |
//! | `earlier`  | what version 0.2 wrote, or still writes while it runs beside this one | it is shown, and not chained |
//!
//! Entries are kept for `BANGUI_AUDIT_DAYS`, and up to 16 MiB of each trail. Older ones are trimmed when the next entry is written
//! (`scripts/shared/audit.lua`); `chain.rs` reports whether anything else has gone or changed.
//!
//! A change that is made in Redis gets its entry from the script that makes it (`with_audit_keys` and `with_audit`); every other
//! entry is written by [`Store::audit`]. A change on a host has two entries: one that it was begun, written before, and one with
//! the outcome, which names the first. If the second is missing, because the worker died in between or Redis was unavailable, the
//! outcome is not known.
//!
//! Every entry is a line of the log too, with its digest: an attacker who can write to Redis can forge a whole trail, but not the
//! log.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::trail::Trail;
use crate::store::connection::clock::millis;
use crate::store::scripts::{self, Call};
use crate::store::{Result, SessionId, Store, WorkerId, hex};

/// An entry to be written.
#[derive(Debug, Clone)]
pub struct AuditRecord {
    /// Where it belongs.
    pub trail: Trail,
    /// Who did it.
    pub username: String,
    /// In which session; none for the setup, and for a command on the command line.
    pub session: Option<SessionId>,
    /// From which address; none for a command on the command line.
    pub address: Option<IpAddr>,
    /// On which worker; none for a command on the command line.
    pub worker: Option<WorkerId>,
    /// What was done: `settings.change`, `jail.activate` ...
    pub what: &'static str,
    /// What it was done to: a server, a jail, an address; none for what exists only once, such as the settings.
    pub target: Option<String>,
    /// The values before, of what was changed.
    pub before: Value,
    /// The values after.
    pub after: Value,
    /// `done`, [`BEGUN`], or why not.
    pub outcome: String,
    /// The entry that recorded the beginning.
    pub begun: Option<String>,
}

/// The outcome of an entry that only records the beginning.
pub const BEGUN: &str = "begun";

impl AuditRecord {
    /// Fields of an entry.
    const FIELDS: usize = 10;
    /// How many arguments of a script an entry is: how long it is kept, its digest, and a name and a value for each field.
    pub(in crate::store) const ARGUMENTS: usize = 2 + 2 * Self::FIELDS;

    fn fields(&self) -> [(&'static str, String); Self::FIELDS] {
        let text = |value: Option<String>| value.unwrap_or_default();
        [
            ("user", self.username.clone()),
            ("session", text(self.session.as_ref().map(ToString::to_string))),
            ("address", text(self.address.map(|address| address.to_string()))),
            ("worker", text(self.worker.as_ref().map(|worker| worker.as_str().to_owned()))),
            ("begun", text(self.begun.clone())),
            ("what", self.what.to_owned()),
            ("target", self.target.clone().unwrap_or_default()),
            ("before", self.before.to_string()),
            ("after", self.after.to_string()),
            ("outcome", self.outcome.clone()),
        ]
    }

    /// Logs it. Ids of sessions are shortened: enough to find the session by.
    pub(in crate::store) fn log(&self) {
        let fields = self.fields();
        let digest = digest(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let address = self.address.map(tracing::field::display);
        let session = self.session.map(|session| short(&session.to_string()).to_owned());
        let target = self
            .target
            .as_deref()
            .map(|target| if SessionId::parse(target).is_some() { short(target) } else { target });
        let named = target.map(|target| format!(" {target}")).unwrap_or_default();
        tracing::info!(
            audit.trail = self.trail.as_str(),
            audit.what = self.what,
            audit.outcome = self.outcome,
            audit.target = target,
            audit.digest = hex(&digest),
            user.name = self.username,
            session.id = session,
            client.address = address,
            "audit: `{}` {}{named}: {}",
            self.username,
            self.what,
            self.outcome
        );
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// What is hashed of an entry's fields, whatever their order: the lengths and bytes of each name and value, by name.
pub(in crate::store) fn digest<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> [u8; 32] {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_unstable();
    let mut hash = Sha256::new();
    for part in fields.into_iter().flat_map(|(name, value)| [name, value]) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl Store {
    /// Sets how long entries of the audit are kept from now on.
    pub fn keep_audit_for(&self, kept: Duration) {
        self.audit_kept_ms.store(millis(kept), Ordering::Relaxed);
    }

    /// Adds the keys that a script needs to write the entry, at their place among its other keys.
    pub(in crate::store) fn with_audit_keys(&self, call: Call, trail: Trail) -> Call {
        call.key(self.keys.audit(trail)).key(self.keys.audit_chain(trail))
    }

    /// Adds the arguments that a script needs to write the entry.
    pub(in crate::store) fn with_audit(&self, call: Call, record: &AuditRecord) -> Call {
        let fields = record.fields();
        let digest = digest(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let call = call.arg(self.audit_kept_ms.load(Ordering::Relaxed)).arg(&digest[..]);
        fields.into_iter().fold(call, |call, (name, value)| call.arg(name).arg(value))
    }

    /// Writes an entry, and returns its id.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn audit(&self, record: &AuditRecord) -> Result<String> {
        let call = self.with_audit_keys(scripts::AUDIT_WRITE.call(), record.trail);
        let id = self.shared.call(&self.with_audit(call, record)).await?;
        record.log();
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_knows_where_a_field_ends_and_not_in_which_order_they_came() {
        let digest = |fields: &[(&str, &str)]| {
            digest(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
        };
        assert_eq!(digest(&[("a", "1"), ("b", "2")]), digest(&[("b", "2"), ("a", "1")]));
        assert_ne!(digest(&[("a", "1b"), ("c", "2")]), digest(&[("a", "1"), ("bc", "2")]));
        assert_ne!(digest(&[("a", "1")]), digest(&[("a", "1"), ("b", "")]));
    }
}
