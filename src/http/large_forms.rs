//! Forms of those who may be strangers. Before a session is known nobody sends more than [`STRANGERS_BODY`], with two exceptions: a
//! form whose session has ended while it was filled in is kept over the login (`pages/keep_form.rs`), whatever it is about; and
//! what is too long in a field of the login or the setup is refused beside that field. The worker has a few places for these, so
//! that strangers can make it hold only a fixed amount more.

use axum::http::{HeaderMap, header};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::extract::{BODY_LIMIT, STRANGERS_BODY};

/// How many larger forms are held at once.
const LARGE_FORMS: usize = 32;
/// What all of them may need: each while it arrives in a buffer that doubles, and its fields.
pub const LARGE_FORM_BYTES: usize = LARGE_FORMS * 3 * BODY_LIMIT;

static PLACES: Semaphore = Semaphore::const_new(LARGE_FORMS);

/// The right to hold such a form; given back when it is dropped.
pub struct FormPlace {
    large: Option<SemaphorePermit<'static>>,
}

impl FormPlace {
    /// A place for the body that these headers announce; none if all are taken. One whose length is not announced may be as large as
    /// any stranger's: see [`Self::limit`].
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        if length(headers).is_none_or(|length| length <= STRANGERS_BODY) {
            return Some(Self { large: None });
        }
        PLACES.try_acquire().ok().map(|place| Self { large: Some(place) })
    }

    /// How much may be read of the body.
    #[must_use]
    pub fn limit(&self) -> usize {
        if self.large.is_some() { BODY_LIMIT } else { STRANGERS_BODY }
    }
}

/// The announced length of a body.
#[must_use]
pub fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_forms_always_have_a_place_and_large_ones_only_a_few() {
        let of =
            |length: usize| FormPlace::of(&[(header::CONTENT_LENGTH, length.into())].into_iter().collect());
        let large: Vec<_> = std::iter::from_fn(|| of(STRANGERS_BODY + 1)).take(2 * LARGE_FORMS).collect();
        assert_eq!((large.len(), large[0].limit()), (LARGE_FORMS, BODY_LIMIT));
        let small = [of(STRANGERS_BODY), FormPlace::of(&HeaderMap::new())];
        assert!(
            small.iter().all(|place| place.as_ref().is_some_and(|place| place.limit() == STRANGERS_BODY))
        );
        drop(large);
        assert!(of(BODY_LIMIT).is_some());
    }
}
