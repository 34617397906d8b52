//! A browser's preferences for pages: cookies that are not secret, each with a value from a closed set.
//!
//! | cookie | values | else |
//! |---|---|---|
//! | `bangui-theme` | `light`, `dark`, `contrast` | `system` |
//! | `bangui-keys` | `off` | single keys work |
//! | `bangui-zone` | `MINUTES:NAME`, such as `60:CET`, written by `time.js` | UTC |

use axum::http::{HeaderMap, HeaderValue};

use crate::http::auth::cookie;

/// Themes, in the order of the menu: the value, the word for it.
pub const THEMES: [(&str, &str); 4] =
    [("system", "As the system"), ("light", "Light"), ("dark", "Dark"), ("contrast", "High contrast")];

/// The preferences that came with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefs {
    /// One of [`THEMES`].
    pub theme: &'static str,
    /// Whether single keys are on.
    pub keys: bool,
    /// Minutes east of UTC.
    pub offset: i32,
    /// The name of that zone.
    pub zone: String,
}

impl Prefs {
    /// Reads the cookies.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let (offset, zone) =
            cookie::value(headers, "bangui-zone").and_then(zone).unwrap_or_else(|| (0, "UTC".to_owned()));
        Self {
            theme: theme(cookie::value(headers, "bangui-theme").unwrap_or_default()),
            keys: cookie::value(headers, "bangui-keys") != Some("off"),
            offset,
            zone,
        }
    }
}

/// The theme of that name, or else the system's.
#[must_use]
pub fn theme(name: &str) -> &'static str {
    THEMES.iter().map(|(value, _)| *value).find(|value| *value == name).unwrap_or("system")
}

fn zone(value: &str) -> Option<(i32, String)> {
    let (offset, name) = value.split_once(':')?;
    let offset = offset.parse().ok().filter(|minutes: &i32| minutes.abs() <= 14 * 60)?;
    let decent = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | ':');
    ((1..=12).contains(&name.len()) && name.chars().all(decent)).then(|| (offset, name.to_owned()))
}

/// `Set-Cookie` that saves a preference for a year.
#[must_use]
pub fn remember(name: &'static str, value: &'static str) -> HeaderValue {
    HeaderValue::try_from(format!("{name}={value}; Path=/; SameSite=Lax; Max-Age=31536000"))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header;

    fn of(cookies: &str) -> Prefs {
        Prefs::of(&[(header::COOKIE, HeaderValue::from_str(cookies).unwrap())].into_iter().collect())
    }

    #[test]
    fn only_values_that_are_known_count() {
        let prefs = of("bangui-theme=dark; bangui-keys=off; bangui-zone=-210:NST");
        assert_eq!((prefs.theme, prefs.keys, prefs.offset, &*prefs.zone), ("dark", false, -210, "NST"));
        for planted in ["\"><script>", "900:X", "60:", "60:a b", "x:CET", "60:ABCDEFGHIJKLM"] {
            let prefs = of(&format!("bangui-theme={planted}; bangui-zone={planted}"));
            assert_eq!((prefs.theme, prefs.offset, &*prefs.zone), ("system", 0, "UTC"), "{planted}");
        }
    }
}
