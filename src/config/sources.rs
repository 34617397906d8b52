//! Environment and flags, and how the raw text of one variable is read from them.
//!
//! Only [`Environment::of_process`] touches the process's environment: everything else is a function of its arguments,
//! which keeps the tests simple. The order is: flag, environment, default. An empty value means "not set" for an
//! optional variable, and is an error for one that has a default or is a secret: `TOKEN=$(failed)`
//! must not quietly mean that there is no token.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::errors::{ConfigError, ConfigErrors};
use super::redis_url::hide_passwords;
use super::secrets::{EXAMPLE, is_example};
use super::variables::Variable;

/// The file of a secret holds one line, not a disk image.
const MAX_SECRET_FILE_SIZE: u64 = 64 * 1024;

/// The environment that the process was started in.
#[derive(Clone, Default)]
pub struct Environment {
    /// All variables whose names are valid UTF-8.
    pub variables: BTreeMap<String, OsString>,
    /// Whether the log goes to a terminal.
    pub log_is_terminal: bool,
    /// Whether the process runs as root.
    pub is_root: bool,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self {
            variables: variables.collect(),
            log_is_terminal: std::io::stderr().is_terminal(),
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// The value of one variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }
}

/// The flags among the arguments: a flag's name without its dashes, and its value. Filled by `command.rs`.
pub type Flags = BTreeMap<String, OsString>;

/// A secret and the file it was read from, if any.
pub struct Secret {
    /// The value.
    pub value: SecretString,
    /// The file to reload it from.
    pub file: Option<PathBuf>,
}

/// Reads variables one by one and collects every error.
pub struct Reader<'a> {
    environment: &'a Environment,
    flags: &'a Flags,
    /// Values that the program itself decides; they override everything.
    owned: BTreeMap<&'static str, Option<OsString>>,
    errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    /// A reader of this environment and these flags.
    #[must_use]
    pub fn new(environment: &'a Environment, flags: &'a Flags) -> Self {
        Self { environment, flags, owned: BTreeMap::new(), errors: Vec::new() }
    }

    /// Sets a value that the user cannot change.
    pub fn own(&mut self, variable: &Variable, value: impl Into<OsString>) {
        self.owned.insert(variable.name, Some(value.into()));
    }

    /// Ignores what the user set for these: they have their default, or no value.
    pub fn disown(&mut self, variables: &[&'static Variable]) {
        self.owned.extend(variables.iter().map(|v| (v.name, v.default.map(OsString::from))));
    }

    /// Adds the errors of another reader of the same sources, without duplicates.
    pub fn adopt(&mut self, errors: ConfigErrors) {
        let new: Vec<ConfigError> = errors.all.into_iter().filter(|m| !self.errors.contains(m)).collect();
        self.errors.extend(new);
    }

    /// The environment that this reader uses.
    #[must_use]
    pub fn environment(&self) -> &'a Environment {
        self.environment
    }

