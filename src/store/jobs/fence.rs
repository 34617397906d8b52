//! The proof of leadership that scheduled writes carry, and what others see of a term.

/// The proof that a write belongs to a term: `owner|epoch`, compared inside Redis at every scheduled write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    pub(super) text: String,
    pub(super) epoch: u64,
}

impl Fence {
    /// The term's number; every later term has a greater one, by what its worker has seen.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(in crate::store) fn as_str(&self) -> &str {
        &self.text
    }
}

/// What the lease of another worker holds: `owner|epoch`. It proves nothing: no write carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldTerm(pub(super) String);

impl HeldTerm {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The term's number; `None` if a newer version has written it in another form.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.0.split_once('|')?.1.parse().ok()
    }
}
