//! The rules for a new password: long enough, and not one that attackers try first.
//!
//! | refused | because |
//! |---|---|
//! | fewer than 12 characters | short ones can be tried one by one; characters are counted after NFC, so that `é` is one however it was typed |
//! | more than 1,024 bytes | this limits the cost of a hash |
//! | among the 10,000 most common | `common.rs` |
//! | made of the name of the product or of its user | with little else in it |
//! | of one character, or of sequences (`abcdef`, `qwertz`, `987`) | with little else in it |
//! | a common word or password with digits and symbols around it | `decorated.rs`; also with the name of the product or the user added |
//!
//! There is no rule about which characters it must have (NIST SP 800-63B, OWASP ASVS 6.2.5). A password that is typed to log in is
//! not checked, and no password is changed before it is hashed: normalization is only for counting and comparing.

use unicode_normalization::UnicodeNormalization as _;

use super::common;
use super::decorated::is_decorated_word;

/// The minimum number of characters of a password.
pub const MIN_CHARACTERS: usize = 12;
/// The maximum number of bytes of a password.
pub const MAX_BYTES: usize = 1024;

/// Names that are too obvious.
const PRODUCT: [&str; 2] = ["bangui", "fail2ban"];
/// The characters that must remain of a password without the names in it.
const MIN_BESIDE_NAMES: usize = 8;
/// The characters that must remain without its sequences.
const MIN_BESIDE_SEQUENCES: usize = 4;
/// The minimum length of a sequence.
const SEQUENCE: usize = 3;
/// Rows of keys, and the alphabet, that people type along.
const ROWS: [&str; 10] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "!@#$%^&*()",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "qsdfghjklm",
    "zxcvbnm",
    "yxcvbnm",
];

/// Why a new password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// It has too few characters.
    #[error("a password must have {MIN_CHARACTERS} characters or more, this one has {has}")]
    TooShort {
        /// How many it has.
        has: usize,
    },
    /// It has too many bytes.
    #[error("a password may have {MAX_BYTES} bytes at most, this one has {has}")]
    TooLong {
        /// How many it has.
        has: usize,
    },
    /// It is among those that are tried first.
    #[error("this is one of the 10,000 most common passwords, which attackers try first")]
    Common,
    /// It is made of names that anybody can guess.
    #[error("a password must not be made of the name of the user or of the product")]
    Names,
    /// It is made of one character or of sequences.
    #[error("a password must not be made of one character or of sequences such as abcd, 1234 or qwerty")]
    Sequences,
    /// It is a common word, decorated.
    #[error(
        "this is a common word or password with digits or symbols around it or in place of letters: attackers try those first"
    )]
    DecoratedWord,
    /// It is the current password.
    #[error("the new password is the current one")]
    Unchanged,
}

impl WeakPassword {
    /// Whether its length is the reason.
    #[must_use]
    pub fn is_length(self) -> bool {
        matches!(self, Self::TooShort { .. } | Self::TooLong { .. })
    }
}

/// Checks a new password of this user.
///
/// # Errors
/// [`WeakPassword`], with the first reason in the order of the table above.
pub fn check(password: &str, username: &str) -> Result<(), WeakPassword> {
    let bytes = password.len();
    if bytes > MAX_BYTES {
        return Err(WeakPassword::TooLong { has: bytes });
    }
    let characters = password.nfc().count();
    if characters < MIN_CHARACTERS {
        return Err(WeakPassword::TooShort { has: characters });
    }
    let lower: String = password.nfc().collect::<String>().to_lowercase();
    if common::contains(&lower) {
        return Err(WeakPassword::Common);
    }
    let left = without_names(&lower, username);
    if left.len() != lower.len() && (left.chars().count() < MIN_BESIDE_NAMES || is_sequences(&left)) {
        return Err(WeakPassword::Names);
    }
    if is_sequences(&lower) {
        return Err(WeakPassword::Sequences);
    }
    if is_decorated_word(&lower) || is_decorated_word(&left) {
        return Err(WeakPassword::DecoratedWord);
    }
    Ok(())
}

fn without_names(lower: &str, username: &str) -> String {
    let username = username.to_lowercase();
    let names = PRODUCT.into_iter().chain([username.as_str()]).filter(|name| !name.is_empty());
    names.fold(lower.to_owned(), |left, name| left.replace(name, ""))
}

