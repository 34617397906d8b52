//! The settings of a jail as fields, and as they were typed.

use super::form::{Errors, Field, Form};
use super::jail_asked::Typed;
use super::jail_words::{lasting, typed as shortened};
use crate::agent::client::JailView;
use crate::domain::{BanTime, FindTime, JailSettings, MaxRetry};

/// The fields of the form, each with the value that the jail has.
pub struct Settings {
    /// Field, value of the jail, as the form names that, and the value in words.
    pub fields: Vec<(Field, &'static str, String)>,
}

const NAMES: [(&str, &str, &str); 3] = [
    ("bantime", "Ban for, in seconds", "was_bantime"),
    ("maxretry", "After failures", "was_maxretry"),
    ("findtime", "Within, in seconds", "was_findtime"),
];

/// A setting that is to be changed: its name, its new value, and the value before.
pub type Changed = (&'static str, String, String);

/// The fields of a jail.
#[must_use]
pub fn settings(view: Option<&JailView>, typed: &Typed) -> Settings {
    let fields = NAMES.iter().map(|(name, label, was)| {
        let value = view.and_then(|view| match *name {
            "bantime" => view.bantime,
            "findtime" => view.findtime,
            _ => view.maxretry,
        });
        let now = value.map(|value| value.to_string()).unwrap_or_default();
        let hint = match *name {
            "maxretry" => String::new(),
            "bantime" => format!("{} now; -1 is permanent", lasting(value)),
            _ => format!("{} now", lasting(value)),
        };
        let field = Field::text(name, *label)
            .value(typed.get(name).unwrap_or(&now))
            .hint(hint)
            .with(&typed.errors)
            .attribute("inputmode", "numeric")
            .attribute("autocomplete", "off");
        (field, *was, now)
    });
    Settings { fields: fields.collect() }
}

/// What a form wants to be set, each with the value before as the form had it; what is as before is left out.
///
/// # Errors
/// A sentence beside each field that is wrong.
pub fn wanted(form: &Form) -> Result<(JailSettings, Vec<Changed>), Errors> {
    let (mut settings, mut changed, mut errors) = (JailSettings::default(), Vec::new(), Errors::default());
    for (name, _, was) in NAMES {
        let (text, before) = (form.text(name), form.text(was));
        if text == before || text.is_empty() && before.is_empty() {
            continue;
        }
        let Ok(number) = text.parse::<i64>() else {
            errors.add(name, format!("“{}” is not a whole number.", shortened(text)));
            continue;
        };
        let refused = match name {
            "bantime" => BanTime::try_from(number).map(|value| settings.bantime = Some(value)),
            "findtime" => FindTime::try_from(number).map(|value| settings.findtime = Some(value)),
            _ => MaxRetry::try_from(number).map(|value| settings.maxretry = Some(value)),
        };
        match refused {
            Ok(()) => changed.push((name, number.to_string(), before.to_owned())),
            Err(error) => errors.add(name, super::words::sentence(&error.to_string())),
        }
    }
    if errors.is_empty() { Ok((settings, changed)) } else { Err(errors) }
}
