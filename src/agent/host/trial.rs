//! Whether a change would work, tested on the configuration as it would be before any of it is in effect; and whether it has
//! worked, by asking fail2ban afterwards.
//!
//! A file that fail2ban reads after the drop-in may override it: such a change is refused, with the name of that file.

use std::path::Path;

use super::changer::{Changer, Edit, Plan};
use super::error::ChangeError;
use crate::domain::{JailName, JailSettings, Network};
use crate::fail2ban::command::Field;
use crate::fail2ban::tools::{ConfiguredJail, Rehearsal, View};
use crate::fail2ban::{Command, reply};

impl Changer {
    /// Tests what is staged.
    pub(in crate::agent) async fn try_out(&self, plan: &Plan<'_>) -> Result<(), ChangeError> {
        let (drop_in, candidate) = (self.files.drop_in(plan.jail), self.files.candidate());
        let view = View::With { drop_in: &drop_in, candidate: &candidate };
        let rehearsal = self.tools.rehearse(plan.jail, view).await?;
        if !rehearsal.errors.is_empty() {
            return Err(ChangeError::Configuration(rehearsal.errors.join("\n")));
        }
        if let Some(overruled) = overruled(plan, &drop_in, &rehearsal) {
            return Err(ChangeError::Configuration(overruled));
        }
        if plan.reloads { self.try_server_settings(&rehearsal).await } else { Ok(()) }
    }

    /// A reload of one jail also sends the server's own settings, before the jail, and loses the jail if one is refused.
    async fn try_server_settings(&self, rehearsal: &Rehearsal) -> Result<(), ChangeError> {
        if !rehearsal.server_errors.is_empty() {
            return Err(ChangeError::Configuration(rehearsal.server_errors.join("\n")));
        }
        if let Some(target) = &rehearsal.log_target
            && let Some(problem) = &target.problem
        {
            let has = self.ask(Command::LogTarget).await?;
            if has.as_str() != Some(&target.target) {
                return Err(ChangeError::Configuration(problem.clone()));
            }
        }
        let has = self.ask(Command::Database).await?;
        let has = has.as_str().unwrap_or("None");
        match &rehearsal.database {
            // A fail2ban that has jails refuses to change to another database.
            Some(named) if !named.eq_ignore_ascii_case(has) => Err(ChangeError::Configuration(format!(
                "fail2ban.conf names the database {named}, but fail2ban runs with {has}: restart fail2ban first"
            ))),
            _ => Ok(()),
        }
    }

    /// Asks fail2ban whether the requested settings are in effect now.
    pub(in crate::agent) async fn read_back(&self, plan: &Plan<'_>) -> Result<(), ChangeError> {
        if !plan.active {
            return Ok(());
        }
        let number = async |field| Ok::<_, ChangeError>(reply::number(&self.get(plan.jail, field).await?));
        let mut now = ConfiguredJail::default();
        match plan.edit {
            Edit::Activate | Edit::Deactivate => return Ok(()),
            Edit::Set(settings) => {
                if settings.bantime.is_some() {
                    now.bantime = number(Field::BanTime).await?;
                }
                if settings.findtime.is_some() {
                    now.findtime = number(Field::FindTime).await?;
                }
                if settings.maxretry.is_some() {
                    now.maxretry = number(Field::MaxRetry).await?;
                }
                if settings.ignoreip.is_some() {
                    now.ignoreip = reply::texts(&self.get(plan.jail, Field::IgnoreIp).await?);
                }
            }
            Edit::Ignore(_) => now.ignoreip = reply::texts(&self.get(plan.jail, Field::IgnoreIp).await?),
        }
        match differing(plan.edit, &now) {
            None => Ok(()),
            Some((option, found)) => Err(ChangeError::Configuration(format!(
                "fail2ban accepted the configuration, but {option} of {} is {found}",
                plan.jail
            ))),
        }
    }

    /// Whether the settings are in effect already, as when a change that took long is requested again.
    pub(in crate::agent) async fn is_in_force(&self, plan: &Plan<'_>) -> bool {
        matches!(plan.edit, Edit::Set(_) | Edit::Ignore(_)) && self.read_back(plan).await.is_ok()
    }

    async fn get(
        &self,
        jail: &JailName,
        field: Field,
    ) -> Result<crate::fail2ban::pickle::Value, ChangeError> {
        self.ask(Command::Get(jail.clone(), field)).await
    }
}

/// An error that names the file that overrides the drop-in, if one does.
fn overruled(plan: &Plan<'_>, drop_in: &Path, rehearsal: &Rehearsal) -> Option<String> {
    let jail = plan.jail;
    let settings = rehearsal.settings.as_ref()?;
    let winner = |option: &str| rehearsal.origins.get(option).map_or("a file", String::as_str);
    let after = format!("which fail2ban reads after {}", drop_in.display());
    let switched = match plan.edit {
        Edit::Activate => Some(true),
        Edit::Deactivate => Some(false),
        Edit::Set(_) | Edit::Ignore(_) => None,
    };
    if switched.is_some_and(|on| on != settings.enabled) {
        let other = if settings.enabled { "on" } else { "off" };
        return Some(format!("{}, {after}, switches {jail} {other} again", winner("enabled")));
    }
    let (option, found) = differing(plan.edit, settings)?;
    Some(format!("{}, {after}, sets {option} of {jail} to {found}: change it there", winner(option)))
}

/// The first setting of an edit that has another value, and that value.
fn differing(edit: &Edit, now: &ConfiguredJail) -> Option<(&'static str, String)> {
    let found = |value: Option<i64>| value.map_or("no number".to_owned(), |value| value.to_string());
    let ignored: Vec<Network> = now.ignoreip.iter().filter_map(|text| Network::parse(text)).collect();
    match edit {
        Edit::Activate | Edit::Deactivate => None,
        Edit::Ignore(network) => (!ignored.contains(network)).then(|| ("ignoreip", now.ignoreip.join(" "))),
        Edit::Set(JailSettings { bantime, findtime, maxretry, ignoreip }) => {
            let numbers = [
                ("bantime", bantime.map(i64::from), now.bantime),
                ("findtime", findtime.map(i64::from), now.findtime),
                ("maxretry", maxretry.map(i64::from), now.maxretry),
            ];
            let number = numbers.into_iter().find(|(_, wanted, now)| wanted.is_some() && wanted != now);
            let networks = ignoreip.as_ref().is_some_and(|wanted| {
                wanted.iter().any(|network| !ignored.contains(network)) || wanted.len() < now.ignoreip.len()
            });
            number
                .map(|(option, _, now)| (option, found(now)))
                .or_else(|| networks.then(|| ("ignoreip", now.ignoreip.join(" "))))
        }
    }
}
