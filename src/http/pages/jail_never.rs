//! The never-banned list of a jail: the entries in force, and those in the files, which apply after the next reload.

use crate::agent::client::JailView;
use crate::domain::jail::Network;

/// An entry that is in force.
#[derive(Debug, PartialEq, Eq)]
pub struct NeverRow {
    /// As fail2ban reports it.
    pub entry: String,
    /// Whether it can be removed here: a list with host names can only be changed in the files.
    pub removable: bool,
    /// Whether the files do not have it, so that it is gone after the next reload.
    pub until_reload: bool,
}

/// The never-banned list of a jail.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NeverBanned {
    /// The entries in force.
    pub rows: Vec<NeverRow>,
    /// Entries that only the files have.
    pub from_reload: Vec<String>,
}

impl NeverBanned {
    /// The list as its agent reports it.
    #[must_use]
    pub fn of(view: &JailView) -> Self {
        let removable = view.ignoreip.iter().all(|entry| Network::parse(entry).is_some());
        let files = view.in_files.as_ref().filter(|_| view.running).map(|files| &files.ignoreip);
        let has = |list: &[String], entry: &String| list.iter().any(|other| same(other, entry));
        let row = |entry: &String| NeverRow {
            entry: entry.clone(),
            removable,
            until_reload: files.is_some_and(|files| !has(files, entry)),
        };
        let rows = view.ignoreip.iter().map(row).collect();
        let from_reload = files.into_iter().flatten().filter(|entry| !has(&view.ignoreip, entry));
        Self { rows, from_reload: from_reload.cloned().collect() }
    }

    /// Whether an entry covers this address.
    #[must_use]
    pub fn covers(&self, own: Network) -> bool {
        self.rows.iter().filter_map(|row| Network::parse(&row.entry)).any(|entry| entry.contains(own))
    }
}

/// Whether two entries mean the same: an address has several spellings.
fn same(one: &str, other: &str) -> bool {
    one == other || Network::parse(one).is_some_and(|network| Network::parse(other) == Some(network))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(running: bool, in_force: &[&str], in_files: Option<&[&str]>) -> JailView {
        let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        let in_files = in_files.map(|entries| serde_json::json!({ "ignoreip": list(entries) }));
        serde_json::from_value(serde_json::json!({
            "name": "sshd", "enabled": true, "running": running, "bantime": null, "findtime": null, "maxretry": null,
            "ignoreip": list(in_force), "filter": "", "backend": "", "log_files": [], "journal_matches": [],
            "in_files": in_files,
        }))
        .unwrap()
    }

    #[test]
    fn an_entry_that_the_files_lack_is_gone_after_a_reload_and_one_that_only_they_have_comes() {
        let never = NeverBanned::of(&view(true, &["127.0.0.0/8", "::1"], Some(&["127.0.0.1/8", "10.0.0.1"])));
        let tags: Vec<_> = never.rows.iter().map(|row| (row.entry.as_str(), row.until_reload)).collect();
        assert_eq!(tags, [("127.0.0.0/8", false), ("::1", true)]);
        assert_eq!(never.from_reload, ["10.0.0.1"]);
        assert!(
            never.covers(Network::parse("127.0.0.9").unwrap())
                && !never.covers(Network::parse("10.0.0.1").unwrap())
        );
    }

    #[test]
    fn without_the_files_or_of_a_jail_that_is_off_nothing_is_compared_and_names_keep_the_list_from_being_changed()
     {
        for view in [view(true, &["::1"], None), view(false, &["::1"], Some(&["10.0.0.1"]))] {
            let never = NeverBanned::of(&view);
            assert!(!never.rows[0].until_reload && never.from_reload.is_empty());
        }
        let named = NeverBanned::of(&view(true, &["localhost", "::1"], Some(&["localhost", "::1"])));
        assert!(named.rows.iter().all(|row| !row.removable && !row.until_reload), "{named:?}");
    }
}
