//! The proof of leadership that scheduled writes carry.

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
