//! Jails with any name, beside workers that cannot read all of them.
//!
//! Up to version 0.2 a jail's name had only letters, digits and `._-`, and a worker of such a version cannot read an answer with
//! any other name. So a worker declares with a header that it accepts any name, and all others are shown plain names only. Once
//! there are no such workers any more, this file can be removed.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::wire::{Info, JailViews, Jails, Lookups, RolledBack, Status};
use crate::domain::JailName;

/// Declares with [`ANY_NAME`] that the caller accepts jails with any name.
pub(super) const NAMES_HEADER: &str = "x-bangui-names";
pub(super) const ANY_NAME: &str = "any";

/// Which names of jails a caller can read.
pub(super) struct Names {
    any: bool,
}

impl Names {
    /// The answer as this caller can read it.
    pub(super) fn of<T: NamesJails>(&self, mut answer: T) -> T {
        if !self.any {
            answer.keep_plain();
        }
        answer
    }
}

impl<S: Sync> FromRequestParts<S> for Names {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self { any: parts.headers.get(NAMES_HEADER).is_some_and(|value| value == ANY_NAME) })
    }
}

/// An answer that names jails.
pub(super) trait NamesJails {
    /// Removes the jails that a caller without the header could not read.
    fn keep_plain(&mut self);
}

impl NamesJails for Status {
    fn keep_plain(&mut self) {
        if let Self::Up { jails, stalled, .. } = self {
            jails.retain(|jail, _| jail.is_plain());
            stalled.retain(JailName::is_plain);
        }
    }
}

impl NamesJails for Jails {
    fn keep_plain(&mut self) {
        self.jails.retain(|jail| jail.name.is_plain());
    }
}

impl NamesJails for JailViews {
    fn keep_plain(&mut self) {
        self.jails.retain(|jail| jail.name.is_plain());
    }
}

impl NamesJails for Lookups {
    fn keep_plain(&mut self) {
        self.unchanged.retain(JailName::is_plain);
        for lookup in &mut self.results {
            lookup.jails.retain(JailName::is_plain);
            lookup.never_banned.iter_mut().for_each(|entries| entries.retain(|entry| entry.jail.is_plain()));
        }
    }
}

impl NamesJails for RolledBack {
    fn keep_plain(&mut self) {
        self.running.retain(JailName::is_plain);
        self.missing.retain(|jail, _| jail.is_plain());
    }
}

impl NamesJails for Info {
    fn keep_plain(&mut self) {
        self.interrupted_change = self.interrupted_change.take().filter(JailName::is_plain);
    }
}
