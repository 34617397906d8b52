//! Names that reach file names, keys and fail2ban commands, checked once at the edge and trusted inside.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be 1 to {max} characters of {allowed}")]
pub struct NameError {
    what: &'static str,
    max: usize,
    allowed: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $allowed:literal, $ok:expr) => {
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
                let ok: fn(&str) -> bool = $ok;
                if text.is_empty() || text.len() > $max || !ok(text) {
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
    ServerName, "a server name", 63, "a-z, A-Z, 0-9, '.', '_' and '-', not beginning with '-'", is_plain
);

name!(
    /// The name of a jail. fail2ban accepts any title of a section as one.
    ///
    /// So a jail is shown, counted, searched and addressed whatever it is called. [`JailName::changeable`] decides whether it may be
    /// *changed*, and [`JailName::is_word_of_fail2ban`] whether a command may name it.
    JailName, "a jail name", 1024, "any kind but control characters, without `<F2B_`",
    |text| !text.chars().any(|c| c.is_control() && c != '\t') && !text.contains("<F2B_")
);

/// Letters, digits and `._-`, not beginning with `-`: fits into a file name, a URL and a command as it is.
fn is_plain(text: &str) -> bool {
    !text.starts_with('-') && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// In place of a jail, fail2ban takes these words for its own settings: `set logtarget banip` sets the log file to `banip`.
const WORDS_OF_FAIL2BAN: [&str; 9] = [
    "loglevel",
    "logtarget",
    "syslogsocket",
    "allowipv6",
    "thread",
    "dbfile",
    "dbmaxmatches",
    "dbpurgeage",
    "--all",
];

/// Sections of a configuration that are not jails.
const NO_JAIL: [&str; 3] = ["DEFAULT", "INCLUDES", "Definition"];

/// Why a jail cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the jail {jail:?} can be viewed but not changed: {reason}")]
pub struct Unchangeable {
    jail: String,
    reason: &'static str,
}

impl JailName {
    /// Whether a drop-in can be written for it, and fail2ban's own programs understand its name as that of a jail.
    ///
    /// # Errors
    /// If not, with the reason.
    pub fn changeable(&self) -> Result<(), Unchangeable> {
        let text = self.as_str();
        // Python's configparser with fail2ban's comments: the title ends at a `]`, a comment begins at a blank and a `;`.
        let comment =
            || text.char_indices().any(|(at, c)| c == ';' && text[..at].ends_with(char::is_whitespace));
        let reason = if NO_JAIL.contains(&text) {
            "its name is that of a section which is not a jail"
        } else if WORDS_OF_FAIL2BAN.contains(&text) {
            "fail2ban takes its name for one of its own settings"
        } else if text.starts_with("--") {
            "fail2ban-client takes a name that begins with `--` for an option"
        } else if text.contains(']') {
            "a `]` ends the title of a section"
        } else if comment() {
            "the title of a section ends where a `;` after a blank begins a comment"
        } else if text.contains('?') {
            "a section with a `?` in its title is a condition on another one"
        } else if text.contains('\t') {
            "there is a tab in its name"
        } else {
            return Ok(());
        };
        Err(Unchangeable { jail: text.to_owned(), reason })
    }

    /// Whether fail2ban would take it for something else than a jail in a command. No such jail can run, and no command ever names
    /// one.
    #[must_use]
    pub fn is_word_of_fail2ban(&self) -> bool {
        WORDS_OF_FAIL2BAN.contains(&self.as_str())
    }

    /// Whether versions of bangui before 0.3 accept it as a jail name.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.len() <= 64 && is_plain(&self.0) && !NO_JAIL.contains(&self.as_str())
    }

    /// As one part of a path, in a form that clients do not rewrite: `..` would lead elsewhere, however it is encoded. The other end
    /// reads it with [`JailName::from_segment`], after percent-decoding.
    #[must_use]
    pub fn to_segment(&self) -> String {
        let dots = self.0.chars().all(|c| c == '.');
        let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let encoded = self.0.bytes().map(|byte| match byte {
            byte if kept(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        dots.then(|| "~".to_owned()).into_iter().chain(encoded).collect()
    }

    /// Reads a part of a path, which is percent-decoded already: `~.` and `~..` are the jails `.` and `..`.
    ///
    /// # Errors
    /// As [`JailName::parse`].
    pub fn from_segment(text: &str) -> Result<Self, NameError> {
        let dots = text.strip_prefix('~').filter(|rest| rest.chars().all(|c| c == '.'));
        Self::parse(dots.filter(|rest| !rest.is_empty()).unwrap_or(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jail(name: &str) -> JailName {
        JailName::parse(name).unwrap()
    }

    #[test]
    fn a_jail_may_have_any_name_that_can_be_sent() {
        let long = "x".repeat(70);
        for good in
            ["sshd", "ssh ddos", "größe", "a,b", "-dash", "a/b", "[x]", "%(x)s", ".", "..", "DEFAULT", &long]
        {
            assert_eq!(jail(good).as_str(), good);
        }
        for bad in ["", "a\n", "a\r", "\0", "\u{1b}[2J", "a<F2B_END_COMMAND>", &"x".repeat(1025)] {
            assert!(JailName::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn only_what_a_file_cannot_express_or_fail2ban_misreads_is_refused_for_changes() {
        let long = "x".repeat(70);
        for good in [
            "sshd", "ssh ddos", "größe", "a,b", "-dash", "a/b", "[x", "%(x)s", "a;b", "#x", ".", "..", "all",
            &long,
        ] {
            assert_eq!(jail(good).changeable(), Ok(()), "{good}");
        }
        for (bad, reason) in [
            ("DEFAULT", "not a jail"),
            ("INCLUDES", "not a jail"),
            ("Definition", "not a jail"),
            ("logtarget", "its own settings"),
            ("--all", "its own settings"),
            ("--restart", "option"),
            ("a]b", "`]`"),
            ("a ;b", "comment"),
            ("a?b", "condition"),
            ("a\tb", "tab"),
        ] {
            let why = jail(bad).changeable().unwrap_err().to_string();
            assert!(why.contains(reason) && why.contains("not changed"), "{bad}: {why}");
        }
    }

    #[test]
    fn a_part_of_a_path_leads_to_its_jail_and_nowhere_else() {
        for (name, segment) in [
            ("sshd", "sshd"),
            ("A.b_c-9", "A.b_c-9"),
            ("a b/c", "a%20b%2Fc"),
            ("größe", "gr%C3%B6%C3%9Fe"),
            (".", "~."),
            ("..", "~.."),
            ("~x", "%7Ex"),
            ("%2E", "%252E"),
        ] {
            assert_eq!(jail(name).to_segment(), segment);
            let url = format!("http://agent/v1/jails/{segment}/bans");
            assert_eq!(url::Url::parse(&url).unwrap().path(), format!("/v1/jails/{segment}/bans"));
        }
        assert_eq!(JailName::from_segment("~.."), Ok(jail("..")));
        assert_eq!(JailName::from_segment("~x"), Ok(jail("~x")));
        assert_eq!(JailName::from_segment("a b/c"), Ok(jail("a b/c")));
    }

    #[test]
    fn what_neighbouring_versions_know_is_plain() {
        assert!(jail("nginx-http-auth").is_plain());
        for odd in ["ssh ddos", "-dash", "DEFAULT", &"x".repeat(65)] {
            assert!(!jail(odd).is_plain(), "{odd}");
        }
    }

    #[test]
    fn a_name_read_from_storage_is_checked_too() {
        assert!(serde_json::from_str::<ServerName>("\"web-1\"").is_ok());
        assert!(serde_json::from_str::<ServerName>("\"web 1\"").is_err());
    }
}