    /// The flags that this reader uses.
    #[must_use]
    pub fn flags(&self) -> &'a Flags {
        self.flags
    }

    /// The checked value of a variable: `None` if it is not set, or invalid, which adds an error.
    pub fn value<T>(
        &mut self,
        variable: &'static Variable,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (name, raw) = self.raw(variable)?;
        let Some(text) = raw.to_str() else {
            let shown = shown(variable, &raw.to_string_lossy());
            self.note(name, Some(shown), "is not valid UTF-8".to_owned());
            return None;
        };
        if text.is_empty() {
            if variable.default.is_some() {
                self.note(name, Some(String::new()), "is empty; unset it to use the default".to_owned());
            }
            return None;
        }
        match parse(text) {
            Ok(value) => Some(value),
            Err(allowed) => {
                let shown = shown(variable, text);
                self.note(name, Some(shown), allowed);
                None
            }
        }
    }

    /// The checked value of a secret, from the environment or its file.
    pub fn secret<T>(
        &mut self,
        variable: &'static Variable,
        parse: impl FnOnce(&str, Option<&Path>) -> Result<T, String>,
    ) -> Option<T> {
        let secret = match self.raw_secret(variable) {
            Ok(secret) => secret?,
            Err((name, allowed)) => {
                self.note(name, None, allowed);
                return None;
            }
        };
        let name = secret.file.as_deref().map_or_else(
            || variable.name.to_owned(),
            |file| format!("{} (in {})", variable.file_name(), file.display()),
        );
        if is_example(secret.value.expose_secret()) {
            self.note(name, None, EXAMPLE.to_owned());
            return None;
        }
        match parse(secret.value.expose_secret(), secret.file.as_deref()) {
            Ok(value) => Some(value),
            Err(allowed) => {
                self.note(name, None, allowed);
                None
            }
        }
    }

    /// Whether a variable is set by environment, flag or file.
    #[must_use]
    pub fn is_set(&self, variable: &Variable) -> bool {
        !self.settings_of(variable).is_empty()
    }

    /// The environment variables that pass the user's value on to a child: a secret's file is passed as a file.
    #[must_use]
    pub fn settings_of(&self, variable: &Variable) -> Vec<(String, OsString)> {
        if self.owned.contains_key(variable.name) {
            return Vec::new();
        }
        let file = variable.file_name();
        let from_flag = self.flags.get(&variable.flag());
        let mut settings = Vec::new();
        if variable.secret {
            let from_file = from_flag.map(OsString::as_os_str).or_else(|| self.environment.get(&file));
            settings.extend(from_file.map(|path| (file, path.to_owned())));
            let value = self.environment.get(variable.name);
            settings.extend(value.map(|value| (variable.name.to_owned(), value.to_owned())));
        } else {
            let value = from_flag.map(OsString::as_os_str).or_else(|| self.environment.get(variable.name));
            settings.extend(value.map(|value| (variable.name.to_owned(), value.to_owned())));
        }
        settings
    }

    /// Adds an error that depends on several values.
    pub fn note(&mut self, name: String, value: Option<String>, allowed: String) {
        self.errors.push(ConfigError { name, value, allowed });
    }

    /// Adds an error that a variable must be set, unless it has an error already.
    pub fn require(&mut self, variable: &Variable, why: &str) {
        let noted = self.errors.iter().any(|error| error.name.starts_with(variable.name));
        if !noted && !self.is_wrong_flag(variable) {
            self.note(variable.name.to_owned(), None, format!("is not set; {why}"));
        }
    }

    fn is_wrong_flag(&self, variable: &Variable) -> bool {
        let flag = format!("--{}", variable.flag());
        self.errors.iter().any(|error| error.name.starts_with(&flag))
    }

    /// All errors, or the result of `build`. `build` returns `None` only where a value is missing, which has added an
    /// error.
    ///
    /// # Errors
    /// With every error.
    pub fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, ConfigErrors> {
        if !self.errors.is_empty() {
            return Err(ConfigErrors { all: self.errors, warnings: Vec::new() });
        }
        build().ok_or_else(|| {
            let allowed = "a value is missing without an error: this is a bug in bangui".to_owned();
            let bug = ConfigError { name: "configuration".to_owned(), value: None, allowed };
            ConfigErrors { all: vec![bug], warnings: Vec::new() }
        })
    }

    fn raw(&self, variable: &Variable) -> Option<(String, OsString)> {
        if let Some(value) = self.owned.get(variable.name) {
            return value.clone().map(|value| (variable.name.to_owned(), value));
        }
        if let Some(value) = self.flags.get(&variable.flag()) {
            return Some((format!("--{}", variable.flag()), value.clone()));
        }
        let set = self.environment.get(variable.name).map(OsStr::to_owned);
        set.or_else(|| variable.default.map(OsString::from)).map(|value| (variable.name.to_owned(), value))
    }

    fn raw_secret(&self, variable: &Variable) -> Result<Option<Secret>, (String, String)> {
        if self.owned.contains_key(variable.name) {
            return Ok(None);
        }
        let file_name = variable.file_name();
        let flag = format!("--{}", variable.flag());
        let from_flag = self.flags.get(&variable.flag()).map(|path| (flag, path.as_os_str()));
        let from_file = from_flag.or_else(|| self.environment.get(&file_name).map(|path| (file_name, path)));
        match (self.environment.get(variable.name), from_file) {
            (None, None) => Ok(None),
            (Some(_), Some((name, _))) => {
                let both = format!("{name} is set too: keep one of the two");
                Err((variable.name.to_owned(), both))
            }
            (Some(value), None) => {
                let text = value.to_str().filter(|text| !text.is_empty());
                let why =
                    || (variable.name.to_owned(), format!("is empty or not valid UTF-8. {}", variable.help));
                Ok(Some(Secret { value: text.ok_or_else(why)?.into(), file: None }))
            }
            (None, Some((name, path))) => {
                let path = Path::new(path);
                let value = read_secret_file(path).map_err(|why| (name, why))?;
                Ok(Some(Secret { value, file: Some(path.to_owned()) }))
            }
        }
    }
}

fn shown(variable: &Variable, text: &str) -> String {
    if variable.holds_urls { hide_passwords(text) } else { text.to_owned() }
}

/// Reads a secret from a file, without the newline that editors add.
///
/// # Errors
/// If the file cannot be read, or is empty, too large or not valid UTF-8.
pub fn read_secret_file(path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_SECRET_FILE_SIZE + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("failed to read the file {shown}: {error}"))?;
    if bytes.len() as u64 > MAX_SECRET_FILE_SIZE {
        return Err(format!(
            "the file {shown} is larger than {MAX_SECRET_FILE_SIZE} bytes: is it the right one?"
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("the file {shown} is not valid UTF-8"))?;
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err(format!("the file {shown} is empty")),
        secret => Ok(secret.into()),
    }
}
