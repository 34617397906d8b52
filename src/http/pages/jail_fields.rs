//! The settings of a jail as fields of a form, and read back from the form.

use super::form::{Errors, Field, Form};
use super::jail_asked::Typed;
use super::jail_words::{lasting, typed as shortened};
use crate::agent::client::{FileSettings, JailView};
use crate::domain::{BanTime, FindTime, JailSettings, MaxRetry};

/// The fields of the form, each with the value that the jail has.
pub struct Settings {
    /// Each field, the name of the hidden field with the jail's present value, and that value.
    pub fields: Vec<(Field, &'static str, String)>,
    /// The same for those who may not change them: each label, and the present value.
    pub shown: Vec<(&'static str, String)>,
}

const NAMES: [(&str, &str, &str); 3] = [
    ("bantime", "Ban time (bantime), in seconds", "was_bantime"),
    ("maxretry", "Failures before a ban (maxretry)", "was_maxretry"),
    ("findtime", "Failures count for (findtime), in seconds", "was_findtime"),
];

/// A setting to change: its name, its new value, and the value before.
pub type Changed = (&'static str, String, String);

/// The fields of a jail.
#[must_use]
pub fn settings(view: Option<&JailView>, typed: &Typed) -> Settings {
    let files = view.filter(|view| view.running).and_then(|view| view.in_files.as_ref());
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
        let hint = match files.and_then(|files| differing(name, value, files)) {
            Some(says) if hint.is_empty() => says,
            Some(says) => format!("{hint}. {says}"),
            None => hint,
        };
        let field = Field::text(name, *label)
            .value(typed.get(name).unwrap_or(&now))
            .hint(hint)
            .with(&typed.errors)
            .attribute("inputmode", "numeric")
            .attribute("autocomplete", "off");
        let value = if now.is_empty() { "not known".to_owned() } else { now.clone() };
        ((field, *was, now), (*label, value))
    });
    let (fields, shown) = fields.unzip();
    Settings { fields, shown }
}

/// What the files say about a setting, if that differs from the value in force.
fn differing(name: &str, now: Option<i64>, files: &FileSettings) -> Option<String> {
    let value = match name {
        "bantime" => files.bantime,
        "findtime" => files.findtime,
        _ => files.maxretry,
    };
    if value.is_none() || value == now {
        return None;
    }
    let value = if name == "maxretry" { value.map(|value| value.to_string()) } else { Some(lasting(value)) };
    let file =
        files.origins.get(name).map_or_else(|| "The files say".to_owned(), |file| format!("{file} says"));
    Some(format!("{file} {}: that applies from the next reload or restart on", value.unwrap_or_default()))
}

/// The settings that a form changes, each with the value before as the form had it.
///
/// # Errors
/// A sentence for each field with an error.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_files_say_is_shown_beside_what_is_in_force_only_where_it_differs() {
        let origins = [("bantime".to_owned(), "jail.d/x.local".to_owned())].into();
        let files =
            FileSettings { bantime: Some(3600), maxretry: Some(5), origins, ..FileSettings::default() };
        let says = differing("bantime", Some(600), &files);
        assert_eq!(
            says.as_deref(),
            Some("jail.d/x.local says 1 h: that applies from the next reload or restart on")
        );
        assert_eq!(differing("bantime", Some(3600), &files), None);
        let says = differing("maxretry", Some(7), &files);
        assert_eq!(says.as_deref(), Some("The files say 5: that applies from the next reload or restart on"));
        assert_eq!(differing("findtime", Some(600), &files), None, "what cannot be computed says nothing");
    }
}
