//! The settings in force: defaults, overridden by the environment, overridden by what users changed at run time.
//!
//! ```text
//! ServeConfig ─▶ Bootstrap (fixed while the process runs)   ─┐
//! Redis ──────▶ Overrides (by name, shared by all workers)  ─┴▶ Effective ─▶ Live ─▶ read at each use
//! ```
//!
//! Everything here is pure except [`Live`] (`live.rs`), which holds the newest settings. Overrides are kept by name, even those
//! that this version does not know, which a newer worker wrote.
//!
//! A new setting needs a variable, a field in [`Settings`], a row in `ROWS`, its words in `http/pages/settings_words.rs` and `make docs`.

mod live;

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub use live::{Live, Watcher};

use crate::config::variables::{self as vars, Variable};
use crate::config::{RateLimit, ServeConfig, SessionCacheConfig, values};
use crate::domain::access::Role;

/// The settings, as code uses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A session ends after this time without a request.
    pub session_idle: Duration,
    /// A session ends this long after its login.
    pub session_absolute: Duration,
    /// The near cache of sessions in each worker.
    pub session_cache: SessionCacheConfig,
    /// How often every server is probed.
    pub probe_interval: Duration,
    /// A crash within this time after an activation is attributed to it.
    pub crash_window: Duration,
    /// Login attempts from one address.
    pub login_limit: RateLimit,
    /// Failed logins with one account.
    pub login_failure_limit: RateLimit,
    /// Roles whose accounts need a second factor.
    pub second_factor_roles: Vec<Role>,
}

impl Settings {
    /// [`Settings::crash_window`] as the type in which times are compared.
    #[must_use]
    pub fn crash_window(&self) -> TimeDelta {
        TimeDelta::from_std(self.crash_window).unwrap_or(TimeDelta::MAX)
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The environment or a flag of this worker.
    Environment,
    /// A user, for all workers.
    Runtime,
}

/// What users set at run time, by name.
pub type Overrides = Map<String, Value>;

/// The values that a setting accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Whole seconds.
    Seconds(RangeInclusive<u64>),
    /// Yes or no.
    Switch,
    /// `10/60`: ten at once, ten again within sixty seconds.
    Rate,
    /// `operator,admin`: roles, or none.
    Roles,
}

impl Shape {
    /// Checks a value.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        match self {
            Self::Seconds(_) => self.seconds(value).map(drop),
            Self::Switch => switch(value).map(drop),
            Self::Rate => rate(value).map(drop),
            Self::Roles => roles(value).map(drop),
        }
    }

    fn seconds(&self, value: &Value) -> Result<Duration, String> {
        let Self::Seconds(allowed) = self else { return Err("takes no seconds".to_owned()) };
        values::seconds(allowed.clone())(&if value.is_number() { value.to_string() } else { String::new() })
    }
}

/// One setting: its name, its variable, and how it is shown and read.
struct Row {
    name: &'static str,
    /// Whether a change of it can let somebody in, or let somebody stay logged in longer: it needs a confirmed password.
    sensitive: bool,
    variable: &'static Variable,
    shape: Shape,
    show: fn(&Settings) -> Value,
    set: fn(&mut Settings, &Value, &Shape) -> Result<(), String>,
}

/// The name of each setting, and the values it accepts.
pub fn shapes() -> impl Iterator<Item = (&'static str, &'static Shape)> {
    ROWS.iter().map(|row| (row.name, &row.shape))
}

/// Whether a change of the setting of this name needs a confirmed password.
#[must_use]
pub fn is_sensitive(name: &str) -> bool {
    ROWS.iter().any(|row| row.name == name && row.sensitive)
}

static ROWS: [Row; 9] = [
    Row {
        name: "session_idle_seconds",
        sensitive: true,
        variable: &vars::SESSION_IDLE,
        shape: Shape::Seconds(values::SESSION_SECONDS),
        show: |s| s.session_idle.as_secs().into(),
        set: |s, to, shape| shape.seconds(to).map(|to| s.session_idle = to),
    },
    Row {
        name: "session_absolute_seconds",
        sensitive: true,
        variable: &vars::SESSION_ABSOLUTE,
        shape: Shape::Seconds(values::SESSION_SECONDS),
        show: |s| s.session_absolute.as_secs().into(),
        set: |s, to, shape| shape.seconds(to).map(|to| s.session_absolute = to),
    },
    Row {
        name: "session_cache_enabled",
        sensitive: false,
        variable: &vars::SESSION_CACHE_ENABLED,
        shape: Shape::Switch,
        show: |s| s.session_cache.enabled.into(),
        set: |s, to, _| switch(to).map(|to| s.session_cache.enabled = to),
    },
    Row {
        name: "session_cache_ttl_seconds",
        sensitive: false,
        variable: &vars::SESSION_CACHE_TTL,
        shape: Shape::Seconds(values::CACHE_TTL_SECONDS),
        show: |s| s.session_cache.ttl.as_secs().into(),
        set: |s, to, shape| shape.seconds(to).map(|to| s.session_cache.ttl = to),
    },
    Row {
        name: "probe_interval_seconds",
        sensitive: false,
        variable: &vars::PROBE_INTERVAL,
        shape: Shape::Seconds(values::PROBE_INTERVAL_SECONDS),
        show: |s| s.probe_interval.as_secs().into(),
        set: |s, to, shape| shape.seconds(to).map(|to| s.probe_interval = to),
    },
    Row {
        name: "activation_crash_window_seconds",
        sensitive: false,
        variable: &vars::CRASH_WINDOW,
        shape: Shape::Seconds(values::CRASH_WINDOW_SECONDS),
        show: |s| s.crash_window.as_secs().into(),
        set: |s, to, shape| shape.seconds(to).map(|to| s.crash_window = to),
    },
    Row {
        name: "login_limit",
        sensitive: true,
        variable: &vars::LOGIN_LIMIT,
        shape: Shape::Rate,
        show: |s| rate_text(s.login_limit).into(),
        set: |s, to, _| rate(to).map(|to| s.login_limit = to),
    },
    Row {
        name: "login_failure_limit",
        sensitive: true,
        variable: &vars::LOGIN_FAILURE_LIMIT,
        shape: Shape::Rate,
        show: |s| rate_text(s.login_failure_limit).into(),
        set: |s, to, _| rate(to).map(|to| s.login_failure_limit = to),
    },
    Row {
        name: "second_factor_roles",
        sensitive: true,
        variable: &vars::SECOND_FACTOR_ROLES,
        shape: Shape::Roles,
        show: |s| roles_text(&s.second_factor_roles).into(),
        set: |s, to, _| roles(to).map(|to| s.second_factor_roles = to),
    },
];

