//! What keeps an address from being banned: one row for each entry, with its file and the jails that it applies to.

use std::collections::BTreeMap;

use super::search::{jail_path, server_path};
use crate::actions::look_up::NeverBannedAt;
use crate::domain::{JailName, ServerName};

/// An entry of a server.
pub struct NeverBannedRow {
    /// Its key within the page.
    pub key: String,
    /// The entry, as fail2ban has it.
    pub entry: String,
    /// The server.
    pub server: String,
    /// Its page.
    pub server_path: String,
    /// The jails that it applies to, with their pages.
    pub jails: Vec<(String, String)>,
    /// Where it comes from.
    pub from: Origin,
}

/// Where an entry comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file.
    File(String),
    /// A file of the configuration; which one is not known.
    Files,
    /// A command: it is gone after a reload.
    Command,
    /// Not known.
    Unknown,
}

/// The rows for these entries: an entry from one place is one row, with all its jails.
#[must_use]
pub fn never_banned(entries: Vec<NeverBannedAt>) -> Vec<NeverBannedRow> {
    let mut rows: BTreeMap<(ServerName, Origin, String), Vec<JailName>> = BTreeMap::new();
    for NeverBannedAt { server, entry } in entries {
        let from = match (entry.in_files, entry.file) {
            (Some(true), Some(file)) => Origin::File(file),
            (Some(true), None) => Origin::Files,
            (Some(false), _) => Origin::Command,
            (None, _) => Origin::Unknown,
        };
        rows.entry((server, from, entry.entry)).or_default().push(entry.jail);
    }
    rows.into_iter()
        .enumerate()
        .map(|(n, ((server, from, entry), jails))| NeverBannedRow {
            key: format!("never/{n}"),
            entry,
            server: server.to_string(),
            server_path: server_path(&server),
            jails: jails.iter().map(|jail| (jail.to_string(), jail_path(&server, jail))).collect(),
            from,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::wire::NeverBanned;

    #[test]
    fn an_entry_of_several_jails_is_one_row_for_each_place_that_it_is_from() {
        let at = |jail: &str, in_files, file: Option<&str>| NeverBannedAt {
            server: ServerName::parse("web").unwrap(),
            entry: NeverBanned {
                jail: JailName::parse(jail).unwrap(),
                entry: "192.0.2.0/24".to_owned(),
                in_files,
                file: file.map(str::to_owned),
            },
        };
        let entries = vec![
            at("app", Some(true), Some("jail.local")),
            at("mail", Some(false), None),
            at("sshd", Some(true), Some("jail.local")),
            at("web", None, None),
        ];
        let rows = never_banned(entries);
        let seen: Vec<(Origin, Vec<&str>)> = rows
            .iter()
            .map(|row| (row.from.clone(), row.jails.iter().map(|(jail, _)| &**jail).collect()))
            .collect();
        let expected = [
            (Origin::File("jail.local".to_owned()), vec!["app", "sshd"]),
            (Origin::Command, vec!["mail"]),
            (Origin::Unknown, vec!["web"]),
        ];
        assert_eq!(seen, expected);
    }
}
