//! Settings of a jail in words.

use super::words::visible;
use crate::domain::JailSettings;

/// A number of seconds: `10 min`, `1 day`, `permanent`; `not known` without one.
#[must_use]
pub fn lasting(seconds: Option<i64>) -> String {
    let Some(seconds) = seconds else { return "not known".to_owned() };
    if seconds < 0 {
        return "permanent".to_owned();
    }
    let units = [(604_800, "week"), (86_400, "day"), (3_600, "h"), (60, "min"), (1, "s")];
    let (size, unit) =
        units.into_iter().find(|(size, _)| seconds >= *size && seconds % size == 0).unwrap_or((1, "s"));
    let number = seconds / size;
    let plural = if number != 1 && matches!(unit, "week" | "day") { "s" } else { "" };
    format!("{number} {unit}{plural}")
}

/// The numbers among settings.
#[must_use]
pub fn numbers(settings: &JailSettings) -> Vec<(&'static str, i64)> {
    let JailSettings { bantime, findtime, maxretry, ignoreip: _ } = settings;
    let all = [
        ("bantime", bantime.map(i64::from)),
        ("maxretry", maxretry.map(i64::from)),
        ("findtime", findtime.map(i64::from)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The label of the button that sets these back.
#[must_use]
pub fn back_to(before: &[(&str, Option<i64>)]) -> String {
    match before {
        [(name, Some(before))] => format!("Set back to {}", value_in_words(name, *before)),
        [_] => "Set it back".to_owned(),
        _ => "Set all back".to_owned(),
    }
}

/// A setting as part of a sentence.
#[must_use]
pub fn in_words(name: &str, value: i64) -> String {
    let value = value_in_words(name, value);
    match name {
        "bantime" if value == "permanent" => "bans permanently".to_owned(),
        "bantime" => format!("bans for {value}"),
        "findtime" => format!("within {value}"),
        _ => format!("after {value} failure{}", if value == "1" { "" } else { "s" }),
    }
}

fn value_in_words(name: &str, value: i64) -> String {
    match name {
        "maxretry" => value.to_string(),
        _ => lasting(Some(value)),
    }
}

/// What was typed, shortened for a sentence.
#[must_use]
pub fn typed(text: &str) -> String {
    const MAX_TYPED: usize = 80;
    match text.char_indices().nth(MAX_TYPED) {
        None => visible(text).into_owned(),
        Some((end, _)) => format!("{}… ({} characters)", visible(&text[..end]), text.chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_shown_in_the_largest_unit_that_is_exact() {
        for (seconds, words) in [
            (600, "10 min"),
            (86_400, "1 day"),
            (172_800, "2 days"),
            (4_711, "4711 s"),
            (-1, "permanent"),
            (604_800, "1 week"),
            (0, "0 s"),
        ] {
            assert_eq!(lasting(Some(seconds)), words);
        }
        assert_eq!(lasting(None), "not known");
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        assert_eq!(typed("x"), "x");
        assert!(typed(&"ä".repeat(90)).ends_with("… (90 characters)"));
    }
}