fn switch(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false".to_owned())
}

fn rate(value: &Value) -> Result<RateLimit, String> {
    values::rate_limit(value.as_str().unwrap_or_default())
}

fn roles(value: &Value) -> Result<Vec<Role>, String> {
    // What is no text is no list either.
    values::roles(value.as_str().unwrap_or("?"))
}

fn roles_text(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(",")
}

fn rate_text(rate: RateLimit) -> String {
    format!("{}/{}", rate.burst, rate.period.as_secs())
}

/// An error in one setting of a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The setting, as it was named.
    pub name: String,
    /// What is allowed.
    pub allowed: String,
}

/// Settings as the process started with them.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    settings: Settings,
    origins: [Origin; ROWS.len()],
}

impl Bootstrap {
    /// The settings from the configuration.
    #[must_use]
    pub fn of(config: &ServeConfig) -> Self {
        let settings = Settings {
            session_idle: config.session_idle,
            session_absolute: config.session_absolute,
            session_cache: config.session_cache,
            probe_interval: config.probe_interval,
            crash_window: config.crash_window.to_std().unwrap_or_default(),
            login_limit: config.login_limit,
            login_failure_limit: config.login_failure_limit,
            second_factor_roles: config.second_factor_roles.clone(),
        };
        let origin = |row: &Row| {
            if config.given.contains(row.variable.name) { Origin::Environment } else { Origin::Default }
        };
        Self { settings, origins: ROWS.each_ref().map(origin) }
    }

    /// The settings with these overrides. An override that this version does not accept is ignored: a newer version may allow more.
    #[must_use]
    pub fn with(&self, overrides: &Overrides, revision: u64) -> Effective {
        let mut effective = Effective { settings: self.settings.clone(), origins: self.origins, revision };
        for (row, origin) in ROWS.iter().zip(&mut effective.origins) {
            let Some(value) = overrides.get(row.name) else { continue };
            match (row.set)(&mut effective.settings, value, &row.shape) {
                Ok(()) => *origin = Origin::Runtime,
                Err(allowed) => {
                    tracing::warn!("ignoring invalid stored setting `{}`: it {allowed}", row.name)
                }
            }
        }
        effective
    }

    /// The overrides after a patch: each named setting is replaced, or reset by `null`; all others are kept.
    ///
    /// # Errors
    /// With every error in the patch; then no part of the patch may be stored.
    pub fn patched(&self, overrides: &Overrides, patch: &Overrides) -> Result<Overrides, Vec<Mistake>> {
        let mut patched = overrides.clone();
        let mut mistakes = Vec::new();
        for (name, value) in patch {
            match self.look_at(name, value) {
                Err(allowed) => mistakes.push(Mistake { name: name.clone(), allowed }),
                Ok(()) if value.is_null() => drop(patched.remove(name)),
                Ok(()) => drop(patched.insert(name.clone(), value.clone())),
            }
        }
        if mistakes.is_empty() {
            mistakes.extend(inconsistent(&self.with(&patched, 0).settings));
        }
        if mistakes.is_empty() { Ok(patched) } else { Err(mistakes) }
    }

    fn look_at(&self, name: &str, value: &Value) -> Result<(), String> {
        let Some(row) = ROWS.iter().find(|row| row.name == name) else {
            let names = ROWS.each_ref().map(|row| row.name).join(", ");
            return Err(format!("is not a setting; there are {names}"));
        };
        if value.is_null() { Ok(()) } else { (row.set)(&mut self.settings.clone(), value, &row.shape) }
    }
}

/// Two settings that contradict each other.
fn inconsistent(settings: &Settings) -> Option<Mistake> {
    (settings.session_idle > settings.session_absolute).then(|| Mistake {
        name: "session_idle_seconds".to_owned(),
        allowed: format!(
            "would be {} and must not be longer than session_absolute_seconds, which would be {}",
            settings.session_idle.as_secs(),
            settings.session_absolute.as_secs()
        ),
    })
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The values.
    pub settings: Settings,
    /// The revision of the overrides in it.
    pub revision: u64,
    origins: [Origin; ROWS.len()],
}

impl Effective {
    /// Every setting: its name, its value, and where the value comes from.
    pub fn shown(&self) -> impl Iterator<Item = (&'static str, Value, Origin)> {
        ROWS.iter().zip(self.origins).map(|(row, origin)| (row.name, (row.show)(&self.settings), origin))
    }
}

#[cfg(test)]
mod tests;
