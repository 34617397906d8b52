//! The 10,000 most common passwords among those that are long enough to be taken at all, as a sorted list of digests.
//!
//! Of the 10,000 most common of any length only 24 have 12 characters or more; a list that is to refuse anything has to look
//! further down (OWASP ASVS 6.2.4: those that match the policy). `common.bin` was made by `.ci/common-passwords`, which names
//! its source and license. An entry is 40 bits of a SHA-256: one password in a hundred million is refused by mistake.

use sha2::{Digest as _, Sha256};

const ENTRY: usize = 5;
static ENTRIES: &[u8] = include_bytes!("common.bin");

/// Whether this password, in lower case and NFC, is one of them.
pub fn contains(password: &str) -> bool {
    let digest = Sha256::digest(password);
    let (entries, _) = ENTRIES.as_chunks::<ENTRY>();
    digest.first_chunk::<ENTRY>().is_some_and(|entry| entries.binary_search(entry).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_sorted_and_without_repeats() {
        let (entries, rest) = ENTRIES.as_chunks::<ENTRY>();
        assert_eq!((entries.len(), rest.len()), (10_000, 0));
        assert!(entries.is_sorted_by(|a, b| a < b));
    }
}
