//! What can be undone for ten minutes: what was done, as much of it as the undo needs, and whether things are still as the change
//! left them.
//!
//! For each such change an [`Undoable`] is kept, under the id that the change had from its beginning. An undo is refused once
//! somebody else has changed the same thing: it would revert that change too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    BanJobId, BanTime, FindTime, JailChangeId, JailName, JailSettings, MaxRetry, Network, ServerName, hex_id,
};

/// The most addresses that are kept for one undo; if there were more, it reverts only these.
pub const MAX_ADDRESSES: usize = 100_000;

/// Names a change that can be undone: 32 hexadecimal digits, the id of the change itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UndoId(String);

impl UndoId {
    /// Of 128 random bits.
    #[must_use]
    pub fn of(bits: u128) -> Self {
        Self(hex_id::write(bits))
    }

    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        hex_id::read(text).map(Self)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&JailChangeId> for UndoId {
    fn from(id: &JailChangeId) -> Self {
        Self(id.to_string())
    }
}

impl From<&BanJobId> for UndoId {
    fn from(id: &BanJobId) -> Self {
        Self(id.as_str().to_owned())
    }
}

impl std::fmt::Display for UndoId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A change that can be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undoable {
    /// Who made it.
    pub username: String,
    /// The server; none for a change of bangui itself.
    #[serde(default)]
    pub server: Option<ServerName>,
    /// The jail.
    #[serde(default)]
    pub jail: Option<JailName>,
    /// What was done.
    pub deed: Deed,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case")]
pub enum Deed {
    /// A jail was switched.
    Switched {
        /// Whether on.
        on: bool,
    },
    /// Settings of a jail were changed.
    Settings(SettingsDeed),
    /// A network was put on a never-banned list.
    Ignored {
        /// The network.
        network: Network,
        /// Whether it is persistent.
        persistent: bool,
    },
    /// Addresses were banned or unbanned. If there are many, they are kept under a separate key.
    Bans {
        /// Whether they were banned.
        banned: bool,
        /// The addresses; empty if they are kept under a separate key.
        ips: Vec<Network>,
        /// How many.
        changed: usize,
    },
    /// Settings of bangui were changed.
    Product {
        /// The override that each changed setting had before; none if it had none.
        before: BTreeMap<String, Option<Value>>,
        /// The revision that the change led to.
        revision: u64,
    },
    /// Something that only another version knows.
    #[serde(other)]
    Unknown,
}

/// A change of settings of a jail: only those that were changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsDeed {
    /// What was in force.
    pub before: JailSettings,
    /// What was in the files, for a persistent change.
    #[serde(default)]
    pub files: JailSettings,
    /// What the change set.
    pub after: JailSettings,
    /// Whether it is persistent.
    #[serde(default)]
    pub persistent: bool,
}

/// The settings of a jail as its agent reports them, whatever their values.
#[derive(Debug, Clone, Copy, Default)]
pub struct SettingsSeen<'a> {
    /// Seconds of a ban.
    pub bantime: Option<i64>,
    /// Seconds within which failures add up.
    pub findtime: Option<i64>,
    /// Number of failures that lead to a ban.
    pub maxretry: Option<i64>,
    /// What is never banned.
    pub ignoreip: &'a [String],
}

impl SettingsSeen<'_> {
    /// The values of the settings that `changed` names; none if one of them cannot be set by bangui.
    #[must_use]
    pub fn of_changed(&self, changed: &JailSettings) -> Option<JailSettings> {
        let mut all = JailSettings::default();
        if changed.bantime.is_some() {
            all.bantime = Some(BanTime::try_from(self.bantime?).ok()?);
        }
        if changed.findtime.is_some() {
            all.findtime = Some(FindTime::try_from(self.findtime?).ok()?);
        }
        if changed.maxretry.is_some() {
            all.maxretry = Some(MaxRetry::try_from(self.maxretry?).ok()?);
        }
        if changed.ignoreip.is_some() {
            let list = self.ignoreip.iter().map(|entry| Network::parse(entry));
            all.ignoreip = Some(sorted(&list.collect::<Option<Vec<_>>>()?));
        }
        Some(all)
    }

    /// Whether the settings that `after` names still have its values.
    #[must_use]
    pub fn is_still(&self, after: &JailSettings) -> bool {
        let same = JailSettings { ignoreip: after.ignoreip.as_deref().map(sorted), ..after.clone() };
        self.of_changed(after) == Some(same)
    }

    /// Whether this network is on the never-banned list.
    #[must_use]
    pub fn ignores(&self, network: Network) -> bool {
        self.ignoreip.iter().any(|entry| Network::parse(entry) == Some(network))
    }
}

