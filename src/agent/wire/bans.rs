//! Bans, and the jobs under which commands about them are sent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{BanMark, JailName, Network};

/// The key of a job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobKey(String);

impl JobKey {
    /// Checks and wraps a key.
    ///
    /// # Errors
    /// Unless it is 1 to 128 characters of A-Z, a-z, 0-9, `_`, `.`, `:` and `-`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
        if (1..=128).contains(&text.len()) && text.chars().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err("a job's key must be 1 to 128 characters of A-Z, a-z, 0-9, '_', '.', ':' and '-'".into())
    }
}

impl std::fmt::Display for JobKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for JobKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<JobKey> for String {
    fn from(key: JobKey) -> Self {
        key.0
    }
}

/// The job, and its epoch, under which a command is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEpoch {
    /// The job.
    pub key: JobKey,
    /// Its epoch: it rises when the job is taken over or cancelled.
    pub epoch: u64,
    /// The incarnation of the agent's process, as returned in [`Fenced`]: a restarted agent has forgotten all epochs, and does
    /// nothing for a job until it is fenced again. `None` from workers of versions that do not know this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    /// The worker that has the epoch. Two workers may have the same number if Redis has lost its data; the agent accepts the first
    /// and refuses the other. None from workers of versions that do not know this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// What is to be banned or unbanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanRequest {
    /// At most 25 addresses or networks.
    pub ips: Vec<Network>,
    /// The job it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobEpoch>,
    /// Whether the agent may answer for the first addresses only, if an action is slow: the caller sends the others again.
    /// Workers before 0.3 would take them for done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// The state of one address after the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanResult {
    /// The address or network.
    pub ip: Network,
    /// Whether the jail bans it now, as fail2ban reports when asked again; with very many bans, as it answered the command.
    pub banned: bool,
    /// Whether the request changed that.
    pub changed: bool,
}

/// The states of all addresses after the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanResults {
    /// One for each distinct address, by address; if the request is `partial`, perhaps only for its first addresses.
    pub results: Vec<BanResult>,
}

/// A request to unban everything that a jail bans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnbanAll {
    /// The job it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobEpoch>,
}

/// How far it got. The caller repeats the call until none remains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnbannedAll {
    /// How many of the bans are gone.
    pub unbanned: usize,
    /// Bans that are there now.
    pub remaining: usize,
}

/// An address, and since when and until when it is banned, in seconds since 1970. None if fail2ban does not say, or if the ban has
/// no end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban(pub Network, pub Option<i64>, pub Option<i64>);

/// A ban of something other than an address, with times as in [`Ban`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkBan(pub BanMark, pub Option<i64>, pub Option<i64>);

/// All bans of a jail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanList {
    /// By address.
    pub bans: Vec<Ban>,
    /// Bans of something other than an address, if a command can name it, by text.
    #[serde(default)]
    pub marks: Vec<MarkBan>,
    /// How many bans are of something other than an address, whether listed in `marks` or not.
    #[serde(default)]
    pub others: usize,
}

/// What to look up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupRequest {
    /// At most 500 addresses or networks. An address inside a banned network is not found by itself.
    pub ips: Vec<Network>,
    /// Whether to look up the entries, too, that keep them from being banned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_banned: bool,
    /// The tags of the lists that the caller has: see [`LIST_TAG_HEADER`](super::LIST_TAG_HEADER). A jail whose list still has its tag is not searched.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<JailName, String>,
}

/// An entry of a running jail's `ignoreip` that contains an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeverBanned {
    /// The jail.
    pub jail: JailName,
    /// The entry, as fail2ban has it.
    pub entry: String,
    /// Whether the files have it too, so that it remains after a reload; none if they could not be read in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_files: Option<bool>,
    /// The file whose `ignoreip` is in effect for the jail, if the entry is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Where one address is banned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The address or network.
    pub ip: Network,
    /// The jails that ban it.
    pub jails: Vec<JailName>,
    /// The entries that keep running jails from banning it; none if they were not requested or not found in time, or from an agent
    /// that does not know this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub never_banned: Option<Vec<NeverBanned>>,
}

/// The results, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookups {
    /// One for each.
    pub results: Vec<Lookup>,
    /// The jails that were not searched, by name: their lists still have the tags of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<JailName>,
}

/// The agent has recorded the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fenced {
    /// The incarnation of the agent's process, which the job's commands must carry.
    #[serde(default)]
    pub incarnation: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_look_up_is_understood_by_and_from_an_end_that_knows_nothing_of_entries() {
        let request = LookupRequest { ips: vec![], never_banned: false, tags: BTreeMap::new() };
        assert_eq!(serde_json::to_value(&request).unwrap(), json!({ "ips": [] }));
        let request: LookupRequest = serde_json::from_value(json!({ "ips": ["203.0.113.9"] })).unwrap();
        assert!(!request.never_banned && request.tags.is_empty());
        let lookups = json!({ "results": [] });
        let older: Lookups = serde_json::from_value(lookups.clone()).unwrap();
        assert!(older.unchanged.is_empty());
        assert_eq!(serde_json::to_value(&older).unwrap(), lookups);
        let older = json!({ "ip": "203.0.113.9", "jails": ["sshd"] });
        let lookup: Lookup = serde_json::from_value(older.clone()).unwrap();
        assert_eq!(lookup.never_banned, None);
        assert_eq!(serde_json::to_value(&lookup).unwrap(), older);
        let newer = json!({ "jail": "sshd", "entry": "::1", "shade": 7 });
        let entry: NeverBanned = serde_json::from_value(newer).unwrap();
        assert_eq!((entry.in_files, entry.file), (None, None));
    }
}
