//! Common passwords and common words, as sorted lists of digests.
//!
//! | list | of | made by |
//! |---|---|---|
//! | `common.bin` | the 10,000 most common passwords among those that are long enough to be taken at all | `.ci/common-passwords` |
//! | `words.bin` | common words, first names and shorter passwords, which are what people put digits and symbols around | `.ci/common-words` |
//!
//! Of the 10,000 most common passwords of any length only 24 have 12 characters or more; a list that is to refuse anything has to
//! look further down (OWASP ASVS 6.2.4: those that match the policy). Both scripts name their source and license. An entry is 40
//! bits of a SHA-256: one password in a hundred million is refused by mistake for each that is looked up.

use sha2::{Digest as _, Sha256};

const ENTRY: usize = 5;
static PASSWORDS: &[u8] = include_bytes!("common.bin");
static WORDS: &[u8] = include_bytes!("words.bin");

/// Whether this password, in lower case and NFC, is one of the most common of its length.
pub fn contains(password: &str) -> bool {
    is_in(PASSWORDS, password)
}

/// Whether this, in lower case and NFC, is a common word, name or password of any length.
pub fn is_word(text: &str) -> bool {
    is_in(WORDS, text) || contains(text)
}

fn is_in(list: &[u8], text: &str) -> bool {
    let digest = Sha256::digest(text);
    let (entries, _) = list.as_chunks::<ENTRY>();
    digest.first_chunk::<ENTRY>().is_some_and(|entry| entries.binary_search(entry).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_whole_sorted_and_without_repeats() {
        for (list, count) in [(PASSWORDS, 10_000), (WORDS, 34_619)] {
            let (entries, rest) = list.as_chunks::<ENTRY>();
            assert_eq!((entries.len(), rest.len()), (count, 0));
            assert!(entries.is_sorted_by(|a, b| a < b));
        }
    }
}