fn sorted(list: &[Network]) -> Vec<Network> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list.dedup();
    list
}

impl SettingsDeed {
    /// The deed of a change from what was seen before; none if that cannot be restored, or nothing was changed.
    #[must_use]
    pub fn of(
        force: SettingsSeen<'_>,
        files: Option<SettingsSeen<'_>>,
        after: &JailSettings,
        persistent: bool,
    ) -> Option<Self> {
        let before = force.of_changed(after)?;
        let files = files.filter(|_| persistent).and_then(|files| files.of_changed(after));
        let files =
            if persistent { files.unwrap_or_else(|| before.clone()) } else { JailSettings::default() };
        let changes = !force.is_still(after) || persistent && files != before;
        changes.then(|| Self { before, files, after: after.clone(), persistent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> JailSettings {
        serde_json::from_str(text).unwrap()
    }

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn only_what_was_changed_is_set_back_and_only_while_it_is_as_the_change_left_it() {
        let before = SettingsSeen { bantime: Some(600), maxretry: Some(5), ..SettingsSeen::default() };
        let after = settings(r#"{"bantime":3600}"#);
        let deed = SettingsDeed::of(before, None, &after, false).unwrap();
        assert_eq!((&deed.before, &deed.after), (&settings(r#"{"bantime":600}"#), &after));
        assert!(SettingsSeen { bantime: Some(3600), maxretry: Some(9), ..before }.is_still(&deed.after));
        assert!(
            !SettingsSeen { bantime: Some(3601), ..before }.is_still(&deed.after),
            "somebody changed it since"
        );
        assert!(!SettingsSeen { bantime: None, ..before }.is_still(&deed.after), "it is not known");
        assert_eq!(
            SettingsDeed::of(before, None, &settings(r#"{"bantime":600}"#), false),
            None,
            "nothing changed"
        );
        let zero = SettingsSeen { bantime: Some(0), ..before };
        assert_eq!(SettingsDeed::of(zero, None, &after, false), None, "bangui cannot set it back to 0");
    }

    #[test]
    fn a_change_for_good_is_set_back_in_the_files_to_what_they_had() {
        let force = SettingsSeen { bantime: Some(300), ..SettingsSeen::default() };
        let files = SettingsSeen { bantime: Some(600), ..SettingsSeen::default() };
        let after = settings(r#"{"bantime":900}"#);
        let deed = SettingsDeed::of(force, Some(files), &after, true).unwrap();
        assert_eq!(
            (deed.before, deed.files),
            (settings(r#"{"bantime":300}"#), settings(r#"{"bantime":600}"#))
        );
        let kept = SettingsDeed::of(force, Some(files), &settings(r#"{"bantime":300}"#), true);
        assert!(kept.is_some(), "what was in force came into the files");
    }

    #[test]
    fn a_never_banned_list_is_compared_by_what_it_means_and_one_with_names_cannot_be_set_back() {
        let entries = list(&["127.0.0.1/8", "::1"]);
        let seen = SettingsSeen { ignoreip: &entries, ..SettingsSeen::default() };
        assert!(seen.is_still(&settings(r#"{"ignoreip":["::1","127.0.0.0/8"]}"#)));
        assert!(!seen.is_still(&settings(r#"{"ignoreip":["::1"]}"#)));
        assert!(seen.ignores(Network::parse("127.0.0.0/8").unwrap()));
        let named = list(&["localhost"]);
        let named = SettingsSeen { ignoreip: &named, ..SettingsSeen::default() };
        assert_eq!(SettingsDeed::of(named, None, &settings(r#"{"ignoreip":[]}"#), true), None);
    }

    #[test]
    fn what_was_kept_is_read_back_and_a_deed_of_a_later_version_is_unknown() {
        let ips = vec![Network::parse("203.0.113.7").unwrap()];
        let undoable = Undoable {
            username: "admin".to_owned(),
            server: None,
            jail: Some(JailName::parse("sshd").unwrap()),
            deed: Deed::Bans { banned: true, ips, changed: 1 },
        };
        let bytes = rmp_serde::to_vec_named(&undoable).unwrap();
        assert_eq!(rmp_serde::from_slice::<Undoable>(&bytes).unwrap(), undoable);
        let later = r#"{"username":"x","deed":{"deed":"renamed","to":"y"},"more":1}"#;
        assert_eq!(serde_json::from_str::<Undoable>(later).unwrap().deed, Deed::Unknown);
        for bad in ["", "7", &"G".repeat(32), &"a".repeat(33)] {
            assert_eq!(UndoId::parse(bad), None, "{bad}");
        }
        assert_eq!(UndoId::parse(UndoId::of(7).as_str()), Some(UndoId::of(7)));
    }
}