/// Whether nearly all of it consists of sequences, or of runs of the same character.
fn is_sequences(lower: &str) -> bool {
    let characters: Vec<char> = lower.chars().collect();
    let (mut at, mut beside) = (0, 0);
    while at < characters.len() {
        let run = run_at(&characters[at..]);
        if run < SEQUENCE {
            beside += 1;
            at += 1;
        } else {
            at += run;
        }
    }
    beside < MIN_BESIDE_SEQUENCES
}

/// The length of the sequence that begins at the first character.
fn run_at(characters: &[char]) -> usize {
    let longest = |follows: &dyn Fn(char, char) -> bool| {
        1 + characters.windows(2).take_while(|pair| follows(pair[0], pair[1])).count()
    };
    let along = |row: &'static str| {
        let next = move |a: char, b: char| row.chars().zip(row.chars().skip(1)).any(|pair| pair == (a, b));
        longest(&next).max(longest(&|a, b| next(b, a)))
    };
    ROWS.into_iter().map(along).fold(longest(&|a, b| a == b), usize::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(password: &str) -> Option<WeakPassword> {
        check(password, "admin").err()
    }

    #[test]
    fn nobody_takes_a_password_of_fewer_than_12_characters_however_many_bytes_they_are() {
        assert_eq!(refused("tr0ub4dor&3"), Some(WeakPassword::TooShort { has: 11 }));
        assert_eq!(refused("tr0ub4dor&3x"), None);
        assert_eq!(refused("äöüßéèêàáâñ"), Some(WeakPassword::TooShort { has: 11 }));
        assert_eq!(refused("äöüßéèêàáâñ☂"), None);
        // Twelve letters with an accent each, typed as two characters: still twelve.
        let decomposed = "e\u{301}a\u{301}o\u{301}u\u{301}i\u{301}e\u{300}";
        assert_eq!(refused(decomposed), Some(WeakPassword::TooShort { has: 6 }));
        let long = "correct horse ".repeat(80);
        assert_eq!(refused(&long), Some(WeakPassword::TooLong { has: 1120 }));
        assert_eq!(refused(&long[..1024]), None);
    }

    #[test]
    fn nobody_takes_a_password_that_is_tried_first() {
        for common in ["1qaz2wsx3edc", "Mailcreated5240", "MOTHERFUCKER", "leavemealone", "websolutions"] {
            assert_eq!(refused(common), Some(WeakPassword::Common), "{common}");
        }
    }

    #[test]
    fn nobody_takes_a_password_made_of_their_own_name_or_the_products() {
        for own in ["banguibangui", "Bangui-admin-1", "admin@fail2ban", "bangui12345678", "ADMINadminADMIN"] {
            assert_eq!(refused(own), Some(WeakPassword::Names), "{own}");
        }
        assert_eq!(check("kvistgaard-2031", "kvistgaard"), Err(WeakPassword::Names));
        assert_eq!(check("kvistgaard-2031", "admin"), Ok(()));
        assert_eq!(refused("bangui on the river oubangui"), None);
    }

    #[test]
    fn nobody_takes_one_character_or_a_sequence() {
        for sequence in [
            "xxxxxxxxxxxxx",
            "::::::::::::",
            "abcdefghijklmn",
            "mnopqrstuvwx!",
            "987654321098",
            "abcabcabcabcabc",
            "asdfghjklqwertz",
            "aaaabbbbcccc",
            "123456!@#$%^",
        ] {
            assert_eq!(refused(sequence), Some(WeakPassword::Sequences), "{sequence}");
        }
        for fine in ["correct horse battery staple", "a-password-of-the-walk", "7f3a9c21e8b04d56"] {
            assert_eq!(refused(fine), None, "{fine}");
        }
    }

    #[test]
    fn nobody_takes_a_common_word_with_digits_or_symbols_around_it() {
        for decorated in [
            "Password123456",
            "welcome12345",
            "P@$$w0rd-2031",
            "rosalind-2031",
            "Bangui-Password-1",
            "admin.secret.77",
        ] {
            assert_eq!(refused(decorated), Some(WeakPassword::DecoratedWord), "{decorated}");
        }
        for fine in ["Password of the river 12", "welcome12345 hippo", "kvistgaard-2031"] {
            assert_eq!(refused(fine), None, "{fine}");
        }
    }
}
