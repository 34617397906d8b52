//! Whether a password is only a decorated common word: with digits and symbols around it, in capitals, with `@` for `a`.
//!
//! People who guess passwords try a list of words, each with such decorations: `P@ssw0rd-2031` costs them hardly more than
//! `password`. The text without the decoration decides: a long phrase that contains a common word is not refused, since more than
//! the word is left of it.

use super::common;

/// The maximum length of a word, or of a word that is repeated.
const MAX_WORD: usize = 48;
/// The maximum number of decorations on either side that may belong to the word: `$` in `$ecret`, the digits in `1q2w3e`.
const MAX_AT_EDGE: usize = 8;

/// Whether `lower`, in lower case and NFC, is a common word, once or repeated, without other letters around it.
pub fn is_decorated_word(lower: &str) -> bool {
    let characters: Vec<char> = lower.chars().collect();
    let is_letter = |c: &char| c.is_alphabetic();
    let (Some(first), Some(last)) =
        (characters.iter().position(is_letter), characters.iter().rposition(is_letter))
    else {
        return false;
    };
    if last - first >= MAX_WORD {
        return false;
    }
    let starts = first.saturating_sub(MAX_AT_EDGE)..=first;
    let ends = last..=(last + MAX_AT_EDGE).min(characters.len() - 1);
    starts.into_iter().any(|start| ends.clone().any(|end| is_common(&characters[start..=end])))
}

/// Whether this is a common word as it is written, or with the letters that its digits and symbols stand for.
fn is_common(written: &[char]) -> bool {
    let one_is = |letter: char| {
        let read = |c: &char| if c.is_alphabetic() { Some(*c) } else { stands_for(*c, letter) };
        written.iter().filter_map(read).collect::<Vec<char>>()
    };
    [written.to_vec(), one_is('i'), one_is('l')].iter().any(|word| common::is_word(&once(word)))
}

/// The letter that this character often stands for (1 for either of two); none for a mere separator.
fn stands_for(c: char, one: char) -> Option<char> {
    Some(match c {
        '@' | '4' => 'a',
        '3' => 'e',
        '1' | '!' | '|' => one,
        '0' => 'o',
        '$' | '5' => 's',
        '7' | '+' => 't',
        digit if digit.is_numeric() => digit,
        _ => return None,
    })
}

/// The part that a word repeats, or the word itself.
fn once(word: &[char]) -> String {
    let repeats = |length: &usize| {
        word.len().is_multiple_of(*length) && word.windows(length + 1).all(|w| w[0] == w[*length])
    };
    let length = (1..word.len()).find(repeats).unwrap_or(word.len());
    word[..length].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_whatever_is_put_around_it() {
        for decorated in [
            "password123456",
            "welcome12345",
            "123456welcome",
            "!!2031welcome2031!!",
            "p@ssw0rd-2031",
            "$ecret1234567",
            "we1come-we1come",
            "mi11i0n.......",
            "l3tm31n!!!!!!",
            "1q2w3e4r-2031",
            "let me in 2031",
            "w.e.l.c.o.m.e.!",
            "dragondragon1",
            "leavemealone99",
            "michelle201520",
        ] {
            assert!(is_decorated_word(decorated), "{decorated}");
        }
    }

    #[test]
    fn a_phrase_or_a_random_password_is_more_than_the_word_in_it() {
        for fine in [
            "correct horse battery staple",
            "my password is long",
            "welcome to the jungle 99",
            "welcomexq12345",
            "xwelcome123456",
            "7f3a9c21e8b04d56",
            "x8#kq2!9vlp1",
            "1234567890!?",
            "",
        ] {
            assert!(!is_decorated_word(fine), "{fine}");
        }
        let long = format!("{}welcome", "ab ".repeat(300));
        assert!(!is_decorated_word(&long));
    }
}
