//! The marks: a shape for each state, which a word always follows. The shapes are in `parts/sprite.html`.

use std::fmt;

use askama::filters::HtmlSafe;

use crate::domain::Condition;

/// A mark, by the id of its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(pub &'static str);

impl Mark {
    /// Up, running, live, done: a dot.
    pub const DOT: Self = Self("dot");
    /// Busy, or waiting.
    pub const CLOCK: Self = Self("clock");
    /// Degraded, missing, at risk.
    pub const TRIANGLE: Self = Self("triangle");
    /// Down, not protected.
    pub const SQUARE: Self = Self("square");
    /// Unreachable.
    pub const BROKEN: Self = Self("broken");
    /// Not checked, or about to come.
    pub const HOLLOW: Self = Self("hollow");
    /// A step to come.
    pub const DOTTED: Self = Self("dotted");
    /// Under way: a ring of three quarters.
    pub const RING: Self = Self("ring");
    /// Off.
    pub const BAR: Self = Self("bar");
    /// Refused.
    pub const CROSS: Self = Self("cross");
    /// Done.
    pub const CHECK: Self = Self("check");
    /// Undone.
    pub const BACK: Self = Self("back");
    /// Banned.
    pub const BARRED: Self = Self("barred");
    /// Never banned.
    pub const SHIELD: Self = Self("shield");
    /// Worth knowing.
    pub const INFO: Self = Self("info");
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<svg class=\"m\" aria-hidden=\"true\"><use href=\"#{}\"/></svg>", self.0)
    }
}

impl HtmlSafe for Mark {}

/// How a condition is shown: its word, its mark, and the class of its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The word, as in the API.
    pub word: &'static str,
    /// The mark.
    pub mark: Mark,
    /// The class of the colour.
    pub colour: &'static str,
}

/// How this condition is shown.
#[must_use]
pub fn condition(condition: Condition) -> Shown {
    let (word, mark, colour) = match condition {
        Condition::Up => ("up", Mark::DOT, "ok"),
        Condition::Busy => ("busy", Mark::CLOCK, "warn"),
        Condition::Degraded => ("degraded", Mark::TRIANGLE, "warn"),
        Condition::Down => ("down", Mark::SQUARE, "bad"),
        Condition::Unreachable => ("unreachable", Mark::BROKEN, "ink"),
        Condition::Unknown => ("not checked yet", Mark::HOLLOW, "muted"),
    };
    Shown { word, mark, colour }
}

/// A number with its thousands separated.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 jail`, `9 jails`, `1,204 bans`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (100_000, "100,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(count(number), text);
        }
        assert_eq!((counted(1, "jail"), counted(0, "jail")), ("1 jail".to_owned(), "0 jails".to_owned()));
    }

    #[test]
    fn every_mark_has_its_shape() {
        let sprite = include_str!("parts/sprite.html");
        let marks = [
            Mark::DOT,
            Mark::CLOCK,
            Mark::TRIANGLE,
            Mark::SQUARE,
            Mark::BROKEN,
            Mark::HOLLOW,
            Mark::DOTTED,
            Mark::RING,
            Mark::BAR,
            Mark::CROSS,
            Mark::CHECK,
            Mark::BACK,
            Mark::BARRED,
            Mark::SHIELD,
            Mark::INFO,
        ];
        for mark in marks {
            assert!(sprite.contains(&format!("id=\"{}\"", mark.0)), "{}", mark.0);
        }
    }
}
