//! Environment and flags, and how the raw text of one variable comes out of them.
//!
//! Nothing here touches the process's environment but [`Environment::of_process`]: everything else is a function of
//! its arguments, and so are the tests. The order is: flag, environment, default. An empty value means "none" for a
//! variable that may be left out, and is a mistake for one that has a default or is a secret: `TOKEN=$(failed)`
//! must not quietly mean that there is no token.
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::mistakes::{Mistake, Mistakes};
use super::redis_url::hide_passwords;
use super::values::{EXAMPLE, is_example};
use super::variables::Variable;

/// A file with a secret is a line, not a disk.
const LARGEST_SECRET: u64 = 64 * 1024;

/// What the process was started with, besides its arguments.
#[derive(Clone, Default)]
pub struct Environment {
    /// All variables whose names are text.
    pub variables: BTreeMap<String, OsString>,
    /// Whether a person reads the log.
    pub log_is_terminal: bool,
    /// Whether the process is root's.
    pub is_root: bool,
}

impl Environment {
    /// This process's own.
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

    /// One variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }
}

/// What the arguments set: from a flag's name without dashes to its value. Filled by `command.rs`.
pub type Flags = BTreeMap<String, OsString>;

/// A secret and the file it came from, if it did.
pub struct Secret {
    /// The value.
    pub value: SecretString,
    /// Where to read it again.
    pub file: Option<PathBuf>,
}

/// Reads variables one by one and remembers every mistake on the way.
pub struct Reader<'a> {
    environment: &'a Environment,
    flags: &'a Flags,
    /// Values that the program itself decides; they stand above everything.
    owned: BTreeMap<&'static str, Option<OsString>>,
    mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    /// A reader of these two.
    #[must_use]
    pub fn new(environment: &'a Environment, flags: &'a Flags) -> Self {
        Self { environment, flags, owned: BTreeMap::new(), mistakes: Vec::new() }
    }

    /// Sets a value that the user cannot change.
    pub fn own(&mut self, variable: &Variable, value: impl Into<OsString>) {
        self.owned.insert(variable.name, Some(value.into()));
    }

    /// Passes over whatever the user set for these: they have their default, or nothing.
    pub fn disown(&mut self, variables: &[&'static Variable]) {
        self.owned.extend(variables.iter().map(|v| (v.name, v.default.map(OsString::from))));
    }

    /// Takes over the mistakes that another reader of the same sources found, each once.
    pub fn adopt(&mut self, mistakes: Mistakes) {
        let new: Vec<Mistake> = mistakes.all.into_iter().filter(|m| !self.mistakes.contains(m)).collect();
        self.mistakes.extend(new);
    }

    /// The environment this reads.
    #[must_use]
    pub fn environment(&self) -> &'a Environment {
        self.environment
    }

    /// The flags this reads.
    #[must_use]
    pub fn flags(&self) -> &'a Flags {
        self.flags
    }

    /// The checked value of an open variable: `None` if there is none or it is wrong, which is then noted.
    pub fn value<T>(
        &mut self,
        variable: &'static Variable,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (name, raw) = self.raw(variable)?;
        let Some(text) = raw.to_str() else {
            let shown = shown(variable, &raw.to_string_lossy());
            self.note(name, Some(shown), "is not UTF-8 text".to_owned());
            return None;
        };
        if text.is_empty() {
            if variable.default.is_some() {
                self.note(name, Some(String::new()), "is empty; leave it out to have the default".to_owned());
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

    /// Whether a variable is set in any way.
    #[must_use]
    pub fn is_set(&self, variable: &Variable) -> bool {
        !self.settings_of(variable).is_empty()
    }

    /// The variables by which a child can be given what the user set here: a secret's file is passed as a file.
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

    /// Notes a mistake that only shows when several values are seen together.
    pub fn note(&mut self, name: String, value: Option<String>, allowed: String) {
        self.mistakes.push(Mistake { name, value, allowed });
    }

    /// Notes that a variable must be set, unless it was noted already.
    pub fn require(&mut self, variable: &Variable, why: &str) {
        let noted = self.mistakes.iter().any(|mistake| mistake.name.starts_with(variable.name));
        if !noted && !self.is_wrong_flag(variable) {
            self.note(variable.name.to_owned(), None, format!("is not set; {why}"));
        }
    }

    fn is_wrong_flag(&self, variable: &Variable) -> bool {
        let flag = format!("--{}", variable.flag());
        self.mistakes.iter().any(|mistake| mistake.name.starts_with(&flag))
    }

    /// All mistakes, or what `build` makes of the values that were read. `build` returns `None` only where a value is
    /// missing, and a missing value has been noted.
    ///
    /// # Errors
    /// With every mistake that was noted.
    pub fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, Mistakes> {
        if !self.mistakes.is_empty() {
            return Err(Mistakes { all: self.mistakes, warnings: Vec::new() });
        }
        build().ok_or_else(|| {
            let allowed =
                "a value is missing that nobody complained about; this is a defect of bangui".to_owned();
            let defect = Mistake { name: "configuration".to_owned(), value: None, allowed };
            Mistakes { all: vec![defect], warnings: Vec::new() }
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
                let both =
                    format!("{name} is set too; keep one of the two, so that it is plain which one counts");
                Err((variable.name.to_owned(), both))
            }
            (Some(value), None) => {
                let text = value.to_str().filter(|text| !text.is_empty());
                let why =
                    || (variable.name.to_owned(), format!("is empty, or not UTF-8 text. {}", variable.help));
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

/// The secret in a file, without the line end that editors add.
///
/// # Errors
/// Names the file and says why it cannot be used.
pub fn read_secret_file(path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST_SECRET + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("the file {shown} cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST_SECRET {
        return Err(format!("the file {shown} is larger than {LARGEST_SECRET} bytes; is it the right one?"));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("the file {shown} is not UTF-8 text"))?;
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err(format!("the file {shown} is empty")),
        secret => Ok(secret.into()),
    }
}
