//! The form of the settings: turns what was typed into a patch.

use serde_json::{Map, Value};

use super::form::{Errors, Form};
use crate::settings::{Effective, Shape, shapes};

/// The maximum length of a typed value that an error repeats.
const REPEATED: usize = 40;

/// The changes that the form makes to the settings in force; or the errors, for fields that cannot be parsed.
pub fn patch(form: &Form, effective: &Effective) -> Result<Map<String, Value>, Errors> {
    let (mut patch, mut errors) = (Map::new(), Errors::default());
    for ((name, shape), (_, now, _)) in shapes().zip(effective.shown()) {
        if form.all("back").any(|back| back == name) {
            patch.insert(name.to_owned(), Value::Null);
        } else if form.has(name) {
            let typed = form.text(name);
            match read(shape, typed) {
                Some(value) if value == now => {}
                Some(value) => match shape.check(&value) {
                    Ok(()) => drop(patch.insert(name.to_owned(), value)),
                    Err(allowed) => errors.add(name, wrong(typed, &allowed)),
                },
                None => errors.add(name, wrong(typed, allowed(shape))),
            }
        }
    }
    if errors.is_empty() { Ok(patch) } else { Err(errors) }
}

/// The mistakes that the settings themselves refuse, each at its field.
pub fn mistakes(form: &Form, mistakes: &[crate::settings::Mistake]) -> Errors {
    let mut errors = Errors::default();
    for mistake in mistakes {
        let name = shapes().map(|(name, _)| name).find(|name| *name == mistake.name).unwrap_or_default();
        errors.add(name, wrong(form.text(name), &mistake.allowed));
    }
    errors
}

/// A value as it is typed.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn read(shape: &Shape, typed: &str) -> Option<Value> {
    let digits = !typed.is_empty() && typed.bytes().all(|letter| letter.is_ascii_digit());
    match shape {
        Shape::Seconds(_) if digits => typed.parse::<u64>().ok().map(Value::from),
        Shape::Seconds(_) => None,
        Shape::Switch => typed.parse::<bool>().ok().map(Value::from),
        Shape::Rate | Shape::Roles => Some(typed.into()),
    }
}

/// What a field of this shape accepts.
#[must_use]
pub fn allowed(shape: &Shape) -> &'static str {
    match shape {
        Shape::Seconds(_) => "must be a whole number of seconds, such as 1800",
        Shape::Switch => "must be on or off",
        Shape::Rate => "must be attempts and seconds, such as 10/60",
        Shape::Roles => "must be roles separated by commas, such as operator,admin",
    }
}

fn wrong(typed: &str, allowed: &str) -> String {
    let typed = match typed.char_indices().nth(REPEATED) {
        Some((end, _)) => format!("“{}…”", &typed[..end]),
        None if typed.is_empty() => "It".to_owned(),
        None => format!("“{typed}”"),
    };
    format!("{typed} {}.", allowed.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_seconds_and_an_error_repeats_no_more_than_the_beginning() {
        let seconds = Shape::Seconds(1..=10);
        assert_eq!(read(&seconds, "7"), Some(7.into()));
        for typed in ["", "+7", "7.0", "-1", "٧", "99999999999999999999999", "7\u{202e}"] {
            assert_eq!(read(&seconds, typed), None, "{typed}");
        }
        assert_eq!((read(&Shape::Switch, "true"), read(&Shape::Switch, "on")), (Some(true.into()), None));
        let long = wrong(&"ä".repeat(100), allowed(&seconds));
        assert!(long.starts_with(&format!("“{}…” must", "ä".repeat(REPEATED))), "{long}");
        assert_eq!(wrong("", "must be so."), "It must be so.");
    }
}
