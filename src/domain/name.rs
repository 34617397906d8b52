//! Names that reach file names, keys and fail2ban commands, checked once at the edge and trusted inside.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a string is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be 1 to {max} characters of {allowed}")]
pub struct NameError {
    what: &'static str,
    max: usize,
    allowed: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $allowed:literal, $ok:expr $(, but $reserved:literal)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// When it is empty, too long, or has a character outside the allowed set.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let ok: fn(char) -> bool = $ok;
                let reserved: &[&str] = &[$($reserved),*];
                // A leading '-' would make an option of it where a command line takes a name.
                let bad = text.is_empty() || text.len() > $max || text.starts_with('-') || reserved.contains(&text);
                if bad || !text.chars().all(ok) {
                    return Err(NameError { what: $what, max: $max, allowed: $allowed });
                }
                Ok(Self(text.to_owned()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

name!(
    /// The name an operator gave to a fail2ban host in `BANGUI_SERVERS`.
    ServerName, "a server name", 63, "a-z, A-Z, 0-9, '.', '_' and '-', the first no '-'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
);

name!(
    /// A jail of fail2ban.
    ///
    /// The alphabet is narrower than fail2ban's own on purpose: such a name can be written into a configuration file or a
    /// command without any escaping. Three names are sections that concern every jail, or none.
    JailName, "a jail name", 64, "A-Z, a-z, 0-9, '_', '.' and '-', the first no '-', and not DEFAULT, INCLUDES or Definition",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'), but "DEFAULT", but "INCLUDES", but "Definition"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jail_name_holds_nothing_that_a_config_file_or_a_command_could_misread() {
        for good in ["sshd", "nginx-http-auth", "a", "A.b_c-9", &"x".repeat(64)] {
            assert_eq!(JailName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a b",
            "a\n",
            "--all",
            "a/b",
            "[x]",
            "%(x)s",
            "ä",
            "\0",
            "DEFAULT",
            "INCLUDES",
            &"x".repeat(65),
        ] {
            assert!(JailName::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_name_read_from_storage_is_checked_too() {
        assert!(serde_json::from_str::<ServerName>("\"web-1\"").is_ok());
        assert!(serde_json::from_str::<ServerName>("\"web 1\"").is_err());
    }
}
